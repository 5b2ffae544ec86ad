"""Backups of volumes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from penstock.errors import Invalid
from penstock.ids import ProjectId, UserId, VolumeId, VolumeSnapshotId


class BackupStatus(StrEnum):
    """The published states of a backup."""

    CREATING = "creating"
    AVAILABLE = "available"
    RESTORING = "restoring"
    DELETING = "deleting"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"


# From which states a backup can be deleted.
BACKUP_DELETABLE = (BackupStatus.AVAILABLE, BackupStatus.ERROR, BackupStatus.ERROR_DELETING)


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup of a volume, or of its snapshot `snapshot_id`. `host` is the backend whose worker made it.

    `parent_id` is the backup that it only says the difference to; `object_count` how many blocks it holds itself.
    `data_timestamp` is when the bytes were so. `previous_status` of the volume is what it was when this began.
    """

    id: str
    volume_id: VolumeId
    snapshot_id: VolumeSnapshotId | None
    project_id: ProjectId
    user_id: UserId
    host: str
    availability_zone: str | None
    name: str | None
    description: str | None
    container: str | None
    status: BackupStatus
    fail_reason: str | None
    size_gib: int
    object_count: int
    parent_id: str | None
    data_timestamp: datetime
    encryption_key_id: str | None
    created_at: datetime
    updated_at: datetime | None
    metadata: dict[str, str] = field(default_factory=dict)
    has_dependents: bool = False

    @property
    def is_incremental(self) -> bool:
        """Is it only the difference to another?"""
        return self.parent_id is not None


def check_deletable(backup: Backup) -> None:
    """Raise Invalid unless the backup can be deleted."""
    if backup.status not in BACKUP_DELETABLE:
        raise Invalid(f"Backup {backup.id} is '{backup.status}'; it can be deleted when 'available' or in error.")
    if backup.has_dependents:
        raise Invalid(f"Incremental backups build on backup {backup.id}; delete them first.")
