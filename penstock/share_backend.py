"""A backend of shares, as `backend_service` serves it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

from oslo_config import cfg

from penstock.backend_work import Dispatch as AnyDispatch
from penstock.backend_work import Running, Work
from penstock.clock import Clock
from penstock.config.backend import BackendConfiguration
from penstock.context import admin_context
from penstock.host.audit import AuditedHost
from penstock.host.executor import executor_on
from penstock.host.local import LocalHost
from penstock.operations.queue import OperationQueue
from penstock.services.control_plane import ControlPlane
from penstock.services.rescheduling import Rescheduler
from penstock.share.manager import ShareManager
from penstock.share.manager.pump import Pump
from penstock.store.database import Database

# The manager's methods that may stand in a queue.
OPERATIONS = frozenset(
    {
        "create_share_instance",
        "forget_refused",
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


class Dispatch(AnyDispatch):
    """Calls the share manager's method an operation names."""

    def __init__(self, manager: ShareManager) -> None:
        super().__init__(manager, OPERATIONS)


class ShareBackend:
    """The section `section` of the configuration, of ``enabled_share_backends``, as ``host@section``."""

    def __init__(
        self, conf: cfg.ConfigOpts, section: str, database: Database, queue: OperationQueue, clock: Clock
    ) -> None:
        self._conf = conf
        self._clock = clock
        self.manager = ShareManager(
            service_name=section,
            configuration=BackendConfiguration(conf, section, before_command=database.before_outside_work),
            database=database,
            clock=clock,
            host=f"{conf.host}@{section}",
            conf=conf,
            execute=executor_on(AuditedHost(LocalHost(socket.gethostname()), database.before_outside_work)),
            queue=queue,
            placer=Rescheduler(ControlPlane(database, queue, clock, conf)),
        )

    @property
    def dispatch(self) -> AnyDispatch:
        """What calls the manager's methods."""
        return Dispatch(self.manager)

    @property
    def stopping(self) -> threading.Event:
        """Set when long copies should end, and go on at the next start."""
        return self.manager.backend.stopping

    def others(self) -> Sequence[Running]:
        """What brings replicas up to date."""
        return [Pump(self.manager, self._clock, threads=self._conf.operations.syncs_per_backend)]

    def upkeep(self) -> Sequence[Work]:
        """The look whether the storage hosts still serve every share."""
        every_s = self.manager.backend.configuration.safe_get("exports_check_interval")
        return [Work("exports", every_s, self.manager.restore_exports)] if every_s else []

    def periodic(self) -> Sequence[Work]:
        """Heartbeat, capabilities, and what is on its way in the background."""
        conf, manager = self._conf, self.manager
        found = [
            Work("heartbeat", conf.report_interval, manager.heartbeat),
            Work("capabilities", conf.periodic_interval, lambda: manager.publish_service_capabilities(admin_context())),
            Work("share status", conf.periodic_interval, lambda: manager.periodic_share_status_update(admin_context())),
            Work(
                "replica snapshots",
                min(conf.periodic_interval, conf.replica_state_update_interval),
                lambda: manager.periodic_share_replica_snapshot_update(admin_context()),
            ),
            Work(
                "migrations",
                conf.migration_driver_continue_update_interval,
                lambda: manager.migration_driver_continue(admin_context()),
            ),
        ]
        if manager.hooks:
            every_s = conf.periodic_hooks_interval
            found.append(Work("hooks", every_s, lambda: manager.execute_periodic_hooks(admin_context())))
        if conf.enable_gathering_share_usage_size:
            every_s = conf.share_usage_size_update_interval
            found.append(Work("usage size", every_s, lambda: manager.update_share_usage_size(admin_context())))
        return found
