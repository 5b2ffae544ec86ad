"""Rows of backups and their metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, exists, func, insert, select, update

from penstock.domain.backups import Backup, BackupStatus
from penstock.errors import Conflict
from penstock.ids import ProjectId, UserId, VolumeId, VolumeSnapshotId
from penstock.store.backup_schema import volume_backup_metadata, volume_backups
from penstock.store.keyset import FIRST_PAGE, KeysetPage, paged
from penstock.store.lists import like
from penstock.store.notes import Notes
from penstock.store.transaction import Transaction

METADATA = Notes(volume_backup_metadata, "backup_id")

_CHILD = volume_backups.alias("child")
_HAS_CHILDREN = exists().where(_CHILD.c.parent_id == volume_backups.c.id).label("has_dependents")
_ALL: Select[Any] = select(*volume_backups.c, _HAS_CHILDREN)
_BY_ID = _ALL.where(volume_backups.c.id == bindparam("id"))

SORTABLE = {
    "id": volume_backups.c.id,
    "name": volume_backups.c.name,
    "display_name": volume_backups.c.name,
    "status": volume_backups.c.status,
    "size": volume_backups.c.size_gib,
    "volume_id": volume_backups.c.volume_id,
    "created_at": volume_backups.c.created_at,
    "updated_at": volume_backups.c.updated_at,
}


@dataclass(frozen=True, slots=True)
class BackupFilter:
    """What a list of backups is narrowed to; None means no matter."""

    project_id: str | None = None
    name: str | None = None
    name_like: str | None = None
    status: str | None = None
    volume_id: str | None = None
    snapshot_id: str | None = None
    host: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def insert_backup(tx: Transaction, backup: Backup) -> None:
    """Store a new backup with its metadata."""
    row = {column.name: getattr(backup, column.name) for column in volume_backups.c}
    tx.execute(insert(volume_backups), row)
    METADATA.put(tx, backup.id, backup.metadata)


def get(tx: Transaction, backup_id: str) -> Backup | None:
    """The backup, or None."""
    found = _backups(tx, tx.execute(_BY_ID, {"id": backup_id}).all())
    return found[0] if found else None


def list_backups(tx: Transaction, wanted: BackupFilter, page: KeysetPage = FIRST_PAGE) -> list[Backup]:
    """Backups matching `wanted`, one page. Raises Invalid, NotFound (the marker)."""
    query = paged(tx, _narrow(_ALL, wanted), page, SORTABLE, volume_backups.c.id, what="backup")
    return _backups(tx, tx.execute(query).all())


def count_backups(tx: Transaction, wanted: BackupFilter) -> int:
    """How many backups match, whatever the page."""
    return int(tx.execute(_narrow(select(func.count()).select_from(volume_backups), wanted)).scalar_one())


def latest(tx: Transaction, volume_id: str) -> Backup | None:
    """The newest available backup of the volume itself or a snapshot of it, by when its bytes were so."""
    mine = (volume_backups.c.volume_id == volume_id) & (volume_backups.c.status == BackupStatus.AVAILABLE)
    query = _ALL.where(mine).order_by(volume_backups.c.data_timestamp.desc(), volume_backups.c.created_at.desc())
    found = _backups(tx, tx.execute(query.limit(1)).all())
    return found[0] if found else None


def change(tx: Transaction, backup: Backup, status: BackupStatus, *, now: datetime, **values: Any) -> None:
    """Write its status, with further columns. Raises Conflict when it is no longer what it was when we read it."""
    same = (volume_backups.c.id == backup.id) & (volume_backups.c.status == backup.status)
    done = tx.execute(update(volume_backups).where(same).values(status=status, updated_at=now, **values))
    if done.rowcount != 1:
        raise Conflict(f"Backup {backup.id} is no longer '{backup.status}'.")


def update_backup(tx: Transaction, backup_id: str, *, now: datetime, **values: Any) -> None:
    """Change columns; the status too, by an administrator's hand."""
    tx.execute(update(volume_backups).where(volume_backups.c.id == backup_id).values(updated_at=now, **values))


def delete_backup(tx: Transaction, backup_id: str) -> None:
    """Forget the backup."""
    tx.execute(delete(volume_backups).where(volume_backups.c.id == backup_id))


def _narrow(query: Select[Any], wanted: BackupFilter) -> Select[Any]:
    equal = {
        volume_backups.c.project_id: wanted.project_id,
        volume_backups.c.name: wanted.name,
        volume_backups.c.status: wanted.status,
        volume_backups.c.volume_id: wanted.volume_id,
        volume_backups.c.snapshot_id: wanted.snapshot_id,
        volume_backups.c.host: wanted.host,
    }
    for column, value in equal.items():
        if value is not None:
            query = query.where(column == value)
    if wanted.name_like is not None:
        query = query.where(like(volume_backups.c.name, wanted.name_like))
    for key, value in wanted.metadata.items():
        query = query.where(METADATA.has(volume_backups.c.id, key, value))
    return query


def _backups(tx: Transaction, rows: Sequence[Row[Any]]) -> list[Backup]:
    notes = METADATA.of(tx, [row.id for row in rows])
    return [_backup(row, notes.get(row.id, {})) for row in rows]


def _backup(row: Row[Any], notes: dict[str, str]) -> Backup:
    return Backup(
        id=row.id,
        volume_id=VolumeId(row.volume_id),
        snapshot_id=None if row.snapshot_id is None else VolumeSnapshotId(row.snapshot_id),
        project_id=ProjectId(row.project_id),
        user_id=UserId(row.user_id),
        host=row.host,
        availability_zone=row.availability_zone,
        name=row.name,
        description=row.description,
        container=row.container,
        status=BackupStatus(row.status),
        fail_reason=row.fail_reason,
        size_gib=row.size_gib,
        object_count=row.object_count,
        parent_id=row.parent_id,
        data_timestamp=row.data_timestamp,
        encryption_key_id=row.encryption_key_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        metadata=notes,
        has_dependents=bool(row.has_dependents),
    )
