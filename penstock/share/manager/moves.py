"""A migration with everything the driver is handed: read in one transaction, written in others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.message_codes import MessageAction
from penstock.domain.migration import Migration, TaskState, Turn, call_of
from penstock.domain.shares import Share
from penstock.domain.snapshots import Snapshot
from penstock.errors import Fault
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import is_final
from penstock.share.manager.models import share_model, snapshot_model
from penstock.share.manager.notices import tell_owner
from penstock.share.models import ShareModel, SnapshotModel
from penstock.store import share_migrations, shares, snapshots
from penstock.store.database import Transaction

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Move:
    """`share` has the source's instance, `destination` is the same share with the destination's and its type there."""

    migration: Migration
    share: Share
    destination: Share
    source_model: ShareModel
    destination_model: ShareModel
    snapshots: tuple[SnapshotModel, ...]
    mappings: Mapping[str, SnapshotModel]

    @property
    def task_state(self) -> str | None:
        """Where the migration is."""
        return self.share.task_state

    @property
    def arguments(self) -> tuple[ShareModel, ShareModel, tuple[SnapshotModel, ...], Mapping[str, SnapshotModel]]:
        """What the driver's migration methods take after the context."""
        return self.source_model, self.destination_model, self.snapshots, self.mappings


def find(backend: Backend, source_id: str, destination_id: str) -> Move | None:
    """The unfinished migration between these instances; None when it ended, or never was."""
    with backend.database.read() as tx:
        migration = share_migrations.get_by_instances(tx, source_id, destination_id)
        return None if migration is None else _move(tx, backend, migration)


def find_of_share(backend: Backend, share_id: str) -> Move | None:
    """The unfinished migration of the share, or None."""
    with backend.database.read() as tx:
        migration = share_migrations.get(tx, share_id)
        return None if migration is None else _move(tx, backend, migration)


def _move(tx: Transaction, backend: Backend, migration: Migration) -> Move | None:
    source = shares.get_by_instance(tx, migration.source_instance_id)
    there = shares.get_by_instance(tx, migration.destination_instance_id)
    if not migration.is_unfinished or source is None or there is None:
        return None
    destination = replace(there, share_type_id=there.instance.share_type_id)
    here = _snapshots(tx, migration.source_instance_id)
    to_be = _snapshots(tx, migration.destination_instance_id)
    models = {snapshot_id: snapshot_model(tx, backend, snapshot) for snapshot_id, snapshot in here.items()}
    mappings = {
        model.id: snapshot_model(tx, backend, to_be[snapshot_id])
        for snapshot_id, model in models.items()
        if snapshot_id in to_be
    }
    return Move(
        migration=migration,
        share=source,
        destination=destination,
        source_model=share_model(tx, backend, source),
        destination_model=share_model(tx, backend, destination),
        snapshots=tuple(models.values()),
        mappings=mappings,
    )


def _snapshots(tx: Transaction, instance_id: str) -> dict[str, Snapshot]:
    """The snapshots of one share instance, each with its instance there, by snapshot, oldest first."""
    found: dict[str, Snapshot] = {}
    for instance in share_migrations.snapshots_on(tx, instance_id):
        snapshot = snapshots.get(tx, instance.snapshot_id)
        if snapshot is not None:
            found[snapshot.id] = replace(snapshot, instance=instance)
    return found


# --- writing ----------------------------------------------------------------------------------------------------------


def advance(
    backend: Backend, context: RequestContext, move: Move, state: TaskState, then: Turn | None = None, **values: Any
) -> None:
    """Write the next task state and columns of the migration, and queue the turn that follows. Raises Conflict."""
    now = backend.now()
    with backend.database.begin() as tx:
        share_migrations.move_task(tx, move.share, state, now=now)
        share_migrations.update_migration(tx, move.share.id, now=now, **{"note": None, **values})
        if then is not None:
            backend.enqueue(tx, context, call_of(move.migration, then, move.source_model.host))
    log.info("migration.advanced", share=move.share.id, state=state.value)


def stumble(backend: Backend, context: RequestContext, move: Move, fault: Fault) -> None:
    """A turn broke off: the migration waits, or it has failed. An unreachable host never ends it."""
    if is_final(fault) and not fault.retryable:
        fail(backend, context, move, fault)
    else:
        wait(backend, move, fault)


def wait(backend: Backend, move: Move, fault: Fault) -> None:
    """Say what the migration waits for: it stays as it is, and goes on when that is over."""
    with backend.database.begin() as tx:
        share_migrations.update_migration(tx, move.share.id, now=backend.now(), note=f"Waiting: {fault.message}")


def fail(backend: Backend, context: RequestContext, move: Move, fault: Fault) -> None:
    """The migration has failed: say so, tell the owner, and queue what leaves the source as it was."""
    now = backend.now()
    with backend.database.begin() as tx:
        present = shares.get_by_instance(tx, move.share.instance.id)
        if present is None or present.task_state == TaskState.ERROR:
            return
        share_migrations.move_task(tx, present, TaskState.ERROR, now=now)
        share_migrations.update_migration(tx, move.share.id, now=now, note=fault.message)
        tell_owner(tx, backend, context, move.share, MessageAction.UPDATE, fault)
        backend.enqueue(tx, context, call_of(move.migration, Turn.CANCEL, move.source_model.host))
    log.error("migration.failed", share=move.share.id, fault=str(fault))
