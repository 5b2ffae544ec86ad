"""Whose volumes, snapshots and attachments a caller may see and change: a project's own, an administrator's all.

What a caller may not see does not exist for it (404), and neither does what the product made for an operation of its
own: an administrator may look at such a volume (a migration's target), nobody may change one.

Who will write asks a ``*_to_change`` before anything else: what it then reads of the volume, its snapshots and its
attachments stays so until its transaction ends. Locks are taken in one order: group, volumes by id, quota, placement.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from penstock.context import RequestContext
from penstock.domain.attachments import Attachment
from penstock.domain.volume_groups import VolumeGroup
from penstock.domain.volume_snapshots import VolumeSnapshot
from penstock.domain.volumes import TEMPORARY, Volume
from penstock.errors import NotFound
from penstock.services.visibility import owner_of, owns
from penstock.store import attachments, volume_groups, volume_snapshots, volumes
from penstock.store.database import Transaction, hold

__all__ = [
    "attached_volume_to_change",
    "attachment_to_change",
    "hold_group",
    "hold_volumes",
    "is_hidden",
    "missing_volume",
    "own_attachment",
    "own_group",
    "own_volume",
    "own_volume_snapshot",
    "owner_of",
    "owns",
    "seen_volume",
    "snapshot_to_change",
    "volume_to_change",
]


def own_volume(tx: Transaction, context: RequestContext, volume_id: str) -> Volume:
    """The volume. Raises NotFound, also for other projects' volumes and the product's own."""
    volume = volumes.get(tx, volume_id)
    if volume is None or not owns(context, volume.project_id) or TEMPORARY in volume.admin_metadata:
        raise missing_volume(volume_id)
    return volume


def seen_volume(tx: Transaction, context: RequestContext, volume_id: str) -> Volume:
    """The volume, to look at only: an administrator sees the product's own too. Raises NotFound."""
    volume = volumes.get(tx, volume_id)
    if volume is None or not owns(context, volume.project_id) or is_hidden(context, volume.admin_metadata):
        raise missing_volume(volume_id)
    return volume


def is_hidden(context: RequestContext, admin_metadata: Collection[str]) -> bool:
    """Is a volume with these notes the product's own, and the caller no administrator?"""
    return TEMPORARY in admin_metadata and not context.is_admin


def missing_volume(volume_id: str) -> NotFound:
    """There is no such volume."""
    return NotFound(f"There is no volume {volume_id[:64]}.")


def hold_volumes(tx: Transaction, volume_ids: Iterable[str]) -> bool:
    """Be the only one to change these volumes, their snapshots and attachments until this transaction ends.

    To be called before the reads that decide, once, and before a quota or the placement is held. False when what this
    transaction has read of them before is so still.
    """
    had_to_wait = [hold(tx, f"volume {volume_id}") for volume_id in sorted(set(volume_ids))]
    return any(had_to_wait)


def volume_to_change(tx: Transaction, context: RequestContext, volume_id: str) -> Volume:
    """`own_volume`, held until this transaction ends. Raises as that."""
    hold_volumes(tx, [volume_id])
    return own_volume(tx, context, volume_id)


def own_volume_snapshot(tx: Transaction, context: RequestContext, snapshot_id: str) -> VolumeSnapshot:
    """The snapshot. Raises NotFound, also for other projects' snapshots and the product's own."""
    snapshot = volume_snapshots.get(tx, snapshot_id)
    if snapshot is None or not owns(context, snapshot.project_id) or not snapshot.uses_quota:
        raise NotFound(f"There is no snapshot {snapshot_id[:64]}.")
    return snapshot


def snapshot_to_change(tx: Transaction, context: RequestContext, snapshot_id: str) -> VolumeSnapshot:
    """`own_volume_snapshot`, read while its volume is held until this transaction ends. Raises as that."""
    found = own_volume_snapshot(tx, context, snapshot_id)
    if not hold_volumes(tx, [found.volume_id]):
        return found
    return own_volume_snapshot(tx, context, snapshot_id)


def own_attachment(tx: Transaction, context: RequestContext, attachment_id: str) -> Attachment:
    """The attachment. Raises NotFound, also for those of other projects' volumes."""
    attachment = attachments.get(tx, attachment_id)
    if attachment is None or not owns(context, attachment.project_id):
        raise _missing_attachment(attachment_id)
    return attachment


def attachment_to_change(tx: Transaction, context: RequestContext, attachment_id: str) -> Attachment:
    """`own_attachment`, read while its volume is held until this transaction ends. Raises as that."""
    found = own_attachment(tx, context, attachment_id)
    if not hold_volumes(tx, [found.volume_id]):
        return found
    return own_attachment(tx, context, attachment_id)


def attached_volume_to_change(
    tx: Transaction, context: RequestContext, attachment_id: str
) -> tuple[Volume, Attachment]:
    """The volume that has the attachment, held until this transaction ends, and that attachment, by one look.

    Raises NotFound, as `own_attachment` and `own_volume` do.
    """
    found = volumes.of_attachment(tx, attachment_id)
    if found is not None and hold_volumes(tx, [found.id]):
        found = volumes.of_attachment(tx, attachment_id)
    attachment = next((one for one in found.attachments if one.id == attachment_id), None) if found else None
    if found is None or attachment is None or not owns(context, attachment.project_id):
        raise _missing_attachment(attachment_id)
    if not owns(context, found.project_id) or TEMPORARY in found.admin_metadata:
        raise missing_volume(found.id)
    return found, attachment


def _missing_attachment(attachment_id: str) -> NotFound:
    return NotFound(f"There is no attachment {attachment_id[:64]}.")


def own_group(tx: Transaction, context: RequestContext, group_id: str) -> VolumeGroup:
    """The group. Raises NotFound, also for other projects' groups."""
    found = volume_groups.get(tx, group_id)
    if found is None or not owns(context, found.project_id):
        raise NotFound(f"There is no group {group_id[:64]}.")
    return found


def hold_group(tx: Transaction, group_id: str) -> None:
    """Be the only one to change the group and its group snapshots until this transaction ends."""
    hold(tx, f"volume group {group_id}")
