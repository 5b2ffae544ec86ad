"""One backend at work: its manager, its worker and its periodic work, brought up without holding up the API.

Whether it is of shares or of volumes is `backend_work.Backend`'s to know.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
from oslo_config import cfg

from penstock import metrics
from penstock.backend_work import Backend, Running, Work
from penstock.clock import Clock
from penstock.config.backend import BackendConfiguration
from penstock.config.places import OPTION, shared_places
from penstock.errors import Conflict, Fault
from penstock.operations.exclusive import Claim, Standing
from penstock.operations.outcome import RetryPolicy
from penstock.operations.periodic import Periodic
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.share_backend import ShareBackend
from penstock.store.database import Database

log = structlog.get_logger(__name__)

Kind = Callable[[cfg.ConfigOpts, str, Database, OperationQueue, Clock], Backend]

RETRY_START_S = 5.0
WATCH_S = 2.0  # how soon a lost claim is noticed


class BackendService:
    """Serves the section `section` of the configuration as ``host@section``.

    A process that lost its claim on the backend to another ends its work, stands by, and serves again once it may.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        section: str,
        database: Database,
        queue: OperationQueue,
        clock: Clock,
        kind: Kind = ShareBackend,
    ) -> None:
        self.backend = f"{conf.host}@{section}"
        self._conf = conf
        self._queue = queue
        self._clock = clock
        self._claim = Claim(database, Path(conf.state_path), self.backend, clock)
        self._is_claimed = False
        self._stopping = threading.Event()
        self._turning = threading.Lock()  # a stop must not fall between the look at it and the start of work
        self._thread = threading.Thread(target=self._serve, name=f"start-{section}", daemon=True)
        self._of_kind: Backend = kind(conf, section, self._claim.database, queue, clock)
        self.manager: Any = self._of_kind.manager
        self._worker: Worker | None = None
        self._periodic: list[Periodic] = []
        self._others: Sequence[Running] = ()

    @property
    def configuration(self) -> BackendConfiguration:
        """The backend's section, with the options of its driver."""
        found: BackendConfiguration = self.manager.backend.configuration
        return found

    def claim(self) -> None:
        """Claim the backend. Raises Conflict when another process serves it."""
        self._claim.take()
        self._is_claimed = True

    def start(self) -> None:
        """Bring the backend up in the background, after claiming it unless that was done. Raises as `claim`."""
        if not self._is_claimed:
            self.claim()
        self._thread.start()

    def stop(self) -> None:
        """Finish what runs and let the backend go; who waits for what has not begun is told. Safe to repeat."""
        with self._turning:
            self._stopping.set()
        self._end_work()
        self._queue.leave(self.backend)
        self._claim.let_go()

    def _serve(self) -> None:
        with structlog.contextvars.bound_contextvars(backend=self.backend):
            while not self._stopping.is_set():
                self._bring_up()
                if not self._claim.can_be_lost:
                    return
                while not self._stopping.wait(WATCH_S) and self._is_ours():
                    pass
                if not self._stopping.is_set():
                    self._stand_by()

    def _is_ours(self) -> bool:
        """Has nobody else begun to serve the backend?"""
        try:
            return self._claim.look() is not Standing.DISPLACED
        except Exception:
            # The outermost frame of this thread: without it nobody would look again. Writes are refused by themselves.
            log.exception("backend.claim_unknown")
            return True

    def _bring_up(self) -> None:
        """Begin to work, as soon as the host lets us; returns early when others serve the backend, or at a stop."""
        while not self._stopping.is_set() and self._is_ours():
            try:
                self.manager.init_host()
                self._begin_work()
            except Fault as fault:
                log.warning("backend.not_ready", fault=str(fault))
            except Exception:
                # Outermost frame of this thread.
                log.exception("backend.not_ready")
            else:
                return
            # The host may come back: the API accepts requests meanwhile, and their operations wait in the queue.
            metrics.BACKEND_READY.labels(self.backend).set(0)
            self._stopping.wait(RETRY_START_S)

    def _stand_by(self) -> None:
        """End what runs, all of whose writes are refused, and wait until the backend is ours again, or for a stop."""
        metrics.BACKEND_READY.labels(self.backend).set(0)
        self._end_work()
        log.error("backend.standing_by", reason="another process serves it")
        while not self._stopping.is_set() and not self._claim.retake():
            self._stopping.wait(WATCH_S)

    def _begin_work(self) -> None:
        operations, dispatch = self._conf.operations, self._of_kind.dispatch
        worker = Worker(
            self._claim.database,
            self._queue,
            self._clock,
            self.backend,
            dispatch,
            threads=operations.workers_per_backend,
            retry=RetryPolicy(operations.give_up_after, operations.max_retry_delay),
            service_down_s=self._conf.service_down_time,
            look_ahead=dispatch.look_ahead,
        )
        with self._turning:
            if self._stopping.is_set():
                return
            self._of_kind.stopping.clear()
            worker.start()
            # Two threads: a look at exports that waits for a host must not hold up the heartbeat.
            self._worker, self._others = worker, self._of_kind.others()
            self._periodic = [
                self._repeated(self.backend, self._of_kind.periodic()),
                self._repeated(f"{self.backend}-exports", self._of_kind.upkeep()),
            ]
            for running in (*self._periodic, *self._others):
                running.start()
        metrics.BACKEND_READY.labels(self.backend).set(1)
        log.info("backend.ready")

    def _end_work(self) -> None:
        for other in self._others:
            other.stop()
        self._of_kind.stopping.set()  # long copies end and go on at the next start
        for periodic in self._periodic:
            periodic.stop()
        if self._worker is not None:
            self._worker.stop()

    def _repeated(self, name: str, works: Sequence[Work]) -> Periodic:
        periodic = Periodic(self._clock, name)
        for work in works:
            periodic.add(work.name, work.every_s, work.run)
        return periodic


def refuse_shared_places(backends: Sequence[BackendService]) -> None:
    """Raise Conflict when two backends keep their shares or volumes in one dataset."""
    for section, sentence in shared_places([backend.configuration for backend in backends]):
        raise Conflict(f"[{section}] {OPTION}: it {sentence}")


def refuse_twice(conf: cfg.ConfigOpts) -> None:
    """Raise Conflict when a backend is enabled twice, or as one of shares and one of volumes."""
    sections = [*conf.enabled_share_backends, *conf.enabled_backends]
    twice = sorted({section for section in sections if sections.count(section) > 1})
    if twice:
        raise Conflict(f"enabled_share_backends and enabled_backends name {', '.join(twice)} more than once.")
