"""The resource ``snapshots``, with its actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.api.bodies import Flag, Name, Strict, Text, check_pairs, parse_flag, parse_whole
from penstock.api.http import ACCEPTED, Answer
from penstock.api.paging import next_links, page_of
from penstock.api.pairs import parse_pairs
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.shares.manage import driver_options
from penstock.api.shares.plain_actions import NewStatusAndMore, plain_action, status_action
from penstock.api.shares.share_filters import flag
from penstock.api.shares.snapshot_views import detail, one, summary
from penstock.domain.snapshots import Snapshot
from penstock.services import manage, snapshots

routes = Routes()
ACTION = "snapshots/{snapshot_id}/action"

_FILTERS = (  # name in the query, field of the filter, since
    ("name", "name", "2.0"),
    ("display_name", "name", "2.0"),
    ("status", "status", "2.0"),
    ("share_id", "share_id", "2.0"),
    ("description", "description", "2.36"),
    ("display_description", "description", "2.36"),
    ("name~", "name_like", "2.36"),
    ("description~", "description_like", "2.36"),
)


class CreateFields(Strict):
    """A new snapshot; ``metadata`` since 2.73 and not looked at before."""

    share_id: Name
    name: Name | None = None
    display_name: Name | None = None
    description: Text | None = None
    display_description: Text | None = None
    force: Flag = False
    metadata: dict[str, Any] | None = None


class CreateBody(Strict):
    """``{"snapshot": {...}}``"""

    snapshot: CreateFields


class UpdateFields(Strict):
    """What an owner may change."""

    name: Name | None = None
    display_name: Name | None = None
    description: Text | None = None
    display_description: Text | None = None


class UpdateBody(Strict):
    """``{"snapshot": {...}}``"""

    snapshot: UpdateFields


class ManageFields(Strict):
    """A snapshot on a backend."""

    share_id: Name
    provider_location: Name
    name: Name | None = None
    display_name: Name | None = None
    description: Text | None = None
    display_description: Text | None = None
    driver_options: dict[str, Any] | None = None


class ManageBody(Strict):
    """``{"snapshot": {...}}``"""

    snapshot: ManageFields


@routes.get("snapshots")
def list_summary(request: ApiRequest) -> Answer:
    """Snapshots by id and name."""
    return _list(request, summary)


@routes.get("snapshots/detail")
def list_detail(request: ApiRequest) -> Answer:
    """Snapshots with all their fields."""
    return _list(request, detail)


@routes.post("snapshots")
def create(request: ApiRequest) -> Answer:
    """Take a snapshot."""
    request.enforce("share:create_snapshot")
    asked = request.body_as(CreateBody).snapshot
    with_metadata = request.version.at_least("2.73")
    wanted = snapshots.NewSnapshot(
        share_id=asked.share_id,
        name=asked.name if asked.name is not None else asked.display_name,
        description=asked.description if asked.description is not None else asked.display_description,
        force=asked.force is not None and parse_flag("force", asked.force),
        metadata=check_pairs("metadata", asked.metadata or {}) if with_metadata else {},
    )
    return Answer(one(request, snapshots.create(request.plane, request.context, wanted)), 202)


@routes.post("snapshots/manage", since="2.12")
def manage_snapshot(request: ApiRequest) -> Answer:
    """Accept an existing snapshot."""
    request.enforce("share_snapshot:manage_snapshot")
    asked = request.body_as(ManageBody).snapshot
    existing = manage.ExistingSnapshot(
        share_id=asked.share_id,
        provider_location=asked.provider_location,
        name=asked.display_name if asked.display_name is not None else asked.name,
        description=asked.display_description if asked.display_description is not None else asked.description,
        driver_options=driver_options(asked.driver_options),
    )
    return Answer(one(request, manage.manage_snapshot(request.plane, request.context, existing)), 202)


@routes.get("snapshots/{snapshot_id}")
def show(request: ApiRequest) -> Answer:
    """One snapshot."""
    request.enforce("share_snapshot:get_snapshot")
    return Answer(one(request, snapshots.get(request.plane, request.context, request.params["snapshot_id"])))


@routes.put("snapshots/{snapshot_id}")
def update(request: ApiRequest) -> Answer:
    """Change name or description."""
    request.enforce("share:snapshot_update")
    asked = request.body_as(UpdateBody).snapshot
    snapshot = snapshots.update(
        request.plane,
        request.context,
        request.params["snapshot_id"],
        asked.display_name if asked.display_name is not None else asked.name,
        asked.display_description if asked.display_description is not None else asked.description,
    )
    return Answer(one(request, snapshot))


@routes.delete("snapshots/{snapshot_id}")
def delete(request: ApiRequest) -> Answer:
    """Delete a snapshot."""
    request.enforce("share:delete_snapshot")
    snapshots.delete(request.plane, request.context, request.params["snapshot_id"])
    return ACCEPTED


plain_action(routes, ACTION, "force_delete", "share_snapshot:force_delete", snapshots.force_delete, has_old_name=True)
status_action(routes, ACTION, "share_snapshot:reset_status", snapshots.reset_status, NewStatusAndMore)
plain_action(routes, ACTION, "unmanage", "share_snapshot:unmanage_snapshot", manage.unmanage_snapshot, since="2.12")


@routes.get("snapshots/{snapshot_id}/export-locations", since="2.32")
def list_export_locations(request: ApiRequest) -> Answer:
    """Where a snapshot can be mounted: nowhere, as no share type here claims ``mount_snapshot_support``."""
    request.enforce("share_snapshot_export_location:index")
    snapshots.get(request.plane, request.context, request.params["snapshot_id"])
    return Answer({"share_snapshot_export_locations": []})


def _list(request: ApiRequest, show_one: Callable[[ApiRequest, Snapshot], dict[str, Any]]) -> Answer:
    request.enforce("share_snapshot:get_all_snapshots")
    page = page_of(request, snapshots.SORT_KEYS)
    listed = snapshots.list_snapshots(
        request.plane,
        request.context,
        _wanted(request),
        page,
        all_projects=flag(request, "all_tenants") and request.allows("share_snapshot:list_all_projects"),
    )
    items = [show_one(request, snapshot) for snapshot in listed.items]
    return Answer({"snapshots": items, **next_links(request, page, items, "snapshots")})


def _wanted(request: ApiRequest) -> snapshots.SnapshotFilter:
    query = request.query
    found: dict[str, Any] = {
        field: query[name] for name, field, since in _FILTERS if name in query and request.version.at_least(since)
    }
    if "size" in query:
        found["size_gib"] = parse_whole("size", query["size"])
    if query.get("metadata") and request.version.at_least("2.73"):
        found["metadata"] = parse_pairs("metadata", query["metadata"])
    if request.context.is_admin and "project_id" in query:
        found["project_id"] = query["project_id"]
    return snapshots.SnapshotFilter(**found)
