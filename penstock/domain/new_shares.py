"""A share at its beginning, however it comes to us: made, taken over, or found again on its storage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from penstock.domain.pools import PoolRef
from penstock.domain.shares import AccessRulesStatus, ReplicaState, Share, ShareInstance, ShareStatus
from penstock.domain.types import ShareType
from penstock.ids import InstanceId, ProjectId, ShareId, ShareTypeId, SnapshotId, UserId, new_id


def new_instance(
    share_id: ShareId,
    share_type_id: ShareTypeId | None,
    pool: PoolRef | None,
    zone: str | None,
    now: datetime,
    *,
    status: ShareStatus,
    replica_state: ReplicaState | None,
    cast_rules_to_readonly: bool = False,
    epoch: int = 1,
) -> ShareInstance:
    """One copy of a share, to be made or taken over on `pool`. On no pool it is in ``error``, as a replica too."""
    return ShareInstance(
        id=InstanceId(new_id()),
        share_id=share_id,
        host=None if pool is None else str(pool),
        status=ShareStatus.ERROR if pool is None else status,
        access_rules_status=AccessRulesStatus.ACTIVE,
        replica_state=ReplicaState.ERROR if pool is None and replica_state is not None else replica_state,
        availability_zone=zone,
        share_network_id=None,
        share_server_id=None,
        share_type_id=share_type_id,
        cast_rules_to_readonly=cast_rules_to_readonly,
        progress=None,
        provider_location=None,
        scheduled_at=None if pool is None else now,
        launched_at=None,
        terminated_at=None,
        created_at=now,
        updated_at=None,
        epoch=epoch,
    )


def share_with(
    instance: ShareInstance,
    share_type: ShareType,
    *,
    name: str | None,
    description: str | None,
    size_gib: int,
    project_id: str,
    user_id: str,
    protocol: str,
    replication_type: str | None,
    snapshot_id: SnapshotId | None = None,
    is_public: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Share:
    """The share whose first instance is `instance`, as capable as `share_type` claims, of the instance's age."""
    return Share(
        id=instance.share_id,
        name=name,
        description=description,
        size_gib=size_gib,
        size_target_gib=None,
        project_id=ProjectId(project_id),
        user_id=UserId(user_id),
        protocol=protocol,
        share_type_id=instance.share_type_id,
        snapshot_id=snapshot_id,
        is_public=is_public,
        snapshot_support=share_type.claims("snapshot_support"),
        create_share_from_snapshot_support=share_type.claims("create_share_from_snapshot_support"),
        revert_to_snapshot_support=share_type.claims("revert_to_snapshot_support"),
        mount_snapshot_support=share_type.claims("mount_snapshot_support"),
        replication_type=replication_type,
        task_state=None,
        share_group_id=None,
        source_share_group_snapshot_member_id=None,
        mount_point_name=None,
        used_bytes=None,
        metadata=dict(metadata or {}),
        created_at=instance.created_at,
        updated_at=None,
        instance=instance,
    )
