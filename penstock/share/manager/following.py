"""Following a long copy: its progress into the rows, the wish to end it out of them, and not too many at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import structlog

from penstock.clock import Clock
from penstock.context import RequestContext
from penstock.errors import Fault, Unavailable
from penstock.share.driver import ShareDriver
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call
from penstock.share.manager.moves import Move
from penstock.share.migrating import HasWatchedMigration
from penstock.share.replication import Watch
from penstock.store import share_migrations

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 2.0
LOOK_EVERY_S = 1.0


class Follower:
    """Follows one migration while the driver is at it."""

    def __init__(self, backend: Backend, context: RequestContext, move: Move) -> None:
        self._backend = backend
        self._context = context
        self._move = move
        self._written = _Pace(backend.clock, WRITE_EVERY_S)
        self._looked = _Pace(backend.clock, LOOK_EVERY_S)
        self._is_wanted = True
        self._began_s = backend.clock.monotonic_s()

    @property
    def keywords(self) -> dict[str, Any]:
        """What the driver's call takes in addition: the watch, when the driver has it."""
        if not isinstance(self._backend.driver, HasWatchedMigration):
            return {}
        return {"watch": Watch(on_progress=self._on_progress, should_stop=self.should_stop)}

    def look(self) -> None:
        """Ask the driver how far it is, and write it. A driver that cannot tell is left alone."""
        move, driver = self._move, self._backend.driver
        try:
            with driver_call("tell how far a migration is"):
                answer = driver.migration_get_progress(
                    self._context, *move.arguments, share_server=None, destination_share_server=None
                )
        except Fault as fault:
            log.info("migration.progress_unknown", share=move.share.id, fault=str(fault))
            return
        with self._backend.database.begin() as tx:
            share_migrations.update_migration(tx, move.share.id, now=self._backend.now(), **columns(answer))

    def _on_progress(self, _sent_bytes: int) -> None:
        if self._written.is_due():
            self.look()

    def note(self, moved_bytes: int, total_bytes: int) -> None:
        """Write how far a copy of ours is, with the time it will take at its pace."""
        if not self._written.is_due():
            return
        took_s = self._backend.clock.monotonic_s() - self._began_s
        eta_s = int(took_s * (total_bytes - moved_bytes) / moved_bytes) if moved_bytes else None
        values = {"moved_bytes": moved_bytes, "total_bytes": total_bytes, "eta_s": eta_s}
        with self._backend.database.begin() as tx:
            share_migrations.update_migration(tx, self._move.share.id, now=self._backend.now(), **values)

    def should_stop(self) -> bool:
        """Is the copy to end: because somebody cancels, or because this process does?"""
        if self._backend.stopping.is_set():
            return True
        if self._looked.is_due():
            with self._backend.database.read() as tx:
                present = share_migrations.get(tx, self._move.share.id)
            self._is_wanted = present is not None and present.is_unfinished and not present.cancel_requested
        return not self._is_wanted


def columns(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What a driver told of its progress, as columns. A driver that knows only a percentage counts in hundredths."""
    if answer.get("moved_bytes") is not None:
        found = {"moved_bytes": answer["moved_bytes"], "total_bytes": answer.get("total_bytes")}
        return {**found, "eta_s": answer.get("eta_seconds")}
    total = answer.get("total_progress")
    return {} if total is None else {"moved_bytes": int(float(total)), "total_bytes": 100}


class _Pace:
    """True at most once in so many seconds."""

    def __init__(self, clock: Clock, every_s: float) -> None:
        self._clock = clock
        self._every_s = every_s
        self._due_s = 0.0

    def is_due(self) -> bool:
        now_s = self._clock.monotonic_s()
        if now_s < self._due_s:
            return False
        self._due_s = now_s + self._every_s
        return True


_COPIES: WeakKeyDictionary[ShareDriver, threading.Semaphore] = WeakKeyDictionary()
_GUARD = threading.Lock()


@contextmanager
def no_more_than(backend: Backend) -> Iterator[None]:
    """Let a quarter of the backend's workers copy at most: users' operations must find one that is free.

    Raises Unavailable, so that the operation comes back, when they all do.
    """
    with _GUARD:
        most = max(1, backend.configuration.conf.operations.workers_per_backend // 4)
        copies = _COPIES.setdefault(backend.driver, threading.Semaphore(most))
    if not copies.acquire(blocking=False):
        raise Unavailable("other migrations are copying")
    try:
        yield
    finally:
        copies.release()
