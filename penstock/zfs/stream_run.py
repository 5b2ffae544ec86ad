"""The streams of one transfer, one after another: their progress in one sum, their failures as faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from penstock.host.streaming import Route, Watching
from penstock.zfs.client import Zfs
from penstock.zfs.faults import fault_of_transfer
from penstock.zfs.progress import REPORTING, Progress, complaints


class StreamRun:
    """Where a transfer's streams run. `sent_bytes` is the sum of those that have ended."""

    def __init__(
        self,
        source: Zfs,
        target: Zfs,
        route: Route,
        on_progress: Callable[[int], None],
        should_stop: Callable[[], bool],
        limit_bytes_per_s: int | None,
    ) -> None:
        self.sent_bytes = 0
        self._source = source
        self._target = target
        self._route = route
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._limit = limit_bytes_per_s

    def run(self, send: Sequence[str], receive: Sequence[str], *, timeout_s: float) -> None:
        """``zfs <send> | zfs <receive>`` to the end. Raises what the words of the end that failed mean."""
        progress = Progress()
        moved = 0

        def tell() -> None:
            self._on_progress(self.sent_bytes + max(moved, progress.moved_bytes))

        def on_moved(moved_bytes: int) -> None:
            nonlocal moved
            moved = moved_bytes
            tell()

        def on_line(line: str) -> None:
            if progress.heard(line):
                tell()

        reports = self._source.flavour.send_reports
        watching = Watching(on_moved, on_line, self._should_stop, self._limit, counts=not reports)
        words = (*send[:2], *REPORTING, *send[2:]) if reports else tuple(send)
        sent, received = self._route.run(words, receive, timeout_s=timeout_s, watching=watching)
        fault = fault_of_transfer(replace(sent, stderr=complaints(sent.stderr)), received)
        if fault is not None:
            raise fault
        self.sent_bytes += max(moved, progress.moved_bytes, progress.expected_bytes or 0)
        self._on_progress(self.sent_bytes)
