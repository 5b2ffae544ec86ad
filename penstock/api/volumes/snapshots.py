"""The resource ``snapshots``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.api.bodies import Flag, Name, Strict, Text, check_name, parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.paging import marked_links, marked_page_of
from penstock.api.pairs import parse_pairs
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.api.volumes.resource_filters import refuse_unknown
from penstock.api.volumes.volume_filters import all_projects, flag, time_filters
from penstock.api.volumes.volume_requests import check_metadata, stripped
from penstock.domain.volume_snapshots import VolumeSnapshot
from penstock.errors import Invalid
from penstock.services.volumes import snapshots
from penstock.services.volumes.snapshots import NewVolumeSnapshot, VolumeSnapshotFilter

routes = Routes()

ONE = "snapshots/{snapshot_id}"
ACTION = "snapshots/{snapshot_id}/action"
ADMIN = "volume_extension:snapshot_admin_actions"
_ALSO = frozenset({"project_id", "user_id", "tenant_id"})


class CreateFields(Strict):
    """Of which volume. `force` means nothing any more since 3.66."""

    volume_id: Name | None
    name: Name | None = None
    display_name: Name | None = None
    description: Text | None = None
    display_description: Text | None = None
    metadata: dict[str, Any] | None = None
    force: Flag = None


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


class Reset(Strict):
    """A state to write by hand."""

    status: str


class Report(Strict):
    """What a hypervisor reports of a snapshot it takes."""

    status: str
    progress: str | None = None


@routes.get("snapshots")
def list_summary(request: ApiRequest) -> Answer:
    """Snapshots without what is for details."""
    return _list(request, _summary)


@routes.get("snapshots/detail")
def list_detail(request: ApiRequest) -> Answer:
    """Snapshots with all their fields."""
    return _list(request, lambda found: _extended_view(request, found))


@routes.post("snapshots")
def create(request: ApiRequest) -> Answer:
    """Take a snapshot."""
    request.enforce("volume:create_snapshot")
    asked = request.body_as(CreateBody).snapshot
    wanted = NewVolumeSnapshot(
        volume_id=asked.volume_id or "",  # null is published as a volume that is not there
        name=stripped(asked.name if asked.name is not None else asked.display_name),
        description=stripped(asked.description if asked.description is not None else asked.display_description),
        force=_force(request, asked.force),
        metadata=check_metadata(asked.metadata or {}),
    )
    made = snapshots.create(request.plane, request.context, wanted)
    return Answer({"snapshot": snapshot_view(request, made)}, 202)


@routes.get(ONE)
def show(request: ApiRequest) -> Answer:
    """One snapshot."""
    request.enforce("volume:get_snapshot")
    found = snapshots.get(request.plane, request.context, request.params["snapshot_id"])
    return Answer({"snapshot": _extended_view(request, found)})


@routes.put(ONE)
def update(request: ApiRequest) -> Answer:
    """Change name or description."""
    request.enforce("volume:update_snapshot")
    asked = request.body_as(UpdateBody).snapshot
    if asked == UpdateFields():
        raise Invalid("Give a 'name' or a 'description' to change.")
    changed = snapshots.update(
        request.plane,
        request.context,
        request.params["snapshot_id"],
        stripped(asked.name if asked.name is not None else asked.display_name),
        stripped(asked.description if asked.description is not None else asked.display_description),
    )
    return Answer({"snapshot": snapshot_view(request, changed)})


@routes.delete(ONE)
def delete(request: ApiRequest) -> Answer:
    """Delete a snapshot."""
    request.enforce("volume:delete_snapshot")
    snapshots.delete(request.plane, request.context, request.params["snapshot_id"])
    return ACCEPTED


@routes.action(ACTION, "os-reset_status")
def reset_status(request: ApiRequest) -> Answer:
    """Write a state by hand."""
    request.enforce(f"{ADMIN}:reset_status")
    status = request.body_as(Reset).status.strip().lower()
    snapshots.reset_status(request.plane, request.context, request.params["snapshot_id"], status)
    return ACCEPTED


@routes.action(ACTION, "os-force_delete")
def force_delete(request: ApiRequest) -> Answer:
    """Delete it in whatever state it is."""
    request.enforce(f"{ADMIN}:force_delete")
    request.no_arguments()
    snapshots.delete(request.plane, request.context, request.params["snapshot_id"], force=True)
    return ACCEPTED


@routes.action(ACTION, "os-update_snapshot_status")
def report(request: ApiRequest) -> Answer:
    """What a hypervisor reports of a snapshot that it takes itself."""
    request.enforce("snapshot_extension:snapshot_actions:update_snapshot_status")
    asked = request.body_as(Report)
    if asked.progress is not None and not _is_percentage(asked.progress):
        raise Invalid(f"'progress' must be a percentage such as '80%', not '{asked.progress[:16]}'.")
    snapshots.update_snapshot_status(
        request.plane, request.context, request.params["snapshot_id"], asked.status, asked.progress
    )
    return ACCEPTED


def _force(request: ApiRequest, given: Flag) -> bool:
    """May the volume be in use? Since 3.66 always, and saying that it may not be is refused."""
    force = given is not None and parse_flag("force", given)
    if not request.version.at_least("3.66"):
        return force
    if given is not None and not force:
        raise Invalid("'force' means nothing any more since API version 3.66, and cannot be false.")
    return True


def _list(request: ApiRequest, view: Callable[[VolumeSnapshot], dict[str, Any]]) -> Answer:
    request.enforce("volume:get_all_snapshots")
    page = marked_page_of(request, snapshots.SORT_KEYS)
    found = snapshots.list_snapshots(
        request.plane,
        request.context,
        _wanted(request),
        page,
        all_projects=all_projects(request),
        with_count=request.version.at_least("3.45") and flag(request, "with_count"),
    )
    items = [view(item) for item in found.items]
    body: dict[str, Any] = {"snapshots": items, **marked_links(request, page, items, "snapshots")}
    if found.count is not None:
        body["count"] = found.count
    return Answer(body)


def _wanted(request: ApiRequest) -> VolumeSnapshotFilter:
    refuse_unknown(request, "snapshot", _ALSO)
    query, version = request.query, request.version
    names = ("name", "status", "volume_id", "availability_zone")
    found: dict[str, Any] = {name: check_name(name, query[name]) for name in names if name in query}
    if "name~" in query and version.at_least("3.34"):
        found["name_like"] = check_name("name~", query["name~"])
    if "metadata" in query and version.at_least("3.22"):
        found["metadata"] = parse_pairs("metadata", query["metadata"])
    if "consumes_quota" in query and version.at_least("3.65"):
        found["uses_quota"] = flag(request, "consumes_quota")
    if request.context.is_admin:
        found |= {name: query[name] for name in ("project_id", "user_id") if name in query}
        if "tenant_id" in query:
            found["project_id"] = query["tenant_id"]
    return VolumeSnapshotFilter(**found, times=time_filters(request, "3.60"))


def _summary(found: VolumeSnapshot) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "volume_id": found.volume_id,
        "status": found.status,
        "size": found.volume_size_gib,
        "created_at": stamp(found.created_at),
        "updated_at": stamp(found.updated_at),
        "metadata": found.metadata,
    }


def snapshot_view(request: ApiRequest, found: VolumeSnapshot) -> dict[str, Any]:
    """A snapshot without what only shows and lists in detail add."""
    version, view = request.version, _summary(found)
    if version.at_least("3.14"):
        view["group_snapshot_id"] = found.group_snapshot_id
    if version.at_least("3.41"):
        view["user_id"] = found.user_id
    if version.at_least("3.65"):
        view["consumes_quota"] = found.uses_quota
    return view


def _extended_view(request: ApiRequest, found: VolumeSnapshot) -> dict[str, Any]:
    view = snapshot_view(request, found)
    if request.allows("volume_extension:extended_snapshot_attributes"):
        view["os-extended-snapshot-attributes:project_id"] = found.project_id
        view["os-extended-snapshot-attributes:progress"] = found.progress
    return view


def _is_percentage(text: str) -> bool:
    number = text.removesuffix("%")
    return text.endswith("%") and number.isascii() and number.isdecimal() and int(number[:4]) <= 100
