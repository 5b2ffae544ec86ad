"""Rows in the middle of something that nobody is doing any more, and connections that nobody says they use."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from penstock.doctor.findings import Finding, Kind
from penstock.doctor.volumes.books import VolumeBooks
from penstock.domain.attachments import Attachment, AttachStatus
from penstock.domain.backups import BackupStatus
from penstock.domain.volume_lifecycle import SNAPSHOT_TRANSITIONAL, VOLUME_TRANSITIONAL
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.domain.volumes import TEMPORARY, Volume, VolumeStatus

BACKUPS_IN_WORK = frozenset({BackupStatus.CREATING, BackupStatus.RESTORING, BackupStatus.DELETING})
# What a machine, or a compute service, does between two requests of its own takes no longer.
PATIENCE = timedelta(hours=1)


def stuck_drift(books: VolumeBooks) -> Iterator[Finding]:
    """What is in work with no operation to finish it. `books` are the settled ones: busy volumes are not in them."""
    for volume in books.volumes.values():
        if TEMPORARY in volume.admin_metadata:
            continue  # it ends with what it was made for, or is a leftover
        if volume.is_migrating:
            sentence = f"volume {volume.id} is on its way to another pool, and no operation is waiting for it"
            yield Finding(Kind.STUCK, volume.id, sentence)
        elif volume.status in VOLUME_TRANSITIONAL:
            sentence = f"volume {volume.id} is '{volume.status}', and no operation is waiting for it"
            yield Finding(Kind.STUCK, volume.id, sentence)
        for attachment in volume.attachments:
            yield from _of_attachment(volume, attachment, books.now)
    yield from _snapshots(books)
    for backup in books.backups.values():
        if backup.status in BACKUPS_IN_WORK:
            sentence = f"backup {backup.id} is '{backup.status}', and no operation is waiting for it"
            yield Finding(Kind.STUCK, backup.id, sentence)


def _snapshots(books: VolumeBooks) -> Iterator[Finding]:
    for snapshot in books.snapshots.values():
        of_revert = snapshot.status is VolumeSnapshotStatus.RESTORING
        volume = books.volumes[snapshot.volume_id]
        if of_revert and volume.status is VolumeStatus.REVERTING:
            continue  # it ends with its volume
        if snapshot.status in SNAPSHOT_TRANSITIONAL and snapshot.status is not VolumeSnapshotStatus.UPDATING:
            sentence = f"snapshot {snapshot.id} is '{snapshot.status}', and no operation is waiting for it"
            yield Finding(Kind.STUCK, snapshot.id, sentence)


def _of_attachment(volume: Volume, attachment: Attachment, now: datetime) -> Iterator[Finding]:
    who = (attachment.connector or {}).get("initiator") or (attachment.connector or {}).get("host") or "somebody"
    is_old = now - (attachment.updated_at or attachment.created_at) >= PATIENCE
    if attachment.status is AttachStatus.DETACHED and attachment.is_connected:
        sentence = f"{who} may reach volume {volume.id}, and never said that it uses it (connection {attachment.id})"
        yield Finding(Kind.CONNECTION, attachment.id, sentence, can_repair=is_old, is_drift=is_old)
    elif is_unanswered(attachment):
        sentence = f"attachment {attachment.id} of volume {volume.id} waits for its connection, and no operation for it"
        yield Finding(Kind.STUCK, attachment.id, sentence)
    elif attachment.status is AttachStatus.DETACHING and is_old:
        sentence = f"attachment {attachment.id} of volume {volume.id} has been 'detaching' for more than an hour"
        yield Finding(Kind.STUCK, attachment.id, sentence)


def is_unanswered(attachment: Attachment) -> bool:
    """Did it name its initiator, and get no answer?"""
    is_asking = attachment.status in (AttachStatus.ATTACHING, AttachStatus.ATTACHED)
    return is_asking and attachment.is_connected and attachment.connection_info is None
