"""The thread that looks at a backend's replicas, and those that sync them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from penstock.clock import Clock
from penstock.context import admin_context
from penstock.errors import Displaced, Fault
from penstock.share.manager.lag import LONGEST_LOOK_S
from penstock.share.manager.manager import ShareManager

log = structlog.get_logger(__name__)

STOP_S = 30.0


class Pump:
    """Keeps one backend's replicas as close to their sources as their objectives ask; `threads` syncs at a time."""

    def __init__(self, manager: ShareManager, clock: Clock, *, threads: int) -> None:
        self._manager = manager
        self._clock = clock
        self._stopping = threading.Event()
        self._wanted = manager.queue.look_wanted(manager.host)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"sync-{manager.host}")
        self._thread = threading.Thread(target=self._loop, name=f"pump-{manager.host}", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, end what runs (a sync can be begun again), and wait for it."""
        self._stopping.set()
        self._wanted.set()
        self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._manager.syncs.stop(wait_s=STOP_S)
        self._pool.shutdown()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            started_s = self._clock.monotonic_s()
            every_s = self._look()
            took_s = self._clock.monotonic_s() - started_s
            self._wanted.wait(max(every_s - took_s, every_s / 4))
            self._wanted.clear()

    def _look(self) -> float:
        try:
            return self._manager.look_at_replicas(admin_context(), self._start)
        except Displaced:  # the backend service sees it too, and ends us
            return LONGEST_LOOK_S
        except Fault as fault:
            log.warning("replicas.not_looked_at", fault=str(fault))
        except Exception:
            # The outermost frame of this thread: without it no replica would ever be synced again.
            log.exception("replicas.look_crashed")
        return 5.0

    def _start(self, sync: Callable[[], None]) -> None:
        self._pool.submit(_guarded, sync)


def _guarded(sync: Callable[[], None]) -> None:
    try:
        sync()
    except Exception:
        # The outermost frame of this thread; a driver of somebody else may raise anything.
        log.exception("replica.sync_crashed")
