"""Syncs that run beside everything else: one at a time for each volume, and none while somebody says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import structlog

from penstock.errors import Cancelled, Fault

log = structlog.get_logger(__name__)

EVERY = "*"


class Syncs:
    """Runs syncs in `threads` threads of its own; with 0 in the caller's, one after the other."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._running: set[str] = set()
        self._paused: dict[str, int] = {}
        self._faults: dict[tuple[str, str], str] = {}
        self._changed = threading.Condition()

    def start(self, volume_id: str, side: str, sync: Callable[[Callable[[], bool]], None]) -> bool:
        """Have `sync` run, which is told whom to ask whether it shall stop. False when it cannot begin now."""
        with self._changed:
            if volume_id in self._running or self._is_paused(volume_id):
                return False
            self._running.add(volume_id)
            if self._threads and self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="volume-sync")
        if self._pool is None:
            self._run(volume_id, side, sync)
        else:
            self._pool.submit(self._run, volume_id, side, sync)
        return True

    def fault_of(self, volume_id: str, side: str) -> str | None:
        """Why the last sync of that copy did not end well."""
        return self._faults.get((volume_id, side))

    @contextmanager
    def paused(self, volume_id: str = EVERY) -> Iterator[None]:
        """No sync of the volume (of any) runs within: one that does is stopped, and waited for."""
        with self._changed:
            self._paused[volume_id] = self._paused.get(volume_id, 0) + 1
            self._changed.wait_for(lambda: not (self._running if volume_id == EVERY else self._running & {volume_id}))
        try:
            yield
        finally:
            with self._changed:
                self._paused[volume_id] -= 1

    def stop(self) -> None:
        """End those that run. They may be started again afterwards."""
        with self.paused():
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _is_paused(self, volume_id: str) -> bool:
        return bool(self._paused.get(EVERY) or self._paused.get(volume_id))

    def _run(self, volume_id: str, side: str, sync: Callable[[Callable[[], bool]], None]) -> None:
        try:
            sync(lambda: self._is_paused(volume_id))
        except Cancelled:
            log.info("volume.sync_stopped", volume=volume_id, side=side)
        except Fault as fault:
            self._faults[volume_id, side] = fault.message
            log.warning("volume.sync_failed", volume=volume_id, side=side, fault=str(fault))
        except Exception:
            # The outermost frame of this thread: without it nobody would hear of it.
            self._faults[volume_id, side] = "an unexpected error, which the log has"
            log.exception("volume.sync_failed", volume=volume_id, side=side)
            if not self._threads:
                raise
        else:
            self._faults.pop((volume_id, side), None)
        finally:
            with self._changed:
                self._running.discard(volume_id)
                self._changed.notify_all()
