"""Enqueue durable operations in the caller's transaction, and wake whoever works on them.

The engine is ours and not a library's: see docs/decisions/0002-operations-engine.md.
"""

from __future__ import annotations

import threading

from penstock.clock import Clock
from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.ids import OperationId
from penstock.store import operations as rows
from penstock.store.database import Transaction, after_commit


class OperationQueue:
    """The queue of every backend. Calls with one resource key run strictly in order, others in parallel."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wakers: dict[str, threading.Event] = {}
        self._looks: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def enqueue(self, tx: Transaction, context: RequestContext, call: Call) -> OperationId:
        """Append `call`; it will happen if and only if this transaction commits, whatever dies afterwards."""
        operation_id = rows.add(
            tx,
            call,
            request_id=context.request_id,
            user_id=context.user_id,
            project_id=context.project_id,
            now=self._clock.utc(),
        )
        after_commit(tx, self.waker(call.backend).set)
        return operation_id

    def waker(self, backend: str) -> threading.Event:
        """Set when the backend has new work in this process. Other processes find it by polling."""
        with self._lock:
            return self._wakers.setdefault(backend, threading.Event())

    def look_wanted(self, backend: str) -> threading.Event:
        """Set when the backend's replicas want a look before its time; in other processes it comes in its time."""
        with self._lock:
            return self._looks.setdefault(backend, threading.Event())
