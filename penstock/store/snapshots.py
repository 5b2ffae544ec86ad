"""Rows of snapshots with the instance that speaks for them, and their metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, exists, func, insert, select, update

from penstock.domain.lifecycle import Event, advance_snapshot
from penstock.domain.snapshots import Snapshot, SnapshotInstance, SnapshotStatus
from penstock.errors import Conflict
from penstock.ids import InstanceId, ProjectId, ShareId, SnapshotId, SnapshotInstanceId, UserId
from penstock.store.aggregates import replicas_snapshot_status, snapshot_status
from penstock.store.instances import IS_ON_BACKEND, prefix_of
from penstock.store.json_pairs import pairs_of, parse_pairs
from penstock.store.lists import Page, like
from penstock.store.schema import share_instances, snapshot_instances, snapshot_metadata, snapshots
from penstock.store.statements import delete_row, insert_into, update_row
from penstock.store.transaction import Transaction

_INSTANCE = [column.label(f"i_{column.name}") for column in snapshot_instances.c]
_METADATA_TEXT = pairs_of(snapshot_metadata, snapshot_metadata.c.snapshot_id == snapshots.c.id).label("metadata")
_JOINED = snapshots.join(snapshot_instances, snapshot_instances.c.id == snapshots.c.instance_id)
_SNAPSHOT: Select[Any] = select(
    *snapshots.c, *_INSTANCE, replicas_snapshot_status.label("replicas_status"), _METADATA_TEXT
).select_from(_JOINED)

_BY_ID = _SNAPSHOT.where(snapshots.c.id == bindparam("id"))
_METADATA = select(snapshot_metadata).where(snapshot_metadata.c.snapshot_id.in_(bindparam("ids", expanding=True)))

_INSTANCES_OF = select(*_INSTANCE).where(snapshot_instances.c.snapshot_id == bindparam("snapshot_id"))
_ON_BACKEND = (
    select(*snapshots.c, *_INSTANCE, _METADATA_TEXT)
    .select_from(
        snapshots.join(snapshot_instances, snapshot_instances.c.snapshot_id == snapshots.c.id).join(
            share_instances, share_instances.c.id == snapshot_instances.c.share_instance_id
        )
    )
    .where(IS_ON_BACKEND, snapshot_instances.c.status.in_(bindparam("statuses", expanding=True)))
    .order_by(snapshots.c.created_at)
)

SORTABLE = {
    "id": snapshots.c.id,
    "name": snapshots.c.display_name,
    "display_name": snapshots.c.display_name,
    "status": snapshot_status,
    "size": snapshots.c.size_gib,
    "share_id": snapshots.c.share_id,
    "share_size": snapshots.c.share_size_gib,
    "share_proto": snapshots.c.share_proto,
    "user_id": snapshots.c.user_id,
    "project_id": snapshots.c.project_id,
    "progress": snapshot_instances.c.progress,
    "display_description": snapshots.c.display_description,
    "created_at": snapshots.c.created_at,
    "updated_at": snapshots.c.updated_at,
}


@dataclass(frozen=True, slots=True)
class SnapshotFilter:
    """What a list of snapshots is narrowed to; None means no matter."""

    project_id: str | None = None
    share_id: str | None = None
    name: str | None = None
    name_like: str | None = None
    description: str | None = None
    description_like: str | None = None
    status: str | None = None
    size_gib: int | None = None
    user_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def insert_snapshot(tx: Transaction, snapshot: Snapshot) -> None:
    """Store a new snapshot and its first instance."""
    row = {
        "id": snapshot.id,
        "instance_id": snapshot.instance.id,
        "share_id": snapshot.share_id,
        "display_name": snapshot.name,
        "display_description": snapshot.description,
        "project_id": snapshot.project_id,
        "user_id": snapshot.user_id,
        "size_gib": snapshot.size_gib,
        "share_size_gib": snapshot.share_size_gib,
        "share_proto": snapshot.share_protocol,
        "created_at": snapshot.created_at,
        "updated_at": snapshot.updated_at,
    }
    tx.execute(insert_into(snapshots), row)
    insert_instance(tx, snapshot.instance)
    set_metadata(tx, snapshot.id, snapshot.metadata)


def insert_instance(tx: Transaction, instance: SnapshotInstance) -> None:
    """Store another instance of a snapshot there is. Raises Conflict for a second one of one share instance."""
    values = {name: getattr(instance, name) for name in SnapshotInstance.__dataclass_fields__}
    tx.execute(insert_into(snapshot_instances), values)


def get(tx: Transaction, snapshot_id: SnapshotId | str) -> Snapshot | None:
    """The snapshot with its instance and metadata, or None."""
    row = tx.execute(_BY_ID, {"id": snapshot_id}).first()
    return None if row is None else _snapshot(row)


def get_by_instance(tx: Transaction, instance_id: SnapshotInstanceId | str) -> Snapshot | None:
    """The snapshot that instance belongs to, with that instance."""
    joined = snapshots.join(snapshot_instances, snapshot_instances.c.snapshot_id == snapshots.c.id)
    query = (
        select(*snapshots.c, *_INSTANCE, _METADATA_TEXT)
        .select_from(joined)
        .where(snapshot_instances.c.id == instance_id)
    )
    row = tx.execute(query).first()
    return None if row is None else _snapshot(row)


def of_backend(tx: Transaction, backend: str, *, statuses: Sequence[SnapshotStatus]) -> list[Snapshot]:
    """Snapshots in one of `statuses` whose share instance is on ``host@backend``, each with that instance."""
    return [_snapshot(row) for row in tx.execute(_ON_BACKEND, {**prefix_of(backend), "statuses": list(statuses)})]


def instances_of(tx: Transaction, snapshot_id: SnapshotId | str) -> list[SnapshotInstance]:
    """All instances of a snapshot."""
    return [instance_in(row, "i_") for row in tx.execute(_INSTANCES_OF, {"snapshot_id": snapshot_id})]


def list_snapshots(tx: Transaction, wanted: SnapshotFilter, page: Page = Page()) -> list[Snapshot]:  # noqa: B008
    """Snapshots matching `wanted`, one page."""
    order = SORTABLE[page.sort_key]
    tie = snapshots.c.id
    query = _narrow(_SNAPSHOT, wanted).order_by(*((order.desc(), tie.desc()) if page.descending else (order, tie)))
    if page.limit is not None:
        query = query.limit(page.limit)
    if page.offset:
        query = query.offset(page.offset)
    return [_snapshot(row) for row in tx.execute(query)]


def count_snapshots(tx: Transaction, wanted: SnapshotFilter) -> int:
    """How many snapshots match, whatever the page."""
    return int(tx.execute(_narrow(select(func.count()).select_from(_JOINED), wanted)).scalar_one())


def move(tx: Transaction, instance: SnapshotInstance, event: Event, *, now: datetime, **values: Any) -> SnapshotStatus:
    """Advance the stored status by `event`. Raises Conflict when it was moved since we read it, or InvalidShare."""
    status = advance_snapshot(instance.status, event)
    row = {"status": status, "updated_at": now, **values}
    statement = update_row(snapshot_instances, tuple(row), from_status=True)
    done = tx.execute(statement, {**row, "of_id": instance.id, "of_status": instance.status})
    if done.rowcount != 1:
        raise Conflict(f"Snapshot instance {instance.id} is no longer '{instance.status}'.")
    return status


def reset_status(
    tx: Transaction, instance_id: SnapshotInstanceId | str, status: SnapshotStatus, *, now: datetime
) -> None:
    """Write a status by hand: an administrator's decision, outside the lifecycle table."""
    mine = snapshot_instances.c.id == instance_id
    tx.execute(update(snapshot_instances).where(mine).values(status=status, updated_at=now))


def update_snapshot(tx: Transaction, snapshot_id: SnapshotId | str, *, now: datetime, **values: Any) -> None:
    """Change columns of the snapshot row (``display_name``, ``size_gib`` ...)."""
    tx.execute(update(snapshots).where(snapshots.c.id == snapshot_id).values(updated_at=now, **values))


def update_instance(tx: Transaction, instance_id: SnapshotInstanceId | str, *, now: datetime, **values: Any) -> None:
    """Change columns of the instance row other than its status."""
    if "status" in values:
        raise ValueError("a status is written by store.snapshots.move")
    mine = snapshot_instances.c.id == instance_id
    tx.execute(update(snapshot_instances).where(mine).values(updated_at=now, **values))


def delete_snapshot(tx: Transaction, snapshot_id: SnapshotId | str) -> None:
    """Forget the snapshot with its instances and metadata."""
    tx.execute(delete_row(snapshots), {"of_id": snapshot_id})


def get_metadata(tx: Transaction, snapshot_id: SnapshotId | str) -> dict[str, str]:
    """The snapshot's metadata."""
    return metadata_of(tx, [snapshot_id]).get(snapshot_id, {})


def metadata_of(tx: Transaction, snapshot_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Metadata of several snapshots."""
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(snapshot_ids), 10_000):
        part = snapshot_ids[start : start + 10_000]
        for row in tx.execute(_METADATA, {"ids": list(part)}):
            found.setdefault(row.snapshot_id, {})[row.key] = row.value
    return found


def set_metadata(
    tx: Transaction, snapshot_id: SnapshotId | str, items: Mapping[str, str], *, replace: bool = False
) -> None:
    """Set these keys; with `replace` the rest goes."""
    if not items and not replace:
        return
    mine = snapshot_metadata.c.snapshot_id == snapshot_id
    tx.execute(delete(snapshot_metadata).where(mine if replace else mine & snapshot_metadata.c.key.in_(list(items))))
    if items:
        rows = [{"snapshot_id": snapshot_id, "key": k, "value": v} for k, v in items.items()]
        tx.execute(insert(snapshot_metadata), rows)


def delete_metadata(tx: Transaction, snapshot_id: SnapshotId | str, key: str) -> bool:
    """Remove one key; False when it was not there."""
    mine = (snapshot_metadata.c.snapshot_id == snapshot_id) & (snapshot_metadata.c.key == key)
    return tx.execute(delete(snapshot_metadata).where(mine)).rowcount > 0


def _narrow(query: Select[Any], wanted: SnapshotFilter) -> Select[Any]:
    equal = {
        snapshots.c.project_id: wanted.project_id,
        snapshots.c.share_id: wanted.share_id,
        snapshots.c.display_name: wanted.name,
        snapshots.c.display_description: wanted.description,
        snapshots.c.size_gib: wanted.size_gib,
        snapshots.c.user_id: wanted.user_id,
        snapshot_status: wanted.status,
    }
    for column, value in equal.items():
        if value is not None:
            query = query.where(column == value)
    if wanted.name_like is not None:
        query = query.where(like(snapshots.c.display_name, wanted.name_like))
    if wanted.description_like is not None:
        query = query.where(like(snapshots.c.display_description, wanted.description_like))
    for key, value in wanted.metadata.items():
        table = snapshot_metadata.c
        query = query.where(exists().where(table.snapshot_id == snapshots.c.id, table.key == key, table.value == value))
    return query


def instance_in(row: Row[Any], prefix: str = "") -> SnapshotInstance:
    """The instance in a row whose instance columns are called `prefix` + name."""
    data = row._mapping  # noqa: SLF001 - the published name of SQLAlchemy's mapping view
    return SnapshotInstance(
        id=SnapshotInstanceId(data[f"{prefix}id"]),
        snapshot_id=SnapshotId(data[f"{prefix}snapshot_id"]),
        share_instance_id=InstanceId(data[f"{prefix}share_instance_id"]),
        status=SnapshotStatus(data[f"{prefix}status"]),
        progress=data[f"{prefix}progress"],
        provider_location=data[f"{prefix}provider_location"],
        created_at=data[f"{prefix}created_at"],
        updated_at=data[f"{prefix}updated_at"],
    )


def _snapshot(row: Any) -> Snapshot:
    status = row._mapping.get("replicas_status")  # noqa: SLF001 - as above; only where the snapshot was asked for
    return Snapshot(
        id=SnapshotId(row.id),
        share_id=ShareId(row.share_id),
        name=row.display_name,
        description=row.display_description,
        project_id=ProjectId(row.project_id),
        user_id=UserId(row.user_id),
        size_gib=row.size_gib,
        share_size_gib=row.share_size_gib,
        share_protocol=row.share_proto,
        metadata=parse_pairs(row.metadata),
        created_at=row.created_at,
        updated_at=row.updated_at,
        instance=instance_in(row, "i_"),
        replicas_status=None if status is None else SnapshotStatus(status),
    )
