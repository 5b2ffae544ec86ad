"""Which syncs run in this process, so that a promotion or deletion can end them: only one process serves a backend."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from penstock.clock import Clock

POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class _Running:
    share_id: str
    stop: threading.Event = field(default_factory=threading.Event)


class Syncs:
    """The syncs of one backend's replicas: at most one of each at a time. Any thread may use it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # for _running, which every sync changes
        self._running: dict[str, _Running] = {}

    @contextmanager
    def running(self, replica_id: str, share_id: str) -> Iterator[threading.Event | None]:
        """Around one sync: gives the event that asks it to stop, or None when the replica is being synced already."""
        mine = _Running(share_id)
        with self._lock:
            is_first = self._running.setdefault(replica_id, mine) is mine
        try:
            yield mine.stop if is_first else None
        finally:
            if is_first:
                with self._lock:
                    del self._running[replica_id]

    def is_running(self, replica_id: str) -> bool:
        """Is that replica being synced?"""
        with self._lock:
            return replica_id in self._running

    def count(self) -> int:
        """How many run."""
        with self._lock:
            return len(self._running)

    def stop(self, *, share_id: str | None = None, wait_s: float) -> bool:
        """Ask the syncs of a share (of all without one) to stop, and wait for their end; False: some go on."""
        until = self._clock.monotonic_s() + wait_s
        while True:
            with self._lock:
                found = [one for one in self._running.values() if share_id in (None, one.share_id)]
            for one in found:
                one.stop.set()
            if not found or self._clock.monotonic_s() >= until:
                return not found
            self._clock.sleep(POLL_S)  # not a condition: the wait is to be on the clock that `until` is on
