"""``penstock backend drain``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from penstock.cli.connection import with_session
from penstock.cli.waiting import ProgressLine

if TYPE_CHECKING:
    from penstock.client.session import Session


@click.command()
@click.argument("place")
@click.option("--to", multiple=True, help="Only to this backend (host@backend) or pool; may be given several times.")
@click.option("--parallel", type=click.IntRange(1, 16), default=2, show_default=True, help="Shares moved at a time.")
@click.option("--dry-run", is_flag=True, help="Only list what would be moved.")
@with_session
@click.pass_context
def drain(
    ctx: click.Context, session: Session, *, place: str, to: tuple[str, ...], parallel: int, dry_run: bool
) -> None:
    """Move every share off PLACE, a backend (host@backend) or one pool of it (host@backend#pool).

    A backend is taken out of placement first ('openstack share service set --enable' puts it back). Shares stay in use
    while they are copied. What cannot be moved is named with the reason, and the exit code is then 1. Interrupted, the
    same command goes on.

    \b
    Example:
      penstock backend drain store@attic --to store@cellar
    """
    from penstock.client.migrations import Drain

    with ProgressLine() as show:
        drained = Drain(session, place, to=to, at_once=parallel, tell=click.echo, show=show)
        if dry_run:
            for share in drained.shares():
                click.echo(f"{share.id}  {share.name}")
            return
        drained.disable()
        ended = drained.run()
    click.echo(f"{len(ended.moved)} moved, {len(ended.left)} stay.")
    for reason in ended.left.values():
        click.echo(f"stays  {reason}")
    if ended.left:
        ctx.exit(1)
