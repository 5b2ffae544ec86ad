"""Snapshots of replicated shares: taken and destroyed at the active replica, carried to the others by syncs.

A snapshot has an instance on each replica; the active replica's speaks for it and is forgotten last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction, MessageDetail
from penstock.domain.operations import Call
from penstock.domain.pools import service_host
from penstock.domain.shares import ReplicaState, Share
from penstock.domain.snapshots import Snapshot, SnapshotInstance, SnapshotStatus
from penstock.errors import Conflict, Fault, NotFound, SnapshotLost, SnapshotResourceNotFound
from penstock.operations.queue import OperationQueue
from penstock.share.manager import replica_rows
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call, is_final
from penstock.share.manager.models import access_models
from penstock.share.manager.notices import tell_owner
from penstock.share.manager.replica_rows import Copies
from penstock.share.models import SnapshotModel
from penstock.store import access, operations, replicas, snapshots
from penstock.store.database import Transaction

log = structlog.get_logger(__name__)

ON_THEIR_WAY = (SnapshotStatus.CREATING, SnapshotStatus.DELETING)


def create(backend: Backend, context: RequestContext, snapshot_id: str) -> None:
    """Take the snapshot at the active replica, unless that is done already."""
    with backend.database.read() as tx:
        snapshot = snapshots.get(tx, snapshot_id)
        if snapshot is None or snapshot.status is not SnapshotStatus.CREATING:
            return
        copies = replica_rows.load_active(tx, backend, snapshot.share_id)
        models = replica_rows.snapshot_models_of(tx, backend, snapshot_id)
    try:
        if copies is None:
            raise Conflict("The share has no active replica now.")
        with driver_call("take snapshots of replicated shares"):
            answer = backend.driver.create_replicated_snapshot(context, copies.models, models, share_server=None)
    except Fault as fault:
        if is_final(fault):
            _fail_all(backend, context, snapshot, MessageAction.CREATE, fault)
        raise
    updates = {str(item["id"]): item for item in answer or ()}
    with backend.database.begin() as tx:
        for instance in replicas.snapshot_instances_by_replica(tx, snapshot_id).values():
            _write(tx, backend, instance, updates.get(instance.id, {}))


def _write(tx: Transaction, backend: Backend, instance: SnapshotInstance, update: Mapping[str, Any]) -> None:
    """What a driver said of one instance that is being made."""
    if instance.status is not SnapshotStatus.CREATING:
        return
    location = update.get("provider_location")
    values = {} if location is None else {"provider_location": str(location)}
    if update.get("status") == SnapshotStatus.AVAILABLE:
        snapshots.move(tx, instance, Event.DONE, now=backend.now(), progress="100%", **values)
    elif update.get("status") == SnapshotStatus.ERROR:
        snapshots.move(tx, instance, Event.FAILED, now=backend.now(), **values)


def delete(backend: Backend, context: RequestContext, snapshot_id: str, *, force: bool) -> None:
    """Destroy the snapshot on all replicas that answer. What others still have is gone when they do.

    With `force` all is forgotten, even when the backends cannot do their part.
    """
    with backend.database.read() as tx:
        snapshot = snapshots.get(tx, snapshot_id)
        if snapshot is None or snapshot.status is not SnapshotStatus.DELETING:
            return
        copies = replica_rows.load_active(tx, backend, snapshot.share_id)
        models = replica_rows.snapshot_models_of(tx, backend, snapshot_id)
    try:
        if copies is None:
            raise Conflict("The share has no active replica now.")
        with driver_call("delete snapshots of replicated shares"):
            answer = backend.driver.delete_replicated_snapshot(context, copies.models, models, share_server=None)
        gone = {str(item["id"]) for item in answer or () if item.get("status") == SnapshotStatus.DELETED}
    except NotFound:
        gone = {model.id for model in models}  # that is what was wanted
    except Fault as fault:
        if not is_final(fault):
            raise
        if not force:
            _fail_all(backend, context, snapshot, MessageAction.DELETE, fault)
            raise
        log.warning("snapshot.left_behind", snapshot=snapshot_id, fault=str(fault))
    with backend.database.begin() as tx:
        _forget(tx, snapshot_id, {model.id for model in models} if force else gone)


def _forget(tx: Transaction, snapshot_id: str, gone: set[str]) -> None:
    """Forget the instances that are gone; the snapshot itself with the last, which is the one that speaks for it."""
    snapshot = snapshots.get(tx, snapshot_id)
    if snapshot is None:
        return
    others = [i for i in snapshots.instances_of(tx, snapshot_id) if i.id != snapshot.instance.id]
    for instance in others:
        if instance.id in gone:
            replicas.delete_snapshot_instance(tx, instance.id)
    if snapshot.instance.id in gone and all(instance.id in gone for instance in others):
        snapshots.delete_snapshot(tx, snapshot_id)


def _fail_all(
    backend: Backend, context: RequestContext, snapshot: Snapshot, action: MessageAction, fault: Fault
) -> None:
    with backend.database.begin() as tx:
        for instance in snapshots.instances_of(tx, snapshot.id):
            if instance.status in ON_THEIR_WAY:
                snapshots.move(tx, instance, Event.FAILED, now=backend.now())
        tell_owner(tx, backend, context, snapshot, action, fault)


def revert(backend: Backend, context: RequestContext, share: Share, snapshot: Snapshot) -> None:
    """Put the active replica back to the snapshot, the others following. Raises what the driver raises."""
    with backend.database.read() as tx:
        copies = replica_rows.load(tx, backend, share.id, share.instance.id)
        models = replica_rows.snapshot_models_of(tx, backend, snapshot.id)
        rules = [rule for rule in access.of_instance(tx, share.instance.id) if rule.state is AccessState.ACTIVE]
    mine = next((model for model in models if model.share_instance_id == share.instance.id), None)
    if copies is None or mine is None:
        raise SnapshotResourceNotFound("The active replica has no such snapshot.")
    with driver_call("revert replicated shares to snapshots"):
        backend.driver.revert_to_replicated_snapshot(
            context, copies.model, copies.models, mine, models, access_models(share, rules), [], share_server=None
        )


# --- what is on its way ---------------------------------------------------------------------------------------------


def update_all(backend: Backend, queue: OperationQueue, context: RequestContext) -> None:
    """See how far the snapshots are that are on their way to or from replicas of this backend."""
    with backend.database.read() as tx:
        found = snapshots.of_backend(tx, backend.host, statuses=ON_THEIR_WAY)
    for snapshot in found:
        try:
            _update(backend, queue, context, snapshot)
        except Fault as fault:
            log.warning("snapshot.status_unknown", snapshot=snapshot.id, fault=str(fault))


def _update(backend: Backend, queue: OperationQueue, context: RequestContext, snapshot: Snapshot) -> None:
    with backend.database.read() as tx:
        copies = replica_rows.load(tx, backend, snapshot.share_id, snapshot.instance.share_instance_id)
        if copies is None or _is_awaited(tx, snapshot):
            return
        models = replica_rows.snapshot_models_of(tx, backend, snapshot.id)
    mine = next((model for model in models if model.id == snapshot.instance.id), None)
    if mine is None:
        return  # deleted since the round began
    is_active = copies.mine.instance.replica_state is ReplicaState.ACTIVE
    if is_active and snapshot.status is SnapshotStatus.DELETING:
        _finish_deletion(backend, queue, context, snapshot, copies.mine)
        return
    if snapshot.status is SnapshotStatus.CREATING and not is_active and _is_given_up(copies, models):
        _give_up(backend, snapshot)
        return
    try:
        with driver_call("tell how far snapshots are"):
            answer = backend.driver.update_replicated_snapshot(
                context, copies.models, copies.model, models, mine, share_server=None
            )
    except SnapshotResourceNotFound as fault:
        if snapshot.status is SnapshotStatus.DELETING:
            _gone(backend, queue, context, snapshot)
        else:
            _lost(backend, context, snapshot, fault, is_everywhere=isinstance(fault, SnapshotLost))
        return
    except Fault as fault:
        if not fault.retryable:  # what only the old active one may have goes when that follows this one
            _lost(backend, context, snapshot, fault, is_everywhere=is_active)
        raise
    if is_active and (answer or {}).get("status") != SnapshotStatus.AVAILABLE:
        # It was promoted before a sync brought the snapshot, and nobody will.
        gone = Fault("It is on the replica that was active before.")
        _lost(backend, context, snapshot, gone, is_everywhere=True)
        return
    with backend.database.begin() as tx:
        _write(tx, backend, snapshot.instance, answer or {})


def _is_awaited(tx: Transaction, snapshot: Snapshot) -> bool:
    """Is an operation about this snapshot under way, or a promotion of its share? It writes what comes of it."""
    pending = operations.pending(tx, resource_key=f"share:{snapshot.share_id}")
    return any(
        operation.call.arguments.get("snapshot_id") == snapshot.id or operation.call.method == "promote_share_replica"
        for operation in pending
    )


def _is_given_up(copies: Copies, models: Sequence[SnapshotModel]) -> bool:
    """Has its creation failed where it speaks? The replica was asked for meanwhile, and nothing will come to it."""
    active = copies.active
    return active is not None and any(
        model.share_instance_id == active.instance.id and model.status == SnapshotStatus.ERROR for model in models
    )


def _give_up(backend: Backend, snapshot: Snapshot) -> None:
    """Its owner was told by who failed."""
    with backend.database.begin() as tx:
        present = snapshots.get_by_instance(tx, snapshot.instance.id)
        if present is not None and present.status is SnapshotStatus.CREATING:
            snapshots.move(tx, present.instance, Event.FAILED, now=backend.now())


def _gone(backend: Backend, queue: OperationQueue, context: RequestContext, snapshot: Snapshot) -> None:
    """One replica does not have it any more; the one that speaks for the snapshot ends its deletion."""
    with backend.database.begin() as tx:
        _forget(tx, snapshot.id, {snapshot.instance.id})
        left = snapshots.get(tx, snapshot.id)
        active = replicas.active_of(tx, snapshot.share_id)
    if left is not None and active is not None:
        _finish_deletion(backend, queue, context, left, active)


def _finish_deletion(
    backend: Backend, queue: OperationQueue, context: RequestContext, snapshot: Snapshot, active: Share
) -> None:
    """Let the active replica's backend end it, when no other replica has an instance any more.

    When others still have one and none of them is on its way, it has failed, and the one that speaks says so: the
    owner may ask again.
    """
    with backend.database.begin() as tx:
        present = snapshots.get(tx, snapshot.id)
        if present is None or present.status is not SnapshotStatus.DELETING or _is_awaited(tx, snapshot):
            return
        others = [i for i in snapshots.instances_of(tx, snapshot.id) if i.id != present.instance.id]
        if others and not any(instance.status in ON_THEIR_WAY for instance in others):
            snapshots.move(tx, present.instance, Event.FAILED, now=backend.now())
        if others or active.instance.host is None:
            return
        arguments = {"snapshot_id": snapshot.id, "share_id": snapshot.share_id}
        call = Call(
            service_host(active.instance.host), f"share:{snapshot.share_id}", "delete_replicated_snapshot", arguments
        )
        queue.enqueue(tx, context, call)


def _write_lost(tx: Transaction, backend: Backend, instance: SnapshotInstance) -> None:
    if instance.status in ON_THEIR_WAY:
        snapshots.move(tx, instance, Event.FAILED, now=backend.now())
    elif instance.status is SnapshotStatus.AVAILABLE:
        snapshots.move(tx, instance, Event.LOST, now=backend.now())


def _lost(
    backend: Backend, context: RequestContext, snapshot: Snapshot, fault: Fault, *, is_everywhere: bool = False
) -> None:
    """It is not there and will not be; with `is_everywhere` on no replica, once they are in sync again."""
    with backend.database.begin() as tx:
        present = snapshots.get_by_instance(tx, snapshot.instance.id)
        if present is None or present.status is not snapshot.status:
            return
        for instance in snapshots.instances_of(tx, snapshot.id) if is_everywhere else [present.instance]:
            _write_lost(tx, backend, instance)
        action = MessageAction.CREATE if snapshot.status is SnapshotStatus.CREATING else MessageAction.DELETE
        detail = MessageDetail.SNAPSHOT_NOT_REPLICATED if action is MessageAction.CREATE else None
        tell_owner(tx, backend, context, snapshot, action, fault, detail=detail)
