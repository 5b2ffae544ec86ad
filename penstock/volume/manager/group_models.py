"""From our rows of groups to the frozen values that drivers are handed."""

from __future__ import annotations

from penstock.domain.volume_groups import GroupSnapshot, VolumeGroup
from penstock.store import volume_group_types, volume_groups
from penstock.store.database import Transaction
from penstock.volume.models import GroupModel, GroupSnapshotModel, GroupTypeModel


def group_model(tx: Transaction, group: VolumeGroup) -> GroupModel:
    """The model of a group with its type."""
    of_type = volume_group_types.get(tx, group.group_type_id)
    return GroupModel(
        id=group.id,
        name=group.name,
        status=group.status.value,
        host=group.host or "",
        project_id=group.project_id,
        user_id=group.user_id,
        group_type_id=group.group_type_id,
        group_type=None
        if of_type is None
        else GroupTypeModel(
            of_type.id, of_type.name, of_type.description, of_type.is_public, dict(of_type.group_specs)
        ),
        volume_type_ids=tuple(group.volume_type_ids),
        description=group.description,
        availability_zone=group.availability_zone,
        group_snapshot_id=group.group_snapshot_id,
        source_group_id=group.source_group_id,
        replication_status=None if group.replication_status is None else group.replication_status.value,
        created_at=group.created_at,
    )


def group_snapshot_model(tx: Transaction, taken: GroupSnapshot) -> GroupSnapshotModel:
    """The model of a group snapshot with its group."""
    group = volume_groups.get(tx, taken.group_id)
    return GroupSnapshotModel(
        id=taken.id,
        name=taken.name,
        status=taken.status.value,
        group_id=taken.group_id,
        project_id=taken.project_id,
        user_id=taken.user_id,
        group=None if group is None else group_model(tx, group),
        group_type_id=taken.group_type_id,
        description=taken.description,
        created_at=taken.created_at,
    )
