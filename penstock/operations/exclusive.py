"""One worker per backend: a second process under the same name refuses to start, it would run steps twice."""

from __future__ import annotations

import enum
import fcntl
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from penstock.clock import Clock, SystemClock
from penstock.errors import Conflict, Displaced, Unavailable, Unsure
from penstock.store import claims
from penstock.store.claims import SessionLock
from penstock.store.database import Database, Transaction

log = structlog.get_logger(__name__)


class Standing(enum.Enum):
    """What became of a claim."""

    HELD = "held"
    LOST = "lost"  # the database is away, or does not know yet that our session is gone; nobody else has begun
    DISPLACED = "displaced"  # another process began to serve


class Claim:
    """This process's right to work on `backend`: a locked file on this machine, and a claim in a shared database.

    On SQLite the file is all there is: the database is on one machine, and a locked file is not lost.
    """

    def __init__(self, database: Database, state_path: Path, backend: str, clock: Clock | None = None) -> None:
        self.backend = backend
        self._plain = database
        self._clock = clock or SystemClock()
        self._path = state_path / "locks" / (re.sub(r"[^A-Za-z0-9._@-]", "_", backend) + ".lock")
        self._descriptor: int | None = None
        self._session = None if database.is_sqlite else SessionLock(database, f"worker:{backend}")
        self._epoch: int | None = None
        self._is_lost = False
        self._is_over = False
        self._turning = threading.Lock()  # who lets go must not be overtaken by a look that takes it again
        # For what the backend's worker, manager and periodic work write: refused once the backend is another's.
        self.database = database if self._session is None else database.guarded(self._guard, self.require)

    @property
    def can_be_lost(self) -> bool:
        """Is there a session that may end before this process does?"""
        return self._session is not None

    def take(self) -> None:
        """Claim the backend. Raises Conflict when another process serves it, Unavailable."""
        try:
            with self._turning:
                self._lock_file()
                self._take_session()
        except BaseException:
            self.let_go()
            raise

    def retake(self) -> bool:
        """Claim the backend again after `look` found us displaced; False while somebody else has it.

        Nothing that was begun under the former claim may run any more.
        """
        with self._turning:
            try:
                self._take_session()
            except (Conflict, Unavailable):
                return False
        log.warning("backend.claimed_again", backend=self.backend)
        return True

    def look(self) -> Standing:
        """Do we still hold the backend? A claim that was lost, and nobody's since, is regained."""
        with self._turning:
            return Standing.HELD if self._session is None else self._look(self._session)

    def require(self) -> None:
        """Raise Displaced when another process has begun to serve the backend, Unsure when nobody can say.

        For what is done on storage hosts: one short reading, without waiting for whoever else asks.
        """
        try:
            with self._plain.read() as tx:
                present = claims.epoch(tx, self.backend)
        except Unavailable as fault:
            raise Unsure(f"Whether this process still serves {self.backend} is not known: {fault.message}") from fault
        if present != self._epoch:
            raise Displaced(f"Another process has begun to serve backend {self.backend}.")

    def let_go(self) -> None:
        """Let others have the backend."""
        with self._turning:
            self._is_over = True
            if self._session is not None:
                self._session.drop()
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _look(self, session: SessionLock) -> Standing:
        if self._is_over:
            return Standing.DISPLACED
        if session.is_held():
            return Standing.HELD
        if not self._is_lost:
            self._is_lost = True
            log.error("backend.claim_lost", backend=self.backend, reason="its database session ended")
        try:
            is_regained = session.take()
            with self._plain.read() as tx:  # after the taking: nobody can begin any more without our seeing it
                is_ours = claims.epoch(tx, self.backend) == self._epoch
        except Unavailable:
            session.drop()
            return Standing.LOST
        except BaseException:
            session.drop()  # held, but perhaps too late: the next look has to compare again
            raise
        if not is_ours:
            session.drop()
            self._epoch = None
            log.error("backend.displaced", backend=self.backend, reason="another process began to serve it")
            return Standing.DISPLACED
        if not is_regained:
            return Standing.LOST
        self._is_lost = False
        log.warning("backend.claim_regained", backend=self.backend)
        return Standing.HELD

    def _guard(self, tx: Transaction) -> None:
        claims.require(tx, self.backend, -1 if self._epoch is None else self._epoch)

    def _lock_file(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"Another process on this machine serves backend {self.backend} already ({self._path})."
            ) from None

    def _take_session(self) -> None:
        if self._session is None:
            return
        if self._is_over or not self._session.take():
            raise Conflict(f"Another process on this database serves backend {self.backend} already.")
        with self._plain.begin() as tx:
            self._epoch = claims.take(tx, self.backend, now=self._clock.utc())
        self._is_lost = False


@contextmanager
def exclusive(database: Database, state_path: Path, backend: str) -> Iterator[None]:
    """Serve `backend` alone for as long as the block runs. Raises Conflict when another process serves the backend."""
    claim = Claim(database, state_path, backend)
    claim.take()
    try:
        yield
    finally:
        claim.let_go()
