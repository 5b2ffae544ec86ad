"""Rows of groups of volumes and of snapshots of all of a group."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, Row, bindparam, delete, exists, func, insert, select, update

from penstock.domain.volume_groups import GroupEvent, GroupSnapshot, GroupStatus, VolumeGroup, advance_group
from penstock.domain.volumes import ReplicationStatus
from penstock.errors import Conflict
from penstock.ids import GroupSnapshotId, ProjectId, UserId, VolumeGroupId, VolumeGroupTypeId, VolumeTypeId
from penstock.store.keyset import FIRST_PAGE, KeysetPage, paged
from penstock.store.schema import (
    volume_group_snapshots,
    volume_group_volume_types,
    volume_groups,
    volume_snapshots,
    volumes,
)
from penstock.store.statements import update_row
from penstock.store.transaction import Transaction

SORTABLE = {
    "id": volume_groups.c.id,
    "name": volume_groups.c.display_name,
    "status": volume_groups.c.status,
    "group_type": volume_groups.c.group_type_id,
    "created_at": volume_groups.c.created_at,
    "updated_at": volume_groups.c.updated_at,
}
SNAPSHOTS_SORTABLE = {
    "id": volume_group_snapshots.c.id,
    "name": volume_group_snapshots.c.display_name,
    "status": volume_group_snapshots.c.status,
    "group_id": volume_group_snapshots.c.group_id,
    "group_type_id": volume_group_snapshots.c.group_type_id,
    "created_at": volume_group_snapshots.c.created_at,
    "updated_at": volume_group_snapshots.c.updated_at,
}
_IN_WORK = (GroupStatus.CREATING, GroupStatus.UPDATING, GroupStatus.DELETING)
_HERE = func.substr(volume_groups.c.host, 1, bindparam("prefix_length", type_=Integer)) == bindparam("prefix")
_GROUPS_IN_WORK = select(volume_groups).where(_HERE, volume_groups.c.status.in_(_IN_WORK))
_SNAPSHOTS_IN_WORK = (
    select(volume_group_snapshots)
    .join(volume_groups, volume_groups.c.id == volume_group_snapshots.c.group_id)
    .where(_HERE, volume_group_snapshots.c.status.in_(_IN_WORK))
)
_NAMES = {"display_name": "name", "display_description": "description"}


def insert_group(tx: Transaction, group: VolumeGroup) -> None:
    """Store a new group with the volume types it takes."""
    tx.execute(insert(volume_groups), _values(volume_groups.c, group))
    members = [{"group_id": group.id, "volume_type_id": type_id} for type_id in group.volume_type_ids]
    if members:
        tx.execute(insert(volume_group_volume_types), members)


def get(tx: Transaction, group_id: str) -> VolumeGroup | None:
    """The group, or None."""
    found = _groups(tx, tx.execute(select(volume_groups).where(volume_groups.c.id == group_id)).all())
    return found[0] if found else None


def list_groups(
    tx: Transaction, page: KeysetPage = FIRST_PAGE, *, project_id: str | None, equal: dict[str, str]
) -> list[VolumeGroup]:
    """Groups of a project (None: of all) with these values of SORTABLE columns, one page."""
    query = select(volume_groups)
    if project_id is not None:
        query = query.where(volume_groups.c.project_id == project_id)
    for name, value in equal.items():
        query = query.where(SORTABLE[name] == value)
    return _groups(tx, tx.execute(paged(tx, query, page, SORTABLE, volume_groups.c.id, what="group")).all())


def move(tx: Transaction, group: VolumeGroup, event: GroupEvent, *, now: datetime, **values: Any) -> GroupStatus:
    """Advance the stored status of `group` by `event`, with further columns in the same statement.

    Raises Conflict when somebody moved it since we read it, Invalid when the state does not take the event.
    """
    return _move(tx, volume_groups, "group", group, event, now, values)


def reset(tx: Transaction, group_id: str, status: GroupStatus, *, now: datetime) -> None:
    """Write a status by hand: an administrator's decision, outside the lifecycle table."""
    tx.execute(update(volume_groups).where(volume_groups.c.id == group_id).values(status=status, updated_at=now))


def rename(tx: Transaction, group_id: str, *, now: datetime, **values: str) -> None:
    """Change ``display_name`` or ``display_description``."""
    tx.execute(update(volume_groups).where(volume_groups.c.id == group_id).values(updated_at=now, **values))


def delete_group(tx: Transaction, group_id: str) -> None:
    """Forget the group. Its volumes have gone or left it before."""
    tx.execute(delete(volume_groups).where(volume_groups.c.id == group_id))


def volume_ids(tx: Transaction, group_id: str) -> list[str]:
    """The volumes of a group, oldest first."""
    query = select(volumes.c.id).where(volumes.c.group_id == group_id).order_by(volumes.c.created_at, volumes.c.id)
    return list(tx.execute(query).scalars())


def takes_type(tx: Transaction, volume_type_id: str) -> bool:
    """Is there a group that takes volumes of this type?"""
    mine = volume_group_volume_types.c.volume_type_id == volume_type_id
    return bool(tx.execute(select(exists().where(mine))).scalar())


def in_work(tx: Transaction, backend: str) -> list[VolumeGroup]:
    """Groups on any pool of ``host@backend`` with which an operation is under way."""
    return _groups(tx, tx.execute(_GROUPS_IN_WORK, _prefix_of(backend)).all())


# --- snapshots of all of a group -------------------------------------------------------------------------------------


def insert_snapshot(tx: Transaction, made: GroupSnapshot) -> None:
    """Store a new group snapshot; its members are stored as snapshots."""
    tx.execute(insert(volume_group_snapshots), _values(volume_group_snapshots.c, made))


def get_snapshot(tx: Transaction, snapshot_id: str) -> GroupSnapshot | None:
    """The group snapshot, or None."""
    row = tx.execute(select(volume_group_snapshots).where(volume_group_snapshots.c.id == snapshot_id)).first()
    return None if row is None else _snapshot(row)


def list_snapshots(
    tx: Transaction, page: KeysetPage = FIRST_PAGE, *, project_id: str | None, equal: dict[str, str]
) -> list[GroupSnapshot]:
    """Group snapshots of a project (None: of all) with these values of SNAPSHOTS_SORTABLE columns, one page."""
    query = select(volume_group_snapshots)
    if project_id is not None:
        query = query.where(volume_group_snapshots.c.project_id == project_id)
    for name, value in equal.items():
        query = query.where(SNAPSHOTS_SORTABLE[name] == value)
    key = volume_group_snapshots.c.id
    rows = tx.execute(paged(tx, query, page, SNAPSHOTS_SORTABLE, key, what="group snapshot"))
    return [_snapshot(row) for row in rows]


def move_snapshot(tx: Transaction, snapshot: GroupSnapshot, event: GroupEvent, *, now: datetime) -> GroupStatus:
    """As `move`."""
    return _move(tx, volume_group_snapshots, "group snapshot", snapshot, event, now, {})


def reset_snapshot(tx: Transaction, snapshot_id: str, status: GroupStatus, *, now: datetime) -> None:
    """As `reset`."""
    mine = volume_group_snapshots.c.id == snapshot_id
    tx.execute(update(volume_group_snapshots).where(mine).values(status=status, updated_at=now))


def rename_snapshot(tx: Transaction, snapshot_id: str, *, now: datetime, **values: str) -> None:
    """As `rename`."""
    mine = volume_group_snapshots.c.id == snapshot_id
    tx.execute(update(volume_group_snapshots).where(mine).values(updated_at=now, **values))


def delete_snapshot(tx: Transaction, snapshot_id: str) -> None:
    """Forget the group snapshot. Its members have gone before."""
    tx.execute(delete(volume_group_snapshots).where(volume_group_snapshots.c.id == snapshot_id))


def member_ids(tx: Transaction, snapshot_id: str) -> list[str]:
    """The snapshots of a group snapshot, oldest first."""
    taken = volume_snapshots.c
    query = select(taken.id).where(taken.group_snapshot_id == snapshot_id).order_by(taken.created_at, taken.id)
    return list(tx.execute(query).scalars())


def snapshots_in_work(tx: Transaction, backend: str) -> list[GroupSnapshot]:
    """Group snapshots on any pool of ``host@backend`` with which an operation is under way."""
    return [_snapshot(row) for row in tx.execute(_SNAPSHOTS_IN_WORK, _prefix_of(backend))]


def has_snapshots(tx: Transaction, group_id: str) -> bool:
    """Does the group have group snapshots, in whatever state?"""
    return bool(tx.execute(select(exists().where(volume_group_snapshots.c.group_id == group_id))).scalar())


def _values(columns: Any, made: Any) -> dict[str, Any]:
    return {column.name: getattr(made, _NAMES.get(column.name, column.name)) for column in columns}


def _move(
    tx: Transaction, table: Any, what: str, found: Any, event: GroupEvent, now: datetime, values: dict[str, Any]
) -> GroupStatus:
    status = advance_group(what, found.status, event)
    row = {"status": status, "updated_at": now, **values}
    statement = update_row(table, tuple(row), from_status=True)
    if tx.execute(statement, {**row, "of_id": found.id, "of_status": found.status}).rowcount != 1:
        raise Conflict(f"The {what} {found.id} is no longer '{found.status}'.")
    return status


def _prefix_of(backend: str) -> dict[str, Any]:
    return {"prefix": f"{backend}#", "prefix_length": len(backend) + 1}


def _groups(tx: Transaction, rows: Sequence[Row[Any]]) -> list[VolumeGroup]:
    table = volume_group_volume_types
    wanted = table.c.group_id.in_([row.id for row in rows])
    types: dict[str, list[VolumeTypeId]] = {}
    for member in tx.execute(select(table).where(wanted).order_by(table.c.volume_type_id)) if rows else ():
        types.setdefault(member.group_id, []).append(VolumeTypeId(member.volume_type_id))
    return [
        VolumeGroup(
            id=VolumeGroupId(row.id),
            name=row.display_name,
            description=row.display_description,
            project_id=ProjectId(row.project_id),
            user_id=UserId(row.user_id),
            group_type_id=VolumeGroupTypeId(row.group_type_id),
            volume_type_ids=tuple(types.get(row.id, ())),
            host=row.host,
            availability_zone=row.availability_zone,
            status=GroupStatus(row.status),
            group_snapshot_id=row.group_snapshot_id,
            source_group_id=row.source_group_id,
            replication_status=None if row.replication_status is None else ReplicationStatus(row.replication_status),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in rows
    ]


def _snapshot(row: Row[Any]) -> GroupSnapshot:
    return GroupSnapshot(
        id=GroupSnapshotId(row.id),
        group_id=VolumeGroupId(row.group_id),
        name=row.display_name,
        description=row.display_description,
        project_id=ProjectId(row.project_id),
        user_id=UserId(row.user_id),
        group_type_id=VolumeGroupTypeId(row.group_type_id),
        status=GroupStatus(row.status),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
