"""A share at its beginning, however it comes to us: made, taken over, or found again on its storage."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.domain.shares import Share, ShareInstance
from penstock.domain.types import ShareType
from penstock.ids import ProjectId, SnapshotId, UserId


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
