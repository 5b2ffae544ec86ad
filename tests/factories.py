"""Values for tests: complete, valid, and different from each other."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from penstock.domain.access import AccessLevel, AccessRule, AccessState, AccessType
from penstock.domain.shares import AccessRulesStatus, Share, ShareInstance, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotInstance, SnapshotStatus
from penstock.ids import AccessRuleId, InstanceId, ProjectId, ShareId, SnapshotId, SnapshotInstanceId, UserId, new_id

NOW = datetime(2026, 11, 21, 12, 0, 0)
POOL = "host@zfs#tank"


def a_share(*, status: ShareStatus = ShareStatus.AVAILABLE, host: str | None = POOL, **changes: Any) -> Share:
    """A share of 1 GiB of project ``p1`` with one instance."""
    share_id = changes.pop("id", None) or ShareId(new_id())
    launched_at = changes.pop("launched_at", NOW)
    instance = ShareInstance(
        id=InstanceId(new_id()),
        share_id=share_id,
        host=host,
        status=status,
        access_rules_status=AccessRulesStatus.ACTIVE,
        replica_state=None,
        availability_zone="nova",
        share_network_id=None,
        share_server_id=None,
        share_type_id=None,
        cast_rules_to_readonly=False,
        progress="100%",
        provider_location=None,
        scheduled_at=NOW,
        launched_at=launched_at,
        terminated_at=None,
        created_at=NOW,
        updated_at=None,
    )
    share = Share(
        id=share_id,
        name="share",
        description=None,
        size_gib=1,
        size_target_gib=None,
        project_id=ProjectId("p1"),
        user_id=UserId("u1"),
        protocol="NFS",
        share_type_id=None,
        snapshot_id=None,
        is_public=False,
        snapshot_support=True,
        create_share_from_snapshot_support=True,
        revert_to_snapshot_support=True,
        mount_snapshot_support=False,
        replication_type=None,
        task_state=None,
        share_group_id=None,
        source_share_group_snapshot_member_id=None,
        mount_point_name=None,
        used_bytes=None,
        metadata={},
        created_at=NOW,
        updated_at=None,
        instance=instance,
    )
    return replace(share, **changes)


def a_snapshot(share: Share, *, status: SnapshotStatus = SnapshotStatus.AVAILABLE, **changes: Any) -> Snapshot:
    """A snapshot of `share`."""
    snapshot_id = SnapshotId(new_id())
    instance = SnapshotInstance(
        id=SnapshotInstanceId(new_id()),
        snapshot_id=snapshot_id,
        share_instance_id=share.instance.id,
        status=status,
        progress="100%",
        provider_location=None,
        created_at=NOW,
        updated_at=None,
    )
    snapshot = Snapshot(
        id=snapshot_id,
        share_id=share.id,
        name="snapshot",
        description=None,
        project_id=share.project_id,
        user_id=share.user_id,
        size_gib=share.size_gib,
        share_size_gib=share.size_gib,
        share_protocol=share.protocol,
        metadata={},
        created_at=NOW,
        updated_at=None,
        instance=instance,
    )
    return replace(snapshot, **changes)


def a_rule(share: Share, to: str = "10.0.0.1", **changes: Any) -> AccessRule:
    """A queued read-write rule for one address."""
    rule = AccessRule(
        id=AccessRuleId(new_id()),
        share_id=share.id,
        access_type=AccessType.IP,
        access_to=to,
        access_level=AccessLevel.RW,
        access_key=None,
        state=AccessState.QUEUED_TO_APPLY,
        metadata={},
        created_at=NOW,
        updated_at=None,
    )
    return replace(rule, **changes)
