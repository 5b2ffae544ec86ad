"""Two daemons on one PostgreSQL: the backend is one's at a time, also when the session with its lock is cut off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog
from sqlalchemy import create_engine, text
from structlog.testing import capture_logs

from penstock import backend_service
from penstock.clock import ManualClock
from penstock.context import RequestContext, admin_context
from penstock.domain.operations import Call, Operation, OperationState
from penstock.domain.shares import ShareStatus
from penstock.errors import Conflict, Displaced, Fault, Unavailable, Unsure
from penstock.host.audit import AuditedHost
from penstock.host.local import LocalHost
from penstock.operations.exclusive import Claim, Standing
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.services import share_creation
from penstock.services.share_creation import NewShare
from penstock.share.drivers.dummy import DummyDriver
from penstock.store import operations as rows
from penstock.store.database import Database
from tests.contract.test_backend_service import OWNER, Site
from tests.databases import in_memory, in_postgres
from tests.waiting import until

pytestmark = pytest.mark.postgres
BACKEND = "host@dummy"
HOLDERS = "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory'"
CUT = "SELECT pg_terminate_backend(:pid)"


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    with in_postgres(postgres_url) as found:
        yield found


def _holders(database: Database) -> set[int]:
    """The sessions that hold advisory locks, by their processes."""
    with database.read() as tx:
        return set(tx.execute(text(HOLDERS)).scalars())


def cut(database: Database) -> None:
    """End the sessions that hold advisory locks, as a fail-over does, and wait until they have ended."""
    holders = until(lambda: _holders(database), bool)
    with database.begin() as tx:
        for pid in holders:
            tx.execute(text(CUT), {"pid": pid})
    until(lambda: not holders & _holders(database))


def enqueue(database: Database) -> str:
    with database.begin() as tx:
        return OperationQueue(ManualClock()).enqueue(tx, admin_context(), Call(BACKEND, "share:1", "create", {}))


def state(database: Database, operation_id: str) -> OperationState:
    with database.read() as tx:
        found = rows.get(tx, operation_id)
    assert found is not None
    return found.state


def worker(claim: Claim, handler: Any) -> Worker:
    clock = ManualClock()
    return Worker(claim.database, OperationQueue(clock), clock, BACKEND, handler)


def test_a_lost_claim_that_nobody_took_is_regained(database: Database, tmp_path: Path) -> None:
    ours = Claim(database, tmp_path / "a", BACKEND)
    ours.take()
    try:
        assert ours.look() is Standing.HELD
        cut(database)
        assert ours.look() is Standing.HELD
        with pytest.raises(Conflict, match="already"):
            Claim(database, tmp_path / "b", BACKEND).take()
        with ours.database.begin():
            pass
    finally:
        ours.let_go()


def test_who_was_displaced_takes_no_work_and_finishes_none(database: Database, tmp_path: Path) -> None:
    ours, theirs = Claim(database, tmp_path / "a", BACKEND), Claim(database, tmp_path / "b", BACKEND)
    ours.take()
    operation_id = enqueue(database)
    seen: list[str] = []

    def their_work(context: RequestContext, operation: Operation) -> None:
        seen.append("theirs")

    def our_work(context: RequestContext, operation: Operation) -> None:
        seen.append("ours")
        cut(database)
        theirs.take()

    try:
        our_worker = worker(ours, our_work)
        with pytest.raises(Displaced):
            our_worker.run_pending()  # the end of the first cannot be written, and no second can be taken
        assert state(database, operation_id) is OperationState.RUNNING
        their_worker = worker(theirs, their_work)
        their_worker.resume_interrupted()
        assert their_worker.run_pending() == 1
        assert state(database, operation_id) is OperationState.DONE
        assert seen == ["ours", "theirs"]
        with pytest.raises(Displaced):
            our_worker.resume_interrupted()
        assert ours.look() is Standing.DISPLACED
        assert not ours.retake()
        theirs.let_go()
        assert ours.retake()
        assert ours.look() is Standing.HELD
    finally:
        ours.let_go()
        theirs.let_go()


class Held(DummyDriver):
    """A dummy driver whose first share takes until the test says so."""

    begun = threading.Event()
    may_end = threading.Event()

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> Any:
        if not self.begun.is_set():
            self.begun.set()
            assert self.may_end.wait(20)
        return super().create_share(context, share, share_server)


def test_a_daemon_that_was_displaced_stands_by_and_serves_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_service, "WATCH_S", 0.05)
    for name in "ab":
        (tmp_path / name).mkdir()
    ours = Site(database, tmp_path / "a", f"{__name__}.Held")
    theirs = Claim(database, tmp_path / "b", BACKEND)
    ours.service.start()
    try:
        until(ours.is_up)
        share = share_creation.create(ours.plane, OWNER, NewShare("NFS", 1))
        assert Held.begun.wait(20)
        while True:  # whoever looks first after the cut has it: once that is the other
            cut(database)
            try:
                theirs.take()
                break
            except Conflict:
                theirs = Claim(database, tmp_path / "b", BACKEND)
        Held.may_end.set()
        until(lambda: not any(thread.name == f"dispatch-{BACKEND}" for thread in threading.enumerate()))
        found = ours.share(share.id)
        assert found is not None
        assert found.status is ShareStatus.CREATING  # what we did after we lost it was not written
        theirs.let_go()
        until(ours.available(share.id))
    finally:
        theirs.let_go()
        ours.service.stop()


class AtWork(DummyDriver):
    """A dummy driver that makes a share by two commands on its host, between which the test may do something."""

    folder: Path
    refusals: ClassVar[list[Fault]] = []
    begun = threading.Event()
    may_end = threading.Event()

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> Any:
        host = AuditedHost(LocalHost("here"), self.configuration.before_command)
        host.run(["mktemp", str(self.folder / "first.XXXX")], timeout_s=10)
        self.begun.set()
        assert self.may_end.wait(20)
        try:
            host.run(["mktemp", str(self.folder / "second.XXXX")], timeout_s=10)
        except Fault as fault:
            self.refusals.append(fault)
            raise
        return super().create_share(context, share, share_server)


def test_who_was_displaced_runs_no_further_command_on_a_host(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_service, "WATCH_S", 60)  # nothing but the look before a command can tell it
    (tmp_path / "a").mkdir()
    AtWork.folder = tmp_path
    ours = Site(database, tmp_path / "a", f"{__name__}.AtWork")
    theirs = Claim(database, tmp_path / "b", BACKEND)
    ours.service.start()
    try:
        until(ours.is_up)
        share = share_creation.create(ours.plane, OWNER, NewShare("NFS", 1))
        assert AtWork.begun.wait(20)
        cut(database)
        theirs.take()
        AtWork.may_end.set()
        until(lambda: bool(AtWork.refusals))
        assert isinstance(AtWork.refusals[0], Displaced)
        assert sorted(path.name[:5] for path in tmp_path.glob("*.*")) == ["first"]
        found = ours.share(share.id)
        assert found is not None
        assert found.status is ShareStatus.CREATING  # theirs to finish
    finally:
        theirs.let_go()
        ours.service.stop()


def test_a_look_before_a_command_asks_nobody_on_sqlite(tmp_path: Path) -> None:
    database = in_memory()
    assert Claim(database, tmp_path, BACKEND).database.before_outside_work is None
    database.close()


def test_a_look_that_fails_oddly_is_not_the_last(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_service, "WATCH_S", 0.05)
    site = Site(database, tmp_path)
    site.service.start()
    try:
        until(site.is_up)
        with database.begin() as tx:
            tx.execute(text("ALTER TABLE worker_claims RENAME TO elsewhere"))
        structlog.reset_defaults()  # another test of this process may have made logs quiet
        try:
            with capture_logs() as told:
                cut(database)
                until(lambda: any(line["event"] == "backend.claim_unknown" for line in list(told)))
        finally:
            with database.begin() as tx:
                tx.execute(text("ALTER TABLE elsewhere RENAME TO worker_claims"))
        until(lambda: len(_holders(database)) == 1)
        share = share_creation.create(site.plane, OWNER, NewShare("NFS", 1))
        until(site.available(share.id))
    finally:
        site.service.stop()


@contextmanager
def away(database: Database) -> Iterator[None]:
    """The server lets nobody into this database during the block, and has thrown out who was in."""
    name = database.engine.url.database
    elsewhere = create_engine(database.engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with elsewhere.connect() as server:
        server.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'))
        server.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :of"), {"of": name})
        try:
            yield
        finally:
            server.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'))
    elsewhere.dispose()


def test_a_database_that_does_not_answer_is_not_taken_for_a_host_that_does_not(
    database: Database, tmp_path: Path
) -> None:
    """A driver goes by Unavailable when it takes a copy's host for dead, and promotes another one."""
    claim = Claim(database, tmp_path, BACKEND)
    claim.take()
    try:
        host = AuditedHost(LocalHost("here"), claim.require)
        made = tmp_path / "made"
        with away(database), pytest.raises(Unsure) as told:
            host.run(["touch", str(made)], timeout_s=10)
        assert told.value.retryable
        assert not isinstance(told.value, Unavailable)
        assert not made.exists()
        host.run(["touch", str(made)], timeout_s=10)
        assert made.exists()
    finally:
        claim.let_go()
