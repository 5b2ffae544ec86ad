"""Rows of replicas: the instances of a replicated share, which of them is active, and their snapshots.

A replica is an instance whose ``replica_state`` is set. The active one speaks for the share (``shares.instance_id``),
and its snapshot instances for the share's snapshots.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Update, bindparam, delete, func, select, update

from penstock.domain.shares import ReplicaState, Share, ShareInstance
from penstock.domain.snapshots import SnapshotInstance, SnapshotStatus
from penstock.errors import Conflict
from penstock.ids import InstanceId, ShareId, SnapshotId, SnapshotInstanceId
from penstock.store.instances import IS_ON_BACKEND, instance_of, prefix_of
from penstock.store.schema import share_instances, shares, snapshot_instances, snapshots
from penstock.store.shares import with_each_instance
from penstock.store.snapshots import instance_in
from penstock.store.statements import update_row
from penstock.store.transaction import Transaction

# Asked at every look at a backend's replicas: built once.
_REPLICAS = (
    select(share_instances)
    .where(share_instances.c.replica_state.is_not(None))
    .order_by(share_instances.c.created_at, share_instances.c.id)
)
_ON = _REPLICAS.where(IS_ON_BACKEND)
_SIBLINGS = _REPLICAS.where(share_instances.c.share_id.in_(bindparam("ids", expanding=True)))
_SHARE_ID = select(share_instances.c.share_id).where(share_instances.c.id == bindparam("id"))
_INSTANCES_OF_SNAPSHOT = select(snapshot_instances).where(snapshot_instances.c.snapshot_id == bindparam("id"))
_SPOKEN = snapshot_instances.alias("spoken")
_AWAITING = (
    select(snapshot_instances.c.share_instance_id)
    .join(snapshots, snapshots.c.id == snapshot_instances.c.snapshot_id)
    .join(_SPOKEN, _SPOKEN.c.id == snapshots.c.instance_id)
    .where(
        snapshot_instances.c.status == SnapshotStatus.CREATING,
        snapshot_instances.c.id != snapshots.c.instance_id,
        _SPOKEN.c.status == SnapshotStatus.AVAILABLE,
    )
)


@cache
def _change_seen(columns: tuple[str, ...]) -> Update:
    """Set `columns` of a replica while its state and its status are still what was seen."""
    as_seen = share_instances.c.replica_state == bindparam("of_state")
    return update_row(share_instances, columns, from_status=True).where(as_seen)


def of_share(tx: Transaction, share_id: ShareId | str) -> list[Share]:
    """The share once for each of its replicas, with that one as its instance, oldest first; none if not replicated."""
    return [share for share in with_each_instance(tx, share_id) if share.instance.is_replica]


def of_share_with(tx: Transaction, replica_id: InstanceId | str) -> list[Share]:
    """As `of_share`, of the share that this replica is one of."""
    share_id = tx.execute(_SHARE_ID, {"id": replica_id}).scalar()
    return [] if share_id is None else of_share(tx, share_id)


def active_of(tx: Transaction, share_id: ShareId | str) -> Share | None:
    """The share with its active replica, or None when it has none (it never had, or a promotion broke off)."""
    found = [share for share in of_share(tx, share_id) if share.instance.replica_state is ReplicaState.ACTIVE]
    return found[0] if found else None


def on(tx: Transaction, backend: str) -> list[ShareInstance]:
    """The replicas on ``host@backend`` in whatever state, the active ones included, oldest first."""
    return [instance_of(row) for row in tx.execute(_ON, prefix_of(backend))]


def siblings(tx: Transaction, share_ids: Sequence[str]) -> dict[str, list[ShareInstance]]:
    """The replicas of several shares, by share, oldest first."""
    found: dict[str, list[ShareInstance]] = {}
    for start in range(0, len(share_ids), 10_000):  # SQLite takes at most 32,766 parameters
        for row in tx.execute(_SIBLINGS, {"ids": list(share_ids[start : start + 10_000])}):
            found.setdefault(row.share_id, []).append(instance_of(row))
    return found


def count(tx: Transaction, share_id: ShareId | str) -> int:
    """How many replicas the share has, in whatever state, the active one included."""
    query = select(func.count()).where(share_instances.c.share_id == share_id)
    return int(tx.execute(query.where(share_instances.c.replica_state.is_not(None))).scalar_one())


def set_state(
    tx: Transaction, instance_id: InstanceId | str, state: ReplicaState, *, now: datetime, **values: Any
) -> None:
    """Write the replication state, with further columns (``synced_at``, ``epoch``, ``lag_alarm``).

    Raises Conflict when the share has another active replica: `switch_active` is the way to change it.
    """
    row = {"replica_state": state, "updated_at": now, **values}
    tx.execute(update_row(share_instances, tuple(row)), {**row, "of_id": instance_id})


def change_state(tx: Transaction, seen: ShareInstance, state: ReplicaState, *, now: datetime, **values: Any) -> bool:
    """As `set_state`, but only when nobody changed the replica's state or status since it was read; says whether."""
    if seen.replica_state is None:
        return False  # it is no replica
    row = {"replica_state": state, "updated_at": now, **values}
    same = {"of_id": seen.id, "of_status": seen.status, "of_state": seen.replica_state}
    return tx.execute(_change_seen(tuple(row)), {**row, **same}).rowcount == 1


def keep_epoch(tx: Transaction, share_id: ShareId | str, new: InstanceId | str, *, now: datetime) -> int:
    """A number for the reign of `new`, stored before it begins: higher than any that was kept for this share, also for
    replicas that are forgotten by now.

    Each attempt has one of its own, and the one above it: a driver that gives a promotion up lets the old active
    replica go on under that.
    """
    last = tx.execute(select(shares.c.last_epoch).where(shares.c.id == share_id).with_for_update()).scalar()
    rows = tx.execute(select(share_instances.c.epoch).where(share_instances.c.share_id == share_id)).scalars()
    kept = max([int(last or 0), *map(int, rows)]) + 2
    tx.execute(update(shares).where(shares.c.id == share_id).values(last_epoch=kept, updated_at=now))
    tx.execute(update(share_instances).where(share_instances.c.id == new).values(epoch=kept, updated_at=now))
    return kept


def switch_active(
    tx: Transaction,
    share_id: ShareId | str,
    old: InstanceId | str,
    new: InstanceId | str,
    *,
    now: datetime,
    epoch: int,
    old_state: ReplicaState = ReplicaState.OUT_OF_SYNC,
    casts_readonly: bool = True,
) -> None:
    """Make `new` the active replica in place of `old`, and let it speak for the share and its snapshots.

    `epoch` is the new reign, which `old` has not seen. With `casts_readonly` (type ``readable``) the rules of `old`
    become read-only and those of `new` what they say. Statuses stay, the caller moves them. Raises Conflict when `old`
    does not speak for the share any more: another promotion was faster. Snapshots that `new` has no instance of keep
    speaking through the old one.
    """
    speaks = (shares.c.id == share_id) & (shares.c.instance_id == old)
    if tx.execute(update(shares).where(speaks).values(instance_id=new, updated_at=now)).rowcount != 1:
        raise Conflict(f"Share {share_id} has another active replica than {old} already.")
    # The old one first: the database refuses two active ones.
    set_state(tx, old, old_state, now=now, cast_rules_to_readonly=casts_readonly)
    set_state(tx, new, ReplicaState.ACTIVE, now=now, cast_rules_to_readonly=False, epoch=epoch, lag_alarm=False)
    mine = select(snapshot_instances.c.id).where(
        snapshot_instances.c.snapshot_id == snapshots.c.id, snapshot_instances.c.share_instance_id == new
    )
    tx.execute(
        update(snapshots)
        .where(snapshots.c.share_id == share_id, mine.exists())
        .values(instance_id=mine.scalar_subquery())
    )


def delete_replica(tx: Transaction, instance_id: InstanceId | str) -> None:
    """Forget a replica that does not speak for its share, with its rules, locations and snapshot instances.

    Raises Conflict for the one that does.
    """
    if tx.execute(select(shares.c.id).where(shares.c.instance_id == instance_id)).first() is not None:
        raise Conflict(f"Replica {instance_id} is the active one of its share.")
    mine = snapshot_instances.c.share_instance_id == instance_id
    speaking = select(snapshots.c.id).where(snapshots.c.instance_id == snapshot_instances.c.id).exists()
    if tx.execute(select(snapshot_instances.c.id).where(mine, speaking)).first() is not None:
        raise Conflict(f"Replica {instance_id} has snapshots that its share has nowhere else.")
    tx.execute(delete(snapshot_instances).where(mine))
    tx.execute(delete(share_instances).where(share_instances.c.id == instance_id))


def let_speak(tx: Transaction, snapshot_id: SnapshotId | str, instance_id: SnapshotInstanceId | str) -> None:
    """Let another of its instances speak for the snapshot."""
    tx.execute(update(snapshots).where(snapshots.c.id == snapshot_id).values(instance_id=instance_id))


def snapshot_instances_on(
    tx: Transaction, instance_id: InstanceId | str, *, statuses: Sequence[SnapshotStatus] | None = None
) -> list[SnapshotInstance]:
    """The snapshot instances of one replica, oldest first."""
    query = select(snapshot_instances).where(snapshot_instances.c.share_instance_id == instance_id)
    if statuses is not None:
        query = query.where(snapshot_instances.c.status.in_(list(statuses)))
    rows = tx.execute(query.order_by(snapshot_instances.c.created_at, snapshot_instances.c.id))
    return [instance_in(row) for row in rows]


def awaiting_snapshots(tx: Transaction, instance_ids: Sequence[str]) -> frozenset[str]:
    """Those of the replicas that are yet to get a snapshot which is available where it speaks."""
    return frozenset(set(tx.execute(_AWAITING).scalars()).intersection(instance_ids))


def snapshot_instances_by_replica(tx: Transaction, snapshot_id: SnapshotId | str) -> dict[InstanceId, SnapshotInstance]:
    """The instances of one snapshot by the replica they are of."""
    rows = tx.execute(_INSTANCES_OF_SNAPSHOT, {"id": snapshot_id})
    return {InstanceId(row.share_instance_id): instance_in(row) for row in rows}


def delete_snapshot_instance(tx: Transaction, instance_id: SnapshotInstanceId | str) -> None:
    """Forget one instance of a snapshot. Raises Conflict for the one that speaks for it."""
    if tx.execute(select(snapshots.c.id).where(snapshots.c.instance_id == instance_id)).first() is not None:
        raise Conflict(f"Snapshot instance {instance_id} is the one that speaks for its snapshot.")
    tx.execute(delete(snapshot_instances).where(snapshot_instances.c.id == instance_id))
