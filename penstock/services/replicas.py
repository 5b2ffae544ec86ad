"""Delete, promote and bring up to date replicas, and an administrator's resets."""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.shares import ReplicaState, Share, ShareStatus
from penstock.errors import Conflict, Forbidden, Invalid, InvalidShare
from penstock.services import replica_views, share_calls, share_lifecycle
from penstock.services.control_plane import ControlPlane
from penstock.services.replica_views import SeenReplica, own_replica
from penstock.services.replicated import refuse_moving
from penstock.services.visibility import hold_share
from penstock.store import operations, replicas, shares, snapshots
from penstock.store.database import Transaction
from penstock.store.snapshots import SnapshotFilter

ONLY_ADMIN_PROMOTES = (ReplicaState.OUT_OF_SYNC, ReplicaState.ERROR)


def delete(plane: ControlPlane, context: RequestContext, replica_id: str) -> None:
    """Accept the end of a replica; one that is on no pool is gone at once.

    Raises NotFound, Invalid (the active one; a state that does not allow it), Conflict (snapshots nowhere else).
    """
    with plane.database.begin() as tx:
        share = replica_to_change(tx, context, replica_id)
        # One that is being made may be on a host that does not answer: it is let go of after the attempt.
        event = Event.FORCE_DELETE if share.status is ShareStatus.CREATING else Event.DELETE
        remove(tx, plane, context, share, event, force=False)


def force_delete(plane: ControlPlane, context: RequestContext, replica_id: str) -> None:
    """The same in any state, for administrators: forgotten even when its backend cannot do its part.

    Snapshots that are nowhere else are forgotten too. Raises NotFound, Invalid (the active one).
    """
    with plane.database.begin() as tx:
        remove(tx, plane, context, replica_to_change(tx, context, replica_id), Event.FORCE_DELETE, force=True)


def remove(
    tx: Transaction, plane: ControlPlane, context: RequestContext, share: Share, event: Event, *, force: bool
) -> None:
    """Start to delete the replica that is the instance of `share`. Raises as `delete`."""
    replica = share.instance
    if replica.replica_state is ReplicaState.ACTIVE or _speaks(tx, share):
        raise Invalid(f"Replica {replica.id} is the active one of share {share.id}; promote another before it goes.")
    _hand_snapshots_over(tx, share, force=force)
    now = plane.clock.utc()
    shares.move(tx, replica, event, now=now, terminated_at=now)
    if replica.host is None:
        replicas.delete_replica(tx, replica.id)
        return
    arguments = {"share_replica_id": replica.id, "share_id": share.id, "force": force}
    share_calls.enqueue(tx, plane, context, replica, "delete_share_replica", arguments)


def promote(
    plane: ControlPlane, context: RequestContext, replica_id: str, *, quiesce_wait_s: int | None = None
) -> tuple[SeenReplica, bool]:
    """Accept that the replica becomes the active one; the replica as it is now, and whether it is on its way.

    Nothing happens when it is already. Raises NotFound, Invalid (its state, or the share's), Forbidden (a replica that
    is behind, unless an administrator says so).
    """
    with plane.database.begin() as tx:
        share = replica_to_change(tx, context, replica_id)
        replica = share.instance
        if replica.replica_state is ReplicaState.ACTIVE:
            return replica_views.seen(tx, plane, share), False
        if replica.status is not ShareStatus.AVAILABLE:
            raise InvalidShare(f"Replica {replica.id} is '{replica.status}'; it can be promoted when it is available.")
        if replica.replica_state in ONLY_ADMIN_PROMOTES and not context.is_admin:
            raise Forbidden(
                f"Replica {replica.id} is '{replica.replica_state}', so that data would be lost; only an administrator "
                f"may promote it."
            )
        _begin_promotion(tx, plane, share)
        arguments = {"share_replica_id": replica.id, "share_id": share.id, "quiesce_wait_time": quiesce_wait_s}
        share_calls.enqueue(tx, plane, context, replica, "promote_share_replica", arguments)
        return replica_views.seen(tx, plane, own_replica(tx, context, replica_id)), True


def resync(plane: ControlPlane, context: RequestContext, replica_id: str) -> bool:
    """Accept that the replica is brought up to date now; whether it is on its way: the active one is up to date.

    Safe to repeat: what is waiting already is not queued again. Raises NotFound, Invalid (on no pool, or busy).
    """
    with plane.database.begin() as tx:
        share = replica_to_change(tx, context, replica_id)
        replica = share.instance
        if replica.replica_state is ReplicaState.ACTIVE:
            return False
        share_calls.placed_on(replica)
        if replica.status in (ShareStatus.CREATING, ShareStatus.DELETING, ShareStatus.REPLICATION_CHANGE):
            raise InvalidShare(f"Replica {replica.id} is '{replica.status}'; it can be synced when it is available.")
        key = share_calls.replica_key(replica)
        waiting = [item for item in operations.pending(tx, resource_key=key) if item.attempts == 0]
        if not waiting:
            arguments = {"share_replica_id": replica.id, "share_id": share.id}
            share_calls.enqueue(tx, plane, context, replica, "update_share_replica", arguments, resource_key=key)
        return True


def reset_status(plane: ControlPlane, context: RequestContext, replica_id: str, status: str) -> None:
    """Write a state by hand. Raises NotFound, Invalid. Safe to repeat."""
    with plane.database.begin() as tx:
        share = replica_to_change(tx, context, replica_id)
        wanted = share_lifecycle.resettable(status)
        shares.reset_status(tx, share.instance.id, wanted, now=plane.clock.utc())


def reset_replica_state(plane: ControlPlane, context: RequestContext, replica_id: str, state: str) -> None:
    """Write a replication state by hand; not who is active, which only a promotion changes.

    Raises NotFound, Invalid. Safe to repeat.
    """
    with plane.database.begin() as tx:
        share = replica_to_change(tx, context, replica_id)
        try:
            wanted = ReplicaState(state)
        except ValueError:
            raise Invalid(f"'{state[:64]}' is not a replica state; use one of {', '.join(ReplicaState)}.") from None
        if (wanted is ReplicaState.ACTIVE) is not (share.instance.replica_state is ReplicaState.ACTIVE):
            raise Invalid("Which replica is active is not written by hand: promote the one that is to be.")
        replicas.set_state(tx, share.instance.id, wanted, now=plane.clock.utc())


def replica_to_change(tx: Transaction, context: RequestContext, replica_id: str) -> Share:
    """`own_replica`, read while its share is held until this transaction ends. Raises as that, and Forbidden."""
    hold_share(tx, own_replica(tx, context, replica_id).id)
    share = own_replica(tx, context, replica_id)
    if share.is_soft_deleted:
        raise Forbidden(f"Share {share.id} has been soft-deleted; restore it first.")
    return share


def _speaks(tx: Transaction, share: Share) -> bool:
    speaker = shares.get(tx, share.id)
    return speaker is not None and speaker.instance.id == share.instance.id


def _begin_promotion(tx: Transaction, plane: ControlPlane, share: Share) -> None:
    """Put the replica and the one it follows into ``replication_change``; a resize of the share is given up."""
    now = plane.clock.utc()
    speaker = shares.get(tx, share.id)
    if speaker is None:
        raise Conflict(f"Share {share.id} is gone.")
    refuse_moving(speaker, "promote a replica")
    if speaker.instance.id != share.instance.id:
        shares.move(tx, speaker.instance, Event.PROMOTE, now=now)
    shares.move(tx, share.instance, Event.PROMOTE, now=now)
    if share.size_target_gib is not None:
        shares.update_share(tx, share.id, now=now, size_target_gib=None)


def _hand_snapshots_over(tx: Transaction, share: Share, *, force: bool) -> None:
    """Let no snapshot of the share speak through the replica that goes."""
    going = share.instance.id
    for snapshot in snapshots.list_snapshots(tx, SnapshotFilter(share_id=share.id)):
        if snapshot.instance.share_instance_id != going:
            continue
        copies = replicas.snapshot_instances_by_replica(tx, snapshot.id)
        active = replicas.active_of(tx, share.id)
        others = [copies[key] for key in copies if key != going]
        if others:
            of_active = [one for one in others if active and one.share_instance_id == active.instance.id]
            replicas.let_speak(tx, snapshot.id, (of_active or others)[0].id)
        elif force:
            snapshots.delete_snapshot(tx, snapshot.id)
        else:
            raise Conflict(f"Only replica {going} has snapshot {snapshot.id}; delete the snapshot first.")
