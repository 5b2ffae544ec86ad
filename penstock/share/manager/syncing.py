"""One sync of one replica: bring it up to date, mend what broke, and write how it is.

A sync is begun by the pump or by an administrator. It may be ended from outside and begun again at any time; what it
writes it writes only when nobody changed the replica meanwhile.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.message_codes import MessageAction
from penstock.domain.shares import ReplicaState, Share, ShareStatus
from penstock.errors import BackendFault, Cancelled, Fault
from penstock.operations import attempt
from penstock.share.manager import replica_rows
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call, is_final
from penstock.share.manager.notices import tell_owner
from penstock.share.manager.replica_rows import Copies
from penstock.share.manager.syncs import Syncs
from penstock.share.replication import HasReplicaReports, Watch
from penstock.store import operations, replicas
from penstock.units import MIB

log = structlog.get_logger(__name__)

LOOK_S = 1.0  # how often a running sync looks whether it is still wanted
TELL_S = 5.0  # how often it says how far it is
STATES = (ReplicaState.IN_SYNC, ReplicaState.OUT_OF_SYNC, ReplicaState.ERROR)


def sync(backend: Backend, syncs: Syncs, context: RequestContext, replica_id: str) -> ReplicaState | None:
    """Bring the replica up to date; returns its new state, None when there is nothing that could be synced now.

    Raises Cancelled when it was asked to stop, or is being synced already; and the driver's faults.
    """
    with backend.database.read() as tx:
        copies = replica_rows.load(tx, backend, None, replica_id)
        if copies is None or not may_sync(copies):
            return None
        rules = replica_rows.rules_of(tx, copies.mine, is_read_only=True)
        pairs = replica_rows.pairs_of(tx, backend, copies)
    with syncs.running(replica_id, copies.mine.id) as stop:
        if stop is None:
            raise Cancelled(f"Replica {replica_id} is being synced already.")
        started_at = backend.now()
        try:
            with driver_call("bring replicas up to date"):
                answer = backend.driver.update_replica_state(
                    context,
                    copies.models,
                    copies.model,
                    rules,
                    pairs,
                    share_server=None,
                    **watched(backend, stop, copies),
                )
            state = _state(answer)
        except Cancelled:
            raise
        except Fault as fault:
            if not fault.retryable or (attempt.current() is not None and is_final(fault)):
                _failed(backend, context, copies.mine, fault)
            raise
    return _write(backend, copies, state, started_at)


def may_sync(copies: Copies) -> bool:
    """Is it a replica that follows another one, and nobody works on it or its share's reign?"""
    mine = copies.mine
    is_follower = mine.instance.replica_state is not ReplicaState.ACTIVE
    return is_follower and mine.status is ShareStatus.AVAILABLE and not copies.is_changing


def watched(backend: Backend, stop: threading.Event, copies: Copies) -> dict[str, Any]:
    """The keyword by which a driver lets a long copy be followed and ended, if it does."""
    if not isinstance(backend.driver, HasReplicaReports):
        return {}
    following = _Following(backend, stop, copies.mine, attempt.current())
    return {"watch": Watch(following.on_progress, following.should_stop)}


@dataclass
class _Following:
    """What a running sync is asked and told. Called by one thread of the driver's."""

    backend: Backend
    stop: threading.Event
    share: Share
    operation: Any
    _looked_s: float = field(init=False)
    _told_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._looked_s = self._told_s = self.backend.clock.monotonic_s()

    def on_progress(self, sent_bytes: int) -> None:
        now_s = self.backend.clock.monotonic_s()
        if self.operation is None or now_s - self._told_s < TELL_S:
            return
        self._told_s = now_s
        with self.backend.database.begin() as tx:
            operations.set_progress(tx, self.operation.id, f"{sent_bytes // MIB} MiB sent")

    def should_stop(self) -> bool:
        """Asked in this process; or a promotion or deletion was accepted, perhaps by another one."""
        now_s = self.backend.clock.monotonic_s()
        if not self.stop.is_set() and now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            with self.backend.database.read() as tx:
                copies = replica_rows.load(tx, self.backend, self.share.id, self.share.instance.id)
                operation = None if self.operation is None else operations.get(tx, self.operation.id)
            if copies is None or not may_sync(copies) or (operation is not None and operation.cancel_requested):
                self.stop.set()
        return self.stop.is_set()


def _state(answer: object) -> ReplicaState | None:
    if answer is None:
        return None
    if answer not in STATES:
        raise BackendFault(f"The driver answered to a sync with the state {answer!r}.")
    return ReplicaState(str(answer))


def _write(backend: Backend, copies: Copies, state: ReplicaState | None, started_at: datetime) -> ReplicaState | None:
    """What it holds now was the active one's state when the sync began, or later; if that one is active still."""
    instance = copies.mine.instance
    wanted = state or instance.replica_state
    if wanted is None or (wanted is instance.replica_state and wanted is not ReplicaState.IN_SYNC):
        return state
    values = {"synced_at": started_at} if wanted is ReplicaState.IN_SYNC else {}
    with backend.database.begin() as tx:
        active = replicas.active_of(tx, copies.mine.id)
        is_same = active is not None and copies.active is not None and active.instance.id == copies.active.instance.id
        if not is_same or not replicas.change_state(tx, instance, wanted, now=backend.now(), **values):
            log.info("replica.changed_meanwhile", replica=instance.id)
            return None
    return wanted


def _failed(backend: Backend, context: RequestContext, share: Share, fault: Fault) -> None:
    """A fault that the next sync will not mend by itself: said once."""
    if share.instance.replica_state is ReplicaState.ERROR:
        return
    with backend.database.begin() as tx:
        if replicas.change_state(tx, share.instance, ReplicaState.ERROR, now=backend.now()):
            tell_owner(tx, backend, context, share, MessageAction.UPDATE, fault, replica=True)
