"""``penstock volume``: everyday work with volumes, for people without the ``openstack`` command."""

from __future__ import annotations

import click

from penstock.cli.lazy import Later, LazyGroup

COMMANDS = {
    "list": Later("penstock.cli.volume_basics:list_volumes", "List the project's volumes."),
    "create": Later("penstock.cli.volume_basics:create", "Make a volume, empty or from something."),
    "show": Later("penstock.cli.volume_basics:show", "Show a volume with its attachments."),
    "delete": Later("penstock.cli.volume_basics:delete", "Delete volumes and what is on them."),
    "extend": Later("penstock.cli.volume_changes:extend", "Make a volume larger."),
    "revert": Later("penstock.cli.volume_changes:revert", "Put a volume back to its latest snapshot."),
    "retype": Later("penstock.cli.volume_changes:retype", "Give a volume another type."),
    "migrate": Later("penstock.cli.volume_changes:migrate", "Move a volume to another pool or backend."),
    "attach": Later("penstock.cli.volume_attach:attach", "Let a machine use a volume, and say how to log in."),
    "detach": Later("penstock.cli.volume_attach:detach", "Shut a machine out."),
    "snapshot": Later("penstock.cli.volume_snapshot:snapshot", "Take, list and delete snapshots."),
    "types": Later("penstock.cli.volume_basics:types", "List the volume types on offer."),
}


@click.group(cls=LazyGroup, later=COMMANDS)
def volume() -> None:
    """Volumes, over the API.

    The server is the one of --url or OS_AUTH_URL, else the daemon of this machine's configuration, whose administrator
    one is when one may read its password file.

    \b
    Example:
      penstock volume create 10 --name data && penstock volume attach data iqn.1994-05.com.redhat:host1
    """
