"""A volume at its beginning, however it comes to us: made, taken over, or found again on its storage."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from penstock.domain.attachments import AttachStatus
from penstock.domain.pools import PoolRef
from penstock.domain.volume_types import MULTIATTACH_SPEC, REPLICATION_SPEC, VolumeType
from penstock.domain.volumes import ReplicationStatus, Volume, VolumeStatus
from penstock.ids import ProjectId, UserId, VolumeId, new_id


def new_volume(
    *,
    size_gib: int,
    project_id: str,
    user_id: str,
    volume_type: VolumeType | None,
    pool: PoolRef | None,
    zone: str | None,
    status: VolumeStatus,
    now: datetime,
    **values: Any,
) -> Volume:
    """The volume; `values` are further fields. On no pool it is in ``error``."""
    is_replicated = volume_type is not None and volume_type.claims(REPLICATION_SPEC)
    fields: dict[str, Any] = {
        "name_id": None,
        "name": None,
        "description": None,
        "size_target_gib": None,
        "previous_status": None,
        "migration_status": None,
        "snapshot_id": None,
        "source_volid": None,
        "group_id": None,
        "is_bootable": False,
        "uses_quota": True,
        "shared_targets": True,
        "encryption_key_id": None,
        "provider_location": None,
        "provider_id": None,
        "provider_auth": None,
        "provider_geometry": None,
        "replication_status": ReplicationStatus.ENABLED if is_replicated else None,
        "replication_extended_status": None,
        "replication_driver_data": None,
        "launched_at": None,
        "terminated_at": None,
        "updated_at": None,
    }
    return Volume(
        id=VolumeId(new_id()),
        size_gib=size_gib,
        project_id=ProjectId(project_id),
        user_id=UserId(user_id),
        host=None if pool is None else str(pool),
        availability_zone=zone,
        status=VolumeStatus.ERROR if pool is None else status,
        attach_status=AttachStatus.DETACHED,
        volume_type_id=None if volume_type is None else volume_type.id,
        is_multiattach=volume_type is not None and volume_type.claims(MULTIATTACH_SPEC),
        scheduled_at=None if pool is None else now,
        created_at=now,
        **{**fields, **values},
    )
