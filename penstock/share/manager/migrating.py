"""Migrations that drivers carry out: start, continue, complete, cancel. Each may be called again after a crash.

The rows say where a migration is (`domain.migration`), an operation takes each turn, and `resume` queues the turn of
any migration that has none: an unreachable host, a restart or an operation given up only make it wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.migration import TaskState, Turn, call_of, next_turn
from penstock.domain.operations import Call
from penstock.domain.pools import service_host
from penstock.domain.shares import ReplicaState, Share, ShareStatus
from penstock.errors import Cancelled, Conflict, Fault, NotFound, Unsupported
from penstock.share.manager import access, moves
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call, locations_in
from penstock.share.manager.following import Follower, no_more_than
from penstock.share.manager.models import share_model
from penstock.share.manager.moves import Move
from penstock.store import instances, operations, share_migrations, shares, types
from penstock.store.database import Transaction

log = structlog.get_logger(__name__)

BY_DRIVER = {
    "writable": "the share cannot be written to while it is copied",
    "preserve_metadata": "metadata of files may be lost",
    "nondisruptive": "clients have to mount it again",
    "preserve_snapshots": "its snapshots would be lost",
}


def start(backend: Backend, context: RequestContext, share_id: str) -> None:
    """Decide how the share is moved, and begin."""
    move = moves.find_of_share(backend, share_id)
    if move is None or move.migration.cancel_requested:
        return
    if move.task_state not in (TaskState.STARTING, TaskState.DRIVER_STARTING):
        return
    try:
        if move.task_state == TaskState.STARTING:
            if not _decide(backend, context, move):
                moves.advance(
                    backend, context, move, TaskState.IN_PROGRESS, Turn.MAKE_DESTINATION, is_host_assisted=True
                )
                return
            moves.advance(backend, context, move, TaskState.DRIVER_STARTING, is_host_assisted=False)
            move = moves.find_of_share(backend, share_id) or move
        with driver_call("migrate shares"):
            backend.driver.migration_start(context, *move.arguments, share_server=None, destination_share_server=None)
        moves.advance(backend, context, move, TaskState.DRIVER_IN_PROGRESS, Turn.CONTINUE)
    except Fault as fault:
        moves.stumble(backend, context, move, fault)
        raise


def _decide(backend: Backend, context: RequestContext, move: Move) -> bool:
    """Is the driver to do it? Raises Unsupported when neither it nor the host can as it was asked for."""
    flags = move.migration.flags
    reasons = ["host-assisted migration was forced"]
    if not flags.force_host_assisted:
        with driver_call("tell how shares can be migrated"):
            can = backend.driver.migration_check_compatibility(
                context, move.source_model, move.destination_model, share_server=None, destination_share_server=None
            )
        reasons = list(_missing(move, can))
        if not reasons:
            return True
    host_cannot = [f"{name} ({BY_DRIVER[name]})" for name in flags.only_by_driver]
    if move.snapshots:
        host_cannot.append("keeping the share's snapshots")
    if host_cannot:
        raise Unsupported(
            f"The share cannot be moved to {move.migration.destination_host}: {'; '.join(reasons)}. Copying by the "
            f"host cannot hold to: {', '.join(host_cannot)}."
        )
    return False


def _missing(move: Move, can: Mapping[str, Any]) -> list[str]:
    if not can.get("compatible"):
        return [str(can.get("reason") or "the driver cannot bring it there itself")]
    missing = [f"the driver cannot do it {name}" for name in move.migration.flags.only_by_driver if not can.get(name)]
    if move.snapshots and not can.get("preserve_snapshots") and "preserve_snapshots" not in " ".join(missing):
        missing.append("the driver cannot bring snapshots")
    return missing


def go_on(backend: Backend, context: RequestContext, source_id: str, destination_id: str) -> None:
    """Carry the first phase on, until it is done, or the driver wants to be asked again later."""
    move = moves.find(backend, source_id, destination_id)
    if move is None or move.migration.cancel_requested or move.task_state != TaskState.DRIVER_IN_PROGRESS:
        return
    follower = Follower(backend, context, move)
    try:
        with no_more_than(backend), driver_call("migrate shares"):
            is_done = backend.driver.migration_continue(
                context, *move.arguments, share_server=None, destination_share_server=None, **follower.keywords
            )
    except Cancelled:
        return  # whoever asked has queued what follows
    except Fault as fault:
        moves.stumble(backend, context, move, fault)
        raise
    follower.look()
    if is_done:
        moves.advance(backend, context, move, TaskState.DRIVER_PHASE1_DONE, eta_s=0)


def complete(backend: Backend, context: RequestContext, source_id: str, destination_id: str) -> None:
    """Let the driver bring over the last changes and switch, then say so in the rows."""
    move = moves.find(backend, source_id, destination_id)
    if move is None or move.task_state != TaskState.COMPLETING:
        return
    answer: Mapping[str, Any] | None = None
    if not move.migration.is_host_assisted:
        follower = Follower(backend, context, move)
        try:
            with driver_call("migrate shares"):
                answer = backend.driver.migration_complete(
                    context, *move.arguments, share_server=None, destination_share_server=None, **follower.keywords
                )
        except Cancelled:
            return
        except Fault as fault:
            moves.stumble(backend, context, move, fault)
            raise
    _switch(backend, context, move, answer or {})


def _switch(backend: Backend, context: RequestContext, move: Move, answer: Mapping[str, Any]) -> None:
    """From here on the destination is the share. The source's data go when its backend gets to it."""
    now = backend.now()
    migration = move.migration
    with backend.database.begin() as tx:
        updates = answer.get("snapshot_updates") or {}
        names = {
            key: str(value["provider_location"]) for key, value in updates.items() if value.get("provider_location")
        }
        share_migrations.switch(tx, migration, move.share, move.destination.instance, names, now=now)
        if answer.get("export_locations"):
            found = locations_in(answer["export_locations"])
            instances.put_export_locations(tx, migration.destination_instance_id, found, now=now)
        share_migrations.move_task(tx, move.share, TaskState.SUCCESS, now=now)
        _take_type(tx, backend, move)
        there = service_host(migration.destination_host)
        rules = {"share_instance_id": migration.destination_instance_id}
        backend.enqueue(tx, context, Call(there, f"share:{move.share.id}", "update_access", rules))
        backend.enqueue(tx, context, removal_of(migration.source_instance_id, move.source_model.host))
    log.info("migration.done", share=move.share.id, to=migration.destination_host)


def _take_type(tx: Transaction, backend: Backend, move: Move) -> None:
    """The share's type and what it allows; and whether its one instance counts as a replica."""
    type_id = move.destination.share_type_id
    share_type = None if type_id is None else types.get(tx, type_id)
    if share_type is None:
        return
    now = backend.now()
    replicates = share_type.extra_specs.get("replication_type")
    if move.migration.new_share_type_id is not None:
        shares.update_share(
            tx,
            move.share.id,
            now=now,
            share_type_id=share_type.id,
            snapshot_support=share_type.claims("snapshot_support"),
            create_share_from_snapshot_support=share_type.claims("create_share_from_snapshot_support"),
            revert_to_snapshot_support=share_type.claims("revert_to_snapshot_support"),
            mount_snapshot_support=share_type.claims("mount_snapshot_support"),
            replication_type=replicates,
        )
    # The source's first: the database refuses two active ones.
    instances.update_instance(tx, move.share.instance.id, now=now, replica_state=None)
    state = ReplicaState.ACTIVE if replicates else None
    instances.update_instance(tx, move.destination.instance.id, now=now, replica_state=state)


def cancel(backend: Backend, context: RequestContext, source_id: str, destination_id: str) -> None:
    """Leave the source as it was and nothing at the destination."""
    move = moves.find(backend, source_id, destination_id)
    if move is None:
        return
    try:
        if move.migration.is_host_assisted is False:
            with driver_call("cancel migrations"):
                backend.driver.migration_cancel(
                    context, *move.arguments, share_server=None, destination_share_server=None
                )
    except NotFound as fault:
        log.info("migration.nothing_left", share=move.share.id, fault=str(fault))
    except Conflict as fault:
        _too_late(backend, move, fault)
        return
    except Fault as fault:
        moves.wait(backend, move, fault)
        raise
    _take_back(backend, context, move)


def _too_late(backend: Backend, move: Move, fault: Conflict) -> None:
    """Clients may be writing to the destination already: the only way is forward."""
    now = backend.now()
    with backend.database.begin() as tx:
        share_migrations.update_migration(tx, move.share.id, now=now, cancel_requested=False, note=fault.message)
        # `resume` queues it, after a while: what keeps it from being completed is not over at once
        share_migrations.move_task(tx, move.share, TaskState.COMPLETING, now=now)
    log.warning("migration.not_cancelled", share=move.share.id, fault=str(fault))


def _take_back(backend: Backend, context: RequestContext, move: Move) -> None:
    now = backend.now()
    failed = move.task_state == TaskState.ERROR
    is_at_host = move.migration.is_host_assisted is True
    with backend.database.begin() as tx:
        if not failed:
            share_migrations.move_task(tx, move.share, TaskState.CANCELLED, now=now)
        note = move.migration.note if failed else None
        share_migrations.take_back(tx, move.migration, move.share, keep_destination=is_at_host, now=now, note=note)
        if is_at_host:
            backend.enqueue(
                tx, context, removal_of(move.migration.destination_instance_id, move.migration.destination_host)
            )
    log.info("migration.taken_back", share=move.share.id)
    if is_at_host:
        access.update(backend, context, move.share.instance.id, reapply=True)  # what was read-only meanwhile


def removal_of(instance_id: str, host: str) -> Call:
    """The operation that removes an instance which does not speak for its share any more."""
    return Call(
        service_host(host), f"instance:{instance_id}", "remove_moved_instance", {"share_instance_id": instance_id}
    )


def remove_moved(backend: Backend, context: RequestContext, instance_id: str) -> None:
    """Destroy an instance whose share lives elsewhere, and forget its rows."""
    with backend.database.read() as tx:
        share = shares.get_by_instance(tx, instance_id)
        if share is None or share.status is not ShareStatus.DELETING:
            return
        model = share_model(tx, backend, share)
        speaks = _speaks(tx, share)
    if speaks:
        return
    try:
        access.remove_all(backend, context, share, model)
        with driver_call("delete shares"):
            backend.driver.delete_share(context, model, share_server=None)
    except NotFound:
        pass  # that is what was wanted
    with backend.database.begin() as tx:
        share_migrations.forget_instance(tx, instance_id)
    log.info("migration.removed", instance=instance_id)


def _speaks(tx: Transaction, share: Share) -> bool:
    present = shares.get(tx, share.id)
    return present is not None and present.instance.id == share.instance.id


def resume(backend: Backend, context: RequestContext) -> None:
    """Queue the turn of each migration away from here that has none queued, and removals nobody is at."""
    with backend.database.begin() as tx:
        awaited = {operation.call.resource_key for operation in operations.pending(tx)}
        for migration, task_state in share_migrations.unfinished_from(tx, backend.host):
            turn = next_turn(migration, task_state)
            source = instances.get(tx, migration.source_instance_id)
            if turn is None or source is None or f"migration:{migration.share_id}" in awaited:
                continue
            backend.enqueue(tx, context, call_of(migration, turn, source.host or ""))
        for instance in share_migrations.left_over(tx, backend.host):
            if f"instance:{instance.id}" not in awaited:
                backend.enqueue(tx, context, removal_of(instance.id, instance.host or ""))


def progress(backend: Backend, context: RequestContext, source_id: str, destination_id: str) -> Mapping[str, Any]:
    """How far the migration is, as the driver says. Raises NotFound when there is none."""
    move = moves.find(backend, source_id, destination_id)
    if move is None:
        raise NotFound(f"No migration from {source_id} to {destination_id} is under way.")
    with driver_call("tell how far a migration is"):
        return backend.driver.migration_get_progress(
            context, *move.arguments, share_server=None, destination_share_server=None
        )
