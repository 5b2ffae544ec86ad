"""Rows of migrations, one per share (the latest), and the switch from the source's instance to the destination's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, exists, insert, select, update

from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.migration import Migration, MigrationFlags
from penstock.domain.shares import Share, ShareInstance, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotInstance, SnapshotStatus
from penstock.errors import Conflict
from penstock.ids import InstanceId, ShareId, ShareTypeId, SnapshotId, SnapshotInstanceId
from penstock.store import shares as share_rows
from penstock.store.instances import IS_ON_BACKEND, instance_of, prefix_of
from penstock.store.schema import instance_access_rules, share_instances, share_migrations, shares, snapshot_instances
from penstock.store.schema import snapshots as snapshot_table
from penstock.store.snapshots import instance_in
from penstock.store.snapshots import move as move_snapshot
from penstock.store.transaction import Transaction

# Asked at each look of a backend at its migrations: built once.
_OF_SHARE = select(share_migrations).where(share_migrations.c.share_id == bindparam("share_id"))
_UNFINISHED_FROM = (
    select(*share_migrations.c, shares.c.task_state)
    .join(shares, shares.c.id == share_migrations.c.share_id)
    .join(share_instances, share_instances.c.id == share_migrations.c.source_instance_id)
    .where(share_migrations.c.is_unfinished.is_(True), IS_ON_BACKEND)
    .order_by(share_migrations.c.created_at, share_migrations.c.share_id)
)
_LEFT_OVER = (
    select(share_instances)
    .where(
        IS_ON_BACKEND,
        share_instances.c.status == ShareStatus.DELETING,
        share_instances.c.replica_state.is_(None),
        ~exists().where(shares.c.instance_id == share_instances.c.id),
    )
    .order_by(share_instances.c.created_at)
)
_SNAPSHOTS_ON = (
    select(snapshot_instances)
    .where(snapshot_instances.c.share_instance_id == bindparam("instance_id"))
    .order_by(snapshot_instances.c.created_at, snapshot_instances.c.id)
)
_FLAGS = tuple(MigrationFlags.__dataclass_fields__)
_OTHERS = tuple(name for name in Migration.__dataclass_fields__ if name != "flags")


def put(tx: Transaction, migration: Migration) -> None:
    """Store a migration in place of the share's former one."""
    tx.execute(delete(share_migrations).where(share_migrations.c.share_id == migration.share_id))
    row = {name: getattr(migration, name) for name in _OTHERS}
    row |= {name: getattr(migration.flags, name) for name in _FLAGS}
    tx.execute(insert(share_migrations).values(**row))


def get(tx: Transaction, share_id: ShareId | str) -> Migration | None:
    """The share's latest migration, or None."""
    row = tx.execute(_OF_SHARE, {"share_id": share_id}).first()
    return None if row is None else _migration(row)


def get_by_instances(tx: Transaction, source_id: str, destination_id: str) -> Migration | None:
    """The migration from that instance to that one, or None."""
    table = share_migrations.c
    same = (table.source_instance_id == source_id) & (table.destination_instance_id == destination_id)
    row = tx.execute(select(share_migrations).where(same)).first()
    return None if row is None else _migration(row)


def unfinished_from(tx: Transaction, backend: str) -> list[tuple[Migration, str | None]]:
    """Unfinished migrations away from ``host@backend``, each with its share's task state, oldest first."""
    rows = tx.execute(_UNFINISHED_FROM, prefix_of(backend))
    return [(_migration(row), row.task_state) for row in rows]


def update_migration(tx: Transaction, share_id: ShareId | str, *, now: datetime, **values: Any) -> None:
    """Change columns of the share's migration (``note``, ``moved_bytes``, ``cancel_requested`` ...)."""
    mine = share_migrations.c.share_id == share_id
    tx.execute(update(share_migrations).where(mine).values(updated_at=now, **values))


def move_task(tx: Transaction, share: Share, task_state: str, *, now: datetime) -> None:
    """Write the share's task state, unless somebody changed it since `share` was read: then Conflict."""
    mine = shares.c.id == share.id
    mine &= shares.c.task_state.is_(None) if share.task_state is None else shares.c.task_state == share.task_state
    if tx.execute(update(shares).where(mine).values(task_state=task_state, updated_at=now)).rowcount != 1:
        raise Conflict(f"The migration of share {share.id} is no longer '{share.task_state}'.")


def left_over(tx: Transaction, backend: str) -> list[ShareInstance]:
    """Instances on ``host@backend`` that are to be deleted because their share lives elsewhere now."""
    return [instance_of(row) for row in tx.execute(_LEFT_OVER, prefix_of(backend))]


def left_of(tx: Transaction, share_id: ShareId | str) -> list[ShareInstance]:
    """The instances of a share that are to be deleted because it lives elsewhere now."""
    query = (
        select(share_instances)
        .join(shares, shares.c.id == share_instances.c.share_id)
        .where(shares.c.id == share_id, share_instances.c.id != shares.c.instance_id)
        .where(share_instances.c.status == ShareStatus.DELETING, share_instances.c.replica_state.is_(None))
    )
    return [instance_of(row) for row in tx.execute(query)]


# --- snapshots --------------------------------------------------------------------------------------------------------


def snapshots_on(tx: Transaction, instance_id: InstanceId | str) -> list[SnapshotInstance]:
    """The snapshot instances of one share instance, oldest first."""
    return [instance_in(row) for row in tx.execute(_SNAPSHOTS_ON, {"instance_id": instance_id})]


def destination_of(snapshot: Snapshot, instance_id: InstanceId, new_id: str, now: datetime) -> SnapshotInstance:
    """The instance that a migrating snapshot will have on the share instance `instance_id`."""
    return SnapshotInstance(
        id=SnapshotInstanceId(new_id),
        snapshot_id=snapshot.id,
        share_instance_id=instance_id,
        status=SnapshotStatus.MIGRATING_TO,
        progress="0%",
        provider_location=None,
        created_at=now,
        updated_at=None,
    )


# --- ends -------------------------------------------------------------------------------------------------------------


def switch(
    tx: Transaction,
    migration: Migration,
    share: Share,
    destination: ShareInstance,
    locations: Mapping[str, str],
    *,
    now: datetime,
) -> None:
    """Let the destination speak for the share and its snapshots; the source's instance is to be deleted.

    `locations` are the backend's own names of the snapshots, by destination snapshot instance. The rules are copied,
    each to be applied again. Raises Conflict when another instance speaks.
    """
    speaks = (shares.c.id == share.id) & (shares.c.instance_id == migration.source_instance_id)
    if tx.execute(update(shares).where(speaks).values(instance_id=destination.id, updated_at=now)).rowcount != 1:
        raise Conflict(f"Share {share.id} no longer lives where its migration began.")
    _switch_snapshots(tx, migration, locations, now)
    _copy_rules(tx, migration, now)
    share_rows.move(tx, share.instance, Event.MOVED, now=now, cast_rules_to_readonly=False, terminated_at=now)
    share_rows.move(tx, destination, Event.DONE, now=now, launched_at=now, progress="100%")
    update_migration(tx, share.id, now=now, is_unfinished=False, note=None, eta_s=0)


def _switch_snapshots(tx: Transaction, migration: Migration, locations: Mapping[str, str], now: datetime) -> None:
    for instance in snapshots_on(tx, migration.destination_instance_id):
        mine = snapshot_table.c.id == instance.snapshot_id
        tx.execute(update(snapshot_table).where(mine).values(instance_id=instance.id))
        location = locations.get(instance.id)
        named = {} if location is None else {"provider_location": location}
        move_snapshot(tx, instance, Event.DONE, now=now, progress="100%", **named)
    gone = snapshot_instances.c.share_instance_id == migration.source_instance_id
    tx.execute(delete(snapshot_instances).where(gone))


def _copy_rules(tx: Transaction, migration: Migration, now: datetime) -> None:
    table = instance_access_rules
    tx.execute(delete(table).where(table.c.share_instance_id == migration.destination_instance_id))
    found = tx.execute(select(table).where(table.c.share_instance_id == migration.source_instance_id)).all()
    rows = [
        {
            "access_rule_id": row.access_rule_id,
            "share_instance_id": migration.destination_instance_id,
            # One in error stays so: the user has been told, and a backend is not asked for it again.
            "state": row.state if row.state == AccessState.ERROR else AccessState.QUEUED_TO_APPLY,
            "updated_at": now,
        }
        for row in found
    ]
    if rows:
        tx.execute(insert(table), rows)


def take_back(
    tx: Transaction, migration: Migration, share: Share, *, keep_destination: bool, now: datetime, note: str | None
) -> None:
    """The share stays where it is: it and its snapshots are available again.

    The destination's rows go, or with `keep_destination` are to be deleted by its backend.
    """
    for instance in snapshots_on(tx, migration.source_instance_id):
        if instance.status is SnapshotStatus.MIGRATING:
            move_snapshot(tx, instance, Event.REFUSED, now=now)
    destination = tx.execute(
        select(share_instances).where(share_instances.c.id == migration.destination_instance_id)
    ).first()
    if keep_destination and destination is not None:
        share_rows.move(tx, instance_of(destination), Event.MOVED, now=now, terminated_at=now)
    else:
        forget_instance(tx, migration.destination_instance_id)
    if share.status is ShareStatus.MIGRATING:
        share_rows.move(tx, share.instance, Event.REFUSED, now=now, cast_rules_to_readonly=False)
    update_migration(tx, share.id, now=now, is_unfinished=False, note=note, eta_s=None)


def forget_instance(tx: Transaction, instance_id: InstanceId | str) -> None:
    """Forget an instance that does not speak for its share, with its snapshot instances. Raises Conflict."""
    if tx.execute(select(shares.c.id).where(shares.c.instance_id == instance_id)).first() is not None:
        raise Conflict(f"Instance {instance_id} speaks for its share.")
    tx.execute(delete(snapshot_instances).where(snapshot_instances.c.share_instance_id == instance_id))
    tx.execute(delete(share_instances).where(share_instances.c.id == instance_id))


def snapshots_of(tx: Transaction, share_id: ShareId | str) -> Sequence[SnapshotId]:
    """The ids of the share's snapshots, oldest first."""
    query = select(snapshot_table.c.id).where(snapshot_table.c.share_id == share_id)
    found = tx.execute(query.order_by(snapshot_table.c.created_at, snapshot_table.c.id)).scalars()
    return [SnapshotId(item) for item in found]


def _migration(row: Any) -> Migration:
    data = row._mapping  # noqa: SLF001 - the published name of SQLAlchemy's mapping view
    values = {name: data[name] for name in _OTHERS}
    values["share_id"] = ShareId(data["share_id"])
    values["source_instance_id"] = InstanceId(data["source_instance_id"])
    values["destination_instance_id"] = InstanceId(data["destination_instance_id"])
    if data["new_share_type_id"] is not None:
        values["new_share_type_id"] = ShareTypeId(data["new_share_type_id"])
    return Migration(flags=MigrationFlags(**{name: data[name] for name in _FLAGS}), **values)
