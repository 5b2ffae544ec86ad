"""Whose turn it is: everything at once, or the one thing that changes which storage serves, alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from penstock.clock import Clock
from penstock.errors import Postponed
from penstock.operations.attempt import distrust

WAIT_S = 30.0
MESSAGE = "The backend changes over to another storage."


class Turns:
    """One operation that wants to be alone waits for those that run; meanwhile no other begins.

    Who was handed what it goes by before the end of that does not go by it: an operation is asked for, and is handed
    what there is to know, before it is known whether it may begin.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._was_alone_at_s: float | None = None  # monotonic
        self._running = 0
        self._wanted = False
        self._changed = threading.Condition()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Beside others. Raises Postponed while somebody is alone, or waits for it."""
        with self._changed:
            if self._wanted:
                raise Postponed(MESSAGE)
            self._running += 1
            was_alone_at_s = self._was_alone_at_s
        try:
            if was_alone_at_s is not None:
                distrust(was_alone_at_s)
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self, wait_s: float = WAIT_S) -> Iterator[None]:
        """Nothing else runs within. Raises Postponed when what runs takes longer than `wait_s`, or another is alone."""
        with self._changed:
            if self._wanted:
                raise Postponed(MESSAGE)
            self._wanted = True
            if not self._changed.wait_for(lambda: self._running == 0, wait_s):
                self._wanted = False
                raise Postponed("Operations on the storage that serves now are still under way.")
        try:
            yield
        finally:
            with self._changed:
                self._wanted = False
                self._was_alone_at_s = self._clock.monotonic_s()
