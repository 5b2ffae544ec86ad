"""Guessing passwords gets slow: each failure after the first few makes that client wait longer for that user."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from penstock.clock import Clock
from penstock.errors import Fault

FREE_FAILURES = 5
LONGEST_WAIT_S = 60.0
FORGET_AFTER_S = 900.0
MOST_REMEMBERED = 10_000


class TooManyFailedLogins(Fault):
    """Too many wrong passwords in a row; `retry_after_s` says when the next try is looked at."""

    retryable = True

    def __init__(self, message: str = "", *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    last_s: float
    blocked_until_s: float


class Lockout:
    """Failures by who (user and client address), in memory: a restart forgives, and no secret is in it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, _Failures] = {}
        self._lock = threading.Lock()

    def check(self, who: str) -> None:
        """Raise TooManyFailedLogins while `who` has to wait."""
        with self._lock:
            found = self._failures.get(who)
        left_s = found.blocked_until_s - self._clock.monotonic_s() if found else 0.0
        if left_s > 0:
            seconds = int(left_s) + 1
            raise TooManyFailedLogins(
                f"Too many failed logins in a row; try again in {seconds} s.", retry_after_s=seconds
            )

    def failed(self, who: str) -> None:
        """One more failure."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            before = self._failures.get(who)
            count = 1 if before is None or now_s - before.last_s > FORGET_AFTER_S else before.count + 1
            over = count - FREE_FAILURES
            wait_s = min(LONGEST_WAIT_S, 2.0 ** min(over, 10)) if over >= 0 else 0.0
            if len(self._failures) >= MOST_REMEMBERED:
                self._failures = {
                    name: kept for name, kept in self._failures.items() if now_s - kept.last_s <= LONGEST_WAIT_S
                }
            self._failures[who] = _Failures(count, now_s, now_s + wait_s)

    def succeeded(self, who: str) -> None:
        """Forget the failures."""
        with self._lock:
            self._failures.pop(who, None)
