"""``penstock share``: everyday work with shares, for people without the ``openstack`` command."""

from __future__ import annotations

import click

from penstock.cli.lazy import Later, LazyGroup

COMMANDS = {
    "list": Later("penstock.cli.share_basics:list_shares", "List the project's shares."),
    "create": Later("penstock.cli.share_basics:create", "Make a share, empty or from a snapshot."),
    "show": Later("penstock.cli.share_basics:show", "Show a share with its paths and access rules."),
    "delete": Later("penstock.cli.share_basics:delete", "Delete shares and what is in them."),
    "extend": Later("penstock.cli.share_sizes:extend", "Make a share larger."),
    "shrink": Later("penstock.cli.share_sizes:shrink", "Make a share smaller; data is never cut off."),
    "allow": Later("penstock.cli.share_access:allow", "Let a client or network mount a share."),
    "deny": Later("penstock.cli.share_access:deny", "Shut a client or network out."),
    "rules": Later("penstock.cli.share_access:rules", "List a share's access rules."),
    "snapshot": Later("penstock.cli.share_snapshot:snapshot", "Take, list and delete snapshots."),
    "revert": Later("penstock.cli.share_sizes:revert", "Put a share back to its latest snapshot."),
    "migrate": Later("penstock.cli.share_migration:migrate", "Move a share to another pool, backend or type."),
    "migration": Later("penstock.cli.share_migration:migration", "Show, complete or cancel the migration of a share."),
    "types": Later("penstock.cli.share_basics:types", "List the share types on offer."),
}


@click.group(cls=LazyGroup, later=COMMANDS)
def share() -> None:
    """Shares, over the API.

    The server is the one of --url or OS_AUTH_URL, else the daemon of this machine's configuration, whose administrator
    one is when one may read its password file.

    \b
    Example:
      penstock share create 10 --name docs && penstock share allow docs 10.0.0.0/24
    """
