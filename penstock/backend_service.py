"""One backend at work: its manager, its worker and its periodic work, brought up without holding up the API."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import structlog
from oslo_config import cfg

from penstock import metrics
from penstock.clock import Clock
from penstock.config.backend import BackendConfiguration
from penstock.context import RequestContext, admin_context
from penstock.domain.operations import Operation
from penstock.errors import Conflict, Fault, Unsupported
from penstock.host.audit import AuditedHost
from penstock.host.executor import executor_on
from penstock.host.local import LocalHost
from penstock.operations.exclusive import Claim, Standing
from penstock.operations.outcome import RetryPolicy
from penstock.operations.periodic import Periodic
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.share.manager import ShareManager
from penstock.share.manager.pump import Pump
from penstock.store.database import Database

log = structlog.get_logger(__name__)

RETRY_START_S = 5.0
WATCH_S = 2.0  # how soon a lost claim is noticed

# The manager's methods that may stand in a queue.
OPERATIONS = frozenset(
    {
        "create_share_instance",
        "delete_share_instance",
        "extend_share",
        "shrink_share",
        "create_snapshot",
        "delete_snapshot",
        "revert_to_snapshot",
        "update_access",
        "manage_share",
        "unmanage_share",
        "manage_snapshot",
        "unmanage_snapshot",
        "ensure_driver_resources",
        "remember_soft_deletion",
        "create_share_replica",
        "delete_share_replica",
        "promote_share_replica",
        "update_share_replica",
        "end_share_replication",
        "create_replicated_snapshot",
        "delete_replicated_snapshot",
        "migration_start",
        "continue_migration",
        "make_migration_destination",
        "copy_migrating_data",
        "migration_complete",
        "migration_cancel",
        "remove_moved_instance",
    }
)


class Dispatch:
    """Calls the manager's method an operation names.

    Raises Unsupported for a name that is not an operation, Elsewhere when the share is at another backend by now.
    """

    def __init__(self, manager: ShareManager) -> None:
        self._manager = manager

    def __call__(self, context: RequestContext, operation: Operation) -> None:
        call = operation.call
        if call.method not in OPERATIONS:
            raise Unsupported(f"There is no operation '{call.method}'.")
        self._manager.refuse_moved(call)
        getattr(self._manager, call.method)(context, **call.arguments)


class BackendService:
    """Serves the section `section` of the configuration as ``host@section``.

    A process that lost its claim on the backend to another ends its work, stands by, and serves again once it may.
    """

    def __init__(
        self, conf: cfg.ConfigOpts, section: str, database: Database, queue: OperationQueue, clock: Clock
    ) -> None:
        self.backend = f"{conf.host}@{section}"
        self._conf = conf
        self._queue = queue
        self._clock = clock
        self._claim = Claim(database, Path(conf.state_path), self.backend, clock)
        self._stopping = threading.Event()
        self._turning = threading.Lock()  # a stop must not fall between the look at it and the start of work
        self._thread = threading.Thread(target=self._serve, name=f"start-{section}", daemon=True)
        self.manager = ShareManager(
            service_name=section,
            configuration=BackendConfiguration(conf, section),
            database=self._claim.database,
            clock=clock,
            host=self.backend,
            conf=conf,
            execute=executor_on(AuditedHost(LocalHost(socket.gethostname()))),
            queue=queue,
        )
        self._worker: Worker | None = None
        self._periodic: list[Periodic] = []
        self._pump: Pump | None = None

    def start(self) -> None:
        """Claim the backend and bring it up in the background. Raises Conflict when another process serves it."""
        self._claim.take()
        self._thread.start()

    def stop(self) -> None:
        """Finish what runs and let the backend go."""
        with self._turning:
            self._stopping.set()
        self._end_work()
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
        operations = self._conf.operations
        worker = Worker(
            self._claim.database,
            self._queue,
            self._clock,
            self.backend,
            Dispatch(self.manager),
            threads=operations.workers_per_backend,
            retry=RetryPolicy(operations.give_up_after, operations.max_retry_delay),
            service_down_s=self._conf.service_down_time,
        )
        with self._turning:
            if self._stopping.is_set():
                return
            self.manager.backend.stopping.clear()
            worker.start()
            # Two threads: a look at exports that waits for a host must not hold up the heartbeat.
            self._worker, self._periodic = worker, [self._periodic_work(), self._upkeep()]
            self._pump = Pump(self.manager, self._clock, threads=operations.syncs_per_backend)
            for periodic in self._periodic:
                periodic.start()
            self._pump.start()
        metrics.BACKEND_READY.labels(self.backend).set(1)
        log.info("backend.ready")

    def _end_work(self) -> None:
        if self._pump is not None:
            self._pump.stop()
        self.manager.backend.stopping.set()  # long copies end and go on at the next start
        for periodic in self._periodic:
            periodic.stop()
        if self._worker is not None:
            self._worker.stop()

    def _upkeep(self) -> Periodic:
        every_s = self.manager.backend.configuration.safe_get("exports_check_interval")
        upkeep = Periodic(self._clock, f"{self.backend}-exports")
        if every_s:
            upkeep.add("exports", every_s, self.manager.restore_exports)
        return upkeep

    def _periodic_work(self) -> Periodic:
        conf, manager = self._conf, self.manager
        periodic = Periodic(self._clock, self.backend)
        periodic.add("heartbeat", conf.report_interval, manager.heartbeat)
        periodic.add(
            "capabilities", conf.periodic_interval, lambda: manager.publish_service_capabilities(admin_context())
        )
        periodic.add(
            "share status", conf.periodic_interval, lambda: manager.periodic_share_status_update(admin_context())
        )
        periodic.add(
            "replica snapshots",
            min(conf.periodic_interval, conf.replica_state_update_interval),
            lambda: manager.periodic_share_replica_snapshot_update(admin_context()),
        )
        periodic.add(
            "migrations",
            conf.migration_driver_continue_update_interval,
            lambda: manager.migration_driver_continue(admin_context()),
        )
        if manager.hooks:
            periodic.add("hooks", conf.periodic_hooks_interval, lambda: manager.execute_periodic_hooks(admin_context()))
        if conf.enable_gathering_share_usage_size:
            periodic.add(
                "usage size",
                conf.share_usage_size_update_interval,
                lambda: manager.update_share_usage_size(admin_context()),
            )
        return periodic


def refuse_twice(sections: list[str]) -> None:
    """Raise Conflict when a backend is enabled twice."""
    twice = sorted({section for section in sections if sections.count(section) > 1})
    if twice:
        raise Conflict(f"enabled_share_backends names {', '.join(twice)} more than once.")
