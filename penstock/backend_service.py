"""One backend at work: its manager, its worker and its periodic work, brought up without holding up the API."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
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
from penstock.operations.exclusive import exclusive
from penstock.operations.outcome import RetryPolicy
from penstock.operations.periodic import Periodic
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.share.manager import ShareManager
from penstock.store.database import Database

log = structlog.get_logger(__name__)

RETRY_START_S = 5.0

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
    }
)


class Dispatch:
    """Calls the manager's method an operation names. Raises Unsupported for a name that is not an operation."""

    def __init__(self, manager: ShareManager) -> None:
        self._manager = manager

    def __call__(self, context: RequestContext, operation: Operation) -> None:
        call = operation.call
        if call.method not in OPERATIONS:
            raise Unsupported(f"There is no operation '{call.method}'.")
        getattr(self._manager, call.method)(context, **call.arguments)


class BackendService:
    """Serves the section `section` of the configuration as ``host@section``."""

    def __init__(
        self, conf: cfg.ConfigOpts, section: str, database: Database, queue: OperationQueue, clock: Clock
    ) -> None:
        self.backend = f"{conf.host}@{section}"
        self._conf = conf
        self._database = database
        self._clock = clock
        self._stopping = threading.Event()
        self._turning = threading.Lock()  # a stop must not fall between the look at it and the start of work
        self._held = ExitStack()
        self._thread = threading.Thread(target=self._bring_up, name=f"start-{section}", daemon=True)
        self.manager = ShareManager(
            service_name=section,
            configuration=BackendConfiguration(conf, section),
            database=database,
            clock=clock,
            host=self.backend,
            conf=conf,
            execute=executor_on(AuditedHost(LocalHost(socket.gethostname()))),
        )
        self._worker = Worker(
            database,
            queue,
            clock,
            self.backend,
            Dispatch(self.manager),
            threads=conf.operations.workers_per_backend,
            retry=RetryPolicy(conf.operations.give_up_after, conf.operations.max_retry_delay),
        )
        self._periodic = self._periodic_work()

    def start(self) -> None:
        """Take the backend's lock and bring it up in the background. Raises Conflict when another process serves it."""
        self._held.enter_context(exclusive(self._database, Path(self._conf.state_path), self.backend))
        self._thread.start()

    def stop(self) -> None:
        """Finish what runs and let the backend go."""
        with self._turning:
            self._stopping.set()
        self._periodic.stop()
        self._worker.stop()
        self._held.close()

    def _bring_up(self) -> None:
        with structlog.contextvars.bound_contextvars(backend=self.backend):
            while not self._stopping.is_set():
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

    def _begin_work(self) -> None:
        with self._turning:
            if self._stopping.is_set():
                return
            self._worker.start()
            self._periodic.start()
        metrics.BACKEND_READY.labels(self.backend).set(1)
        log.info("backend.ready")

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
