"""Which action repairs a finding: a pure function over the examination that found it."""

from __future__ import annotations

from penstock.doctor.actions import Action, ApplyRulesAgain, EndShare, EndSnapshot, Queue, RecordPool
from penstock.doctor.books import Books
from penstock.doctor.findings import Finding, Kind
from penstock.doctor.storage_actions import (
    CloseShare,
    DestroyShare,
    DestroySnapshot,
    Discard,
    StopExporting,
    Sweep,
    WriteIdentity,
)
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.ids import InstanceId, SnapshotInstanceId
from penstock.share.inventory import Inventory
from penstock.units import gib_to_bytes

GONE = "It was not found on the storage backend."
LEFT = "It was left unfinished and cannot be taken up again."


def plan(finding: Finding, books: Books, inventory: Inventory) -> Action | None:
    """The action, None when only an administrator can repair it. Uses what `finding` was found in."""
    if not finding.can_repair:
        return None
    if finding.kind is Kind.LEFTOVER:
        return Discard(finding.subject)
    if finding.kind in (Kind.DATASET_ORPHAN, Kind.SNAPSHOT_ORPHAN, Kind.EXPORT_ORPHAN, Kind.TOMBSTONE):
        return _of_storage(finding, inventory)
    snapshot = books.snapshots.get(SnapshotInstanceId(finding.subject))
    if snapshot is not None:
        return _of_snapshot(finding, snapshot, books)
    share = books.shares[InstanceId(finding.subject)]
    if finding.kind is Kind.STUCK:
        return _unstick_share(share, books)
    return _of_share(finding, share, books, inventory)


def _of_storage(finding: Finding, inventory: Inventory) -> Action:
    shares = {share.id: share for share in inventory.shares}
    if finding.kind is Kind.DATASET_ORPHAN:
        return DestroyShare(shares[InstanceId(finding.subject)])
    if finding.kind is Kind.SNAPSHOT_ORPHAN:
        found = next(snapshot for snapshot in inventory.snapshots if snapshot.id == finding.subject)
        return DestroySnapshot(found, shares[found.instance_id])
    return StopExporting(finding.subject) if finding.kind is Kind.EXPORT_ORPHAN else Sweep()


def _of_share(finding: Finding, share: Share, books: Books, inventory: Inventory) -> Action:
    if finding.kind is Kind.DATASET_MISSING:
        return EndShare(share, Event.LOST, MessageAction.UPDATE, GONE)
    if finding.kind is Kind.PROPERTY_DIFFERS:
        return WriteIdentity(share)
    if finding.kind in (Kind.EXPORT_MISSING, Kind.EXPORT_DIFFERS):
        return ApplyRulesAgain(share) if books.clients[share.instance.id] else CloseShare(share)
    found = next(found for found in inventory.shares if found.id == share.instance.id)
    if finding.kind is Kind.PLACEMENT:
        return RecordPool(share, found.pool)
    if 0 < found.limit_bytes < gib_to_bytes(share.size_gib):
        return _resize(share, Event.EXTEND, "extend_share")
    return _resize(share, Event.SHRINK, "shrink_share")  # which does not cut off data


def _resize(share: Share, event: Event, method: str) -> Queue:
    size = share.size_gib
    return Queue(share, method, {"share_id": share.id, "new_size": size}, event, target_gib=size)


def _unstick_share(share: Share, books: Books) -> Action:
    instance_id = {"share_instance_id": share.instance.id}
    target = share.size_target_gib or share.size_gib
    size = {"share_id": share.id, "new_size": target}
    match share.status:
        case ShareStatus.CREATING:
            return Queue(share, "create_share_instance", {**instance_id, "snapshot_id": share.snapshot_id})
        case ShareStatus.DELETING:
            return Queue(share, "delete_share_instance", instance_id)
        case ShareStatus.EXTENDING:
            return Queue(share, "extend_share", size)
        case ShareStatus.SHRINKING:
            return Queue(share, "shrink_share", size)
        case ShareStatus.UNMANAGING:
            return Queue(share, "unmanage_share", {"share_id": share.id})
        case ShareStatus.REVERTING:
            return _revert_again(share, books)
        case ShareStatus.MANAGING:
            return EndShare(share, Event.FAILED, MessageAction.CREATE, LEFT)  # the driver's options are lost
        case _:
            return Queue(share, "update_access", instance_id)


def _revert_again(share: Share, books: Books) -> Action:
    restoring = SnapshotStatus.RESTORING
    for snapshot in books.snapshots.values():
        if snapshot.share_id == share.id and snapshot.status is restoring:
            return Queue(share, "revert_to_snapshot", {"snapshot_id": snapshot.id})
    return EndShare(share, Event.FAILED, MessageAction.REVERT_TO_SNAPSHOT, LEFT)


def _of_snapshot(finding: Finding, snapshot: Snapshot, books: Books) -> Action | None:
    if finding.kind is Kind.SNAPSHOT_MISSING:
        return EndSnapshot(snapshot, Event.LOST, MessageAction.UPDATE, GONE)
    if snapshot.status is SnapshotStatus.MANAGING:
        return EndSnapshot(snapshot, Event.FAILED, MessageAction.CREATE, LEFT)
    if snapshot.status is SnapshotStatus.RESTORING:
        return EndSnapshot(snapshot, Event.FAILED, MessageAction.REVERT_TO_SNAPSHOT, LEFT)
    share = books.shares.get(snapshot.instance.share_instance_id)
    if share is None:
        return None
    if snapshot.status is SnapshotStatus.CREATING:
        return Queue(share, "create_snapshot", {"share_id": share.id, "snapshot_id": snapshot.id})
    method = "delete_snapshot" if snapshot.status is SnapshotStatus.DELETING else "unmanage_snapshot"
    return Queue(share, method, {"snapshot_id": snapshot.id})
