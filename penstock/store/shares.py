"""Rows of shares with the instance that speaks for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, exists, func, select, update

from penstock.domain.lifecycle import Event, advance_share
from penstock.domain.shares import AccessRulesStatus, Share, ShareInstance, ShareStatus
from penstock.errors import Conflict
from penstock.ids import InstanceId, ProjectId, ShareId, ShareTypeId, SnapshotId, UserId
from penstock.store.aggregates import has_replicas, replicas_rules_status
from penstock.store.instances import IS_ON_BACKEND, insert_instance, instance_of, prefix_of
from penstock.store.json_pairs import pairs_of, parse_pairs
from penstock.store.lists import Page
from penstock.store.schema import (
    share_instances,
    share_metadata,
    shares,
    snapshots,
)
from penstock.store.share_filter import SORTABLE, ShareFilter, narrow
from penstock.store.share_metadata import put as put_metadata
from penstock.store.statements import delete_row, insert_into, update_row
from penstock.store.transaction import Transaction

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


def insert_share(tx: Transaction, share: Share) -> None:
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
    put_metadata(tx, share.id, share.metadata)


def get(tx: Transaction, share_id: ShareId | str) -> Share | None:
    """The share with its instance and metadata, or None."""
    row = tx.execute(_BY_ID, {"id": share_id}).first()
    return None if row is None else _share(row)


def get_by_instance(tx: Transaction, instance_id: InstanceId | str) -> Share | None:
    """The share that instance belongs to, with **that** instance (also when another one speaks for it)."""
    row = tx.execute(_BY_INSTANCE, {"id": instance_id}).first()
    return None if row is None else _share(row)


def host_of(tx: Transaction, share_id: ShareId | str) -> str | None:
    """The pool of the instance that speaks for the share; None when it is on none, or there is no such share."""
    host: str | None = tx.execute(_HOST, {"id": share_id}).scalar()
    return host


def by_ids(tx: Transaction, share_ids: Sequence[str]) -> dict[str, Share]:
    """Shares by id, each with the instance that speaks for it."""
    found: dict[str, Share] = {}
    for start in range(0, len(share_ids), 10_000):  # SQLite takes at most 32,766 parameters
        part = list(share_ids[start : start + 10_000])
        found |= {row.id: _share(row) for row in tx.execute(_BY_IDS, {"ids": part})}
    return found


def with_each_instance(tx: Transaction, share_id: ShareId | str) -> list[Share]:
    """The share once for each of its instances, with that instance, oldest first."""
    return [_share(row) for row in tx.execute(_EACH_INSTANCE, {"id": share_id})]


def of_backend(tx: Transaction, backend: str, *, statuses: Sequence[ShareStatus]) -> list[Share]:
    """Shares that have an instance in one of `statuses` on ``host@backend``, each with that instance. One query."""
    return [_share(row) for row in tx.execute(_ON_BACKEND, {**prefix_of(backend), "statuses": list(statuses)})]


def list_shares(tx: Transaction, wanted: ShareFilter, page: Page = Page()) -> list[Share]:  # noqa: B008 - frozen
    """Shares matching `wanted`, one page. One query however many shares."""
    order = SORTABLE[page.sort_key]
    tie = shares.c.id
    query = narrow(_SHARE, wanted).order_by(*((order.desc(), tie.desc()) if page.descending else (order, tie)))
    if page.limit is not None:
        query = query.limit(page.limit)
    if page.offset:
        query = query.offset(page.offset)
    return [_share(row) for row in tx.execute(query)]


def count_shares(tx: Transaction, wanted: ShareFilter) -> int:
    """How many shares match, whatever the page."""
    joined = select(func.count()).select_from(
        shares.join(share_instances, share_instances.c.id == shares.c.instance_id)
    )
    return int(tx.execute(narrow(joined, wanted)).scalar_one())


def move(tx: Transaction, instance: ShareInstance, event: Event, *, now: datetime, **values: Any) -> ShareStatus:
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


def reset_status(tx: Transaction, instance_id: InstanceId | str, status: ShareStatus, *, now: datetime) -> None:
    """Write a status by hand: an administrator's decision, outside the lifecycle table."""
    tx.execute(update(share_instances).where(share_instances.c.id == instance_id).values(status=status, updated_at=now))


def update_share(tx: Transaction, share_id: ShareId | str, *, now: datetime, **values: Any) -> None:
    """Change columns of the share row (``display_name``, ``size_gib``, ``is_public`` ...)."""
    row = {"updated_at": now, **values}
    tx.execute(update_row(shares, tuple(row)), {**row, "of_id": share_id})


def delete_share(tx: Transaction, share_id: ShareId | str) -> None:
    """Forget the share with all its instances, rules, locations and metadata."""
    tx.execute(delete_row(shares), {"of_id": share_id})


def ids_due(tx: Transaction, now: datetime) -> list[ShareId]:
    """Soft-deleted shares whose time to be deleted for good has come, the first due first."""
    due = shares.c.scheduled_to_be_deleted_at
    query = select(shares.c.id).where(shares.c.is_soft_deleted.is_(True), due <= now).order_by(due, shares.c.id)
    return [ShareId(share_id) for share_id in tx.execute(query).scalars()]


def has_snapshots(tx: Transaction, share_id: ShareId | str) -> bool:
    """Does the share have snapshots, in whatever state?"""
    return bool(tx.execute(select(exists().where(snapshots.c.share_id == share_id))).scalar())


def is_being_cloned(tx: Transaction, snapshot_id: SnapshotId | str) -> bool:
    """Is a share being made from that snapshot, and not there yet?"""
    growing = (ShareStatus.CREATING, ShareStatus.CREATING_FROM_SNAPSHOT)
    made = select(shares.c.id).join(share_instances, share_instances.c.id == shares.c.instance_id)
    made = made.where(shares.c.snapshot_id == snapshot_id, share_instances.c.status.in_(growing))
    return tx.execute(made.limit(1)).first() is not None


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
