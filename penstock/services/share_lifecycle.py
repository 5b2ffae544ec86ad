"""Delete shares, revert them to a snapshot, and an administrator's resets."""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.migration import TaskState
from penstock.domain.shares import AccessRulesStatus, Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.errors import Conflict, Forbidden, Invalid, InvalidShare, NotFound
from penstock.services import hints, share_calls
from penstock.services.control_plane import ControlPlane
from penstock.services.replicated import refuse_replicas
from penstock.services.visibility import changeable_share, own_snapshot, share_to_change
from penstock.store import share_migrations, shares, snapshots
from penstock.store.database import Transaction
from penstock.store.lists import Page
from penstock.store.snapshots import SnapshotFilter

RESETTABLE = (
    ShareStatus.AVAILABLE,
    ShareStatus.ERROR,
    ShareStatus.CREATING,
    ShareStatus.DELETING,
    ShareStatus.ERROR_DELETING,
    ShareStatus.INACTIVE,
    ShareStatus.MIGRATING,
    ShareStatus.MIGRATING_TO,
    ShareStatus.REVERTING,
    ShareStatus.EXTENDING_ERROR,
    ShareStatus.SHRINKING_ERROR,
)
TASK_STATES = tuple(TaskState)


def delete(plane: ControlPlane, context: RequestContext, share_id: str, *, group_id: str | None = None) -> None:
    """Accept the deletion; a share that is on no pool is gone at once.

    Raises NotFound, Forbidden (as published: a state that does not allow it, or snapshots), Invalid (the group),
    Conflict (replicas).
    """
    with plane.database.begin() as tx:
        share = share_to_change(tx, context, share_id)
        if share.share_group_id != group_id and share.share_group_id is not None:
            raise Invalid("A share of a share group is deleted with 'share_group_id' in the query.")
        if share.status is ShareStatus.MANAGE_ERROR:
            raise Forbidden(f"Share {share.id} was never taken over; unmanage it instead of deleting it.")
        refuse_replicas(share, "deleted")
        if shares.has_snapshots(tx, share.id):
            raise Forbidden(f"Share {share.id} has snapshots; delete them first.")
        try:
            remove(tx, plane, context, share, Event.DELETE)
        except InvalidShare as err:
            raise Forbidden(err.message) from err


def force_delete(plane: ControlPlane, context: RequestContext, share_id: str) -> None:
    """The same in any state, for administrators. Raises NotFound, Invalid (snapshots), Conflict (replicas)."""
    with plane.database.begin() as tx:
        share = share_to_change(tx, context, share_id)
        refuse_replicas(share, "deleted")
        if shares.has_snapshots(tx, share.id):
            raise InvalidShare(f"Share {share.id} has snapshots; delete them first.")
        remove(tx, plane, context, share, Event.FORCE_DELETE)


def remove(tx: Transaction, plane: ControlPlane, context: RequestContext, share: Share, event: Event) -> None:
    """Start to delete `share` with its one instance. Raises InvalidShare when its state does not allow `event`."""
    migration = share_migrations.get(tx, share.id)
    if migration is not None and migration.is_unfinished:
        raise InvalidShare(f"Share {share.id} is being migrated; cancel that first.")
    now = plane.clock.utc()
    status = shares.move(tx, share.instance, event, now=now, terminated_at=now)
    hints.forget(tx, share.id, share.metadata)
    if share.instance.host is None:
        shares.delete_share(tx, share.id)
        return
    if status is ShareStatus.DELETING:
        arguments = {"share_instance_id": share.instance.id, "force": event is Event.FORCE_DELETE}
        share_calls.enqueue(tx, plane, context, share.instance, "delete_share_instance", arguments)


def revert(plane: ControlPlane, context: RequestContext, share_id: str, snapshot_id: str) -> None:
    """Accept the return to the share's latest snapshot: what was written since is lost.

    Raises NotFound (share), Invalid (snapshot unknown, of another share, or no such capability), Conflict (state).
    """
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)
        snapshot = _revertible(tx, context, share, snapshot_id)
        now = plane.clock.utc()
        shares.move(tx, share.instance, Event.REVERT, now=now)
        snapshots.move(tx, snapshot.instance, Event.REVERT, now=now)
        share_calls.enqueue(tx, plane, context, share.instance, "revert_to_snapshot", {"snapshot_id": snapshot.id})


def reset_status(plane: ControlPlane, context: RequestContext, share_id: str, status: str) -> None:
    """Write a state by hand. Raises NotFound, Invalid. Safe to repeat."""
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)
        shares.reset_status(tx, share.instance.id, resettable(status), now=plane.clock.utc())


def reset_task_state(plane: ControlPlane, context: RequestContext, share_id: str, task_state: str | None) -> None:
    """Write the state of a migration by hand. Raises NotFound, Invalid. Safe to repeat."""
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)
        if task_state is not None and task_state not in TASK_STATES:
            raise Invalid(f"'{task_state[:64]}' is not a task state; use null or one of {', '.join(TASK_STATES)}.")
        shares.update_share(tx, share.id, now=plane.clock.utc(), task_state=task_state)


def resettable(status: str) -> ShareStatus:
    """The state an administrator may write. Raises Invalid."""
    try:
        return RESETTABLE[RESETTABLE.index(status)]
    except ValueError:
        raise Invalid(f"'{status[:64]}' cannot be set; use one of {', '.join(RESETTABLE)}.") from None


def _revertible(tx: Transaction, context: RequestContext, share: Share, snapshot_id: str) -> Snapshot:
    try:
        snapshot = own_snapshot(tx, context, snapshot_id)
    except NotFound as err:
        raise Invalid(err.message) from err
    if not share.revert_to_snapshot_support:
        raise Invalid(f"The share type of share {share.id} does not allow it to be reverted to a snapshot.")
    if snapshot.share_id != share.id:
        raise Invalid(f"Snapshot {snapshot.id} is not of share {share.id}.")
    if share.status is not ShareStatus.AVAILABLE:
        raise Conflict(f"Share {share.id} is '{share.status}'; it can be reverted when it is available.")
    if snapshot.aggregate_status is not SnapshotStatus.AVAILABLE:
        raise Conflict(
            f"Snapshot {snapshot.id} is '{snapshot.aggregate_status}'; it can be gone back to when it is available."
        )
    if share.instance.access_rules_status is not AccessRulesStatus.ACTIVE:
        raise Conflict(f"The access rules of share {share.id} are not in force yet; try again when they are.")
    newest = snapshots.list_snapshots(tx, SnapshotFilter(share_id=share.id), Page(limit=1))
    if newest[0].id != snapshot.id:
        raise Conflict(f"Only the latest snapshot can be gone back to; that is {newest[0].id}.")
    return snapshot
