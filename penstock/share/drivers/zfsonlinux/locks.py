"""Locks by name, each taken for a stated reason."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger(__name__)


class NamedLocks:
    """One lock per name; names nobody holds or waits for are forgotten."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def hold(self, name: str, reason: str) -> Iterator[None]:
        """Hold the lock of `name`; `reason` is for who wonders what is being waited for."""
        with self._guard:
            lock, users = self._held.get(name, (threading.Lock(), 0))
            self._held[name] = (lock, users + 1)
        if lock.locked():
            log.debug("lock.waiting", name=name, reason=reason)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._held[name]
                if users == 1:
                    del self._held[name]
                else:
                    self._held[name] = (lock, users - 1)
