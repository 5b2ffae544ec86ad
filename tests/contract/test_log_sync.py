"""Commits are seen at once, and on the disk when they are answered, or before anything is done elsewhere."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.clock import SystemClock
from penstock.context import RequestContext, admin_context
from penstock.domain.operations import Call, Operation, OperationState
from penstock.errors import Invalid, Unavailable, Unsure
from penstock.host.audit import AuditedHost
from penstock.host.local import LocalHost
from penstock.operations.attempt import done_with, handed
from penstock.operations.driver_calls import driver_call
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.store import operations as rows
from penstock.store.database import Database, Transaction, when_visible
from tests.databases import in_file

BACKEND = "host@zfs"


class Disk:
    """Notes what is brought to the disk, and may be told to be slow, or to fail."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        self.folders: list[str] = []
        self.is_asked = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()
        self.fault: OSError | None = None
        self._fdatasync, self._fsync = os.fdatasync, os.fsync

    def fdatasync(self, descriptor: int) -> None:
        self.is_asked.set()
        assert self.may_end.wait(20)
        if self.fault is not None:
            raise self.fault
        self._fdatasync(descriptor)
        self.synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        self.folders.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    def be_slow(self) -> None:
        self.is_asked.clear()
        self.may_end.clear()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(os, "fdatasync", made.fdatasync)
    monkeypatch.setattr(os, "fsync", made.fsync)
    return made


@pytest.fixture
def database(tmp_path: Path, disk: Disk) -> Iterator[Database]:
    made = in_file(tmp_path / "x.db")
    yield made
    disk.may_end.set()
    made.close()


def add(tx: Transaction, key: str = "share:1") -> Operation:
    now = SystemClock().utc()
    return rows.add(tx, Call("host@else", key, "x", {}), request_id="r", user_id=None, project_id=None, now=now)


def count(database: Database) -> int:
    with database.read() as tx:
        return len(rows.pending(tx, backend="host@else"))


def commit(database: Database, *, durable: bool = True) -> None:
    with database.begin(durable=durable) as tx:
        add(tx)


def ask(database: Database, queue: OperationQueue, about: object = None, method: str = "attach") -> str:
    with database.begin() as tx:
        return queue.enqueue(tx, admin_context(), Call(BACKEND, "share:1", method, {}), about=about)


def in_thread(work: object) -> threading.Thread:
    thread = threading.Thread(target=work)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_a_commit_is_on_the_disk_when_it_is_answered_unless_it_need_not_be(
    database: Database, disk: Disk, tmp_path: Path
) -> None:
    log = f"{tmp_path}/x.db-wal"
    for durable, synced in ((True, [log]), (False, [log]), (True, [log, log])):
        commit(database, durable=durable)
        assert disk.synced == synced
    assert disk.folders == [str(tmp_path)]  # the log's name, once


def test_a_commit_is_seen_before_it_is_on_the_disk_and_can_be_waited_for(database: Database, disk: Disk) -> None:
    seen: list[int] = []
    disk.be_slow()

    def work() -> None:
        with database.begin() as tx:
            add(tx)
            when_visible(tx, lambda: seen.append(count(database)))

    committing = in_thread(work)
    assert disk.is_asked.wait(20)
    assert seen == [1]
    waiting = in_thread(database.await_disk)
    waiting.join(0.1)
    assert waiting.is_alive()
    disk.may_end.set()
    waiting.join(20)
    committing.join(20)
    assert not waiting.is_alive()
    database.await_disk()


def test_who_comes_while_the_disk_is_at_work_shares_the_next_turn(database: Database, disk: Disk) -> None:
    disk.be_slow()
    first = in_thread(lambda: commit(database))
    assert disk.is_asked.wait(20)
    others = [in_thread(lambda: commit(database)) for _ in range(5)]
    while count(database) < 6:
        first.join(0.01)
    disk.may_end.set()
    for thread in (first, *others):
        thread.join(20)
    assert 2 <= len(disk.synced) <= 3  # a late one may have been about to ask


def test_a_transaction_that_was_taken_back_is_not_waited_for(database: Database, disk: Disk) -> None:
    with pytest.raises(Invalid), database.begin() as tx:
        add(tx)
        raise Invalid("no")
    database.await_disk()
    assert disk.synced == []
    assert count(database) == 0


def test_a_disk_that_failed_is_believed_again_when_all_was_saved(database: Database, disk: Disk) -> None:
    """The kernel tells of a failure once: a second sync that succeeds proves nothing."""
    host = AuditedHost(LocalHost("here"), database.before_outside_work)
    commit(database)
    with database.read() as reading:  # the log cannot be saved beyond what somebody reads
        assert rows.pending(reading, backend="host@else")
        disk.fault = OSError(5, "Input/output error")
        with pytest.raises(Unavailable, match="Input/output"):
            commit(database)
        disk.fault = None
        with pytest.raises(Unsure, match="Input/output"):  # a driver would take Unavailable for its host's
            host.run(["true"], timeout_s=10)
        with pytest.raises(Unavailable, match="Input/output"):
            commit(database)
    disk.synced.clear()
    host.run(["true"], timeout_s=10)
    commit(database)
    assert len(disk.synced) == 1
    assert count(database) == 4


@pytest.mark.parametrize("about", [None, "a volume"])
def test_an_operation_whose_commit_nobody_heard_of_is_run_all_the_same(
    database: Database, disk: Disk, about: object
) -> None:
    queue, ran = OperationQueue(SystemClock()), threading.Semaphore(0)
    worker = Worker(database, queue, SystemClock(), BACKEND, lambda *_: ran.release())
    worker.start()
    try:
        disk.fault = OSError(28, "No space left on device")
        with pytest.raises(Unavailable):
            ask(database, queue, about)
        disk.fault = None
        assert ran.acquire(timeout=20)
        ask(database, queue, method="detach")
        assert ran.acquire(timeout=20)
    finally:
        worker.stop()


def test_an_end_that_was_written_stays_though_its_commit_was_not_heard_of(database: Database, disk: Disk) -> None:
    queue = OperationQueue(SystemClock())
    times: list[str] = []

    def handle(context: RequestContext, operation: Operation) -> None:
        times.append(operation.call.method)
        disk.fault = OSError(5, "Input/output error")
        try:
            with database.begin() as tx:
                done_with(tx, "attach")
        finally:
            disk.fault = None

    worker = Worker(database, queue, SystemClock(), BACKEND, handle)
    worker.start()
    try:
        asked = ask(database, queue)
        ended = queue.wait(database, asked, timeout_s=20)
        assert ended is not None
        assert ended.state is OperationState.DONE
    finally:
        worker.stop()
    assert times == ["attach"]
    with database.read() as tx:
        found = rows.get(tx, asked)
    assert found is not None
    assert (found.state, found.attempts) == (OperationState.DONE, 1)


@pytest.mark.parametrize("waits", [False, True])
def test_an_operation_gets_ready_before_and_does_something_elsewhere_after(
    database: Database, disk: Disk, waits: bool
) -> None:
    """`waits`: the driver is called at once, and its host waits with each command."""
    host = AuditedHost(LocalHost("here"), database.before_outside_work)
    queue, ready, called = OperationQueue(SystemClock()), threading.Event(), threading.Event()
    found: list[object] = []

    def handle(context: RequestContext, operation: Operation) -> None:
        found.extend((handed(str, "delete"), handed(int, "attach"), handed(str, "attach"), handed(str, "attach")))
        if not waits:
            ready.set()
        with driver_call("attach", waits=waits):
            ready.set()
            host.run(["true"], timeout_s=10)
            called.set()

    worker = Worker(database, queue, SystemClock(), BACKEND, handle)
    worker.start()
    try:
        disk.be_slow()
        asking = in_thread(lambda: ask(database, queue, "a volume"))
        assert ready.wait(20)
        assert found == [None, None, "a volume", None]
        assert not called.wait(0.1)
        disk.may_end.set()
        assert called.wait(20)
        asking.join(20)
    finally:
        worker.stop()


def test_an_operation_that_is_handed_nothing_begins_after(database: Database, disk: Disk) -> None:
    queue, begun = OperationQueue(SystemClock()), threading.Event()
    worker = Worker(database, queue, SystemClock(), BACKEND, lambda *_: begun.set())
    worker.start()
    try:
        disk.be_slow()
        asking = in_thread(lambda: ask(database, queue))
        assert disk.is_asked.wait(20)
        assert not begun.wait(0.1)
        disk.may_end.set()
        assert begun.wait(20)
        asking.join(20)
    finally:
        worker.stop()
