"""Bring what exists on a backend under management, and let it go with its data in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.context import RequestContext
from penstock.domain.new_volumes import new_volume
from penstock.domain.operations import Call
from penstock.domain.pools import service_host
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_quotas import VolumeResource
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import BackendFault, Invalid
from penstock.ids import new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.volume_types import choice
from penstock.services.volumes import calls, placement, quotas
from penstock.services.volumes.answers import await_answer
from penstock.services.volumes.snapshots import check_quota, new_snapshot
from penstock.services.volumes.visibility import own_volume, owner_of, snapshot_to_change, volume_to_change
from penstock.store import volume_snapshots, volumes


@dataclass(frozen=True, slots=True)
class ExistingVolume:
    """What exists on a pool, by the driver's own reference. `volume_type` is a name or an id."""

    host: str
    ref: Mapping[str, Any]
    name: str | None = None
    description: str | None = None
    volume_type: str | None = None
    availability_zone: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    bootable: bool = False


@dataclass(frozen=True, slots=True)
class ExistingSnapshot:
    """A snapshot of a volume that exists, by the driver's own reference."""

    volume_id: str
    ref: Mapping[str, Any]
    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ManageablePage:
    """Which part of what could be taken over. `sort` are names (``size``, ``reference``) and whether they descend."""

    marker: Mapping[str, Any] | None = None
    limit: int = 1000
    offset: int = 0
    sort: Sequence[tuple[str, bool]] = ()


def manage_volume(plane: ControlPlane, context: RequestContext, existing: ExistingVolume) -> Volume:
    """Accept what exists as a volume of the caller's project, ``managing``; its size is found out by the backend.

    Raises NotFound (service, type), Invalid (host form, service down), QuotaExceeded.
    """
    with plane.database.begin() as tx:
        project_id, user_id = owner_of(context)
        pool = placement.named_pool(tx, plane, existing.host)
        if existing.volume_type is not None:
            volume_type = choice.find(tx, context, existing.volume_type)
        else:
            volume_type = choice.required_default(tx, plane, context)
        choice.refuse_encryption(tx, volume_type)
        quotas.check(tx, plane, project_id, volume_type.id, {VolumeResource.VOLUMES: 1})
        volume = new_volume(
            size_gib=0,
            project_id=project_id,
            user_id=user_id,
            volume_type=volume_type,
            pool=pool,
            zone=placement.zone_of(tx, pool),
            status=VolumeStatus.MANAGING,
            now=plane.clock.utc(),
            name=existing.name,
            description=existing.description,
            metadata=dict(existing.metadata),
            is_bootable=existing.bootable,
        )
        volumes.insert_volume(tx, volume)
        arguments = {"volume_id": volume.id, "ref": dict(existing.ref)}
        calls.enqueue(tx, plane, context, volume, "manage_existing", arguments)
        return volume


def unmanage_volume(plane: ControlPlane, context: RequestContext, volume_id: str) -> None:
    """Accept to forget the volume and leave its data where they are.

    Raises NotFound, Invalid (snapshots, attached, in a group, or a state that does not allow it).
    """
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        if volumes.has_snapshots(tx, volume.id):
            raise Invalid(f"Volume {volume.id} has snapshots; unmanage or delete them first.")
        if volume.is_attached or volume.attachments:
            raise Invalid(f"Volume {volume.id} is attached; detach it first.")
        if volume.group_id is not None or volume.is_migrating:
            raise Invalid(f"Volume {volume.id} is in a group or on its way; it cannot be unmanaged.")
        volumes.move(tx, volume, VolumeEvent.UNMANAGE, now=plane.clock.utc())
        if volume.host is None:
            volumes.delete_volume(tx, volume.id)
            return
        calls.enqueue(tx, plane, context, volume, "unmanage", {"volume_id": volume.id})


def manage_snapshot(plane: ControlPlane, context: RequestContext, existing: ExistingSnapshot) -> VolumeSnapshot:
    """Accept an existing snapshot of a volume, ``managing``. Raises NotFound, Invalid, QuotaExceeded."""
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, existing.volume_id)
        if volume.status not in (VolumeStatus.AVAILABLE, VolumeStatus.IN_USE):
            raise Invalid(f"Volume {volume.id} is '{volume.status}'; its snapshots are taken over when 'available'.")
        check_quota(tx, plane, volume)
        snapshot = new_snapshot(
            volume,
            plane.clock.utc(),
            VolumeSnapshotStatus.MANAGING,
            name=existing.name,
            description=existing.description,
            metadata=dict(existing.metadata),
        )
        volume_snapshots.insert_snapshot(tx, snapshot)
        arguments = {"snapshot_id": snapshot.id, "ref": dict(existing.ref)}
        calls.enqueue(tx, plane, context, volume, "manage_existing_snapshot", arguments)
        return snapshot


def unmanage_snapshot(plane: ControlPlane, context: RequestContext, snapshot_id: str) -> None:
    """Accept to forget the snapshot and leave it where it is. Raises NotFound, Invalid."""
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        if snapshot.group_snapshot_id is not None:
            raise Invalid(f"Snapshot {snapshot.id} is part of a group snapshot; it cannot be unmanaged.")
        volume_snapshots.move(tx, snapshot, VolumeEvent.UNMANAGE, now=plane.clock.utc())
        volume = own_volume(tx, context, snapshot.volume_id)
        calls.enqueue(tx, plane, context, volume, "unmanage_snapshot", {"snapshot_id": snapshot.id})


def list_manageable_volumes(
    plane: ControlPlane, context: RequestContext, host: str, page: ManageablePage
) -> list[dict[str, Any]]:
    """What of the backend `host` could be taken over, as its driver tells it.

    Each has ``reference``, ``size``, ``safe_to_manage``, ``reason_not_safe``, ``cinder_id`` and ``extra_info``. Raises
    NotFound, Invalid (no such service, or down), Unsupported, Unavailable (no answer in time).
    """
    return _look(plane, context, host, "get_manageable_volumes", page)


def list_manageable_snapshots(
    plane: ControlPlane, context: RequestContext, host: str, page: ManageablePage
) -> list[dict[str, Any]]:
    """The same for snapshots, with ``source_reference`` in each."""
    return _look(plane, context, host, "get_manageable_snapshots", page)


def _look(
    plane: ControlPlane, context: RequestContext, host: str, method: str, page: ManageablePage
) -> list[dict[str, Any]]:
    arguments = {
        "marker": None if page.marker is None else dict(page.marker),
        "limit": page.limit,
        "offset": page.offset,
        "sort_keys": [name for name, _ in page.sort],
        "sort_dirs": ["desc" if descending else "asc" for _, descending in page.sort],
    }
    with plane.database.begin() as tx:
        placement.check_service(tx, plane, host)
        call = Call(service_host(host), f"look:{new_id()}", method, arguments)  # it waits for nothing else
        operation_id = plane.operations.enqueue(tx, context, call)
    found = await_answer(plane, operation_id)
    if not isinstance(found, list):
        raise BackendFault(f"The backend answered with a {type(found).__name__} instead of a list.")
    return found
