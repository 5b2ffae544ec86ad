"""Operations that a free worker is handed in the transaction that asks for them, and waiting for their end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue

import pytest

from penstock.backend_work import Dispatch
from penstock.clock import SystemClock
from penstock.context import RequestContext, admin_context
from penstock.domain.operations import Call, Operation, OperationState
from penstock.errors import Invalid, Unavailable
from penstock.operations.attempt import handed, looked
from penstock.operations.elsewhere import Elsewhere
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.store import operations as rows
from penstock.store.database import Database, Transaction
from tests.databases import in_file

BACKEND = "host@zfs"


class Died(BaseException):
    """The process is gone."""


def enqueue(database: Database, queue: OperationQueue, method: str, key: str = "share:1") -> str:
    with database.begin() as tx:
        return queue.enqueue(tx, admin_context(), Call(BACKEND, key, method, {}))


def state(database: Database, operation_id: str) -> Operation:
    with database.read() as tx:
        found = rows.get(tx, operation_id)
    assert found is not None
    return found


class Counting(Database):
    """Counts its transactions."""

    reads = writes = 0

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[Transaction]:
        self.writes += 1
        with super().begin(durable=durable) as tx:
            yield tx

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        self.reads += 1
        with super().read() as tx:
            yield tx


class Handling:
    """A handler that notes what it was called with, and goes on when the test lets it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)

    def __call__(self, context: RequestContext, operation: Operation) -> None:
        self.seen.append(operation.call.method)
        self.begun.release()
        assert self.may_end.acquire(timeout=20)


@pytest.fixture
def counting(tmp_path) -> Iterator[Counting]:
    database = in_file(tmp_path / "counting.db", Counting)
    yield database
    database.close()


@contextmanager
def at_work(database: Database, queue: OperationQueue, handler: Handling, *, threads: int = 4) -> Iterator[Worker]:
    worker = Worker(database, queue, SystemClock(), BACKEND, handler, threads=threads)
    worker.start()
    try:
        yield worker
    finally:
        for _ in range(20):
            handler.may_end.release()
        worker.stop()


def test_a_free_worker_gets_it_in_the_transaction_that_asks(counting) -> None:
    queue, handler = OperationQueue(SystemClock()), Handling()
    with at_work(counting, queue, handler):
        with counting.begin() as tx:
            first = queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "create", {"a": [1]}))
            second = queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "extend", {}))
            other = queue.enqueue(tx, admin_context(), Call("host@else", "share:2", "create", {}))
            found = {one: rows.get(tx, one) for one in (first, second, other)}
        assert [found[one].state for one in (first, second, other)] == ["running", "queued", "queued"]
        assert found[first].attempts == 1
        assert found[first].started_at == found[first].created_at
        assert handler.begun.acquire(timeout=20)
        assert handler.seen == ["create"]
        handler.may_end.release()
        assert handler.begun.acquire(timeout=20)
        handler.may_end.release()
        ended = queue.wait(counting, second, timeout_s=20)
        assert ended is not None
        assert ended == state(counting, second)
        assert state(counting, first).attempts == 1
        assert handler.seen == ["create", "extend"]


def test_nobody_overtakes_what_waits_for_a_worker(counting) -> None:
    queue, handler = OperationQueue(SystemClock()), Handling()
    with at_work(counting, queue, handler, threads=1):
        enqueue(counting, queue, "first", key="share:1")
        assert handler.begun.acquire(timeout=20)
        waiting = enqueue(counting, queue, "second", key="share:2")
        assert state(counting, waiting).state is OperationState.QUEUED
        now = SystemClock().utc()
        with counting.begin() as tx:
            assert not rows.is_next(tx, Call(BACKEND, "share:3", "third", {}), now=now)
            assert not rows.is_next(tx, Call("host@else", "share:2", "third", {}), now=now)
            assert rows.is_next(tx, Call("host@else", "share:3", "third", {}), now=now)
        enqueue(counting, queue, "third", key="share:3")
        for _ in range(2):
            handler.may_end.release()
            assert handler.begun.acquire(timeout=20)
        handler.may_end.release()
    assert handler.seen == ["first", "second", "third"]


def test_what_was_handed_over_by_a_transaction_that_failed_never_happens(counting) -> None:
    queue, handler = OperationQueue(SystemClock()), Handling()
    with at_work(counting, queue, handler, threads=1):
        with pytest.raises(Invalid), counting.begin() as tx:
            queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "never", {}))
            raise Invalid("no")
        enqueue(counting, queue, "create")
        assert handler.begun.acquire(timeout=20)
    assert handler.seen == ["create"]


def test_a_place_that_was_kept_is_given_back_when_the_operation_cannot_even_be_written(counting) -> None:
    queue, handler = OperationQueue(SystemClock()), Handling()

    def unreadable() -> None:
        raise Unavailable("the disk is full")

    with at_work(counting, queue, handler, threads=1):
        with pytest.raises(Unavailable), counting.begin() as tx:
            queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "never", {}), about="it", whole=unreadable)
        with pytest.raises(TypeError), counting.begin() as tx:
            queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "never", {"no": object()}))
        enqueue(counting, queue, "create")
        assert handler.begun.acquire(timeout=20)
    assert handler.seen == ["create"]


def test_what_a_handler_goes_by_is_read_only_where_it_begins_at_once(counting) -> None:
    queue, told = OperationQueue(SystemClock()), Queue()
    read: list[str] = []

    def whole() -> str:
        read.append("whole")
        return "whole"

    def handle(context: RequestContext, operation: Operation) -> None:
        told.put((operation.call.method, handed(str, "attach", "extend")))

    worker = Worker(counting, queue, SystemClock(), BACKEND, handle)
    worker.start()
    try:
        with counting.begin() as tx:
            for method in ("attach", "extend"):
                queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", method, {}), about="it", whole=whole)
        assert [told.get(timeout=20) for _ in range(2)] == [("attach", "whole"), ("extend", None)]
    finally:
        worker.stop()
    assert read == ["whole"]


def test_what_was_handed_over_to_a_process_that_dies_then_is_run_by_the_next(counting) -> None:
    class Dying:
        def reserve(self, resource_key: str) -> bool:
            return True

        def look_ahead(self, call: Call, context: RequestContext, about: object) -> None:
            raise AssertionError(about)

        def give_back(self, resource_key: str) -> None:
            raise AssertionError(resource_key)

        def foresee(self, call: Call, context: RequestContext, about: object) -> None:
            raise AssertionError(about)

        def begin(self, operation: Operation, handed: object) -> None:
            raise Died

        def release(self, resource_key: str) -> None:
            raise AssertionError(resource_key)

    queue = OperationQueue(SystemClock())
    queue.served_by(BACKEND, Dying())
    with pytest.raises(Died):
        enqueue(counting, queue, "create")
    handler = Handling()
    handler.may_end.release()
    reborn = Worker(counting, OperationQueue(SystemClock()), SystemClock(), BACKEND, handler)
    assert reborn.run_pending() == 0
    reborn.resume_interrupted()
    assert reborn.run_pending() == 1
    assert handler.seen == ["create"]


def test_a_stop_waits_for_who_was_promised_a_worker(counting) -> None:
    queue, handler = OperationQueue(SystemClock()), Handling()
    handler.may_end.release()
    worker = Worker(counting, queue, SystemClock(), BACKEND, handler)
    worker.start()
    stopper = threading.Thread(target=worker.stop)
    with counting.begin() as tx:
        operation_id = queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "create", {}))
        stopper.start()
        stopper.join(0.2)
        assert stopper.is_alive()
    stopper.join(20)
    assert not stopper.is_alive()
    assert state(counting, operation_id).state is OperationState.DONE
    assert not worker.reserve("share:2")


def test_who_waits_for_what_runs_here_does_not_look_at_its_row(counting) -> None:
    queue, handler = OperationQueue(SystemClock()), Handling()
    with at_work(counting, queue, handler):
        operation_id = enqueue(counting, queue, "create")
        assert handler.begun.acquire(timeout=20)
        counting.reads = 0
        assert queue.wait(counting, operation_id, timeout_s=0.01) is None
        handler.may_end.release()
        ended = queue.wait(counting, operation_id, timeout_s=20)
        assert ended is not None
        assert ended.state is OperationState.DONE
        assert counting.reads <= 1  # the dispatcher's, after an end


def test_a_look_begins_while_the_transaction_goes_on_and_the_handler_is_told(counting) -> None:
    queue, ended = OperationQueue(SystemClock()), threading.Event()
    looked_at: list[object] = []
    told: list[object] = []

    def look(call: Call, about: object) -> Callable[[], str]:
        def seen() -> str:
            looked_at.append((call.method, about))
            return "seen"

        return seen

    def handle(context: RequestContext, operation: Operation) -> None:
        found = looked()
        told.append(None if found is None else found.result(20))
        if len(told) == 2:
            ended.set()

    worker = Worker(counting, queue, SystemClock(), BACKEND, handle, look_ahead=look)
    worker.start()
    try:
        with counting.begin() as tx:
            queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "attach", {}), about="a volume")
            queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "extend", {}), about="a volume")
            for _ in range(1000):
                if looked_at:
                    break
                ended.wait(0.02)
            assert looked_at == [("attach", "a volume")]
        assert ended.wait(20)
    finally:
        worker.stop()
    assert told == ["seen", None]
    assert looked_at == [("attach", "a volume")]


def test_a_look_for_what_has_to_wait_keeps_nobody_s_place(counting) -> None:
    """It is looked before it is known whether something is before it: then the place is given back."""
    queue, handler = OperationQueue(SystemClock()), Handling()
    with counting.begin() as tx:  # of a process that is gone, say: nobody here has it
        rows.add(
            tx,
            Call("host@else", "share:1", "before", {}),
            request_id="req-1",
            user_id=None,
            project_id=None,
            now=SystemClock().utc(),
        )
    looks: list[str] = []
    worker = Worker(
        counting,
        queue,
        SystemClock(),
        BACKEND,
        handler,
        threads=1,
        look_ahead=lambda call, _: lambda: looks.append(call.method),
    )
    worker.start()
    try:
        with counting.begin() as tx:
            waiting = queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "attach", {}), about="a volume")
        assert state(counting, waiting).state is OperationState.QUEUED
        enqueue(counting, queue, "create", key="share:2")
        assert handler.begun.acquire(timeout=20)  # the one thread was free
        handler.may_end.release()
    finally:
        worker.stop()
    assert handler.seen == ["create"]
    assert looks == ["attach"]


def test_a_look_that_fails_is_the_handler_s_to_judge(counting) -> None:
    queue, met = OperationQueue(SystemClock()), threading.Event()

    def look(call: Call, about: object) -> Callable[[], None]:
        return not_there

    def not_there() -> None:
        raise Invalid("not there")

    def handle(context: RequestContext, operation: Operation) -> None:
        found = looked()
        assert found is not None
        with pytest.raises(Invalid):
            found.result(20)
        met.set()

    worker = Worker(counting, queue, SystemClock(), BACKEND, handle, look_ahead=look)
    worker.start()
    try:
        with counting.begin() as tx:
            queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "attach", {}), about="a volume")
        assert met.wait(20)
    finally:
        worker.stop()


def test_what_a_worker_was_just_given_is_not_put_back(counting) -> None:
    """Who puts back what was interrupted waits for its turn to write; a request has that turn, and hands over."""
    queue, handler = OperationQueue(SystemClock()), Handling()
    with at_work(counting, queue, handler) as worker:
        looking = threading.Thread(target=worker.resume_interrupted)
        with counting.begin() as tx:
            looking.start()
            looking.join(0.3)  # as far as it gets
            one = queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "create", {}))
        looking.join()
        assert handler.begun.acquire(timeout=20)
        assert state(counting, one).state is OperationState.RUNNING


def test_a_worker_has_all_its_threads_from_the_start(counting, monkeypatch) -> None:
    """A pool that cannot start a thread keeps what it was given, and would run it beside whoever takes it up again."""
    queue, handler = OperationQueue(SystemClock()), Handling()
    with at_work(counting, queue, handler, threads=2):
        with monkeypatch.context() as full:
            full.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was wanted"))
            enqueue(counting, queue, "first", key="share:1")
            enqueue(counting, queue, "second", key="share:2")
        assert handler.begun.acquire(timeout=20)
        assert handler.begun.acquire(timeout=20)
        assert sorted(handler.seen) == ["first", "second"]


def test_a_worker_without_its_threads_does_not_start(counting, monkeypatch) -> None:
    start = threading.Thread.start

    def start_one_only(thread: threading.Thread) -> None:
        if thread.name.endswith("_1"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one_only)
    queue = OperationQueue(SystemClock())
    worker = Worker(counting, queue, SystemClock(), BACKEND, Handling(), threads=2)
    with pytest.raises(Unavailable, match="start new thread"):
        worker.start()
    waiting = enqueue(counting, queue, "first")
    assert state(counting, waiting).state is OperationState.QUEUED  # nobody has taken it


def test_who_cannot_look_ahead_does_not_hinder_the_request(counting, monkeypatch) -> None:
    queue, told = OperationQueue(SystemClock()), threading.Event()

    def look(call: Call, about: object) -> Callable[[], None]:
        return lambda: None

    def handle(context: RequestContext, operation: Operation) -> None:
        if looked() is None:
            told.set()

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    worker = Worker(counting, queue, SystemClock(), BACKEND, handle, look_ahead=look)
    worker.start()
    try:
        with counting.begin() as tx, monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "attach", {}), about="a volume")
        assert told.wait(20)
    finally:
        worker.stop()


class Manager:
    """Of a backend that the thing moved away from, after somebody read where it is."""

    def __init__(self) -> None:
        self.attached = threading.Event()
        self.refused = threading.Event()

    def init_host(self) -> None:
        """Nothing."""

    def refuse_moved(self, call: Call) -> None:
        self.refused.set()
        raise Elsewhere("host@else")

    def attach(self, context: RequestContext) -> None:
        self.attached.set()


def test_only_who_read_in_the_same_transaction_where_it_is_need_not_look_whether_it_moved(counting) -> None:
    queue, manager = OperationQueue(SystemClock()), Manager()
    worker = Worker(counting, queue, SystemClock(), BACKEND, Dispatch(manager, frozenset({"attach"})))
    worker.start()
    try:
        with counting.begin() as tx:
            queue.enqueue(tx, admin_context(), Call(BACKEND, "volume:1", "attach", {}), about="a volume")
        assert manager.attached.wait(20)
        assert not manager.refused.is_set()
        manager.attached.clear()
        moved = enqueue(counting, queue, "attach", key="volume:2")
        assert manager.refused.wait(20)
        assert queue.wait(counting, moved, timeout_s=0.01) is None
    finally:
        worker.stop()
    assert not manager.attached.is_set()
    assert state(counting, moved).call.backend == "host@else"


class SlowToReturn(Database):
    """Its transactions that need not be on the disk return only when the test lets them: others see them before."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.has_claimed, self.may_return = threading.Event(), threading.Event()

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[Transaction]:
        with super().begin(durable=durable) as tx:
            yield tx
        if not durable:
            self.has_claimed.set()
            assert self.may_return.wait(20)


def test_what_was_claimed_meanwhile_is_not_given_back_by_a_request_that_has_to_wait(tmp_path) -> None:
    database = in_file(tmp_path / "x.db", SlowToReturn)
    queue, handler = OperationQueue(SystemClock()), Handling()
    claimed = enqueue(database, queue, "first")  # nobody serves it yet, so it has to be claimed

    def begun(call: Call, about: object) -> None:
        """The request has its place, and has not seen yet that somebody is before it."""
        database.may_return.set()
        assert handler.begun.acquire(timeout=20)

    worker = Worker(database, queue, SystemClock(), BACKEND, handler, look_ahead=begun)
    worker.start()
    try:
        assert database.has_claimed.wait(20)
        with database.begin() as tx:
            queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", "second", {}), about="a share")
        worker.resume_interrupted()
        assert state(database, claimed).state is OperationState.RUNNING
        handler.may_end.release()
        assert handler.begun.acquire(timeout=20)
    finally:
        handler.may_end.release()
        worker.stop()
    assert handler.seen == ["first", "second"]
    database.close()
