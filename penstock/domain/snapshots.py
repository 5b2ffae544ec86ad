"""Snapshots of shares and their instances."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from penstock.domain.shares import Share
from penstock.ids import InstanceId, ProjectId, ShareId, SnapshotId, SnapshotInstanceId, UserId


class SnapshotStatus(StrEnum):
    """The published states of a snapshot instance."""

    CREATING = "creating"
    AVAILABLE = "available"
    DELETING = "deleting"
    DELETED = "deleted"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"
    MANAGING = "manage_starting"
    MANAGE_ERROR = "manage_error"
    UNMANAGING = "unmanage_starting"
    UNMANAGE_ERROR = "unmanage_error"
    UNMANAGED = "unmanaged"
    RESTORING = "restoring"
    MIGRATING = "migrating"
    MIGRATING_TO = "migrating_to"


WORST_FIRST = (
    SnapshotStatus.DELETING,
    SnapshotStatus.CREATING,
    SnapshotStatus.ERROR,
    SnapshotStatus.ERROR_DELETING,
)


@dataclass(frozen=True, slots=True)
class SnapshotInstance:
    """The snapshot of one instance of the share. `provider_location` is the driver's own name for it."""

    id: SnapshotInstanceId
    snapshot_id: SnapshotId
    share_instance_id: InstanceId
    status: SnapshotStatus
    progress: str
    provider_location: str | None
    created_at: datetime
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as its owner sees it. `share_size_gib` is the share's size when it was taken."""

    id: SnapshotId
    share_id: ShareId
    name: str | None
    description: str | None
    project_id: ProjectId
    user_id: UserId
    size_gib: int
    share_size_gib: int
    share_protocol: str
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime | None
    instance: SnapshotInstance
    replicas_status: SnapshotStatus | None = None  # the worst on the other replicas that are active or in sync

    @property
    def aggregate_status(self) -> SnapshotStatus:
        """The state its owner sees: the worst of all replicas that are active or in sync."""
        seen = (self.instance.status, self.replicas_status)
        return next((status for status in WORST_FIRST if status in seen), self.instance.status)

    @property
    def status(self) -> SnapshotStatus:
        """The state of the instance that speaks for the snapshot."""
        return self.instance.status


@dataclass(frozen=True, slots=True)
class SnapshotOf:
    """A snapshot with the share it is of."""

    snapshot: Snapshot
    share: Share
