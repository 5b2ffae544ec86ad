"""Named locks, each taken for a stated reason."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger(__name__)


class NamedLocks:
    """Locks that exist as long as somebody holds or awaits them. A thread may take one it holds again."""

    def __init__(self) -> None:
        self._guard = threading.Lock()  # for _locks, which every holder changes
        self._locks: dict[str, tuple[threading.RLock, int]] = {}

    @contextmanager
    def hold(self, name: str, reason: str) -> Iterator[None]:
        """Wait for the lock called `name`, and hold it in the block; `reason` says why, in the log."""
        with self._guard:
            lock, users = self._locks.get(name, (threading.RLock(), 0))
            self._locks[name] = (lock, users + 1)
        try:
            if not lock.acquire(blocking=False):
                log.debug("lock.awaited", lock=name, reason=reason)
                lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._guard:
                users = self._locks[name][1] - 1
                if users:
                    self._locks[name] = (lock, users)
                else:
                    del self._locks[name]
