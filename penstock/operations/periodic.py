"""Work that comes back: heartbeats, statistics, pruning. One thread, one thing at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from penstock.clock import Clock
from penstock.errors import Fault

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Entry:
    name: str
    every_s: float
    work: Callable[[], None]
    due_s: float
    told: str | None = None  # the fault of its last run


class Periodic:
    """Runs each entry every so many seconds. A failure is logged, once for as long as it is the same, and the entry
    comes back at its next time."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._name = name
        self._entries: list[_Entry] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, name: str, every_s: float, work: Callable[[], None]) -> None:
        """Run `work` at once and then every `every_s` seconds. Call before `start`."""
        self._entries.append(_Entry(name, every_s, work, self._clock.monotonic_s()))

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._loop, name=f"periodic-{self._name}", daemon=True)
        self._thread.start()

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """Begin nothing more and wait for what runs."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def run_due(self) -> float:
        """Run what is due in this thread; returns the seconds until the next is."""
        for entry in self._entries:
            if entry.due_s <= self._clock.monotonic_s() and not self._stopping.is_set():
                self._run(entry)
                entry.due_s = self._clock.monotonic_s() + entry.every_s
        now_s = self._clock.monotonic_s()
        return max(0.0, min((entry.due_s for entry in self._entries), default=now_s + 3600.0) - now_s)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self.run_due())

    def _run(self, entry: _Entry) -> None:
        try:
            entry.work()
        except Fault as fault:
            if entry.told != str(fault):
                log.warning("periodic.failed", work=entry.name, of=self._name, fault=str(fault))
            entry.told = str(fault)
        except Exception:
            # The outermost frame of this thread: one broken entry must not end the others.
            log.exception("periodic.crashed", work=entry.name, of=self._name)
        else:
            if entry.told is not None:
                log.info("periodic.well_again", work=entry.name, of=self._name)
            entry.told = None
