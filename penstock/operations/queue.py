"""Enqueue durable operations in the caller's transaction, and wake whoever works on them.

The engine is ours and not a library's: see docs/decisions/0002-operations-engine.md.

Where the backend is served in this process and a worker of it has nothing to do, the operation is handed over at once:
its row says from the beginning that it runs, and at the commit it does. After a crash that is as any other row that
says so: it is put back, and run again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from penstock.clock import Clock
from penstock.context import RequestContext
from penstock.domain.operations import Call, Operation
from penstock.ids import OperationId
from penstock.operations.attempt import Handed
from penstock.store import operations as rows
from penstock.store.database import Database, Transaction, after_commit, unless_committed, when_visible

LOOK_AGAIN_S = 0.5  # the end of an operation in another process is found by looking
MOST_WAITERS = 16  # requests are answered by a few dozen threads: some must be left for those that need not wait
AFTER_YOU_S = 0.00005  # who told an end has only its log line to write, and would hold up who waited as long
ENDS_REMEMBERED = 64  # for who begins to wait after the end


class Taker(Protocol):
    """Who works on a backend's operations in this process."""

    def reserve(self, resource_key: str) -> bool:
        """Keep a thread for an operation of this resource: False when none is free, or one works on it already.

        What is reserved is either given to `begin`, or back by `give_back` or `release`.
        """
        ...

    def look_ahead(self, call: Call, context: RequestContext, about: Any) -> Future[Any] | None:
        """Begin to look at what the operation will want to know, while its transaction has not ended: changes nothing.

        `about` is what the transaction has read of what it is about. None: nobody looks.
        """
        ...

    def foresee(self, call: Call, context: RequestContext, about: Any) -> None:
        """This call will probably be asked for soon: what `look_ahead` would begin then may begin now."""
        ...

    def begin(self, operation: Operation, handed: Handed | None) -> None:
        """Run it: its row says so since the transaction that has just been committed.

        With `handed` that one may not be on the disk yet, and nothing may be done elsewhere before it is.
        """
        ...

    def give_back(self, resource_key: str) -> None:
        """Another is before it: it has to wait for its turn."""
        ...

    def release(self, resource_key: str) -> None:
        """There is no operation to run, as far as anybody can tell."""
        ...


class OperationQueue:
    """The queue of every backend. Calls with one resource key run strictly in order, others in parallel."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wakers: dict[str, threading.Event] = {}
        self._looks: dict[str, threading.Event] = {}
        self._takers: dict[str, Taker] = {}
        self._lock = threading.Lock()
        self._ended = threading.Condition()  # guards the next four
        self._running: set[OperationId] = set()
        self._awaited: set[OperationId] = set()
        self._ends: dict[OperationId, Operation] = {}
        self._left: set[str] = set()  # backends that this process does not serve any more
        self._waiters = threading.BoundedSemaphore(MOST_WAITERS)

    def enqueue(
        self,
        tx: Transaction,
        context: RequestContext,
        call: Call,
        *,
        about: Any = None,
        whole: Callable[[], Any] | None = None,
    ) -> OperationId:
        """Append `call`; it will happen if and only if this transaction commits, whatever dies afterwards.

        `about` is what it is about, read with its place in this transaction, and as this transaction leaves it: a
        handler that begins at once need not read it again (`attempt.handed`), and may have looked at it at the storage
        already (`Taker.look_ahead`). `whole` gives that with all that the handler wants to know: it is asked, in this
        transaction, where it begins at once only, and after that look has begun.
        """
        taker, ahead = self._taker_of(tx, context, call, about)
        kept = None if taker is None else _Kept(tx, taker, call.resource_key)
        handed = None
        if taker is not None and about is not None:
            handed = Handed(about if whole is None else whole(), ahead, self._clock.monotonic_s())
        operation = rows.add(
            tx,
            call,
            request_id=context.request_id,
            user_id=context.user_id,
            project_id=context.project_id,
            now=self._clock.utc(),
            is_running=taker is not None,
            is_sent_there=taker is not None and about is not None,
        )
        if kept is not None:
            kept.hand_over(tx, operation, handed)
        else:
            after_commit(tx, self.waker(call.backend).set)
        return operation.id

    def _taker_of(
        self, tx: Transaction, context: RequestContext, call: Call, about: Any
    ) -> tuple[Taker | None, Future[Any] | None]:
        """Who begins `call` at the commit, and what it looks at already; None when it has to wait for its turn."""
        with self._lock:
            taker = self._takers.get(call.backend)
        key = call.resource_key
        if taker is None or not rows.tells_next(tx) or not taker.reserve(key):
            return None, None
        is_next, ahead = False, None
        try:
            # First of all: what is read and written in this transaction takes less time than that look.
            ahead = None if about is None else taker.look_ahead(call, context, about)
            is_next = rows.is_next(tx, call, now=self._clock.utc())
        finally:
            if not is_next:
                taker.give_back(key)
                if ahead is not None:
                    ahead.cancel()
        return (taker, ahead) if is_next else (None, None)

    def foresee(self, tx: Transaction, context: RequestContext, call: Call, *, about: Any) -> None:
        """Say that `call` will probably be asked for soon after this transaction; `about` as in `enqueue`.

        What it will want to know is looked at from now on: whoever asks soon would wait for it otherwise.
        """
        with self._lock:
            taker = self._takers.get(call.backend)
        if taker is not None and rows.tells_next(tx):  # else it could not be begun at once, and would not be told
            taker.foresee(call, context, about)

    def served_by(self, backend: str, taker: Taker | None) -> None:
        """From now on `taker` works on the backend's operations in this process, or nobody does."""
        with self._lock:
            if taker is None:
                self._takers.pop(backend, None)
            else:
                self._takers[backend] = taker

    def leave(self, backend: str) -> None:
        """This process ends: nobody in it begins an operation of the backend any more, or waits for one."""
        with self._ended:
            self._left.add(backend)
            self._ended.notify_all()

    def waker(self, backend: str) -> threading.Event:
        """Set when the backend has new work in this process. Other processes find it by polling."""
        with self._lock:
            return self._wakers.setdefault(backend, threading.Event())

    def tell_begun(self, operation_id: OperationId) -> None:
        """It runs in this process: until `tell_left` its row need not be looked at."""
        with self._ended:
            self._running.add(operation_id)

    def tell_ended(self, operation: Operation) -> None:
        """It ended in this process, as `operation` says: whoever waits for it is told, and goes on first."""
        with self._ended:
            self._ends[operation.id] = operation
            if len(self._ends) > ENDS_REMEMBERED:
                del self._ends[next(iter(self._ends))]
            self._ended.notify_all()
            is_awaited = operation.id in self._awaited
        if is_awaited:
            time.sleep(AFTER_YOU_S)

    def tell_left(self, operation_id: OperationId) -> None:
        """It does not run in this process any more, whatever became of it."""
        with self._ended:
            self._running.discard(operation_id)
            self._ended.notify_all()

    def wait(self, database: Database, operation_id: OperationId, *, timeout_s: float) -> Operation | None:
        """The operation once it has ended; None when it has not after `timeout_s`, or too many wait already, or its
        backend was left.

        It goes on whoever waits: its result is what it stores. To be called outside of a transaction.
        """
        if not self._waiters.acquire(blocking=False):
            return None
        try:
            return self._wait(database, operation_id, self._clock.monotonic_s() + timeout_s)
        finally:
            with self._ended:
                self._awaited.discard(operation_id)
            self._waiters.release()

    def _wait(self, database: Database, operation_id: OperationId, until_s: float) -> Operation | None:
        while True:
            with self._ended:
                self._awaited.add(operation_id)
                operation = self._ends.get(operation_id)
                if operation is None and operation_id not in self._running:
                    with database.read() as tx:
                        operation = rows.get(tx, operation_id)
                    if operation is None:
                        return None
                if operation is not None and operation.state not in rows.PENDING:
                    return operation
                left_s = until_s - self._clock.monotonic_s()
                if left_s <= 0 or (operation is not None and operation.call.backend in self._left):
                    return None
                self._ended.wait(min(left_s, LOOK_AGAIN_S))

    def look_wanted(self, backend: str) -> threading.Event:
        """Set when the backend's replicas want a look before its time; in other processes it comes in its time."""
        with self._lock:
            return self._looks.setdefault(backend, threading.Event())


class _Kept:
    """A place that a taker keeps for an operation: it begins at the commit, or the place is given back when nobody can
    tell whether there was one, or what comes before it in the transaction fails."""

    def __init__(self, tx: Transaction, taker: Taker, resource_key: str) -> None:
        self._taker, self._resource_key = taker, resource_key
        self._has_begun = False
        unless_committed(tx, self._release)

    def hand_over(self, tx: Transaction, operation: Operation, handed: Handed | None) -> None:
        """With what was handed it need not be on the disk yet."""

        def begin() -> None:
            self._has_begun = True
            self._taker.begin(operation, handed)

        if handed is None:
            after_commit(tx, begin)
        else:
            when_visible(tx, begin)

    def _release(self) -> None:
        if not self._has_begun:
            self._taker.release(self._resource_key)
