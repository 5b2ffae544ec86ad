"""What the database says of one backend of volumes, and how much of it holds still long enough to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from penstock.domain.attachments import Attachment
from penstock.domain.backups import Backup
from penstock.domain.volume_snapshots import VolumeSnapshot
from penstock.domain.volumes import Volume
from penstock.ids import AttachmentId, VolumeId, VolumeSnapshotId
from penstock.store.volume_placement import Home
from penstock.volume.inventory import WantedExport


@dataclass(frozen=True, slots=True)
class VolumeBooks:
    """The rows of the backend `host` (``host@backend``), by id.

    `exports` are those wanted by the attachments, where the driver can say. `busy` are resource keys with operations to
    come at any backend (``volume:<id>``); what is made for such an operation is busy, too. `homes` are all volumes of
    every backend by the id in their backend name, `known` the ids of all volumes and snapshots: two may share a host.
    """

    host: str
    now: datetime
    volumes: Mapping[VolumeId, Volume]
    snapshots: Mapping[VolumeSnapshotId, VolumeSnapshot]
    backups: Mapping[str, Backup]
    exports: Mapping[VolumeId, WantedExport]
    busy: frozenset[str]
    unneeded: frozenset[VolumeId]
    homes: Mapping[str, Home]
    known: frozenset[str]

    @property
    def attachments(self) -> Mapping[AttachmentId, tuple[Volume, Attachment]]:
        """The attachments of the volumes, each with its own."""
        return {one.id: (volume, one) for volume in self.volumes.values() for one in volume.attachments}

    def is_busy(self, volume_id: str) -> bool:
        """Is an operation to come for that volume?"""
        return f"volume:{volume_id}" in self.busy


def settled(before: VolumeBooks, after: VolumeBooks) -> VolumeBooks:
    """What did not change between two readings, with nothing about to change it.

    The storage is looked at between the two, so what it differs from here is no work in progress.
    """
    both = replace(after, busy=before.busy | after.busy, known=before.known | after.known)
    still = {
        volume_id: volume
        for volume_id, volume in after.volumes.items()
        if before.volumes.get(volume_id) == volume
        and not both.is_busy(volume_id)
        and f"volume-group:{volume.group_id}" not in both.busy
    }
    return replace(
        both,
        volumes=still,
        snapshots={
            snapshot_id: snapshot
            for snapshot_id, snapshot in after.snapshots.items()
            if snapshot.volume_id in still and before.snapshots.get(snapshot_id) == snapshot
        },
        backups={
            backup_id: backup
            for backup_id, backup in after.backups.items()
            if before.backups.get(backup_id) == backup
            and f"backup:{backup_id}" not in both.busy
            and not both.is_busy(backup.volume_id)
        },
        unneeded=before.unneeded & after.unneeded,
        homes={**before.homes, **after.homes},
    )
