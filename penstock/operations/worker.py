"""One worker per backend: takes operations from its queue and calls the manager.

Order: per resource strictly as enqueued, different resources in parallel. An operation found running at start was
interrupted by a death of this process and is run again: every handler is idempotent, so recovery is not a second code
path.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

import structlog

from penstock import metrics
from penstock.clock import Clock
from penstock.context import RequestContext
from penstock.domain.operations import Call, Operation, OperationState
from penstock.errors import Cancelled, Displaced, Fault, Postponed, Unavailable
from penstock.full_pool import full_pool
from penstock.ids import OperationId
from penstock.operations.attempt import Handed, attempt
from penstock.operations.elsewhere import Elsewhere
from penstock.operations.outcome import RetryPolicy, kind_of
from penstock.operations.queue import OperationQueue
from penstock.store import operations as rows
from penstock.store.database import Database, Transaction, after_commit

log = structlog.get_logger(__name__)

FORESEEN_S = 5.0  # a look that nobody asked for by then is of no use: whoever asks has another one
AFTER_YOU_S = 0.00002  # a look is asked for in less time than the interpreter is else kept from its thread
POLL_S = 2.0  # other processes' work is found by polling; this process's own work wakes us at once


class Handler(Protocol):
    """Carries out one operation. Safe to repeat. Raises the Fault that ended or interrupted it.

    What one that only looks found (JSON values) it returns; others return None.
    """

    def __call__(self, context: RequestContext, operation: Operation) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Look:
    """A look for a call of `method` that was foreseen, of use until then (monotonic)."""

    method: str
    future: Future[Any]
    until_s: float

    def is_good(self, now_s: float) -> bool:
        if now_s > self.until_s:
            return False
        return not self.future.done() or (not self.future.cancelled() and self.future.exception() is None)


class Worker:
    """Runs one backend's operations with up to `threads` at a time."""

    def __init__(
        self,
        database: Database,
        queue: OperationQueue,
        clock: Clock,
        backend: str,
        handler: Handler,
        *,
        threads: int = 4,
        retry: RetryPolicy | None = None,
        service_down_s: float = 60.0,
        look_ahead: Callable[[Call, Any], Callable[[], Any] | None] | None = None,
    ) -> None:
        """`look_ahead` gives the look that can be taken before an operation is sure to happen: see `Taker`."""
        self.backend = backend
        self._database = database
        self._clock = clock
        self._handler = handler
        self._look = look_ahead
        self._retry = retry or RetryPolicy()
        self._threads = threads
        self._service_down = timedelta(seconds=service_down_s)
        self._queue = queue
        self._waker = queue.waker(backend)
        self._busy: dict[str, OperationId | None] = {}  # by resource; None while a request has only reserved it
        self._reserved = 0  # requests that have, whose transactions have not ended
        self._lock = threading.Condition()  # guards these two, which requests, dispatcher and finishing threads change
        self._may_wait = True  # something may be queued that could not be begun: an end here is news
        self._has_ended = False  # what woke the dispatcher may be no more than such an end
        self._stranded = threading.Event()  # an end could not be written: look for rows running without us
        self._stopping = threading.Event()
        self._dispatcher: threading.Thread | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._lookers = ThreadPoolExecutor(threads, thread_name_prefix=f"ahead-{backend}")  # threads come when wanted
        self._foreseen: dict[str, _Look] = {}  # by resource, until an operation of it has ended; guarded by _lock

    def start(self) -> None:
        """Begin to work, first on what a former process left unfinished."""
        self.resume_interrupted()
        self._pool = full_pool(self._threads, f"work-{self.backend}")
        self._dispatcher = threading.Thread(target=self._dispatch, name=f"dispatch-{self.backend}", daemon=True)
        self._dispatcher.start()
        self._queue.served_by(self.backend, self)

    def reserve(self, resource_key: str) -> bool:
        """See Taker."""
        with self._lock:
            if self._stopping.is_set() or resource_key in self._busy or len(self._busy) >= self._threads:
                return False
            self._busy[resource_key] = None
            self._reserved += 1
            return True

    def look_ahead(self, call: Call, context: RequestContext, about: Any) -> Future[Any] | None:
        """See Taker."""
        with self._lock:
            foreseen = self._foreseen.pop(call.resource_key, None)
        if foreseen is not None and foreseen.method == call.method and foreseen.is_good(self._clock.monotonic_s()):
            return foreseen.future
        looking = self._look_at(call, context, about)
        if looking is not None:
            time.sleep(AFTER_YOU_S)
        return looking

    def foresee(self, call: Call, context: RequestContext, about: Any) -> None:
        """See Taker. Only as long as somebody is free to look: those who ask already come first."""
        now = self._clock.monotonic_s()
        with self._lock:
            self._foreseen = {key: one for key, one in self._foreseen.items() if one.is_good(now)}
            is_free = len(self._foreseen) < self._threads and call.resource_key not in self._busy
            looking = self._look_at(call, context, about) if is_free else None
            if looking is not None:
                self._foreseen[call.resource_key] = _Look(call.method, looking, now + FORESEEN_S)

    def _look_at(self, call: Call, context: RequestContext, about: Any) -> Future[Any] | None:
        look = None if self._look is None else self._look(call, about)
        if look is None:
            return None

        def within() -> Any:
            ids = {"request_id": context.request_id, "method": call.method, "resource": call.resource_key}
            with structlog.contextvars.bound_contextvars(**ids):
                return look()

        try:
            return self._lookers.submit(within)
        except RuntimeError:  # no thread could be started: the handler looks for itself
            log.warning("operation.not_looked_ahead", method=call.method, resource=call.resource_key)
            return None

    def begin(self, operation: Operation, handed: Handed | None = None) -> None:
        """See Taker."""
        pool = self._pool
        assert pool is not None  # noqa: S101 - start() made it
        self._queue.tell_begun(operation.id)
        with self._lock:
            self._busy[operation.call.resource_key] = operation.id
        pool.submit(self._run, operation, handed)
        with self._lock:
            self._reserved -= 1
            self._lock.notify_all()

    def give_back(self, resource_key: str) -> None:
        """See Taker."""
        self._free(resource_key, is_stranded=False)

    def release(self, resource_key: str) -> None:
        """See Taker."""
        self._free(resource_key, is_stranded=True)  # nobody knows what became of a commit that was not answered

    def _free(self, resource_key: str, *, is_stranded: bool) -> None:
        with self._lock:
            self._vacate(resource_key, None)  # the dispatcher may have claimed an operation of it just before
            self._reserved -= 1
            if is_stranded:
                self._stranded.set()
            self._lock.notify_all()
        self._waker.set()

    def _vacate(self, resource_key: str, by: OperationId | None) -> None:
        """That one has left the resource, if it is still its."""
        if self._busy.get(resource_key, by) == by:
            self._busy.pop(resource_key, None)

    def resume_interrupted(self) -> None:
        """Put back what is marked running but is not running here. Only one worker may serve a backend."""
        try:
            with self._database.begin() as tx:
                # Only now: no request can reserve and commit any more before this is over. What strands is for the next
                with self._lock:
                    busy = set(self._busy)
                    self._stranded.clear()
                count = rows.requeue_interrupted(tx, self.backend, busy_keys=busy)
        except Fault:
            self._stranded.set()
            raise
        if count:
            log.info("operations.resumed", backend=self.backend, count=count)

    def stop(self) -> None:
        """Take no more operations and wait for those that run, however long: the process cannot end before them, and
        its claim on the backend must not. A process killed meanwhile has them resumed at its next start."""
        self._queue.served_by(self.backend, None)
        with self._lock:
            self._stopping.set()
            self._lock.wait_for(lambda: self._reserved == 0)
        self._waker.set()
        if self._dispatcher is not None:
            self._dispatcher.join()
        if self._pool is not None:
            self._pool.shutdown()
        self._lookers.shutdown()

    def run_pending(self) -> int:
        """Run what is runnable now in this thread, one after the other; returns how many ran."""
        count = 0
        while taken := self._claim(1):
            for operation in taken:
                self._run(operation)
                count += 1
        return count

    def _dispatch(self) -> None:
        woken = False
        while not self._stopping.is_set():
            self._waker.clear()
            self._has_ended = False
            try:
                idle = self._turn(woken=woken)
            except Displaced:  # the backend service sees it too, and ends us
                idle = True
            except Unavailable as fault:
                log.warning("operations.database_away", fault=str(fault))
                idle = True
            except Exception:
                # The outermost frame of this thread: without it the backend would live and do nothing.
                log.exception("operations.dispatch_crashed")
                idle = True
            woken = (self._waker.wait(POLL_S) and not self._has_ended) if idle else True

    def _turn(self, *, woken: bool) -> bool:
        """Hand out what is runnable; returns whether that was all there is to do for now.

        Unless `woken` by something new, a look that costs no writing transaction comes first.
        """
        pool = self._pool
        assert pool is not None  # noqa: S101 - start() made it
        if self._stranded.is_set():
            self.resume_interrupted()
        self._may_wait = woken or self._is_due()
        free = self._threads - len(self._busy)
        taken = self._claim(free) if free > 0 and self._may_wait else []
        for operation in taken:
            pool.submit(self._run, operation)
        return len(taken) < free or free <= 0

    def _is_due(self) -> bool:
        with self._database.read() as tx:
            return rows.has_runnable(tx, self.backend, now=self._clock.utc())

    def _claim(self, limit: int) -> list[Operation]:
        with self._lock:
            busy = set(self._busy)
        now = self._clock.utc()
        try:
            with self._database.begin(durable=False) as tx:
                taken = rows.claim(
                    tx, self.backend, limit=limit, busy_keys=busy, now=now, down_since=now - self._service_down
                )
        except Fault:
            self._stranded.set()  # nobody knows what became of a commit that was not answered
            raise
        with self._lock:
            self._busy.update((operation.call.resource_key, operation.id) for operation in taken)
        for operation in taken:
            self._queue.tell_begun(operation.id)
        return taken

    def _run(self, operation: Operation, handed: Handed | None = None) -> None:
        call = operation.call
        with structlog.contextvars.bound_contextvars(
            request_id=operation.request_id, operation=operation.id, method=call.method, resource=call.resource_key
        ):
            is_stranded = False
            try:
                self._attempt(operation, handed)
            except Displaced as fault:
                # Who serves the backend now has it; should that be us again, the row is put back.
                log.warning("operation.left_to_others", fault=str(fault))
                is_stranded = True
            except Exception:
                # The outermost frame of this thread: the end could not be written, the dispatcher puts the row back.
                log.exception("operation.stranded")
                is_stranded = True
            finally:
                with self._lock:  # both at once: the row is put back only when it is no longer busy
                    self._vacate(call.resource_key, operation.id)
                    self._foreseen.pop(call.resource_key, None)  # what was seen may have been before this
                    if is_stranded:
                        self._stranded.set()
                self._queue.tell_left(operation.id)
                if self._may_wait or is_stranded:
                    self._has_ended = True
                    self._waker.set()

    def _attempt(self, operation: Operation, handed: Handed | None) -> None:
        now = self._clock.utc()
        if operation.attempts == 1:
            waited_s = (now - operation.created_at).total_seconds()
            metrics.OPERATION_WAIT_SECONDS.labels(self.backend).observe(max(0.0, waited_s))
        last = self._retry.is_last(operation, now=now)
        started = self._clock.monotonic_s()
        context = RequestContext(
            operation.user_id, operation.project_id, is_admin=True, request_id=operation.request_id
        )
        written = threading.Event()

        def write(tx: Transaction, told: Any) -> None:
            now = self._clock.utc()
            rows.finish(tx, operation.id, state=OperationState.DONE, now=now)
            after_commit(tx, written.set)
            self._tell_at_commit(tx, replace(operation, state=OperationState.DONE, finished_at=now, told=told))

        try:
            disk = self._database.await_disk
            with attempt(last=last, operation=operation, done=write, handed=handed, await_disk=disk):
                answer = self._handler(context, operation)
        except Elsewhere as moved:
            log.info("operation.moved", to=moved.backend)
            with self._database.begin() as tx:
                rows.readdress(tx, [operation.id], moved.backend)
                after_commit(tx, self._queue.waker(moved.backend).set)
        except Cancelled as fault:
            self._end(operation, OperationState.CANCELLED, started, fault)
        except Fault as fault:
            if fault.retryable and (not last or isinstance(fault, Postponed)):
                self._try_later(operation, fault)
            else:
                self._end(operation, OperationState.FAILED, started, fault)
        except Exception as error:
            # A driver of somebody else may raise anything; the manager has put its resource in error before.
            log.exception("operation.crashed")
            self._end(operation, OperationState.FAILED, started, error)
        else:
            if written.is_set():
                self._tell(operation, OperationState.DONE, started)
            else:
                self._end(operation, OperationState.DONE, started, answer=answer)

    def _try_later(self, operation: Operation, fault: Fault) -> None:
        when = self._retry.next_attempt(operation, now=self._clock.utc())
        log.warning("operation.retried", attempts=operation.attempts, again_at=when, fault=str(fault))
        with self._database.begin() as tx:
            if not rows.retry(tx, operation.id, not_before=when, error=str(fault)):
                self._tell_ended_before(tx, operation)

    def _end(
        self,
        operation: Operation,
        state: OperationState,
        started: float,
        error: Exception | None = None,
        *,
        answer: Any = None,
    ) -> None:
        text = None if error is None else str(error)
        kind = None if error is None else kind_of(error)
        now = self._clock.utc()
        with self._database.begin() as tx:
            if not rows.finish(tx, operation.id, state=state, now=now, error=text, fault=kind, answer=answer):
                self._tell_ended_before(tx, operation)
            elif answer is None:  # else whoever waits reads the row, and finds the answer as it is stored
                self._tell_at_commit(tx, replace(operation, state=state, finished_at=now, error=text, fault=kind))
        self._tell(operation, state, started, error)

    def _tell_ended_before(self, tx: Transaction, operation: Operation) -> None:
        """Its end was written, and the answer to that commit was not heard."""
        log.warning("operation.had_ended", operation=operation.id)
        ended = rows.get(tx, operation.id)
        if ended is not None:
            self._tell_at_commit(tx, ended)

    def _tell_at_commit(self, tx: Transaction, ended: Operation) -> None:
        after_commit(tx, lambda: self._queue.tell_ended(ended))

    def _tell(
        self, operation: Operation, state: OperationState, started: float, error: Exception | None = None
    ) -> None:
        seconds = self._clock.monotonic_s() - started
        metrics.OPERATIONS.labels(self.backend, operation.call.method, state.value).inc()
        metrics.OPERATION_SECONDS.labels(self.backend, operation.call.method).observe(seconds)
        if error is None or state is OperationState.CANCELLED:
            log.info(f"operation.{state.value}", seconds=round(seconds, 3))
        else:
            log.error("operation.failed", seconds=round(seconds, 3), fault=str(error), kind=type(error).__name__)
