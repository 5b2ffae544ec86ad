"""Volumes made for the time of one operation: their users do not see them, nor does a quota."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from penstock.domain.attachments import AttachStatus
from penstock.domain.volumes import TEMPORARY, Volume, VolumeStatus
from penstock.ids import ProjectId, VolumeId, new_id
from penstock.store import volumes
from penstock.store.database import Transaction

MIGRATION_OF = "migration_of"  # admin metadata: the id of the volume that is copied to this one
WORK_FOR = "work_for"  # admin metadata: the id of the operation that uses this one


def temporary(
    like: Volume,
    *,
    now: datetime,
    size_gib: int | None = None,
    host: str | None = None,
    notes: Mapping[str, str] | None = None,
    project_id: ProjectId | None = None,
) -> Volume:
    """The row of a volume of the type of `like`, ``creating``: on its pool and of its project, unless told."""
    return replace(
        like,
        id=VolumeId(new_id()),
        project_id=project_id or like.project_id,
        name_id=None,
        name=None,
        description=None,
        size_gib=size_gib or like.size_gib,
        size_target_gib=None,
        host=host or like.host,
        status=VolumeStatus.CREATING,
        previous_status=None,
        attach_status=AttachStatus.DETACHED,
        migration_status=None,
        snapshot_id=None,
        source_volid=None,
        group_id=None,
        uses_quota=False,
        provider_location=None,
        provider_id=None,
        provider_auth=None,
        provider_geometry=None,
        replication_status=None,
        replication_extended_status=None,
        replication_driver_data=None,
        scheduled_at=now,
        launched_at=None,
        terminated_at=None,
        created_at=now,
        updated_at=None,
        metadata={},
        admin_metadata={TEMPORARY: "True", **(notes or {})},
        image_metadata={},
        attachments=(),
    )


def migration_target(tx: Transaction, volume_id: str) -> Volume | None:
    """The volume that `volume_id` is being copied to."""
    return volumes.by_admin_metadata(tx, MIGRATION_OF, volume_id)


def working_volume(tx: Transaction, of: str) -> Volume | None:
    """The volume made for the work on `of`."""
    return volumes.by_admin_metadata(tx, WORK_FOR, of)
