"""Enqueue durable operations in the caller's transaction, and wake whoever works on them.

The engine is ours and not a library's: see docs/decisions/0002-operations-engine.md.
"""

from __future__ import annotations

import threading

from penstock.clock import Clock
from penstock.context import RequestContext
from penstock.domain.operations import Call, Operation
from penstock.ids import OperationId
from penstock.store import operations as rows
from penstock.store.database import Database, Transaction, after_commit

LOOK_AGAIN_S = 0.5  # the end of an operation in another process is found by looking
MOST_WAITERS = 16  # requests are answered by a few dozen threads: some must be left for those that need not wait


class OperationQueue:
    """The queue of every backend. Calls with one resource key run strictly in order, others in parallel."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wakers: dict[str, threading.Event] = {}
        self._looks: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._ended = threading.Condition()
        self._waiters = threading.BoundedSemaphore(MOST_WAITERS)

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

    def tell_ended(self) -> None:
        """An operation ended in this process: whoever waits for one looks."""
        with self._ended:
            self._ended.notify_all()

    def wait(self, database: Database, operation_id: OperationId, *, timeout_s: float) -> Operation | None:
        """The operation once it has ended; None when it has not after `timeout_s`, or too many wait already.

        It goes on whoever waits: its result is what it stores. To be called outside of a transaction.
        """
        if not self._waiters.acquire(blocking=False):
            return None
        try:
            return self._wait(database, operation_id, self._clock.monotonic_s() + timeout_s)
        finally:
            self._waiters.release()

    def _wait(self, database: Database, operation_id: OperationId, until_s: float) -> Operation | None:
        while True:
            with self._ended:
                with database.read() as tx:
                    operation = rows.get(tx, operation_id)
                if operation is None or operation.state not in rows.PENDING:
                    return operation
                left_s = until_s - self._clock.monotonic_s()
                if left_s <= 0:
                    return None
                self._ended.wait(min(left_s, LOOK_AGAIN_S))

    def look_wanted(self, backend: str) -> threading.Event:
        """Set when the backend's replicas want a look before its time; in other processes it comes in its time."""
        with self._lock:
            return self._looks.setdefault(backend, threading.Event())
