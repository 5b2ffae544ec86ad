"""The resource ``group_snapshots`` (since 3.14)."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Name, Strict, Text, check_name
from penstock.api.http import ACCEPTED, Answer
from penstock.api.paging import marked_links, marked_page_of
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.api.volumes.volume_filters import all_projects
from penstock.api.volumes.volume_requests import stripped
from penstock.domain.volume_groups import GroupSnapshot
from penstock.errors import Invalid
from penstock.services.paging import KeysetPage
from penstock.services.volumes import group_snapshots
from penstock.services.volumes.group_snapshots import NewGroupSnapshot

routes = Routes()

ALL, ONE = "group_snapshots", "group_snapshots/{group_snapshot_id}"


class CreateFields(Strict):
    """Of which group."""

    group_id: Name
    name: Name | None = None
    description: Text | None = None


class CreateBody(Strict):
    """``{"group_snapshot": {...}}``"""

    group_snapshot: CreateFields


class UpdateFields(Strict):
    """What to change."""

    name: Name | None = None
    description: Text | None = None


class UpdateBody(Strict):
    """``{"group_snapshot": {...}}``"""

    group_snapshot: UpdateFields


class Reset(Strict):
    """A state to write by hand."""

    status: str


@routes.get(ALL, "3.14")
def index(request: ApiRequest) -> Answer:
    """Group snapshots by id and name."""
    return _list(request, is_detailed=False)


@routes.get("group_snapshots/detail", "3.14")
def detail(request: ApiRequest) -> Answer:
    """Group snapshots with all their fields."""
    return _list(request, is_detailed=True)


@routes.post(ALL, "3.14")
def create(request: ApiRequest) -> Answer:
    """Take snapshots of all volumes of a group."""
    request.enforce("group:create_group_snapshot")
    asked = request.body_as(CreateBody).group_snapshot
    wanted = NewGroupSnapshot(asked.group_id, stripped(asked.name), stripped(asked.description))
    made = group_snapshots.create(request.plane, request.context, wanted)
    return Answer({"group_snapshot": {**_summary(made), "group_type_id": made.group_type_id}}, 202)


@routes.get(ONE, "3.14")
def show(request: ApiRequest) -> Answer:
    """One group snapshot."""
    request.enforce("group:get_group_snapshot")
    found = group_snapshots.get(request.plane, request.context, request.params["group_snapshot_id"])
    return Answer({"group_snapshot": _view(request, found)})


@routes.put(ONE, "3.14")
def update(request: ApiRequest) -> Answer:
    """Change name or description."""
    request.enforce("group:update_group_snapshot")
    asked = request.body_as(UpdateBody).group_snapshot
    if asked == UpdateFields():
        raise Invalid("Give a 'name' or a 'description' to change.")
    changed = group_snapshots.update(
        request.plane,
        request.context,
        request.params["group_snapshot_id"],
        stripped(asked.name),
        stripped(asked.description),
    )
    return Answer({"group_snapshot": _view(request, changed)})


@routes.delete(ONE, "3.14")
def delete(request: ApiRequest) -> Answer:
    """Delete all its snapshots."""
    request.enforce("group:delete_group_snapshot")
    group_snapshots.delete(request.plane, request.context, request.params["group_snapshot_id"])
    return ACCEPTED


@routes.action("group_snapshots/{group_snapshot_id}/action", "reset_status", "3.19")
def reset_status(request: ApiRequest) -> Answer:
    """Write a state by hand."""
    request.enforce("group:reset_group_snapshot_status")
    status = request.body_as(Reset).status.strip().lower()
    group_snapshots.reset_status(request.plane, request.context, request.params["group_snapshot_id"], status)
    return ACCEPTED


def _list(request: ApiRequest, *, is_detailed: bool) -> Answer:
    request.enforce("group:get_all_group_snapshots")
    equal: dict[str, str] = {}
    page = KeysetPage()
    in_parts = request.version.at_least("3.29")
    if in_parts:
        page = marked_page_of(request, group_snapshots.SORT_KEYS)
        names = ("name", "status", "group_id")
        equal = {name: check_name(name, request.query[name]) or "" for name in names if name in request.query}
    found = group_snapshots.list_snapshots(
        request.plane, request.context, page, equal, all_projects=all_projects(request)
    )
    items = [_view(request, item) if is_detailed else _summary(item) for item in found]
    further = marked_links(request, page, items, "group_snapshot") if in_parts else {}
    return Answer({"group_snapshots": items, **further})


def _summary(found: GroupSnapshot) -> dict[str, Any]:
    return {"id": found.id, "name": found.name}


def _view(request: ApiRequest, found: GroupSnapshot) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "group_id": found.group_id,
        "group_type_id": found.group_type_id,
        "status": found.status,
        "created_at": stamp(found.created_at),
    }
    if request.version.at_least("3.58") and request.allows("group:group_snapshot_project_attribute"):
        view["project_id"] = found.project_id
    return view
