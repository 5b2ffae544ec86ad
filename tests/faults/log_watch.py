"""Seeing in the daemon's log how far its work on the host is."""

from __future__ import annotations

import time

from tests.product.running import Product

ACTIONS = ("host.command", "host.file_written", "host.file_removed", "host.program_asked")
WAIT_S = 10.0


class LogWatch:
    """Counts what is logged from now on."""

    def __init__(self, product: Product, patience_s: float = WAIT_S) -> None:
        self._patience_s = patience_s
        self._path = product.daemon.log
        self.forget()

    def forget(self) -> None:
        """Count from now on."""
        self._offset = self._path.stat().st_size
        self._lines: list[str] = []

    def lines(self, *events: str) -> list[str]:
        """What was logged since, of these events."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            whole = log.read().rpartition(b"\n")[0]
        if whole:
            self._offset += len(whole) + 1
            self._lines += whole.decode(errors="replace").split("\n")
        return [line for line in self._lines if any(event in line for event in events)]

    def await_actions(self, count: int, *, ends: tuple[str, ...] = ()) -> bool:
        """Wait for so many commands and file changes; False when an event of `ends`, or nothing, came first."""
        deadline = time.monotonic() + self._patience_s
        while len(self.lines(*ACTIONS)) < count:
            if time.monotonic() > deadline or (ends and self.lines(*ends)):
                return False
            time.sleep(0.002)  # the moment matters: a fault is to come right after the action
        return not (ends and self.lines(*ends))
