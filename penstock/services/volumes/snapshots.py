"""Take, show, list, change and delete snapshots of volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from penstock.context import RequestContext
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_quotas import VolumeResource
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Conflict, Invalid, NotFound
from penstock.ids import VolumeSnapshotId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.volumes import calls, quotas
from penstock.services.volumes.visibility import own_volume, own_volume_snapshot, snapshot_to_change, volume_to_change
from penstock.store import volume_snapshots, volumes
from penstock.store.database import Transaction
from penstock.store.keyset import KeysetPage
from penstock.store.volume_snapshots import VolumeSnapshotFilter
from penstock.store.volumes_at_work import Types, typed_snapshot

__all__ = [
    "SORT_KEYS",
    "KeysetPage",
    "ListedVolumeSnapshots",
    "NewVolumeSnapshot",
    "VolumeSnapshotFilter",
    "create",
    "delete",
    "delete_metadata",
    "get",
    "list_snapshots",
    "put_metadata",
    "reset_status",
    "update",
    "update_snapshot_status",
]
SORT_KEYS = tuple(volume_snapshots.SORTABLE)
RESETTABLE = (
    VolumeSnapshotStatus.AVAILABLE,
    VolumeSnapshotStatus.CREATING,
    VolumeSnapshotStatus.DELETING,
    VolumeSnapshotStatus.ERROR,
    VolumeSnapshotStatus.ERROR_DELETING,
)
# What a hypervisor that takes the snapshot itself may report (``os-update_snapshot_status``).
REPORTABLE = {
    VolumeSnapshotStatus.CREATING: (
        VolumeSnapshotStatus.CREATING,
        VolumeSnapshotStatus.AVAILABLE,
        VolumeSnapshotStatus.ERROR,
    ),
    VolumeSnapshotStatus.DELETING: (VolumeSnapshotStatus.DELETING, VolumeSnapshotStatus.ERROR_DELETING),
}


@dataclass(frozen=True, slots=True)
class NewVolumeSnapshot:
    """What a snapshot is asked for with. `force` takes it of a volume that is in use, too (since 3.66 always)."""

    volume_id: str
    name: str | None = None
    description: str | None = None
    force: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListedVolumeSnapshots:
    """One page of snapshots; `count` of all that match when it was asked for."""

    items: list[VolumeSnapshot]
    count: int | None


def create(plane: ControlPlane, context: RequestContext, wanted: NewVolumeSnapshot) -> VolumeSnapshot:
    """Accept the snapshot. Raises NotFound, Invalid (state), QuotaExceeded. Repeating it takes another."""
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, wanted.volume_id)
        return take(tx, plane, context, volume, wanted)


def take(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    volume: Volume,
    wanted: NewVolumeSnapshot,
    *,
    group_snapshot_id: str | None = None,
) -> VolumeSnapshot:
    """`create` for a volume that is held; of a group snapshot the group's own operation takes it."""
    if volume.is_migrating:
        raise Invalid(f"Volume {volume.id} is being migrated.")
    allowed = (VolumeStatus.AVAILABLE, VolumeStatus.IN_USE) if wanted.force else (VolumeStatus.AVAILABLE,)
    if volume.status not in allowed:
        raise Invalid(f"Volume {volume.id} is '{volume.status}'; a snapshot of it is taken when 'available'.")
    calls.placed_on(volume)
    check_quota(tx, plane, volume)
    snapshot = new_snapshot(
        volume,
        plane.clock.utc(),
        VolumeSnapshotStatus.CREATING,
        name=wanted.name,
        description=wanted.description,
        metadata=dict(wanted.metadata),
        group_snapshot_id=group_snapshot_id,
    )
    volume_snapshots.insert_snapshot(tx, snapshot)
    if group_snapshot_id is None:
        _enqueue(tx, plane, context, volume, "create_snapshot", snapshot)
    return snapshot


def check_quota(tx: Transaction, plane: ControlPlane, volume: Volume) -> None:
    """Raise QuotaExceeded unless there is room for one more snapshot of `volume`, which counts with its size."""
    more = {VolumeResource.SNAPSHOTS: 1}
    if not plane.conf.no_snapshot_gb_quota:
        more[VolumeResource.GIGABYTES] = volume.size_gib
    quotas.check(tx, plane, volume.project_id, volume.volume_type_id, more)


def new_snapshot(volume: Volume, now: datetime, status: VolumeSnapshotStatus, **values: Any) -> VolumeSnapshot:
    """The row of a new snapshot of `volume`, in `status`; `values` are further fields."""
    fields: dict[str, Any] = {
        "name": None,
        "description": None,
        "group_snapshot_id": None,
        "uses_quota": True,
        "provider_location": None,
        "provider_id": None,
        "provider_auth": None,
        "updated_at": None,
    }
    return VolumeSnapshot(
        id=VolumeSnapshotId(new_id()),
        volume_id=volume.id,
        project_id=volume.project_id,
        user_id=volume.user_id,
        volume_size_gib=volume.size_gib,
        status=status,
        progress="0%",
        volume_type_id=volume.volume_type_id,
        encryption_key_id=volume.encryption_key_id,
        created_at=now,
        image_metadata=dict(volume.image_metadata),
        **{**fields, **values},
    )


def get(plane: ControlPlane, context: RequestContext, snapshot_id: str) -> VolumeSnapshot:
    """The snapshot. Raises NotFound."""
    with plane.database.read() as tx:
        return own_volume_snapshot(tx, context, snapshot_id)


def list_snapshots(
    plane: ControlPlane,
    context: RequestContext,
    wanted: VolumeSnapshotFilter,
    page: KeysetPage,
    *,
    all_projects: bool = False,
    with_count: bool = False,
) -> ListedVolumeSnapshots:
    """One page of the caller's snapshots; of all projects' when policy let the caller say so.

    Raises Invalid (a sort key), NotFound (the marker).
    """
    if not all_projects:
        wanted = replace(wanted, project_id=context.project_id)
    if not context.is_admin:
        if wanted.uses_quota is False:  # the product's own: not a user's to see
            return ListedVolumeSnapshots([], 0 if with_count else None)
        wanted = replace(wanted, uses_quota=True)
    with plane.database.read() as tx:
        found = volume_snapshots.list_snapshots(tx, wanted, page)
        count = volume_snapshots.count_snapshots(tx, wanted) if with_count else None
    return ListedVolumeSnapshots(found, count)


def update(
    plane: ControlPlane, context: RequestContext, snapshot_id: str, name: str | None, description: str | None
) -> VolumeSnapshot:
    """Change name or description; None leaves it. Raises NotFound. Safe to repeat."""
    wanted = {"display_name": name, "display_description": description}
    values = {column: value for column, value in wanted.items() if value is not None}
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        if values:
            volume_snapshots.update_snapshot(tx, snapshot.id, now=plane.clock.utc(), **values)
        return own_volume_snapshot(tx, context, snapshot_id)


def put_metadata(
    plane: ControlPlane,
    context: RequestContext,
    snapshot_id: str,
    items: Mapping[str, str],
    *,
    replace: bool,
    check: Callable[[Mapping[str, str]], None] | None = None,
) -> dict[str, str]:
    """Set these pairs; with `replace` the rest goes. Returns all there are now. Safe to repeat.

    Raises NotFound, and what `check` raises of the pairs there are before.
    """
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        if check is not None:
            check(volume_snapshots.METADATA.get(tx, snapshot.id))
        volume_snapshots.METADATA.put(tx, snapshot.id, items, replace=replace)
        return volume_snapshots.METADATA.get(tx, snapshot.id)


def delete_metadata(plane: ControlPlane, context: RequestContext, snapshot_id: str, key: str) -> None:
    """Remove one pair. Raises NotFound (snapshot or key)."""
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        if not volume_snapshots.METADATA.remove(tx, snapshot.id, key):
            raise NotFound(f"Snapshot {snapshot.id} has no metadata key '{key[:64]}'.")


def delete(plane: ControlPlane, context: RequestContext, snapshot_id: str, *, force: bool = False) -> None:
    """Accept the deletion; with `force` in any state, forgetting it even when the backend cannot do its part.

    Raises NotFound, Invalid (a state that does not allow it, or part of a group snapshot), Conflict (a volume is being
    made from it).
    """
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        if snapshot.group_snapshot_id is not None:
            raise Invalid(f"Snapshot {snapshot.id} is part of a group snapshot; delete that.")
        if volumes.growing_from_snapshot(tx, snapshot.id):
            raise Conflict(f"A volume is being made from snapshot {snapshot.id}; delete it when that is done.")
        event = VolumeEvent.FORCE_DELETE if force else VolumeEvent.DELETE
        left = volume_snapshots.moved(tx, snapshot, event, now=plane.clock.utc())
        volume = own_volume(tx, context, snapshot.volume_id)
        if volume.host is None:
            volume_snapshots.delete_snapshot(tx, snapshot.id)
            return
        _enqueue(tx, plane, context, volume, "delete_snapshot", left, force=force)


def _enqueue(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    volume: Volume,
    method: str,
    snapshot: VolumeSnapshot,
    **more: bool,
) -> None:
    arguments = {"snapshot_id": snapshot.id, **more}
    calls.enqueue(
        tx,
        plane,
        context,
        volume,
        method,
        arguments,
        about=volume,
        whole=lambda: typed_snapshot(Types(tx), snapshot, volume),
    )


def reset_status(plane: ControlPlane, context: RequestContext, snapshot_id: str, status: str) -> None:
    """Write a state by hand. Raises NotFound, Invalid. Safe to repeat."""
    if status not in RESETTABLE:
        raise Invalid(f"'{status[:64]}' cannot be set; use one of {', '.join(RESETTABLE)}.")
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        volume_snapshots.reset(tx, snapshot.id, now=plane.clock.utc(), status=VolumeSnapshotStatus(status))


def update_snapshot_status(
    plane: ControlPlane, context: RequestContext, snapshot_id: str, status: str, progress: str | None
) -> None:
    """What a hypervisor reports of a snapshot that it takes itself. Raises NotFound, Invalid."""
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        if status not in REPORTABLE.get(snapshot.status, ()):
            raise Invalid(f"Snapshot {snapshot.id} is '{snapshot.status}'; it cannot be reported as '{status[:64]}'.")
        values: dict[str, Any] = {"status": VolumeSnapshotStatus(status)}
        if progress is not None:
            values["progress"] = progress
        volume_snapshots.reset(tx, snapshot.id, now=plane.clock.utc(), **values)
