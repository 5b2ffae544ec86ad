"""Migration of shares: actions on one share, for administrators. Experimental.

Source: Shared File Systems API v2, "Share migration"; the form of 2.29, with ``details`` of the progress since 2.59.
"""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Flag, Name, Strict, parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.domain.migration import Migration
from penstock.errors import Invalid
from penstock.services import migration

routes = Routes()
ACTION = "shares/{share_id}/action"
ONLY_BY_DRIVER = ("preserve_metadata", "writable", "nondisruptive", "preserve_snapshots")


class Start(Strict):
    """Where to, and what it must hold to. All but the last three are required."""

    host: Name
    preserve_metadata: Flag
    writable: Flag
    nondisruptive: Flag
    preserve_snapshots: Flag
    force_host_assisted_migration: Flag = False
    new_share_network_id: Name | None = None
    new_share_type_id: Name | None = None


@routes.action(ACTION, "migration_start", since="2.29", experimental=True)
def start(request: ApiRequest) -> Answer:
    """Begin to move the share; 200 when it is there already."""
    request.enforce("share:migration_start")
    asked = request.body_as(Start)
    flags = migration.MigrationFlags(
        force_host_assisted=parse_flag("force_host_assisted_migration", asked.force_host_assisted_migration),
        **{name: parse_flag(name, getattr(asked, name)) for name in ONLY_BY_DRIVER},
    )
    if flags.force_host_assisted and flags.only_by_driver:
        raise Invalid(
            f"'force_host_assisted_migration' cannot be combined with {', '.join(flags.only_by_driver)}: only the "
            "drivers can hold to that."
        )
    wanted = migration.NewMigration(
        host=asked.host,
        flags=flags,
        share_type=asked.new_share_type_id or None,
        share_network=asked.new_share_network_id or None,
    )
    is_begun = migration.start(request.plane, request.context, request.params["share_id"], wanted)
    return ACCEPTED if is_begun else Answer(None, 200)


@routes.action(ACTION, "migration_complete", since="2.22", experimental=True)
def complete(request: ApiRequest) -> Answer:
    """Switch over to the destination."""
    request.enforce("share:migration_complete")
    migration.complete(request.plane, request.context, request.params["share_id"])
    return ACCEPTED


@routes.action(ACTION, "migration_cancel", since="2.22", experimental=True)
def cancel(request: ApiRequest) -> Answer:
    """Stop, with the share as it was."""
    request.enforce("share:migration_cancel")
    migration.cancel(request.plane, request.context, request.params["share_id"])
    return ACCEPTED


@routes.action(ACTION, "migration_get_progress", since="2.22", experimental=True)
def progress(request: ApiRequest) -> Answer:
    """How far the migration is."""
    request.enforce("share:migration_get_progress")
    found = migration.progress(request.plane, request.context, request.params["share_id"])
    body: dict[str, Any] = {"total_progress": found.total_percent, "task_state": found.task_state}
    if request.version.at_least("2.59"):
        body["details"] = {} if found.migration is None else _details(found.migration)
    return Answer(body)


def _details(found: Migration) -> dict[str, Any]:
    how = {None: None, True: "host-assisted", False: "driver-assisted"}[found.is_host_assisted]
    said = {
        "destination": found.destination_host,
        "how": how,
        "moved_bytes": found.moved_bytes,
        "total_bytes": found.total_bytes,
        "eta_seconds": found.eta_s,
        "note": found.note,
    }
    return {key: value for key, value in said.items() if value is not None}
