"""``penstock backend drain``."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from penstock.cli.connection import with_session
from penstock.cli.waiting import ProgressLine
from penstock.errors import NotFound

if TYPE_CHECKING:
    from penstock.client.draining import Mover
    from penstock.client.session import Session


@click.command()
@click.argument("place")
@click.option("--to", multiple=True, help="Only to this backend (host@backend) or pool; may be given several times.")
@click.option("--parallel", type=click.IntRange(1, 16), default=2, show_default=True, help="How many move at a time.")
@click.option("--dry-run", is_flag=True, help="Only list what would be moved.")
@with_session
@click.pass_context
def drain(
    ctx: click.Context, session: Session, *, place: str, to: tuple[str, ...], parallel: int, dry_run: bool
) -> None:
    """Move every share, or volume, off PLACE, a backend (host@backend) or one pool of it (host@backend#pool).

    A backend is taken out of placement first ('openstack share service set --enable', for volumes 'openstack volume
    service set --enable', puts it back). Shares stay in use while they are copied; volumes that are attached, have
    snapshots or are in a group stay. What cannot be moved is named with the reason, and the exit code is then 1.
    Cached images are named, too: nobody loses anything with them. Interrupted, the same command goes on.

    \b
    Example:
      penstock backend drain store@attic --to store@cellar
    """
    from penstock.client.draining import Drain

    with ProgressLine() as show:
        drained = Drain(_mover(session, place), place, to=to, at_once=parallel, tell=click.echo, show=show)
        if dry_run:
            for one in drained.leaving():
                click.echo(f"{one.id}  {one.name}")
            return
        drained.disable()
        ended = drained.run()
    click.echo(f"{len(ended.moved)} moved, {len(ended.left)} stay.")
    for reason in ended.left.values():
        click.echo(f"stays  {reason}")
    for remark in ended.besides:
        click.echo(f"besides  {remark}")
    if ended.left:
        ctx.exit(1)


def _mover(session: Session, place: str) -> Mover:
    """That of what the backend serves: volumes when a volume service is called so."""
    from penstock.client.share_drain import ShareMover
    from penstock.client.volume_drain import VolumeMover

    of_volumes = session.of_volumes()
    backend = place.partition("#")[0]
    with suppress(NotFound):  # the server has no Block Storage
        if of_volumes.get("os-services", host=backend, binary="cinder-volume")["services"]:
            return VolumeMover(of_volumes)
    return ShareMover(session)
