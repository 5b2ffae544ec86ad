"""Shares, their instances and export locations: what they are and may become."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from penstock.ids import ExportLocationId, InstanceId, ProjectId, ShareId, ShareTypeId, SnapshotId, UserId


class ShareStatus(StrEnum):
    """The published states of a share instance; a share shows the state of the instance that speaks for it."""

    CREATING = "creating"
    CREATING_FROM_SNAPSHOT = "creating_from_snapshot"
    AVAILABLE = "available"
    DELETING = "deleting"
    DELETED = "deleted"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"
    INACTIVE = "inactive"
    MANAGING = "manage_starting"
    MANAGE_ERROR = "manage_error"
    UNMANAGING = "unmanage_starting"
    UNMANAGE_ERROR = "unmanage_error"
    UNMANAGED = "unmanaged"
    EXTENDING = "extending"
    EXTENDING_ERROR = "extending_error"
    SHRINKING = "shrinking"
    SHRINKING_ERROR = "shrinking_error"
    SHRINKING_POSSIBLE_DATA_LOSS_ERROR = "shrinking_possible_data_loss_error"
    MIGRATING = "migrating"
    MIGRATING_TO = "migrating_to"
    SERVER_MIGRATING = "server_migrating"
    SERVER_MIGRATING_TO = "server_migrating_to"
    REVERTING = "reverting"
    REVERTING_ERROR = "reverting_error"
    ENSURING = "ensuring"
    REPLICATION_CHANGE = "replication_change"
    AWAITING_TRANSFER = "awaiting_transfer"


class AccessRulesStatus(StrEnum):
    """Whether the backend holds the wanted rules of an instance (``access_rules_status``)."""

    ACTIVE = "active"
    SYNCING = "syncing"
    ERROR = "error"


WORST_RULES_FIRST = (AccessRulesStatus.ERROR, AccessRulesStatus.SYNCING, AccessRulesStatus.ACTIVE)


class ReplicaState(StrEnum):
    """Replication state of an instance; None for shares that are not replicated."""

    ACTIVE = "active"
    IN_SYNC = "in_sync"
    OUT_OF_SYNC = "out_of_sync"
    ERROR = "error"


class ShareProtocol(StrEnum):
    """Protocols a share can be asked for; backends decide which they serve."""

    NFS = "NFS"
    CIFS = "CIFS"
    GLUSTERFS = "GLUSTERFS"
    HDFS = "HDFS"
    CEPHFS = "CEPHFS"
    MAPRFS = "MAPRFS"


@dataclass(frozen=True, slots=True)
class ExportLocation:
    """One path under which an instance can be mounted, e.g. ``10.0.0.5:/tank/share_7f3c``."""

    id: ExportLocationId
    path: str
    is_admin_only: bool
    preferred: bool
    metadata: dict[str, str]
    share_instance_id: InstanceId
    created_at: datetime
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class ShareInstance:
    """One copy of a share on one pool. `host` is ``host@backend#pool``, None until placed.

    Of a replica: `synced_at` is the time at which what it holds was the active's state (UTC, as its backend says; None
    when never), `epoch` the reign it has seen, `lag_alarm` whether its owner has been told that it is behind.
    """

    id: InstanceId
    share_id: ShareId
    host: str | None
    status: ShareStatus
    access_rules_status: AccessRulesStatus
    replica_state: ReplicaState | None
    availability_zone: str | None
    share_network_id: str | None
    share_server_id: str | None
    share_type_id: ShareTypeId | None
    cast_rules_to_readonly: bool
    progress: str | None
    provider_location: str | None
    scheduled_at: datetime | None
    launched_at: datetime | None
    terminated_at: datetime | None
    created_at: datetime
    updated_at: datetime | None
    synced_at: datetime | None = None
    lag_alarm: bool = False
    epoch: int = 1

    @property
    def is_replica(self) -> bool:
        """Is it one of the replicas of a replicated share, the active one included?"""
        return self.replica_state is not None


@dataclass(frozen=True, slots=True)
class Share:
    """A share as its owner sees it, with the instance that speaks for it (the only one, or the active replica).

    `size_gib` is what the backend holds now; `size_target_gib` what an accepted extend or shrink asks for, else None.
    Quota counts the larger of the two, so nothing is ever promised twice and no reservation can leak.
    """

    id: ShareId
    name: str | None
    description: str | None
    size_gib: int
    size_target_gib: int | None
    project_id: ProjectId
    user_id: UserId
    protocol: str
    share_type_id: ShareTypeId | None
    snapshot_id: SnapshotId | None
    is_public: bool
    snapshot_support: bool
    create_share_from_snapshot_support: bool
    revert_to_snapshot_support: bool
    mount_snapshot_support: bool
    replication_type: str | None
    task_state: str | None
    share_group_id: str | None
    source_share_group_snapshot_member_id: str | None
    mount_point_name: str | None
    used_bytes: int | None
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime | None
    instance: ShareInstance
    is_soft_deleted: bool = False  # in the recycle bin until restored or deleted for good
    scheduled_to_be_deleted_at: datetime | None = None
    has_replicas: bool = False  # has it others than the instance that speaks for it?
    replicas_rules_status: AccessRulesStatus | None = None  # the worst of those others that are available

    @property
    def status(self) -> ShareStatus:
        """The state of the instance that speaks for the share."""
        return self.instance.status

    @property
    def access_rules_status(self) -> AccessRulesStatus:
        """Whether all replicas hold the wanted rules: the worst of them."""
        seen = (self.instance.access_rules_status, self.replicas_rules_status)
        return next((status for status in WORST_RULES_FIRST if status in seen), AccessRulesStatus.ACTIVE)
