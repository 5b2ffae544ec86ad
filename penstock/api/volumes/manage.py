"""The resources ``manageable_volumes`` and ``manageable_snapshots`` (since 3.8; before that ``os-volume-manage`` and
``os-snapshot-manage``), and letting things go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from penstock.api.bodies import Flag, Name, Strict, Text, check_pairs, parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.paging import marked_page_of
from penstock.api.pairs import parse_literal
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.volumes.snapshots import snapshot_view
from penstock.api.volumes.volume_requests import check_metadata, stripped
from penstock.api.volumes.volume_views import one
from penstock.context import RequestContext
from penstock.errors import Invalid
from penstock.services.control_plane import ControlPlane
from penstock.services.volumes import listing, manage
from penstock.services.volumes.manage import ExistingSnapshot, ExistingVolume, ManageablePage

routes = Routes()

SORT_KEYS = ("size", "reference")
SUMMARY = ("reference", "size", "safe_to_manage", "source_reference")
Look = Callable[[ControlPlane, RequestContext, str, ManageablePage], list[dict[str, Any]]]
Ref = dict[str, Any] | str


class VolumeFields(Strict):
    """What exists, and where."""

    ref: Ref
    host: Name | None = None
    cluster: Name | None = None
    name: Name | None = None
    description: Text | None = None
    volume_type: Name | None = None
    availability_zone: Name | None = None
    metadata: dict[str, Any] | None = None
    bootable: Flag = False


class VolumeBody(Strict):
    """``{"volume": {...}}``"""

    volume: VolumeFields


class SnapshotFields(Strict):
    """What exists, and of which volume."""

    volume_id: Name
    ref: Ref
    name: Name | None = None
    description: Text | None = None
    metadata: dict[str, Any] | None = None


class SnapshotBody(Strict):
    """``{"snapshot": {...}}``"""

    snapshot: SnapshotFields


@routes.post("os-volume-manage")
@routes.post("manageable_volumes", "3.8")
def manage_volume(request: ApiRequest) -> Answer:
    """Take over what exists as a volume."""
    request.enforce("volume_extension:volume_manage")
    asked = request.body_as(VolumeBody).volume
    if asked.cluster:
        raise Invalid("There are no clusters; name the 'host'.")
    if not asked.host:
        raise Invalid("Name the 'host', as host@backend#pool.")
    existing = ExistingVolume(
        host=asked.host,
        ref=_reference(asked.ref),
        name=stripped(asked.name),
        description=stripped(asked.description),
        volume_type=asked.volume_type or None,
        availability_zone=asked.availability_zone or None,
        metadata=check_metadata(asked.metadata or {}),
        bootable=asked.bootable is not None and parse_flag("bootable", asked.bootable),
    )
    volume = manage.manage_volume(request.plane, request.context, existing)
    return Answer(one(request, listing.shown(request.plane, volume), is_detailed=False), 202)


@routes.post("os-snapshot-manage")
@routes.post("manageable_snapshots", "3.8")
def manage_snapshot(request: ApiRequest) -> Answer:
    """Take over what exists as a snapshot."""
    request.enforce("snapshot_extension:snapshot_manage")
    asked = request.body_as(SnapshotBody).snapshot
    existing = ExistingSnapshot(
        volume_id=asked.volume_id,
        ref=_reference(asked.ref),
        name=stripped(asked.name),
        description=stripped(asked.description),
        metadata=check_metadata(asked.metadata or {}),
    )
    made = manage.manage_snapshot(request.plane, request.context, existing)
    return Answer({"snapshot": snapshot_view(request, made)}, 202)


@routes.get("os-volume-manage")
@routes.get("manageable_volumes", "3.8")
def list_volumes(request: ApiRequest) -> Answer:
    """What could be taken over as volumes."""
    return _list_volumes(request, SUMMARY)


@routes.get("os-volume-manage/detail")
@routes.get("manageable_volumes/detail", "3.8")
def list_volumes_in_detail(request: ApiRequest) -> Answer:
    """The same, with why some cannot."""
    return _list_volumes(request, None)


@routes.get("os-snapshot-manage")
@routes.get("manageable_snapshots", "3.8")
def list_snapshots(request: ApiRequest) -> Answer:
    """What could be taken over as snapshots."""
    return _list_snapshots(request, SUMMARY)


@routes.get("os-snapshot-manage/detail")
@routes.get("manageable_snapshots/detail", "3.8")
def list_snapshots_in_detail(request: ApiRequest) -> Answer:
    """The same, with why some cannot."""
    return _list_snapshots(request, None)


@routes.action("volumes/{volume_id}/action", "os-unmanage")
def unmanage_volume(request: ApiRequest) -> Answer:
    """Forget a volume and leave its data."""
    request.enforce("volume_extension:volume_unmanage")
    request.no_arguments()
    manage.unmanage_volume(request.plane, request.context, request.params["volume_id"])
    return ACCEPTED


@routes.action("snapshots/{snapshot_id}/action", "os-unmanage")
def unmanage_snapshot(request: ApiRequest) -> Answer:
    """Forget a snapshot and leave it."""
    request.enforce("snapshot_extension:snapshot_unmanage")
    request.no_arguments()
    manage.unmanage_snapshot(request.plane, request.context, request.params["snapshot_id"])
    return ACCEPTED


def _list_volumes(request: ApiRequest, shown: Sequence[str] | None) -> Answer:
    request.enforce("volume_extension:list_manageable")
    return Answer({"manageable-volumes": _look(request, manage.list_manageable_volumes, shown)})


def _list_snapshots(request: ApiRequest, shown: Sequence[str] | None) -> Answer:
    request.enforce("snapshot_extension:list_manageable")
    return Answer({"manageable-snapshots": _look(request, manage.list_manageable_snapshots, shown)})


def _look(request: ApiRequest, look: Look, shown: Sequence[str] | None) -> list[dict[str, Any]]:
    query = request.query
    if query.get("cluster"):
        raise Invalid("There are no clusters; name the 'host'.")
    host = query.get("host")
    if not host:
        raise Invalid("Name the 'host', as host@backend or host@backend#pool.")
    marker = parse_literal("marker", query["marker"]) if query.get("marker") else None
    if marker is not None and not isinstance(marker, dict):
        raise Invalid("'marker' must be a reference, such as {'source-name': 'volume-1'}.")
    page = marked_page_of(request, SORT_KEYS, sort_key="reference")
    most = int(request.plane.conf.osapi_max_limit)
    sort = page.sort if "sort" in query or "sort_key" in query else ()
    wanted = ManageablePage(marker, most if page.limit is None else page.limit, page.offset, sort)
    found = look(request.plane, request.context, host, wanted)
    return found if shown is None else [{key: item[key] for key in shown if key in item} for item in found]


def _reference(ref: Ref) -> dict[str, Any]:
    found = {"source-name": ref} if isinstance(ref, str) else ref
    if not found or not all(isinstance(value, str) and value.strip() for value in found.values()):
        raise Invalid("'ref' says how the backend calls it, such as {'source-name': 'volume-1'}.")
    return dict[str, Any](check_pairs("ref", found))
