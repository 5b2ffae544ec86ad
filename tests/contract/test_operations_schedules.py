"""Two workers at work for requests that come at once, are rolled back, and lose their databases' answers, by seeds.

How the threads take turns is not the seed's to say; what must hold, holds for any turn they take.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from penstock.clock import SystemClock
from penstock.context import RequestContext, admin_context
from penstock.domain.operations import Call, Operation, OperationState
from penstock.errors import Fault, Invalid, Unavailable
from penstock.operations import worker as worker_module
from penstock.operations.elsewhere import Elsewhere
from penstock.operations.outcome import RetryPolicy
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.store import operations as rows
from penstock.store.database import Database, Transaction, whole_connection
from tests.databases import in_file

BACKENDS = ("host@one", "host@two")
KEYS = ("share:1", "share:2", "share:3")
CLIENTS, REQUESTS = 3, 20
PAUSES_S = (0.0, 0.0, 0.001, 0.004)
LONG_PAUSES_S = (0.0, 0.005, 0.02)  # of dispatchers, and of what they should see running


class Troubled(Database):
    """Others get their turn before and after each transaction. One in `lost_in` commits is not answered."""

    random = Random(0)
    lost_in = 0

    def pause(self, of: tuple[float, ...] = PAUSES_S) -> None:
        threading.Event().wait(self.random.choice(of))

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[Transaction]:
        self.pause(LONG_PAUSES_S if threading.current_thread().name.startswith("dispatch-") else PAUSES_S)
        with super().begin(durable=durable) as tx:
            yield tx
            if self.lost_in and self.random.randrange(self.lost_in) == 0:
                if self.random.random() < 0.5:
                    raw: Any = whole_connection(tx).connection.driver_connection
                    raw.commit()
                raise Unavailable("The database did not answer to a commit.")
        self.pause()


class Play:
    """The backends of one process, their requests, and what became of them."""

    def __init__(self, path: Path, seed: int, *, is_calm: bool) -> None:
        self.database = in_file(path, Troubled)
        self.database.random = self.random = Random(seed)
        self.database.lost_in = 0 if is_calm else 8
        self.is_calm = is_calm
        self.queue = OperationQueue(SystemClock())
        self.lock = threading.Lock()
        self.running: set[str] = set()
        self.begun: dict[str, list[str]] = defaultdict(list)  # operations by key, each once
        self.refused: set[str] = set()
        self.wrong: list[str] = []
        self.workers = [self.started(backend) for backend in BACKENDS]

    def started(self, backend: str) -> Worker:
        worker = Worker(
            self.database, self.queue, SystemClock(), backend, self.handle, threads=2, retry=RetryPolicy(600.0, 0.01)
        )
        while True:
            try:
                worker.start()
            except Unavailable:  # as the backend service does
                continue
            return worker

    def handle(self, context: RequestContext, operation: Operation) -> None:
        key = operation.call.resource_key
        with self.lock:
            if key in self.running:
                self.wrong.append(f"two operations of {key} run at once")
            self.running.add(key)
            if operation.id not in self.begun[key]:
                self.begun[key].append(operation.id)
        try:
            self.see(operation)
            self.database.pause(LONG_PAUSES_S)
            self.see(operation)
            if operation.attempts == 1 and not self.is_calm:
                end = self.random.randrange(6)
                if end == 0:
                    raise Unavailable("later")
                if end == 1:
                    raise Elsewhere(next(one for one in BACKENDS if one != operation.call.backend))
        finally:
            with self.lock:
                self.running.discard(key)

    def see(self, operation: Operation) -> None:
        with self.database.read() as tx:
            found = rows.get(tx, operation.id)
        if found is None or (found.state, found.attempts) != (OperationState.RUNNING, operation.attempts):
            self.wrong.append(f"{operation.id} runs, and its row says {found}")

    def request(self, random: Random) -> None:
        """Of one client: one call or two, and sometimes the request is refused after all."""
        asked: list[str] = []
        try:
            with self.database.begin() as tx:
                for _ in range(random.choice((1, 1, 2))):
                    call = Call(random.choice(BACKENDS), random.choice(KEYS), "act", {})
                    asked.append(self.queue.enqueue(tx, admin_context(), call))
                if random.random() < 0.6:
                    self.refused.update(asked)
                    raise Invalid("no")
        except Fault:
            return

    def client(self, seed: int) -> None:
        random = Random(seed)
        for _ in range(REQUESTS):
            self.request(random)

    def restart(self) -> None:
        """One backend is served anew in the midst of it."""
        self.workers[0].stop()
        self.workers[0] = self.started(BACKENDS[0])

    def run(self, seed: int) -> None:
        clients = [threading.Thread(target=self.client, args=(seed * CLIENTS + at,)) for at in range(CLIENTS)]
        clients.append(threading.Thread(target=self.restart))
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(60)
            assert not thread.is_alive()
        self.database.lost_in = 0
        until_s = SystemClock().monotonic_s() + 30
        for operation in self.accepted():
            left_s = max(0.0, until_s - SystemClock().monotonic_s())
            ended = self.queue.wait(self.database, operation.id, timeout_s=left_s)
            if ended is None or ended.state is not OperationState.DONE:
                self.wrong.append(f"{operation.id} did not end: {ended}")
        for worker in self.workers:
            worker.stop()

    def accepted(self) -> list[Operation]:
        """In the order in which they were asked for."""
        with self.database.read() as tx:
            return list(reversed(rows.recent(tx, limit=1000)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("is_calm", [True, False], ids=["calm", "troubled"])
def test_no_two_of_a_resource_at_once_and_each_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, is_calm: bool
) -> None:
    monkeypatch.setattr(worker_module, "POLL_S", 0.05)
    play = Play(tmp_path / "play.db", seed, is_calm=is_calm)
    play.run(seed)
    accepted = play.accepted()
    play.database.close()
    assert play.wrong == []
    assert len(accepted) >= CLIENTS
    begun = {operation_id for ids in play.begun.values() for operation_id in ids}
    assert begun == {operation.id for operation in accepted}
    if is_calm:  # else some were tried elsewhere in vain, and others may pass them
        assert not begun & play.refused
        for key in KEYS:
            assert play.begun[key] == [one.id for one in accepted if one.call.resource_key == key]
