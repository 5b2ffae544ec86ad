"""Time as an argument: production reads the system's clock, tests and the simulation turn their own."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def utc(self) -> datetime:
        """Now, UTC without tzinfo: the form in which the database and the APIs hold times."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back, for deadlines and durations."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock."""

    def utc(self) -> datetime:
        return datetime.now(UTC).replace(tzinfo=None)

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told to: sleeping moves it, nobody waits."""

    def __init__(self, start: datetime = datetime(2026, 1, 1)) -> None:  # noqa: DTZ001 - immutable, naive UTC
        self._start = start
        self._passed_s = 0.0
        self._lock = threading.Lock()

    def utc(self) -> datetime:
        return self._start + timedelta(seconds=self._passed_s)

    def monotonic_s(self) -> float:
        return self._passed_s

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move time forward."""
        with self._lock:
            self._passed_s += seconds
