"""Delete volumes, make them larger, put them back to a snapshot, and an administrator's resets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.context import RequestContext
from penstock.domain.attachments import AttachStatus
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_message_codes import VolumeMessageAction
from penstock.domain.volume_quotas import VolumeResource
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.domain.volumes import MigrationStatus, Volume, VolumeStatus
from penstock.domain.volumes_at_work import TypedVolume, VolumeToDelete
from penstock.errors import Conflict, Invalid
from penstock.services.control_plane import ControlPlane
from penstock.services.volume_types import choice
from penstock.services.volumes import calls, no_room, placement, quotas
from penstock.services.volumes.visibility import own_volume_snapshot, volume_to_change
from penstock.store import volume_snapshots, volumes
from penstock.store.database import Transaction
from penstock.store.volumes_at_work import Types, read_typed

RESETTABLE = (
    VolumeStatus.CREATING,
    VolumeStatus.AVAILABLE,
    VolumeStatus.DELETING,
    VolumeStatus.ERROR,
    VolumeStatus.ERROR_DELETING,
    VolumeStatus.ERROR_MANAGING,
    VolumeStatus.MANAGING,
    VolumeStatus.ATTACHING,
    VolumeStatus.DETACHING,
    VolumeStatus.IN_USE,
    VolumeStatus.MAINTENANCE,
    VolumeStatus.ERROR_EXTENDING,
    VolumeStatus.RESERVED,
)
RESETTABLE_ATTACHMENTS = (AttachStatus.ATTACHED, AttachStatus.DETACHED)
RESETTABLE_MIGRATIONS = ("none", *MigrationStatus)


@dataclass(frozen=True, slots=True)
class Reset:
    """States an administrator writes by hand; None leaves one. `migration_status` may be ``none``."""

    status: str | None = None
    attach_status: str | None = None
    migration_status: str | None = None


def delete(
    plane: ControlPlane, context: RequestContext, volume_id: str, *, cascade: bool = False, force: bool = False
) -> None:
    """Accept the deletion, with `cascade` of its snapshots too; a volume that is on no pool is gone at once.

    `force` does it in any state, and forgets the volume even when the backend cannot do its part. Raises NotFound,
    Invalid (a state that does not allow it, attached, snapshots, in a group), Conflict (one is being made from it).
    """
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        remove(tx, plane, context, volume, cascade=cascade, force=force)


def remove(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    volume: Volume,
    *,
    cascade: bool = False,
    force: bool = False,
    with_group: bool = False,
) -> None:
    """`delete` for a volume that is held; `with_group` when its whole group goes."""
    check_removable(tx, volume, with_group=with_group)
    now = plane.clock.utc()
    snapshots = volume_snapshots.of_volume(tx, volume.id)
    if snapshots and not cascade:
        raise Invalid(f"Volume {volume.id} still has {len(snapshots)} snapshots; delete them first, or with 'cascade'.")
    event = VolumeEvent.FORCE_DELETE if force else VolumeEvent.DELETE
    for snapshot in snapshots:
        if volumes.growing_from_snapshot(tx, snapshot.id):
            raise Conflict(f"A volume is being made from snapshot {snapshot.id}; delete it when that is done.")
        if snapshot.status is not VolumeSnapshotStatus.DELETING:
            volume_snapshots.move(tx, snapshot, event, now=now)
    left = volumes.moved(tx, volume, event, now=now, terminated_at=now)
    if volume.host is None:
        for snapshot in snapshots:
            volume_snapshots.delete_snapshot(tx, snapshot.id)
        volumes.delete_volume(tx, volume.id)
        return
    arguments = {"volume_id": volume.id, "cascade": cascade, "force": force}

    def whole() -> VolumeToDelete:
        return VolumeToDelete(read_typed(tx, left), tuple(snapshot.id for snapshot in snapshots))

    calls.enqueue(tx, plane, context, volume, "delete_volume", arguments, about=left, whole=whole)


def extend(plane: ControlPlane, context: RequestContext, volume_id: str, new_size_gib: int, *, attached: bool) -> None:
    """Accept a larger size; of an attached volume too where `attached` allows it (since 3.42).

    When the pool has no room the volume stays as it is and its owner gets a message. Raises NotFound, Invalid,
    QuotaExceeded, Conflict (a volume is being made from it).
    """
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        allowed = (VolumeStatus.AVAILABLE, VolumeStatus.IN_USE) if attached else (VolumeStatus.AVAILABLE,)
        if volume.status not in allowed:
            raise Invalid(f"Volume {volume.id} is '{volume.status}'; it can be extended when {_either(allowed)}.")
        if new_size_gib <= volume.size_gib:
            raise Invalid(f"The new size must be larger than {volume.size_gib} GiB, the size of volume {volume.id}.")
        _refuse_migrating(volume)
        if volumes.growing_from_volume(tx, volume.id):  # which would be as large, and say that it is not
            raise Conflict(f"A volume is being made from volume {volume.id}; extend it when that is done.")
        whole_type = Types(tx).of(volume.volume_type_id)
        volume_type = None if whole_type is None else whole_type.own
        choice.check_size(volume_type, new_size_gib)
        more_gib = new_size_gib - volume.size_gib
        more = {VolumeResource.GIGABYTES: more_gib, VolumeResource.PER_VOLUME_GIGABYTES: new_size_gib}
        if volume.uses_quota:
            quotas.check(tx, plane, volume.project_id, volume.volume_type_id, more)
        refusal = placement.room_to_grow(tx, plane, volume, volume_type, more_gib)
        if refusal is not None:
            no_room.tell_of_volume(tx, plane, context, volume, VolumeMessageAction.EXTEND_VOLUME, refusal)
            return
        left = volumes.moved(tx, volume, VolumeEvent.EXTEND, now=plane.clock.utc(), size_target_gib=new_size_gib)
        arguments = {"volume_id": volume.id, "new_size": new_size_gib}
        calls.enqueue(tx, plane, context, volume, "extend_volume", arguments, about=TypedVolume(left, whole_type))


def revert(plane: ControlPlane, context: RequestContext, volume_id: str, snapshot_id: str) -> None:
    """Accept the return to the volume's latest snapshot: what was written since is lost.

    Raises NotFound, Invalid (another volume's snapshot, not the latest, another size, a state that does not allow it).
    """
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        snapshot = own_volume_snapshot(tx, context, snapshot_id)
        if snapshot.volume_id != volume.id:
            raise Invalid(f"Snapshot {snapshot.id} is not of volume {volume.id}.")
        if volume_snapshots.of_volume(tx, volume.id)[-1].id != snapshot.id:
            raise Invalid(f"Only the latest snapshot of volume {volume.id} can be gone back to.")
        if snapshot.volume_size_gib != volume.size_gib:
            raise Invalid(f"Volume {volume.id} was extended since snapshot {snapshot.id} was taken.")
        _refuse_migrating(volume)
        calls.refuse_connected(volume)
        now = plane.clock.utc()
        volumes.move(tx, volume, VolumeEvent.REVERT, now=now)
        volume_snapshots.move(tx, snapshot, VolumeEvent.REVERT, now=now)
        arguments = {"volume_id": volume.id, "snapshot_id": snapshot.id}
        calls.enqueue(tx, plane, context, volume, "revert_to_snapshot", arguments)


def reset_status(plane: ControlPlane, context: RequestContext, volume_id: str, wanted: Reset) -> None:
    """Write states by hand, nothing else. Raises NotFound, Invalid. Safe to repeat."""
    values: dict[str, object] = {}
    if wanted.status is not None:
        values["status"] = _one_of(wanted.status, RESETTABLE)
    if wanted.attach_status is not None:
        values["attach_status"] = _one_of(wanted.attach_status, RESETTABLE_ATTACHMENTS)
    if wanted.migration_status is not None:
        found = _one_of(wanted.migration_status, RESETTABLE_MIGRATIONS)
        values["migration_status"] = None if found == "none" else found
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        if values:
            volumes.reset(tx, volume.id, now=plane.clock.utc(), **values)


def check_removable(tx: Transaction, volume: Volume, *, with_group: bool) -> None:
    """Raise Invalid, or Conflict while something is made from it, for a volume that cannot go now."""
    if volume.group_id is not None and not with_group:
        raise Invalid(f"Volume {volume.id} is in a group; take it out of that first.")
    if volume.is_attached:
        raise Invalid(f"Volume {volume.id} is attached; detach it first.")
    _refuse_migrating(volume)
    if volumes.growing_from_volume(tx, volume.id):
        raise Conflict(f"A volume is being made from volume {volume.id}; delete it when that is done.")


def _refuse_migrating(volume: Volume) -> None:
    if volume.is_migrating:
        raise Invalid(f"Volume {volume.id} is being migrated.")


def _one_of(text: str, allowed: Sequence[str]) -> str:
    if text not in allowed:
        raise Invalid(f"'{text[:64]}' cannot be set; use one of {', '.join(allowed)}.")
    return text


def _either(statuses: tuple[VolumeStatus, ...]) -> str:
    return " or ".join(f"'{status}'" for status in statuses)
