"""``penstock backend accept-older``. Works on the backend itself, as doctor does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from penstock.cli.options import config_option, debug_option, json_option, load_config, open_database, quiet_logs
from penstock.cli.output import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.volume.replication import OlderCopy


@click.command("accept-older")
@click.argument("name")
@click.argument("side", default="default")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@config_option
@debug_option
@json_option
@click.pass_context
def accept_older(ctx: click.Context, *, name: str, side: str, yes: bool, as_json: bool) -> None:
    """Say that the volumes of the backend NAME are wanted as SIDE has them, though another side went on with them.

    For when that other side is lost: a failover to SIDE ('default', or a backend_id) leaves such volumes in error,
    because what was written to them since is not there. Lists them with the time of which they are, and asks; the next
    'cinder failover-host' to SIDE takes them, and tells their owners. Until then, and for what is not wanted, nothing
    changes; should the other side come back before, the later data are brought over all the same. Should it come back
    after, what it has is set aside there.

    \b
    Examples:
      cinder failover-host store@blocks --backend_id default
      penstock backend accept-older blocks
      cinder failover-host store@blocks --backend_id default
    """
    from penstock.volume.manager.replication import older_copies
    from penstock.volume_site import open_volume_site

    quiet_logs(ctx)
    conf = load_config(ctx)
    backend = open_volume_site(conf, name, open_database(conf)).backend
    found = older_copies(backend, side)
    if found and not yes:
        if not as_json:
            _print(found)
        click.confirm("Serve these from the next failover on, without what was written later?", abort=True, err=as_json)
    if found:
        found = older_copies(backend, side, accept=True)
    if as_json:
        print_json([{"volume": one.volume_id, "place": one.place, "since": one.since.isoformat()} for one in found])
    elif found:
        if yes:
            _print(found)
        click.echo(f"Accepted. Now: cinder failover-host {backend.host} --backend_id {side}")
    else:
        click.echo(f"Nothing on {side} is older than its volume was.")


def _print(found: Sequence[OlderCopy]) -> None:
    rows = [[one.volume_id, one.place, f"{one.since:%Y-%m-%d %H:%M:%S} UTC"] for one in found]
    print_table(("volume", "place", "lost is what was written after"), rows)
