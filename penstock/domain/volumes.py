"""Volumes: what they are and may become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from penstock.domain.attachments import Attachment, AttachStatus
from penstock.ids import ProjectId, UserId, VolumeId, VolumeSnapshotId, VolumeTypeId

READONLY = "readonly"  # admin metadata: ``True`` lets nobody attach it to write
ATTACHED_MODE = "attached_mode"  # admin metadata: the mode of the last attachment
TEMPORARY = "temporary"  # admin metadata: made by the product for an operation of its own
INTERNAL_PROJECT = ProjectId("penstock-internal")  # has what serves all projects, and no users


class VolumeStatus(StrEnum):
    """The published states of a volume."""

    CREATING = "creating"
    DOWNLOADING = "downloading"  # an image is being copied to it
    AVAILABLE = "available"
    RESERVED = "reserved"
    ATTACHING = "attaching"
    IN_USE = "in-use"
    DETACHING = "detaching"
    MAINTENANCE = "maintenance"  # locked while it migrates
    DELETING = "deleting"
    DELETED = "deleted"
    EXTENDING = "extending"
    RETYPING = "retyping"
    REVERTING = "reverting"
    UPLOADING = "uploading"  # being copied to an image
    BACKING_UP = "backing-up"
    RESTORING_BACKUP = "restoring-backup"
    AWAITING_TRANSFER = "awaiting-transfer"
    MANAGING = "managing"
    UNMANAGING = "unmanaging"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"
    ERROR_EXTENDING = "error_extending"
    ERROR_RESTORING = "error_restoring"
    ERROR_BACKING_UP = "error_backing-up"
    ERROR_MANAGING = "error_managing"
    ERROR_UNMANAGING = "error_unmanaging"


class MigrationStatus(StrEnum):
    """How far a migration is (``migration_status``); none when there never was one."""

    STARTING = "starting"
    MIGRATING = "migrating"
    COMPLETING = "completing"
    SUCCESS = "success"
    ERROR = "error"


HOME = "default"  # the published name of the place that a backend is failed back to: its own


class ReplicationStatus(StrEnum):
    """``replication_status`` of a volume, a group or a service."""

    DISABLED = "disabled"
    ENABLED = "enabled"
    NOT_CAPABLE = "not-capable"
    ERROR = "error"
    FAILED_OVER = "failed-over"
    FAILING_OVER = "failing-over"
    FAILOVER_ERROR = "failover-error"
    ENABLING = "enabling"
    DISABLING = "disabling"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume. `host` is ``host@backend#pool``, None until placed.

    `size_gib` is what the backend holds now, `size_target_gib` what an accepted extend asks for, else None: quota and
    placement count the larger. `name_id` is the id in its backend name where that is not its own (it was migrated).
    `connection` holds what a driver keeps of it: its ``provider_*`` values are the driver's own.
    """

    id: VolumeId
    name_id: VolumeId | None
    name: str | None
    description: str | None
    size_gib: int
    size_target_gib: int | None
    project_id: ProjectId
    user_id: UserId
    host: str | None
    availability_zone: str | None
    status: VolumeStatus
    previous_status: VolumeStatus | None
    attach_status: AttachStatus
    migration_status: MigrationStatus | None
    volume_type_id: VolumeTypeId | None
    snapshot_id: VolumeSnapshotId | None
    source_volid: VolumeId | None
    group_id: str | None
    is_bootable: bool
    is_multiattach: bool
    uses_quota: bool
    shared_targets: bool
    encryption_key_id: str | None
    provider_location: str | None
    provider_id: str | None
    provider_auth: str | None = field(repr=False)  # it may hold a CHAP password
    provider_geometry: str | None
    replication_status: ReplicationStatus | None
    replication_extended_status: str | None
    replication_driver_data: str | None
    scheduled_at: datetime | None
    launched_at: datetime | None
    terminated_at: datetime | None
    created_at: datetime
    updated_at: datetime | None
    metadata: dict[str, str] = field(default_factory=dict)
    admin_metadata: dict[str, str] = field(default_factory=dict)
    image_metadata: dict[str, str] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()

    @property
    def is_readonly(self) -> bool:
        """May it only be attached to be read?"""
        return self.admin_metadata.get(READONLY, "").lower() == "true"

    @property
    def is_attached(self) -> bool:
        """Does anybody use it, or is about to?"""
        return self.attach_status is not AttachStatus.DETACHED

    @property
    def is_connected(self) -> bool:
        """May some machine reach it? Also one that only connected and never said that it uses it: then the volume is
        ``available`` all the same."""
        return any(attachment.is_connected for attachment in self.attachments)

    @property
    def is_migrating(self) -> bool:
        """Is it on its way to another place?"""
        moving = (MigrationStatus.STARTING, MigrationStatus.MIGRATING, MigrationStatus.COMPLETING)
        return self.migration_status in moving

    @property
    def counted_gib(self) -> int:
        """What quota and placement count: the present size, or a larger one that was promised."""
        return max(self.size_gib, self.size_target_gib or 0)

    def having(self, attachment: Attachment) -> Volume:
        """The volume with that attachment as it is now."""
        found = {one.id: one for one in self.attachments} | {attachment.id: attachment}
        return replace(self, attachments=tuple(found.values()))


# What a driver may change of a volume by the model update it answers with, besides its two kinds of metadata.
UPDATABLE = (
    "provider_location",
    "provider_id",
    "provider_auth",
    "provider_geometry",
    "replication_status",
    "replication_extended_status",
    "replication_driver_data",
    "encryption_key_id",
)


def driver_values(update: Mapping[str, Any] | None) -> dict[str, Any]:
    """The columns that a driver's model update sets; what else it holds is not a driver's to write."""
    return {name: value for name, value in (update or {}).items() if name in UPDATABLE}
