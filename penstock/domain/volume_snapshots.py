"""Snapshots of volumes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from penstock.ids import ProjectId, UserId, VolumeId, VolumeSnapshotId, VolumeTypeId


class VolumeSnapshotStatus(StrEnum):
    """The published states of a snapshot."""

    CREATING = "creating"
    AVAILABLE = "available"
    DELETING = "deleting"
    DELETED = "deleted"
    UPDATING = "updating"
    BACKING_UP = "backing-up"
    RESTORING = "restoring"
    UNMANAGING = "unmanaging"
    MANAGING = "managing"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"
    ERROR_MANAGING = "error_managing"
    ERROR_UNMANAGING = "error_unmanaging"


@dataclass(frozen=True, slots=True)
class VolumeSnapshot:
    """A snapshot; it lies where its volume is. `volume_size_gib` is the volume's size when it was taken."""

    id: VolumeSnapshotId
    volume_id: VolumeId
    name: str | None
    description: str | None
    project_id: ProjectId
    user_id: UserId
    volume_size_gib: int
    status: VolumeSnapshotStatus
    progress: str | None
    volume_type_id: VolumeTypeId | None
    group_snapshot_id: str | None
    encryption_key_id: str | None
    uses_quota: bool
    provider_location: str | None
    provider_id: str | None
    provider_auth: str | None = field(repr=False)
    created_at: datetime
    updated_at: datetime | None
    metadata: dict[str, str] = field(default_factory=dict)
    image_metadata: dict[str, str] = field(default_factory=dict)
