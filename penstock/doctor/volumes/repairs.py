"""Which action repairs a finding: a pure function over the examination that found it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from penstock.doctor.findings import Finding, Kind
from penstock.doctor.volumes import actions
from penstock.doctor.volumes.actions import EndWork, Queue
from penstock.doctor.volumes.books import VolumeBooks
from penstock.domain.attachments import Attachment, AttachStatus
from penstock.domain.backups import Backup, BackupStatus
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.ids import AttachmentId, VolumeId, VolumeSnapshotId
from penstock.units import gib_to_bytes
from penstock.volume.inventory import FoundVolume, VolumeInventory
from penstock.volume.manager import starting
from penstock.volume_site import VolumeSite


class VolumeAction(Protocol):
    """One repair."""

    def carry_out(self, site: VolumeSite) -> None:
        """Do it. Raises Conflict when somebody changed the rows since, and what the storage raises."""
        ...


def plan(finding: Finding, books: VolumeBooks, inventory: VolumeInventory) -> VolumeAction | None:
    """The action, None when only an administrator can repair it. Uses what `finding` was found in."""
    if not finding.can_repair:
        return None
    of_storage = _OF_STORAGE.get(finding.kind)
    if of_storage is not None:
        return of_storage(finding, inventory)
    subject = finding.subject
    if finding.kind is Kind.LEFTOVER:
        volume = books.volumes.get(VolumeId(subject))
        return actions.Discard(subject) if volume is None else EndWork(volume, starting.discard_temporary)
    if subject in books.backups:
        return _of_backup(books.backups[subject])
    if AttachmentId(subject) in books.attachments:
        return _of_attachment(finding, *books.attachments[AttachmentId(subject)])
    snapshot = books.snapshots.get(VolumeSnapshotId(subject))
    if snapshot is not None:
        return _of_snapshot(finding, snapshot, books)
    volume = books.volumes[VolumeId(subject)]
    return _unstick(volume, books) if finding.kind is Kind.STUCK else _of_volume(finding, volume, inventory)


def _orphan(finding: Finding, inventory: VolumeInventory) -> VolumeAction:
    return actions.DestroyVolume(next(one for one in inventory.volumes if one.location == finding.subject))


def _snapshot_orphan(finding: Finding, inventory: VolumeInventory) -> VolumeAction | None:
    found = next(one for one in inventory.snapshots if one.location == finding.subject)
    parent = next((one for one in inventory.volumes if one.location == found.parent), None)
    return None if parent is None else actions.DestroySnapshot(found, parent)


_OF_STORAGE: dict[Kind, Callable[[Finding, VolumeInventory], VolumeAction | None]] = {
    Kind.DATASET_ORPHAN: _orphan,
    Kind.SNAPSHOT_ORPHAN: _snapshot_orphan,
    Kind.EXPORT_ORPHAN: lambda finding, _: actions.StopExporting(finding.subject),
    Kind.TOMBSTONE: lambda finding, _: actions.Sweep(finding.subject),
}


def _of_volume(finding: Finding, volume: Volume, inventory: VolumeInventory) -> VolumeAction:
    named = {"volume_id": volume.id}
    if finding.kind is Kind.DATASET_MISSING:
        return actions.LoseVolume(volume)
    if finding.kind is Kind.PROPERTY_DIFFERS:
        return Queue(volume, "write_identity", named)
    if finding.kind in (Kind.EXPORT_MISSING, Kind.EXPORT_DIFFERS):
        return Queue(volume, "settle_export", named)
    found = _found(volume, inventory)
    if finding.kind is Kind.PLACEMENT:
        return actions.RecordPlace(volume, found)
    if found.size_bytes < gib_to_bytes(volume.size_gib):
        return Queue(volume, "extend_volume", {**named, "new_size": volume.size_gib}, VolumeEvent.EXTEND)
    return actions.RecordSize(volume, found)


def _found(volume: Volume, inventory: VolumeInventory) -> FoundVolume:
    pool = (volume.host or "").partition("#")[2]
    places = [one for one in inventory.volumes if one.id == (volume.name_id or volume.id)]
    return min(places, key=lambda one: one.pool != pool)


def _unstick(volume: Volume, books: VolumeBooks) -> VolumeAction:
    """Begun again where the row says all of it; else ended, as the start of the daemon does."""
    named = {"volume_id": volume.id}
    if volume.is_migrating:
        return EndWork(volume, starting.end_migration)
    match volume.status:
        case VolumeStatus.CREATING if volume.snapshot_id or volume.source_volid:
            return Queue(volume, "create_volume", named)
        case VolumeStatus.DELETING:
            return Queue(volume, "delete_volume", named)
        case VolumeStatus.EXTENDING:
            return Queue(volume, "extend_volume", {**named, "new_size": volume.size_target_gib or volume.size_gib})
        case VolumeStatus.UNMANAGING:
            return Queue(volume, "unmanage", named)
        case VolumeStatus.REVERTING:
            return _revert_again(volume, books)
        case _:  # an image or a backup it was made from, a type, a reference: they went with the operation
            return EndWork(volume, starting.end_volume)


def _revert_again(volume: Volume, books: VolumeBooks) -> VolumeAction:
    for snapshot in books.snapshots.values():
        if snapshot.volume_id == volume.id and snapshot.status is VolumeSnapshotStatus.RESTORING:
            return Queue(volume, "revert_to_snapshot", {"volume_id": volume.id, "snapshot_id": snapshot.id})
    return EndWork(volume, starting.end_volume)


def _of_snapshot(finding: Finding, snapshot: VolumeSnapshot, books: VolumeBooks) -> VolumeAction:
    if finding.kind is Kind.SNAPSHOT_MISSING:
        return actions.LoseSnapshot(snapshot)
    volume = books.volumes[snapshot.volume_id]
    named = {"snapshot_id": snapshot.id}
    if snapshot.group_snapshot_id is None:
        method = {
            VolumeSnapshotStatus.CREATING: "create_snapshot",
            VolumeSnapshotStatus.DELETING: "delete_snapshot",
            VolumeSnapshotStatus.UNMANAGING: "unmanage_snapshot",
        }.get(snapshot.status)
        if method is not None:
            return Queue(volume, method, named)
    return EndWork(snapshot, starting.end_snapshot)


def _of_attachment(finding: Finding, volume: Volume, attachment: Attachment) -> VolumeAction:
    if finding.kind is Kind.CONNECTION:
        named = {"volume_id": volume.id, "attachment_id": attachment.id}
        return Queue(volume, "terminate_connection", named)
    is_ending = attachment.status is AttachStatus.DETACHING
    # whoever began to detach it may still use it: as far as anybody knows it is attached
    return actions.SettleAttachment(
        volume, attachment, AttachStatus.ATTACHED if is_ending else AttachStatus.ERROR_ATTACHING
    )


def _of_backup(backup: Backup) -> VolumeAction:
    if backup.status is BackupStatus.DELETING:
        return actions.DeleteBackup(backup)
    return actions.EndBackup(backup)
