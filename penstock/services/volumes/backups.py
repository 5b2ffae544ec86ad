"""Back volumes up, and make volumes of backups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from penstock.context import RequestContext
from penstock.domain.backups import Backup, BackupStatus, check_deletable
from penstock.domain.operations import Call
from penstock.domain.pools import service_host
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_quotas import VolumeResource
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Invalid, NotFound
from penstock.ids import UserId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.volumes import calls, creation, quotas
from penstock.services.volumes.creation import NewVolume
from penstock.services.volumes.visibility import (
    hold_volumes,
    own_volume_snapshot,
    owns,
    volume_to_change,
)
from penstock.store import backups, volume_snapshots, volumes
from penstock.store.backups import BackupFilter
from penstock.store.database import Transaction, hold
from penstock.store.keyset import KeysetPage

__all__ = [
    "SORT_KEYS",
    "BackupChange",
    "BackupFilter",
    "ListedBackups",
    "NewBackup",
    "create",
    "delete",
    "get",
    "list_backups",
    "reset_status",
    "restore",
    "update",
]
SORT_KEYS = tuple(backups.SORTABLE)


@dataclass(frozen=True, slots=True)
class NewBackup:
    """What a backup is asked for with: of the volume, or of its snapshot. `force` takes it of a volume in use."""

    volume_id: str
    snapshot_id: str | None = None
    name: str | None = None
    description: str | None = None
    container: str | None = None
    incremental: bool = False
    force: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BackupChange:
    """New values; None leaves it. `metadata` replaces all."""

    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ListedBackups:
    """One page; `count` of all that match when it was asked for."""

    items: list[Backup]
    count: int | None


def create(plane: ControlPlane, context: RequestContext, wanted: NewBackup) -> Backup:
    """Accept the backup. Raises NotFound, Invalid (a state, no full backup to build on), QuotaExceeded."""
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, wanted.volume_id)
        snapshot = _snapshot(tx, context, volume, wanted)
        _check_volume(volume, force=wanted.force or snapshot is not None)
        parent = backups.latest(tx, volume.id) if wanted.incremental else None
        if wanted.incremental and parent is None:
            raise Invalid(f"There is no backup of volume {volume.id} that an incremental one could build on.")
        size_gib = volume.size_gib if snapshot is None else snapshot.volume_size_gib
        more = {VolumeResource.BACKUPS: 1, VolumeResource.BACKUP_GIGABYTES: size_gib}
        quotas.check(tx, plane, volume.project_id, None, more)
        now = plane.clock.utc()
        backup = Backup(
            id=new_id(),
            volume_id=volume.id,
            snapshot_id=None if snapshot is None else snapshot.id,
            project_id=volume.project_id,
            user_id=UserId(context.user_id or volume.user_id),
            host=service_host(calls.placed_on(volume)),
            availability_zone=volume.availability_zone,
            name=wanted.name,
            description=wanted.description,
            container=wanted.container or "volumebackups",
            status=BackupStatus.CREATING,
            fail_reason=None,
            size_gib=size_gib,
            object_count=0,
            parent_id=None if parent is None else parent.id,
            data_timestamp=now if snapshot is None else snapshot.created_at,
            encryption_key_id=volume.encryption_key_id,
            created_at=now,
            updated_at=None,
            metadata=dict(wanted.metadata),
        )
        backups.insert_backup(tx, backup)
        if snapshot is None:
            volumes.move(tx, volume, VolumeEvent.BACK_UP, now=now, previous_status=volume.status)
        else:
            volume_snapshots.move(tx, snapshot, VolumeEvent.BACK_UP, now=now)
        calls.enqueue(tx, plane, context, volume, "create_backup", {"backup_id": backup.id})
        return backup


def get(plane: ControlPlane, context: RequestContext, backup_id: str) -> Backup:
    """The backup. Raises NotFound, also for other projects' backups."""
    with plane.database.read() as tx:
        return _own(tx, context, backup_id)


def list_backups(
    plane: ControlPlane,
    context: RequestContext,
    wanted: BackupFilter,
    page: KeysetPage,
    *,
    all_projects: bool = False,
    with_count: bool = False,
) -> ListedBackups:
    """One page of the caller's backups; of all projects' when policy let the caller say so."""
    if not all_projects:
        wanted = replace(wanted, project_id=context.project_id)
    with plane.database.read() as tx:
        count = backups.count_backups(tx, wanted) if with_count else None
        return ListedBackups(backups.list_backups(tx, wanted, page), count)


def update(plane: ControlPlane, context: RequestContext, backup_id: str, change: BackupChange) -> Backup:
    """Change name, description or metadata. Raises NotFound. Safe to repeat."""
    wanted = {"name": change.name, "description": change.description}
    values = {column: value for column, value in wanted.items() if value is not None}
    with plane.database.begin() as tx:
        backup = _to_change(tx, context, backup_id)
        if values:
            backups.update_backup(tx, backup.id, now=plane.clock.utc(), **values)
        if change.metadata is not None:
            backups.METADATA.put(tx, backup.id, change.metadata, replace=True)
        return _own(tx, context, backup_id)


def delete(plane: ControlPlane, context: RequestContext, backup_id: str, *, force: bool = False) -> None:
    """Accept the deletion; with `force` in any state but with dependents. Raises NotFound, Invalid."""
    with plane.database.begin() as tx:
        backup = _to_change(tx, context, backup_id)
        if force and not backup.has_dependents and backup.status is not BackupStatus.DELETING:
            check_deletable(replace(backup, status=BackupStatus.ERROR))
        else:
            check_deletable(backup)
        backups.change(tx, backup, BackupStatus.DELETING, now=plane.clock.utc())
        call = Call(backup.host, f"backup:{backup.id}", "delete_backup", {"backup_id": backup.id})
        plane.operations.enqueue(tx, context, call)


def restore(
    plane: ControlPlane,
    context: RequestContext,
    backup_id: str,
    volume_id: str | None = None,
    name: str | None = None,
) -> Volume:
    """Accept to write the backup onto the volume, or onto a new one of its size; returns that volume.

    Raises NotFound, Invalid (a state, too small), QuotaExceeded.
    """
    if volume_id is None:
        wanted = NewVolume(name=name or f"restore_backup_{backup_id}", backup_id=backup_id)
        return creation.create(plane, context, wanted)
    with plane.database.begin() as tx:
        hold_volumes(tx, [volume_id])
        backup = _to_change(tx, context, backup_id)
        volume = volume_to_change(tx, context, volume_id)
        if backup.status is not BackupStatus.AVAILABLE:
            raise Invalid(f"Backup {backup.id} is '{backup.status}'; it can be restored when 'available'.")
        if volume.status is not VolumeStatus.AVAILABLE:
            raise Invalid(f"Volume {volume.id} is '{volume.status}'; a backup is written onto it when 'available'.")
        calls.refuse_connected(volume)
        if volume.size_gib < backup.size_gib:
            raise Invalid(f"Volume {volume.id} has {volume.size_gib} GiB; backup {backup.id} needs {backup.size_gib}.")
        now = plane.clock.utc()
        volumes.move(tx, volume, VolumeEvent.RESTORE, now=now)
        backups.change(tx, backup, BackupStatus.RESTORING, now=now)
        arguments = {"backup_id": backup.id, "volume_id": volume.id}
        calls.enqueue(tx, plane, context, volume, "restore_backup", arguments)
        return volumes.get(tx, volume.id) or volume


def reset_status(plane: ControlPlane, context: RequestContext, backup_id: str, status: str) -> None:
    """Write a state by hand: ``available`` or ``error``. Raises NotFound, Invalid. Safe to repeat."""
    if status not in (BackupStatus.AVAILABLE, BackupStatus.ERROR):
        raise Invalid(f"'{status[:64]}' cannot be set; use 'available' or 'error'.")
    with plane.database.begin() as tx:
        backup = _to_change(tx, context, backup_id)
        backups.update_backup(tx, backup.id, now=plane.clock.utc(), status=BackupStatus(status))


def _check_volume(volume: Volume, *, force: bool) -> None:
    allowed = (VolumeStatus.AVAILABLE, VolumeStatus.IN_USE) if force else (VolumeStatus.AVAILABLE,)
    if volume.status not in allowed or volume.is_migrating:
        hint = "; one that is in use is backed up with 'force'" if volume.status is VolumeStatus.IN_USE else ""
        raise Invalid(f"Volume {volume.id} is '{volume.status}'; it is backed up when 'available'{hint}.")


def _snapshot(tx: Transaction, context: RequestContext, volume: Volume, wanted: NewBackup) -> VolumeSnapshot | None:
    if wanted.snapshot_id is None:
        return None
    snapshot = own_volume_snapshot(tx, context, wanted.snapshot_id)
    if snapshot.volume_id != volume.id:
        raise Invalid(f"Snapshot {snapshot.id} is not of volume {volume.id}.")
    if snapshot.status is not VolumeSnapshotStatus.AVAILABLE:
        raise Invalid(f"Snapshot {snapshot.id} is '{snapshot.status}'; it is backed up when 'available'.")
    return snapshot


def _to_change(tx: Transaction, context: RequestContext, backup_id: str) -> Backup:
    hold(tx, f"backup {backup_id}")
    return _own(tx, context, backup_id)


def _own(tx: Transaction, context: RequestContext, backup_id: str) -> Backup:
    backup = backups.get(tx, backup_id)
    if backup is None or not owns(context, backup.project_id):
        raise NotFound(f"There is no backup {backup_id[:64]}.")
    return backup
