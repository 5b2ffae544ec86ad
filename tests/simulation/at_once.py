"""A worker that begins operations with the requests that ask for them, as the daemon's does, in one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from penstock.operations.worker import Worker


class AtOnceWorker(Worker):
    """What it is handed by a request it runs with the next that is due: whatever happens until then comes between."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._handed: deque[Callable[[], None]] = deque()
        self._pool = self  # type: ignore[assignment] - of what a pool does it needs `submit` only

    def serve(self) -> None:
        """Be handed operations from now on."""
        self._queue.served_by(self.backend, self)

    def submit(self, run: Callable[..., None], *arguments: Any) -> None:
        """As of a pool of threads, but for when it is run."""
        self._handed.append(partial(run, *arguments))

    def run_pending(self) -> int:
        count = 0
        while ran := self._run_handed() + super().run_pending():
            count += ran
        return count

    def _run_handed(self) -> int:
        count = 0
        while self._handed:
            self._handed.popleft()()
            count += 1
        return count
