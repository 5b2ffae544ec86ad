"""Rows of shares with the instance that speaks for them, and their metadata."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from penstock.domain.lifecycle import Event, advance_share
from penstock.domain.shares import AccessRulesStatus, Share, ShareInstance, ShareStatus
from penstock.errors import Conflict
from penstock.ids import InstanceId, ProjectId, ShareId, ShareTypeId, SnapshotId, UserId
from penstock.store.aggregates import has_replicas, replicas_rules_status
from penstock.store.instances import IS_ON_BACKEND, insert_instance, instance_of, prefix_of
from penstock.store.json_pairs import pairs_of, parse_pairs
from penstock.store.schema import (
    export_locations,
    share_instances,
    share_metadata,
    share_type_extra_specs,
    shares,
    snapshots,
)
from penstock.store.statements import insert_into, update_row

_INSTANCE = [column.label(f"i_{column.name}") for column in share_instances.c]
METADATA_TEXT = pairs_of(share_metadata, share_metadata.c.share_id == shares.c.id).label("metadata")
_TOGETHER = [
    has_replicas.label("has_replicas"),
    replicas_rules_status.label("replicas_rules_status"),
    METADATA_TEXT,
]
_SHARE = select(*shares.c, *_INSTANCE, *_TOGETHER).join(share_instances, share_instances.c.id == shares.c.instance_id)
_EACH = select(*shares.c, *_INSTANCE, *_TOGETHER).join(share_instances, share_instances.c.share_id == shares.c.id)

_BY_ID = _SHARE.where(shares.c.id == bindparam("id"))
_BY_INSTANCE = _EACH.where(share_instances.c.id == bindparam("id"))
_EACH_INSTANCE = _EACH.where(shares.c.id == bindparam("id")).order_by(
    share_instances.c.created_at, share_instances.c.id
)
_ON_BACKEND = _EACH.where(IS_ON_BACKEND, share_instances.c.status.in_(bindparam("statuses", expanding=True))).order_by(
    shares.c.created_at, shares.c.id
)
_BY_IDS = _SHARE.where(shares.c.id.in_(bindparam("ids", expanding=True)))
_HOST = (
    select(share_instances.c.host)
    .join(shares, shares.c.instance_id == share_instances.c.id)
    .where(shares.c.id == bindparam("id"))
)
_METADATA = select(share_metadata).where(share_metadata.c.share_id.in_(bindparam("ids", expanding=True)))

SORTABLE = {
    "id": shares.c.id,
    "name": shares.c.display_name,
    "display_name": shares.c.display_name,
    "status": share_instances.c.status,
    "size": shares.c.size_gib,
    "host": share_instances.c.host,
    "share_proto": shares.c.share_proto,
    "availability_zone": share_instances.c.availability_zone,
    "availability_zone_id": share_instances.c.availability_zone,
    "user_id": shares.c.user_id,
    "project_id": shares.c.project_id,
    "created_at": shares.c.created_at,
    "updated_at": shares.c.updated_at,
    "display_description": shares.c.display_description,
    "share_type_id": shares.c.share_type_id,
    "share_type": shares.c.share_type_id,
    "share_network_id": share_instances.c.share_network_id,
    "share_network": share_instances.c.share_network_id,
    "snapshot_id": shares.c.snapshot_id,
    "snapshot": shares.c.snapshot_id,
}


@dataclass(frozen=True, slots=True)
class ShareFilter:
    """What a list of shares is narrowed to; None means no matter. `*_like` are substrings."""

    project_id: str | None = None
    or_public: bool = False  # with project_id: also public shares of others
    is_public: bool | None = None
    is_soft_deleted: bool | None = None
    ids: Sequence[str] | None = None
    name: str | None = None
    name_like: str | None = None
    description: str | None = None
    description_like: str | None = None
    status: str | None = None
    host: str | None = None
    user_id: str | None = None
    protocol: str | None = None
    share_type_id: str | None = None
    snapshot_id: str | None = None
    share_network_id: str | None = None
    share_server_id: str | None = None
    share_group_id: str | None = None
    availability_zone: str | None = None
    mount_point_name: str | None = None
    export_location_id: str | None = None
    export_location_path: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    extra_specs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list, in which order. `sort_key` is one of the resource's SORTABLE names."""

    limit: int | None = None
    offset: int = 0
    sort_key: str = "created_at"
    descending: bool = True


def insert_share(tx: Connection, share: Share) -> None:
    """Store a new share and its first instance."""
    row = {
        "id": share.id,
        "instance_id": share.instance.id,
        "display_name": share.name,
        "display_description": share.description,
        "size_gib": share.size_gib,
        "size_target_gib": share.size_target_gib,
        "project_id": share.project_id,
        "user_id": share.user_id,
        "share_proto": share.protocol,
        "share_type_id": share.share_type_id,
        "snapshot_id": share.snapshot_id,
        "is_public": share.is_public,
        "snapshot_support": share.snapshot_support,
        "create_share_from_snapshot_support": share.create_share_from_snapshot_support,
        "revert_to_snapshot_support": share.revert_to_snapshot_support,
        "mount_snapshot_support": share.mount_snapshot_support,
        "replication_type": share.replication_type,
        "task_state": share.task_state,
        "share_group_id": share.share_group_id,
        "source_share_group_snapshot_member_id": share.source_share_group_snapshot_member_id,
        "mount_point_name": share.mount_point_name,
        "used_bytes": share.used_bytes,
        "is_soft_deleted": share.is_soft_deleted,
        "scheduled_to_be_deleted_at": share.scheduled_to_be_deleted_at,
        "created_at": share.created_at,
        "updated_at": share.updated_at,
    }
    tx.execute(insert_into(shares), row)
    insert_instance(tx, share.instance)
    set_metadata(tx, share.id, share.metadata)


def get(tx: Connection, share_id: ShareId | str) -> Share | None:
    """The share with its instance and metadata, or None."""
    row = tx.execute(_BY_ID, {"id": share_id}).first()
    return None if row is None else _share(row)


def get_by_instance(tx: Connection, instance_id: InstanceId | str) -> Share | None:
    """The share that instance belongs to, with **that** instance (also when another one speaks for it)."""
    row = tx.execute(_BY_INSTANCE, {"id": instance_id}).first()
    return None if row is None else _share(row)


def host_of(tx: Connection, share_id: ShareId | str) -> str | None:
    """The pool of the instance that speaks for the share; None when it is on none, or there is no such share."""
    host: str | None = tx.execute(_HOST, {"id": share_id}).scalar()
    return host


def by_ids(tx: Connection, share_ids: Sequence[str]) -> dict[str, Share]:
    """Shares by id, each with the instance that speaks for it."""
    found: dict[str, Share] = {}
    for start in range(0, len(share_ids), 10_000):  # SQLite takes at most 32,766 parameters
        part = list(share_ids[start : start + 10_000])
        found |= {row.id: _share(row) for row in tx.execute(_BY_IDS, {"ids": part})}
    return found


def with_each_instance(tx: Connection, share_id: ShareId | str) -> list[Share]:
    """The share once for each of its instances, with that instance, oldest first."""
    return [_share(row) for row in tx.execute(_EACH_INSTANCE, {"id": share_id})]


def of_backend(tx: Connection, backend: str, *, statuses: Sequence[ShareStatus]) -> list[Share]:
    """Shares that have an instance in one of `statuses` on ``host@backend``, each with that instance. One query."""
    return [_share(row) for row in tx.execute(_ON_BACKEND, {**prefix_of(backend), "statuses": list(statuses)})]


def list_shares(tx: Connection, wanted: ShareFilter, page: Page = Page()) -> list[Share]:
    """Shares matching `wanted`, one page. One query however many shares."""
    order = SORTABLE[page.sort_key]
    tie = shares.c.id
    query = narrow(_SHARE, wanted).order_by(*((order.desc(), tie.desc()) if page.descending else (order, tie)))
    if page.limit is not None:
        query = query.limit(page.limit)
    if page.offset:
        query = query.offset(page.offset)
    return [_share(row) for row in tx.execute(query)]


def count_shares(tx: Connection, wanted: ShareFilter) -> int:
    """How many shares match, whatever the page."""
    joined = select(func.count()).select_from(
        shares.join(share_instances, share_instances.c.id == shares.c.instance_id)
    )
    return int(tx.execute(narrow(joined, wanted)).scalar_one())


def move(tx: Connection, instance: ShareInstance, event: Event, *, now: datetime, **values: Any) -> ShareStatus:
    """Advance the stored status of `instance` by `event`, with further instance columns in the same statement.

    Raises Conflict when somebody moved it since we read it, InvalidShare when the state does not take the event.
    """
    status = advance_share(instance.status, event)
    row = {"status": status, "updated_at": now, **values}
    statement = update_row(share_instances, tuple(row), from_status=True)
    done = tx.execute(statement, {**row, "of_id": instance.id, "of_status": instance.status})
    if done.rowcount != 1:
        raise Conflict(f"Share instance {instance.id} is no longer '{instance.status}'.")
    return status


def reset_status(tx: Connection, instance_id: InstanceId | str, status: ShareStatus, *, now: datetime) -> None:
    """Write a status by hand: an administrator's decision, outside the lifecycle table."""
    tx.execute(update(share_instances).where(share_instances.c.id == instance_id).values(status=status, updated_at=now))


def update_share(tx: Connection, share_id: ShareId | str, *, now: datetime, **values: Any) -> None:
    """Change columns of the share row (``display_name``, ``size_gib``, ``is_public`` ...)."""
    row = {"updated_at": now, **values}
    tx.execute(update_row(shares, tuple(row)), {**row, "of_id": share_id})


def delete_share(tx: Connection, share_id: ShareId | str) -> None:
    """Forget the share with all its instances, rules, locations and metadata."""
    tx.execute(delete(shares).where(shares.c.id == share_id))


def ids_due(tx: Connection, now: datetime) -> list[ShareId]:
    """Soft-deleted shares whose time to be deleted for good has come, the first due first."""
    due = shares.c.scheduled_to_be_deleted_at
    query = select(shares.c.id).where(shares.c.is_soft_deleted.is_(True), due <= now).order_by(due, shares.c.id)
    return [ShareId(share_id) for share_id in tx.execute(query).scalars()]


def has_snapshots(tx: Connection, share_id: ShareId | str) -> bool:
    """Does the share have snapshots, in whatever state?"""
    return bool(tx.execute(select(exists().where(snapshots.c.share_id == share_id))).scalar())


def is_being_cloned(tx: Connection, snapshot_id: SnapshotId | str) -> bool:
    """Is a share being made from that snapshot, and not there yet?"""
    growing = (ShareStatus.CREATING, ShareStatus.CREATING_FROM_SNAPSHOT)
    made = select(shares.c.id).join(share_instances, share_instances.c.id == shares.c.instance_id)
    made = made.where(shares.c.snapshot_id == snapshot_id, share_instances.c.status.in_(growing))
    return tx.execute(made.limit(1)).first() is not None


def get_metadata(tx: Connection, share_id: ShareId | str) -> dict[str, str]:
    """The share's metadata."""
    return metadata_of(tx, [share_id]).get(share_id, {})


def metadata_of(tx: Connection, share_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Metadata of several shares in one query (a few when there are thousands)."""
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(share_ids), 10_000):  # SQLite takes at most 32,766 parameters
        part = share_ids[start : start + 10_000]
        for row in tx.execute(_METADATA, {"ids": list(part)}):
            found.setdefault(row.share_id, {})[row.key] = row.value
    return found


def set_metadata(
    tx: Connection,
    share_id: ShareId | str,
    items: Mapping[str, str],
    *,
    replace: bool = False,
    keeping: Collection[str] = (),
) -> None:
    """Set these keys; with `replace` the rest goes, but for the keys of `keeping`."""
    if not items and not replace:
        return
    mine = share_metadata.c.share_id == share_id
    key = share_metadata.c.key
    old = key.not_in([kept for kept in keeping if kept not in items]) if replace else key.in_(list(items))
    tx.execute(delete(share_metadata).where(mine & old))
    if items:
        tx.execute(insert(share_metadata), [{"share_id": share_id, "key": k, "value": v} for k, v in items.items()])


def delete_metadata(tx: Connection, share_id: ShareId | str, key: str) -> bool:
    """Remove one key; False when it was not there."""
    mine = (share_metadata.c.share_id == share_id) & (share_metadata.c.key == key)
    return tx.execute(delete(share_metadata).where(mine)).rowcount > 0


def change_metadata(
    tx: Connection, share_id: ShareId | str, key: str, change: Callable[[str | None], str | None]
) -> None:
    """Set `key` to what `change` makes of its value, None being none; exact without a lock on the share.

    `change` is called again when another transaction was faster. Several shares in one transaction: in the order of
    their ids, or two transactions wait for each other.
    """
    here = (share_metadata.c.share_id == share_id) & (share_metadata.c.key == key)
    while True:
        old = tx.execute(select(share_metadata.c.value).where(here)).scalar()
        new = change(old)
        if new == old or _swap_metadata(tx, share_id, key, old, new):
            return


def _swap_metadata(tx: Connection, share_id: str, key: str, old: str | None, new: str | None) -> bool:
    """Put `new` where `old` is; False when it is not there any more."""
    if old is None:
        make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
        row = {"share_id": share_id, "key": key, "value": new}
        return tx.execute(make(share_metadata).values(row).on_conflict_do_nothing()).rowcount == 1
    same = (share_metadata.c.share_id == share_id) & (share_metadata.c.key == key) & (share_metadata.c.value == old)
    if new is None:
        return tx.execute(delete(share_metadata).where(same)).rowcount == 1
    return tx.execute(update(share_metadata).where(same).values(value=new)).rowcount == 1


def like(column: Any, text: str) -> Any:
    """That `column` contains `text`, in capitals or not. SQLite knows only the capitals of ASCII."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return func.lower(column).like(func.lower(f"%{escaped}%"), escape="\\")


def narrow(query: Select[Any], wanted: ShareFilter) -> Select[Any]:
    """`query` over shares and their instances, with the conditions of `wanted`."""
    for where in _conditions(wanted):
        query = query.where(where)
    return query


def _conditions(wanted: ShareFilter) -> list[Any]:
    equal = {
        shares.c.is_public: wanted.is_public,
        shares.c.is_soft_deleted: wanted.is_soft_deleted,
        shares.c.display_name: wanted.name,
        shares.c.display_description: wanted.description,
        shares.c.user_id: wanted.user_id,
        shares.c.share_proto: wanted.protocol,
        shares.c.share_type_id: wanted.share_type_id,
        shares.c.snapshot_id: wanted.snapshot_id,
        shares.c.share_group_id: wanted.share_group_id,
        shares.c.mount_point_name: wanted.mount_point_name,
        share_instances.c.status: wanted.status,
        share_instances.c.host: wanted.host,
        share_instances.c.share_network_id: wanted.share_network_id,
        share_instances.c.share_server_id: wanted.share_server_id,
        share_instances.c.availability_zone: wanted.availability_zone,
    }
    found = [column == value for column, value in equal.items() if value is not None]
    if wanted.project_id is not None:
        mine = shares.c.project_id == wanted.project_id
        found.append(or_(mine, shares.c.is_public.is_(True)) if wanted.or_public else mine)
    if wanted.ids is not None:
        found.append(shares.c.id.in_(list(wanted.ids)))
    if wanted.name_like is not None:
        found.append(like(shares.c.display_name, wanted.name_like))
    if wanted.description_like is not None:
        found.append(like(shares.c.display_description, wanted.description_like))
    return found + _related(wanted)


def _related(wanted: ShareFilter) -> list[Any]:
    found: list[Any] = []
    location = export_locations.c.share_instance_id == shares.c.instance_id
    if wanted.export_location_id is not None:
        found.append(exists().where(location, export_locations.c.id == wanted.export_location_id))
    if wanted.export_location_path is not None:
        found.append(exists().where(location, export_locations.c.path == wanted.export_location_path))
    for key, value in wanted.metadata.items():
        mine = share_metadata.c.share_id == shares.c.id
        found.append(exists().where(mine, share_metadata.c.key == key, share_metadata.c.value == value))
    for key, value in wanted.extra_specs.items():
        specs = share_type_extra_specs.c
        found.append(
            exists().where(specs.share_type_id == shares.c.share_type_id, specs.key == key, specs.value == value)
        )
    return found


def _share(row: Row[Any]) -> Share:
    return Share(
        id=ShareId(row.id),
        name=row.display_name,
        description=row.display_description,
        size_gib=row.size_gib,
        size_target_gib=row.size_target_gib,
        project_id=ProjectId(row.project_id),
        user_id=UserId(row.user_id),
        protocol=row.share_proto,
        share_type_id=None if row.share_type_id is None else ShareTypeId(row.share_type_id),
        snapshot_id=None if row.snapshot_id is None else SnapshotId(row.snapshot_id),
        is_public=row.is_public,
        snapshot_support=row.snapshot_support,
        create_share_from_snapshot_support=row.create_share_from_snapshot_support,
        revert_to_snapshot_support=row.revert_to_snapshot_support,
        mount_snapshot_support=row.mount_snapshot_support,
        replication_type=row.replication_type,
        task_state=row.task_state,
        share_group_id=row.share_group_id,
        source_share_group_snapshot_member_id=row.source_share_group_snapshot_member_id,
        mount_point_name=row.mount_point_name,
        used_bytes=row.used_bytes,
        metadata=parse_pairs(row.metadata),
        created_at=row.created_at,
        updated_at=row.updated_at,
        instance=instance_of(row, "i_"),
        is_soft_deleted=row.is_soft_deleted,
        scheduled_to_be_deleted_at=row.scheduled_to_be_deleted_at,
        has_replicas=bool(row.has_replicas),
        replicas_rules_status=None
        if row.replicas_rules_status is None
        else AccessRulesStatus(row.replicas_rules_status),
    )
