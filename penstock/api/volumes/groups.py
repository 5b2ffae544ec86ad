"""The resource ``groups`` (since 3.13)."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Name, Strict, Text, check_name, parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.paging import marked_links, marked_page_of
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.api.volumes.volume_filters import all_projects, flag
from penstock.api.volumes.volume_requests import stripped
from penstock.domain.volume_groups import VolumeGroup
from penstock.errors import Invalid
from penstock.services.volumes import group_copies, groups
from penstock.services.volumes.group_copies import GroupCopy
from penstock.services.volumes.groups import GroupChange, NewGroup

routes = Routes()

ALL, ONE, ACTION = "groups", "groups/{group_id}", "groups/{group_id}/action"
MOST_VOLUMES = 1000


class CreateFields(Strict):
    """A new group; types by name or id."""

    group_type: Name
    volume_types: list[Name]
    name: Name | None = None
    description: Text | None = None
    availability_zone: Name | None = None


class CreateBody(Strict):
    """``{"group": {...}}``"""

    group: CreateFields


class CopyFields(Strict):
    """A new group from another, or from a group snapshot."""

    name: Name | None = None
    description: Text | None = None
    group_snapshot_id: Name | None = None
    source_group_id: Name | None = None


class UpdateFields(Strict):
    """What to change; ids of volumes with commas between."""

    name: Name | None = None
    description: Text | None = None
    add_volumes: str | None = None
    remove_volumes: str | None = None


class UpdateBody(Strict):
    """``{"group": {...}}``"""

    group: UpdateFields


class Reset(Strict):
    """A state to write by hand."""

    status: str


@routes.get(ALL, "3.13")
def index(request: ApiRequest) -> Answer:
    """Groups by id and name."""
    request.enforce("group:get_all")
    return _list(request, is_detailed=False)


@routes.get("groups/detail", "3.13")
def detail(request: ApiRequest) -> Answer:
    """Groups with all their fields."""
    request.enforce("group:get_all")
    return _list(request, is_detailed=True)


@routes.post(ALL, "3.13")
def create(request: ApiRequest) -> Answer:
    """Make an empty group."""
    request.enforce("group:create")
    asked = request.body_as(CreateBody).group
    wanted = NewGroup(
        group_type=asked.group_type,
        volume_types=asked.volume_types,
        name=stripped(asked.name),
        description=stripped(asked.description),
        availability_zone=asked.availability_zone or None,
    )
    return _made(groups.create(request.plane, request.context, wanted))


@routes.action("groups/action", "create-from-src", "3.14")
def create_from_source(request: ApiRequest) -> Answer:
    """Make a group with volumes from another group, or from a group snapshot."""
    request.enforce("group:create")
    asked = request.body_as(CopyFields)
    wanted = GroupCopy(
        asked.group_snapshot_id or None,
        asked.source_group_id or None,
        stripped(asked.name),
        stripped(asked.description),
    )
    return _made(group_copies.create(request.plane, request.context, wanted))


@routes.get(ONE, "3.13")
def show(request: ApiRequest) -> Answer:
    """One group."""
    request.enforce("group:get")
    group, volume_ids = groups.get(request.plane, request.context, request.params["group_id"])
    return Answer({"group": _view(request, group, volume_ids)})


@routes.put(ONE, "3.13")
def update(request: ApiRequest) -> Answer:
    """Rename it, take volumes in and out."""
    request.enforce("group:update")
    asked = request.body_as(UpdateBody).group
    change = GroupChange(
        name=stripped(asked.name),
        description=stripped(asked.description),
        add_volumes=_ids("add_volumes", asked.add_volumes),
        remove_volumes=_ids("remove_volumes", asked.remove_volumes),
    )
    if change == GroupChange():
        raise Invalid("Give a 'name', a 'description', 'add_volumes' or 'remove_volumes' to change.")
    if set(change.add_volumes) & set(change.remove_volumes):
        raise Invalid("A volume cannot be in 'add_volumes' and in 'remove_volumes'.")
    groups.update(request.plane, request.context, request.params["group_id"], change)
    return ACCEPTED


@routes.action(ACTION, "delete", "3.13")
def delete(request: ApiRequest) -> Answer:
    """Delete the group, and its volumes when that is said."""
    request.enforce("group:delete")
    asked = request.body_as(dict[str, Any])
    if not set(asked) <= {"delete-volumes"}:
        raise Invalid("The action 'delete' knows 'delete-volumes' only.")
    with_volumes = parse_flag("delete-volumes", asked.get("delete-volumes", False))
    groups.delete(request.plane, request.context, request.params["group_id"], delete_volumes=with_volumes)
    return ACCEPTED


@routes.action(ACTION, "reset_status", "3.20")
def reset_status(request: ApiRequest) -> Answer:
    """Write a state by hand."""
    request.enforce("group:reset_status")
    status = request.body_as(Reset).status.strip().lower()
    groups.reset_status(request.plane, request.context, request.params["group_id"], status)
    return ACCEPTED


@routes.action(ACTION, "enable_replication", "3.38")
@routes.action(ACTION, "disable_replication", "3.38")
@routes.action(ACTION, "failover_replication", "3.38")
@routes.action(ACTION, "list_replication_targets", "3.38")
def replication(request: ApiRequest) -> Answer:
    """Refused: no group type here has replication of whole groups."""
    request.enforce("group:enable_replication")
    group, _ = groups.get(request.plane, request.context, request.params["group_id"])
    raise Invalid(f"Group {group.id} is not of a type whose groups are replicated.")


def _list(request: ApiRequest, *, is_detailed: bool) -> Answer:
    page = marked_page_of(request, groups.SORT_KEYS)
    names = ("name", "status", "group_type")
    equal = {name: check_name(name, request.query[name]) or "" for name in names if name in request.query}
    found = groups.list_groups(request.plane, request.context, page, equal, all_projects=all_projects(request))
    items = [_view(request, group, ids) if is_detailed else _summary(group) for group, ids in found]
    return Answer({"groups": items, **marked_links(request, page, items, "group")})


def _made(group: VolumeGroup) -> Answer:
    return Answer({"group": _summary(group)}, 202)


def _summary(group: VolumeGroup) -> dict[str, Any]:
    return {"id": group.id, "name": group.name}


def _view(request: ApiRequest, group: VolumeGroup, volume_ids: list[str]) -> dict[str, Any]:
    version = request.version
    view: dict[str, Any] = {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "status": group.status,
        "availability_zone": group.availability_zone,
        "created_at": stamp(group.created_at),
        "group_type": group.group_type_id,
        "volume_types": list(group.volume_type_ids),
    }
    if version.at_least("3.14"):
        view |= {"group_snapshot_id": group.group_snapshot_id, "source_group_id": group.source_group_id}
    if version.at_least("3.25") and flag(request, "list_volume"):
        view["volumes"] = volume_ids
    if version.at_least("3.38"):
        view["replication_status"] = group.replication_status
    if version.at_least("3.58") and request.allows("group:group_project_attribute"):
        view["project_id"] = group.project_id
    return view


def _ids(name: str, text: str | None) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))
    if len(found) > MOST_VOLUMES:
        raise Invalid(f"'{name}' names more than {MOST_VOLUMES} volumes.")
    return found
