"""The operations engine on every database: nothing accepted is lost, order holds, faults are retried or told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from penstock.clock import ManualClock, SystemClock
from penstock.context import RequestContext, admin_context
from penstock.domain.operations import Call, Operation, OperationState
from penstock.errors import Cancelled, Conflict, Invalid, Unavailable
from penstock.operations.attempt import current, done_with, is_last, not_done_yet
from penstock.operations.elsewhere import Elsewhere
from penstock.operations.exclusive import exclusive
from penstock.operations.outcome import RetryPolicy
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.store import backends
from penstock.store import operations as rows
from penstock.store.database import Database, Transaction
from tests.databases import in_file

BACKEND = "host@zfs"


class Died(BaseException):
    """The process is gone."""


class Forgetful(Database):
    """A database that is away for the next `refusals` writing transactions."""

    refusals = 0

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[Transaction]:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("The database did not answer.")
        with super().begin(durable=durable) as tx:
            yield tx


class Recorder:
    """A handler that notes what it was called with and does what the test says."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, bool]] = []
        self.raises: list[BaseException] = []
        self.lock = threading.Lock()

    def __call__(self, context: RequestContext, operation: Operation) -> None:
        with self.lock:
            self.seen.append((operation.call.method, operation.attempts, is_last()))
            error = self.raises.pop(0) if self.raises else None
        if error is not None:
            raise error


def enqueue(
    database: Database, queue: OperationQueue, method: str, key: str = "share:1", backend: str = BACKEND
) -> str:
    with database.begin() as tx:
        return queue.enqueue(tx, admin_context(), Call(backend, key, method, {"a": 1}))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue(clock: ManualClock) -> OperationQueue:
    return OperationQueue(clock)


def state(database: Database, operation_id: str) -> Operation:
    with database.read() as tx:
        found = rows.get(tx, operation_id)
    assert found is not None
    return found


def test_an_operation_of_a_rolled_back_transaction_never_happens(database, queue, clock) -> None:
    with pytest.raises(Invalid), database.begin() as tx:
        queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "create", {}))
        raise Invalid("no")
    recorder = Recorder()
    assert Worker(database, queue, clock, BACKEND, recorder).run_pending() == 0
    assert recorder.seen == []


def test_calls_of_one_resource_run_in_order_and_other_backends_are_left_alone(database, queue, clock) -> None:
    for method in ("create", "extend", "delete"):
        enqueue(database, queue, method)
    enqueue(database, queue, "other", backend="host@else")
    recorder = Recorder()
    worker = Worker(database, queue, clock, BACKEND, recorder)
    assert worker.run_pending() == 3
    assert [method for method, _, _ in recorder.seen] == ["create", "extend", "delete"]


def test_an_operation_interrupted_by_a_death_runs_again(database, queue, clock) -> None:
    operation_id = enqueue(database, queue, "create")
    recorder = Recorder()
    recorder.raises = [Died()]
    with pytest.raises(Died):
        Worker(database, queue, clock, BACKEND, recorder).run_pending()
    assert state(database, operation_id).state is OperationState.RUNNING
    reborn = Worker(database, queue, clock, BACKEND, recorder)
    reborn.resume_interrupted()
    assert reborn.run_pending() == 1
    assert state(database, operation_id).state is OperationState.DONE
    assert [attempts for _, attempts, _ in recorder.seen] == [1, 2]


class Storing:
    """A handler that stores its result in a transaction of its own, then does what the test says."""

    def __init__(self, database: Database, then: Callable[[], None] = lambda: None) -> None:
        self.database = database
        self.then = then
        self.calls = 0

    def __call__(self, context: RequestContext, operation: Operation) -> None:
        self.calls += 1
        with self.database.begin() as tx:
            done_with(tx, "extend", "shrink")
            if self.calls == 1:
                self.then()


def die() -> None:
    raise Died


def test_a_result_and_the_end_of_its_operation_are_stored_at_once(database, queue, clock) -> None:
    operation_id = enqueue(database, queue, "extend")
    handler = Storing(database)

    def dying(context: RequestContext, operation: Operation) -> None:
        handler(context, operation)
        raise Died

    with pytest.raises(Died):
        Worker(database, queue, clock, BACKEND, dying).run_pending()
    assert state(database, operation_id).state is OperationState.DONE
    reborn = Worker(database, queue, clock, BACKEND, handler)
    reborn.resume_interrupted()
    assert reborn.run_pending() == 0


def test_a_result_that_was_not_stored_ends_no_operation(database, queue, clock) -> None:
    operation_id = enqueue(database, queue, "extend")
    handler = Storing(database, then=die)
    with pytest.raises(Died):
        Worker(database, queue, clock, BACKEND, handler).run_pending()
    assert state(database, operation_id).state is OperationState.RUNNING
    reborn = Worker(database, queue, clock, BACKEND, handler)
    reborn.resume_interrupted()
    assert reborn.run_pending() == 1
    assert state(database, operation_id).state is OperationState.DONE


def test_the_result_of_a_part_does_not_end_the_whole(database, queue, clock) -> None:
    operation_id = enqueue(database, queue, "extend_all")
    seen: list[OperationState] = []

    def whole(context: RequestContext, operation: Operation) -> None:
        Storing(database)(context, operation)
        seen.append(state(database, operation_id).state)

    Worker(database, queue, clock, BACKEND, whole).run_pending()
    assert seen == [OperationState.RUNNING]
    assert state(database, operation_id).state is OperationState.DONE


def test_what_comes_after_the_result_keeps_the_operation_from_ending_with_it(database, queue, clock) -> None:
    operation_id = enqueue(database, queue, "extend")
    seen: list[OperationState] = []

    def hooked(context: RequestContext, operation: Operation) -> None:
        with not_done_yet():
            Storing(database)(context, operation)
        seen.append(state(database, operation_id).state)

    Worker(database, queue, clock, BACKEND, hooked).run_pending()
    assert seen == [OperationState.RUNNING]
    assert state(database, operation_id).state is OperationState.DONE


def test_a_retryable_fault_is_tried_later_and_holds_back_what_comes_after(database, queue, clock) -> None:
    first = enqueue(database, queue, "create")
    enqueue(database, queue, "delete")
    elsewhere = enqueue(database, queue, "create", key="share:2")
    recorder = Recorder()
    recorder.raises = [Unavailable("host away")]
    worker = Worker(database, queue, clock, BACKEND, recorder)
    worker.run_pending()
    assert state(database, first).state is OperationState.QUEUED
    assert state(database, first).error == "host away"
    assert state(database, elsewhere).state is OperationState.DONE
    clock.advance(2)
    assert worker.run_pending() == 2
    assert [m for m, _, _ in recorder.seen] == ["create", "create", "create", "delete"]


def test_the_last_attempt_is_told_so_and_its_fault_ends_the_operation(database, queue, clock) -> None:
    operation_id = enqueue(database, queue, "create")
    recorder = Recorder()
    recorder.raises = [Unavailable("away"), Unavailable("still away")]
    worker = Worker(database, queue, clock, BACKEND, recorder, retry=RetryPolicy(give_up_after_s=60))
    worker.run_pending()
    clock.advance(61)
    worker.run_pending()
    assert [last for _, _, last in recorder.seen] == [False, True]
    assert state(database, operation_id).state is OperationState.FAILED
    assert state(database, operation_id).error == "still away"


def test_a_final_fault_and_a_foreign_error_end_in_failed_with_their_sentence(database, queue, clock) -> None:
    wrong = enqueue(database, queue, "create")
    foreign = enqueue(database, queue, "create", key="share:2")
    recorder = Recorder()
    recorder.raises = [Invalid("too small"), ValueError("from a driver")]
    Worker(database, queue, clock, BACKEND, recorder).run_pending()
    assert (state(database, wrong).state, state(database, wrong).error) == (OperationState.FAILED, "too small")
    assert state(database, foreign).error == "from a driver"


def test_threads_run_different_resources_at_once_and_wake_at_commit(database) -> None:
    queue = OperationQueue(SystemClock())
    both = threading.Barrier(2, timeout=20)
    done = threading.Semaphore(0)

    def meet(context: RequestContext, operation: Operation) -> None:
        both.wait()
        done.release()

    worker = Worker(database, queue, SystemClock(), BACKEND, meet, threads=2)
    worker.start()
    try:
        enqueue(database, queue, "create", key="share:1")
        enqueue(database, queue, "create", key="share:2")
        assert done.acquire(timeout=20)
        assert done.acquire(timeout=20)
    finally:
        worker.stop()


def test_finished_operations_are_forgotten_after_their_time(database, queue, clock) -> None:
    operation_id = enqueue(database, queue, "create")
    Worker(database, queue, clock, BACKEND, Recorder()).run_pending()
    pending = enqueue(database, queue, "create")
    with database.begin() as tx:
        assert rows.prune(tx, finished_before=clock.utc() + timedelta(seconds=1)) == 1
        assert rows.get(tx, operation_id) is None
        assert rows.get(tx, pending) is not None


def test_a_second_worker_of_the_same_backend_refuses_to_start(database, tmp_path) -> None:
    with exclusive(database, tmp_path, BACKEND):
        with pytest.raises(Conflict, match="already"), exclusive(database, tmp_path, BACKEND):
            pass
        with exclusive(database, tmp_path, "host@other"):
            pass
    with exclusive(database, tmp_path, BACKEND):
        pass


class Stumbling(SystemClock):
    """A clock that fails the first time it is read."""

    def __init__(self) -> None:
        self._failures = [RuntimeError("no such clock")]

    def utc(self) -> datetime:
        if self._failures:
            raise self._failures.pop()
        return super().utc()


def test_whatever_happens_to_the_dispatcher_it_goes_on(database) -> None:
    queue = OperationQueue(SystemClock())
    done = threading.Event()

    def note(context: RequestContext, operation: Operation) -> None:
        done.set()

    worker = Worker(database, queue, Stumbling(), BACKEND, note)
    worker.start()
    try:
        enqueue(database, queue, "create")
        assert done.wait(20)
    finally:
        worker.stop()


def test_an_end_that_could_not_be_written_is_made_good_in_the_same_process(tmp_path) -> None:
    database = in_file(tmp_path / "penstock.db", Forgetful)
    queue = OperationQueue(SystemClock())
    seen: list[int] = []
    again = threading.Event()

    def handle(context: RequestContext, operation: Operation) -> None:
        seen.append(operation.attempts)
        database.refusals = 2 if len(seen) == 1 else 0  # the end of the operation, and putting it back
        if len(seen) == 2:
            again.set()

    worker = Worker(database, queue, SystemClock(), BACKEND, handle)
    worker.start()
    try:
        operation_id = enqueue(database, queue, "create")
        assert again.wait(20)
    finally:
        worker.stop()
    assert seen == [1, 2]
    with database.read() as tx:
        operation = rows.get(tx, operation_id)
    assert operation is not None
    assert operation.state is OperationState.DONE
    database.close()


def test_stopping_waits_for_what_runs(database) -> None:
    queue = OperationQueue(SystemClock())
    begun, may_end, stopped = threading.Event(), threading.Event(), threading.Event()

    def work(context: RequestContext, operation: Operation) -> None:
        begun.set()
        may_end.wait(20)

    worker = Worker(database, queue, SystemClock(), BACKEND, work)
    worker.start()
    operation_id = enqueue(database, queue, "create")
    assert begun.wait(20)
    stopper = threading.Thread(target=lambda: (worker.stop(), stopped.set()))
    stopper.start()
    assert not stopped.wait(0.2)
    may_end.set()
    assert stopped.wait(20)
    stopper.join()
    with database.read() as tx:
        operation = rows.get(tx, operation_id)
    assert operation is not None
    assert operation.state is OperationState.DONE


OTHER = "host@other"


def a_service(database: Database, backend: str, *, now: datetime) -> None:
    with database.begin() as tx:
        backends.heartbeat(tx, binary="manila-share", host=backend, zone="nova", ready=True, now=now)


def two_workers(database, queue, clock) -> tuple[Worker, Worker, Recorder]:
    recorder = Recorder()
    made = [Worker(database, queue, clock, backend, recorder) for backend in (BACKEND, OTHER)]
    return made[0], made[1], recorder


def test_another_backend_waits_for_what_was_asked_for_first(database, queue, clock) -> None:
    enqueue(database, queue, "extend")
    enqueue(database, queue, "later", backend=OTHER)
    here, there, recorder = two_workers(database, queue, clock)
    assert there.run_pending() == 0
    assert here.run_pending() == 1
    assert there.run_pending() == 1
    assert [method for method, _, _ in recorder.seen] == ["extend", "later"]


def test_a_promotion_overtakes_what_is_queued_elsewhere_but_not_at_its_own_backend(database, queue, clock) -> None:
    enqueue(database, queue, "extend")
    enqueue(database, queue, "delete_share_replica", backend=OTHER)
    enqueue(database, queue, "promote_share_replica", backend=OTHER)
    here, there, recorder = two_workers(database, queue, clock)
    assert there.run_pending() == 0
    assert here.run_pending() == 1
    enqueue(database, queue, "extend")
    assert there.run_pending() == 2
    enqueue(database, queue, "promote_share_replica", backend=OTHER)
    assert there.run_pending() == 1, "the extend that is queued elsewhere does not hold it up"
    assert [method for method, _, _ in recorder.seen][1:] == [
        "delete_share_replica",
        "promote_share_replica",
        "promote_share_replica",
    ]


def test_what_was_tried_in_vain_elsewhere_holds_nothing_up(database, queue, clock) -> None:
    enqueue(database, queue, "update_access")
    here, there, recorder = two_workers(database, queue, clock)
    recorder.raises = [Unavailable("the host is gone")]
    here.run_pending()
    enqueue(database, queue, "extend", backend=OTHER)
    assert there.run_pending() == 1


def test_nothing_waits_for_a_service_that_is_down(database, queue, clock) -> None:
    for backend in (BACKEND, OTHER):
        a_service(database, backend, now=clock.utc())
    enqueue(database, queue, "extend")
    here, there, recorder = two_workers(database, queue, clock)
    recorder.raises = [Died()]
    with pytest.raises(Died):
        here.run_pending()
    enqueue(database, queue, "promote_share_replica", backend=OTHER)
    assert there.run_pending() == 0, "it may still be at work"
    clock.advance(61)
    a_service(database, OTHER, now=clock.utc())
    assert there.run_pending() == 1


def test_what_comes_back_waits_for_what_overtook_it(database, queue, clock) -> None:
    enqueue(database, queue, "extend")
    enqueue(database, queue, "promote_share_replica", backend=OTHER)
    here, there, _recorder = two_workers(database, queue, clock)

    def promoting(context: RequestContext, operation: Operation) -> None:
        assert here.run_pending() == 0

    assert Worker(database, queue, clock, OTHER, promoting).run_pending() == 1
    assert here.run_pending() == 1
    assert there.run_pending() == 0


def test_an_operation_goes_to_where_its_resource_is_now(database, queue, clock) -> None:
    operation_id = enqueue(database, queue, "extend")
    here, there, recorder = two_workers(database, queue, clock)
    recorder.raises = [Elsewhere(OTHER)]
    assert here.run_pending() == 1
    assert there.run_pending() == 1
    found = state(database, operation_id)
    assert (found.state, found.call.backend) == (OperationState.DONE, OTHER)


def test_an_operation_that_was_asked_to_stop_is_cancelled(database, queue, clock) -> None:
    operation_id = enqueue(database, queue, "update_share_replica")
    recorder = Recorder()
    recorder.raises = [Cancelled("stopped")]
    Worker(database, queue, clock, BACKEND, recorder).run_pending()
    assert state(database, operation_id).state is OperationState.CANCELLED


def test_a_handler_knows_its_operation(database, queue, clock) -> None:
    operation_id = enqueue(database, queue, "extend")
    seen: list[Operation | None] = []

    def handle(context: RequestContext, operation: Operation) -> None:
        seen.append(current())

    Worker(database, queue, clock, BACKEND, handle).run_pending()
    assert [operation and operation.id for operation in seen] == [operation_id]
    assert current() is None


def test_two_backends_never_run_operations_of_one_resource_at_once(database) -> None:
    """Neither is held up by what is queued at the other, so only the claim itself keeps them apart."""
    if database.url == "sqlite://":
        pytest.skip("its one connection serves one thread at a time")
    clock = SystemClock()
    queue = OperationQueue(clock)
    running, worst, lock, done = [0], [0], threading.Lock(), threading.Semaphore(0)

    def handle(context: RequestContext, operation: Operation) -> None:
        with lock:
            running[0] += 1
            worst[0] = max(worst[0], running[0])
        clock.sleep(0.005)
        with lock:
            running[0] -= 1
        done.release()

    workers = [Worker(database, queue, clock, backend, handle) for backend in (BACKEND, OTHER)]
    for _ in range(10):
        for backend in (BACKEND, OTHER):
            enqueue(database, queue, "promote_share_replica", backend=backend)
    for worker in workers:
        worker.start()
    for _ in range(20):
        assert done.acquire(timeout=30)
    for worker in workers:
        worker.stop()
    assert worst[0] == 1
