"""Rows of volume snapshots and their metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, func, select, update

from penstock.domain.volume_lifecycle import VolumeEvent, advance_volume_snapshot
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.errors import Conflict
from penstock.ids import ProjectId, UserId, VolumeId, VolumeSnapshotId, VolumeTypeId
from penstock.store.json_pairs import pairs_of, parse_pairs
from penstock.store.keyset import FIRST_PAGE, KeysetPage, paged
from penstock.store.lists import like
from penstock.store.notes import Notes
from penstock.store.statements import delete_row, insert_into, update_row
from penstock.store.transaction import Transaction
from penstock.store.volume_schema import (
    volume_snapshot_image_metadata,
    volume_snapshot_metadata,
    volume_snapshots,
    volumes,
)
from penstock.store.volumes import IS_ON_BACKEND, compared

METADATA = Notes(volume_snapshot_metadata, "snapshot_id")
IMAGE_METADATA = Notes(volume_snapshot_image_metadata, "snapshot_id")

# A snapshot with its pairs in one row: of a single snapshot, each further query would cost as much as the first.
_SNAPSHOTS = select(
    *volume_snapshots.c,
    *(
        pairs_of(table, table.c.snapshot_id == volume_snapshots.c.id).label(label)
        for table, label in ((volume_snapshot_metadata, "notes"), (volume_snapshot_image_metadata, "of_image"))
    ),
)
_BY_ID = _SNAPSHOTS.where(volume_snapshots.c.id == bindparam("id"))
_OF_VOLUME = _SNAPSHOTS.where(volume_snapshots.c.volume_id == bindparam("volume_id")).order_by(
    volume_snapshots.c.created_at, volume_snapshots.c.id
)
_ON_BACKEND = (
    _SNAPSHOTS.join(volumes, volumes.c.id == volume_snapshots.c.volume_id)
    .where(IS_ON_BACKEND)
    .order_by(volume_snapshots.c.created_at, volume_snapshots.c.id)
)
_ON_BACKEND_IN = _ON_BACKEND.where(volume_snapshots.c.status.in_(bindparam("statuses", expanding=True)))

SORTABLE = {
    "id": volume_snapshots.c.id,
    "name": volume_snapshots.c.display_name,
    "display_name": volume_snapshots.c.display_name,
    "status": volume_snapshots.c.status,
    "size": volume_snapshots.c.volume_size_gib,
    "volume_size": volume_snapshots.c.volume_size_gib,
    "volume_id": volume_snapshots.c.volume_id,
    "user_id": volume_snapshots.c.user_id,
    "project_id": volume_snapshots.c.project_id,
    "created_at": volume_snapshots.c.created_at,
    "updated_at": volume_snapshots.c.updated_at,
}
TIMES = {"created_at": volume_snapshots.c.created_at, "updated_at": volume_snapshots.c.updated_at}


@dataclass(frozen=True, slots=True)
class VolumeSnapshotFilter:
    """What a list of snapshots is narrowed to; None means no matter. `times` as in `VolumeFilter`."""

    project_id: str | None = None
    volume_id: str | None = None
    name: str | None = None
    name_like: str | None = None
    description: str | None = None
    status: str | None = None
    user_id: str | None = None
    volume_size_gib: int | None = None
    volume_type_id: str | None = None
    group_snapshot_id: str | None = None
    availability_zone: str | None = None
    uses_quota: bool | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    times: Sequence[tuple[str, str, datetime]] = ()


def insert_snapshot(tx: Transaction, snapshot: VolumeSnapshot) -> None:
    """Store a new snapshot with its metadata."""
    columns = {column.name for column in volume_snapshots.c} - {"display_name", "display_description"}
    row = {name: getattr(snapshot, name) for name in columns}
    row |= {"display_name": snapshot.name, "display_description": snapshot.description}
    tx.execute(insert_into(volume_snapshots), row)
    METADATA.put(tx, snapshot.id, snapshot.metadata)
    IMAGE_METADATA.put(tx, snapshot.id, snapshot.image_metadata)


def get(tx: Transaction, snapshot_id: VolumeSnapshotId | str) -> VolumeSnapshot | None:
    """The snapshot, or None."""
    row = tx.execute(_BY_ID, {"id": snapshot_id}).first()
    return None if row is None else _snapshot(row)


def of_volume(tx: Transaction, volume_id: VolumeId | str) -> list[VolumeSnapshot]:
    """All snapshots of a volume, oldest first."""
    return [_snapshot(row) for row in tx.execute(_OF_VOLUME, {"volume_id": volume_id})]


def of_backend(
    tx: Transaction, backend: str, *, statuses: Sequence[VolumeSnapshotStatus] | None = None
) -> list[VolumeSnapshot]:
    """Snapshots of the volumes on any pool of ``host@backend``, oldest first."""
    prefix = f"{backend}#"
    of: dict[str, Any] = {"prefix": prefix, "prefix_length": len(prefix)}
    if statuses is None:
        return [_snapshot(row) for row in tx.execute(_ON_BACKEND, of)]
    return [_snapshot(row) for row in tx.execute(_ON_BACKEND_IN, {**of, "statuses": list(statuses)})]


def list_snapshots(
    tx: Transaction, wanted: VolumeSnapshotFilter, page: KeysetPage = FIRST_PAGE
) -> list[VolumeSnapshot]:
    """Snapshots matching `wanted`, one page. Raises Invalid, NotFound (the marker)."""
    query = paged(tx, _narrow(_SNAPSHOTS, wanted), page, SORTABLE, volume_snapshots.c.id, what="snapshot")
    return [_snapshot(row) for row in tx.execute(query)]


def count_snapshots(tx: Transaction, wanted: VolumeSnapshotFilter) -> int:
    """How many snapshots match, whatever the page."""
    return int(tx.execute(_narrow(select(func.count()).select_from(volume_snapshots), wanted)).scalar_one())


def move(
    tx: Transaction, snapshot: VolumeSnapshot, event: VolumeEvent, *, now: datetime, **values: Any
) -> VolumeSnapshotStatus:
    """Advance the stored status of `snapshot` by `event`, with further columns in the same statement.

    Raises Conflict when somebody moved it since we read it, Invalid when the state does not take the event.
    """
    status = advance_volume_snapshot(snapshot.status, event)
    row = {"status": status, "updated_at": now, **values}
    statement = update_row(volume_snapshots, tuple(row), from_status=True)
    done = tx.execute(statement, {**row, "of_id": snapshot.id, "of_status": snapshot.status})
    if done.rowcount != 1:
        raise Conflict(f"Snapshot {snapshot.id} is no longer '{snapshot.status}'.")
    return status


def moved(tx: Transaction, snapshot: VolumeSnapshot, event: VolumeEvent, *, now: datetime) -> VolumeSnapshot:
    """`move` a snapshot that this transaction has read; how it is then. Raises as that."""
    return replace(snapshot, status=move(tx, snapshot, event, now=now), updated_at=now)


def reset(tx: Transaction, snapshot_id: VolumeSnapshotId | str, *, now: datetime, **values: Any) -> None:
    """Write states by hand: an administrator's decision, outside the lifecycle table."""
    mine = volume_snapshots.c.id == snapshot_id
    tx.execute(update(volume_snapshots).where(mine).values(updated_at=now, **values))


def update_snapshot(tx: Transaction, snapshot_id: VolumeSnapshotId | str, *, now: datetime, **values: Any) -> None:
    """Change columns other than the status."""
    if "status" in values:
        raise ValueError("a status is written by store.volume_snapshots.move")
    mine = volume_snapshots.c.id == snapshot_id
    tx.execute(update(volume_snapshots).where(mine).values(updated_at=now, **values))


def delete_snapshot(tx: Transaction, snapshot_id: VolumeSnapshotId | str) -> None:
    """Forget the snapshot with its metadata."""
    tx.execute(delete_row(volume_snapshots), {"of_id": snapshot_id})


def _narrow(query: Select[Any], wanted: VolumeSnapshotFilter) -> Select[Any]:
    equal = {
        volume_snapshots.c.project_id: wanted.project_id,
        volume_snapshots.c.volume_id: wanted.volume_id,
        volume_snapshots.c.display_name: wanted.name,
        volume_snapshots.c.display_description: wanted.description,
        volume_snapshots.c.status: wanted.status,
        volume_snapshots.c.user_id: wanted.user_id,
        volume_snapshots.c.volume_size_gib: wanted.volume_size_gib,
        volume_snapshots.c.volume_type_id: wanted.volume_type_id,
        volume_snapshots.c.group_snapshot_id: wanted.group_snapshot_id,
        volume_snapshots.c.uses_quota: wanted.uses_quota,
    }
    for column, value in equal.items():
        if value is not None:
            query = query.where(column == value)
    if wanted.name_like is not None:
        query = query.where(like(volume_snapshots.c.display_name, wanted.name_like))
    if wanted.availability_zone is not None:
        zone = select(volumes.c.id).where(volumes.c.availability_zone == wanted.availability_zone)
        query = query.where(volume_snapshots.c.volume_id.in_(zone))
    for key, value in wanted.metadata.items():
        query = query.where(METADATA.has(volume_snapshots.c.id, key, value))
    for name, operator, moment in wanted.times:
        query = query.where(compared(TIMES[name], operator, moment))
    return query


def _snapshot(row: Row[Any]) -> VolumeSnapshot:
    """The snapshot of this row of `_SNAPSHOTS`."""
    return VolumeSnapshot(
        id=VolumeSnapshotId(row.id),
        volume_id=VolumeId(row.volume_id),
        name=row.display_name,
        description=row.display_description,
        project_id=ProjectId(row.project_id),
        user_id=UserId(row.user_id),
        volume_size_gib=row.volume_size_gib,
        status=VolumeSnapshotStatus(row.status),
        progress=row.progress,
        volume_type_id=None if row.volume_type_id is None else VolumeTypeId(row.volume_type_id),
        group_snapshot_id=row.group_snapshot_id,
        encryption_key_id=row.encryption_key_id,
        uses_quota=row.uses_quota,
        provider_location=row.provider_location,
        provider_id=row.provider_id,
        provider_auth=row.provider_auth,
        created_at=row.created_at,
        updated_at=row.updated_at,
        metadata=parse_pairs(row.notes),
        image_metadata=parse_pairs(row.of_image),
    )
