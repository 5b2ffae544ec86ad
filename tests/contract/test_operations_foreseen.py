"""Looks at the storage for an operation that will probably be asked for soon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import pytest

from penstock.clock import ManualClock, SystemClock
from penstock.context import RequestContext, admin_context
from penstock.domain.operations import Call, Operation
from penstock.errors import Unavailable
from penstock.operations.attempt import looked
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import FORESEEN_S, Worker
from penstock.store.database import Database
from tests.databases import in_file
from tests.waiting import until

BACKEND = "host@zfs"


class Foreseeing:
    """A worker whose looks are counted, and whose handler tells what it was given of them."""

    def __init__(self, database: Database) -> None:
        self.queue, self.clock = OperationQueue(SystemClock()), ManualClock()
        self.looks = 0
        self.told: Queue[object] = Queue()
        self.worker = Worker(database, self.queue, self.clock, BACKEND, self.handle, threads=2, look_ahead=self.look)
        self.database = database

    def look(self, call: Call, about: object) -> Callable[[], int] | None:
        return self.count if call.method == "attach" else None

    def count(self) -> int:
        self.looks += 1
        return self.looks

    def handle(self, context: RequestContext, operation: Operation) -> None:
        found = looked()
        self.told.put(None if found is None else found.result(20))

    def foresee(self, key: str = "volume:1") -> None:
        with self.database.begin() as tx:
            self.queue.foresee(tx, admin_context(), Call(BACKEND, key, "attach", {}), about="a volume")

    def ask(self, method: str, key: str = "volume:1") -> object:
        """What the handler was given of a look."""
        with self.database.begin() as tx:
            asked = self.queue.enqueue(tx, admin_context(), Call(BACKEND, key, method, {}), about="a volume")
        found = self.told.get(timeout=20)
        assert self.queue.wait(self.database, asked, timeout_s=20) is not None
        until(lambda: self.worker.reserve(key))  # it has left
        self.worker.give_back(key)
        return found


@pytest.fixture
def foreseeing(tmp_path: Path) -> Iterator[Foreseeing]:
    database = in_file(tmp_path / "x.db")
    made = Foreseeing(database)
    made.worker.start()
    yield made
    made.worker.stop()
    database.close()


def test_a_look_that_was_foreseen_is_the_one_of_who_asks(foreseeing: Foreseeing) -> None:
    foreseeing.foresee()
    assert foreseeing.ask("attach") == 1
    assert foreseeing.ask("attach") == 2  # it was for one
    assert foreseeing.ask("attach", "volume:2") == 3


def test_a_look_from_before_another_operation_is_not_gone_by(foreseeing: Foreseeing) -> None:
    foreseeing.foresee()
    assert foreseeing.ask("extend") is None
    assert foreseeing.ask("attach") == 2


def test_a_look_is_too_old_after_some_seconds(foreseeing: Foreseeing) -> None:
    foreseeing.foresee()
    foreseeing.clock.advance(FORESEEN_S + 0.1)
    assert foreseeing.ask("attach") == 2


def test_no_more_is_foreseen_than_there_are_threads(foreseeing: Foreseeing) -> None:
    for number in range(5):
        foreseeing.foresee(f"volume:{number}")
    until(lambda: foreseeing.looks == 2)
    foreseeing.clock.advance(FORESEEN_S + 0.1)
    foreseeing.foresee("volume:9")
    until(lambda: foreseeing.looks == 3)


def test_a_foreseen_look_that_failed_is_taken_once_more(
    foreseeing: Foreseeing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise Unavailable("not now")

    with monkeypatch.context() as failing:
        failing.setattr(foreseeing, "count", fail)
        foreseeing.foresee()
        until(lambda: all(one.future.done() for one in foreseeing.worker._foreseen.values()))
    assert foreseeing.ask("attach") == 1
