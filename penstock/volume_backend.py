"""A backend of volumes, as `backend_service` serves it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from oslo_config import cfg

from penstock.backend_work import Dispatch as AnyDispatch
from penstock.backend_work import Running, Work
from penstock.clock import Clock
from penstock.config.backend import volume_backend
from penstock.context import RequestContext, admin_context
from penstock.domain.operations import Call, Operation
from penstock.operations.queue import OperationQueue
from penstock.services.control_plane import ControlPlane
from penstock.services.volumes.rescheduling import Rescheduler
from penstock.store.database import Database
from penstock.volume.manager import VolumeManager

# The manager's methods that may stand in a queue.
OPERATIONS = frozenset(
    {
        "create_volume",
        "forget_refused",
        "delete_volume",
        "extend_volume",
        "revert_to_snapshot",
        "copy_volume_to_image",
        "reimage",
        "freeze_host",
        "thaw_host",
        "failover_host",
        "remove_left_copy",
        "create_backup",
        "restore_backup",
        "delete_backup",
        "retype",
        "migrate_volume",
        "accept_transfer",
        "manage_existing",
        "unmanage",
        "get_manageable_volumes",
        "create_snapshot",
        "delete_snapshot",
        "manage_existing_snapshot",
        "unmanage_snapshot",
        "get_manageable_snapshots",
        "create_group",
        "create_group_from_src",
        "update_group",
        "delete_group",
        "create_group_snapshot",
        "delete_group_snapshot",
        "attachment_update",
        "attachment_delete",
        "initialize_connection",
        "terminate_connection",
        "attach_volume",
        "ensure_export",
        "settle_export",
        "write_identity",
    }
)


REPLICAS_S = 1.0  # how often it is looked whether it is time


class Dispatch(AnyDispatch):
    """Calls the volume manager's method an operation names."""

    def __init__(self, manager: VolumeManager) -> None:
        super().__init__(manager, OPERATIONS)
        self._volumes = manager

    def look_ahead(self, call: Call, about: Any) -> Callable[[], Any] | None:
        """See AnyDispatch."""
        return self._volumes.look_ahead(call.method, about)

    def __call__(self, context: RequestContext, operation: Operation) -> Any:
        with self._volumes.turn(operation.call.method):
            return super().__call__(context, operation)


class _Replicating:
    """Copies of volumes that are under way: begun by periodic work, and ended with it."""

    def __init__(self, manager: VolumeManager) -> None:
        self._manager = manager

    def start(self) -> None:
        """They are begun one by one."""

    def stop(self) -> None:
        """End them."""
        self._manager.stop_replicating()


class VolumeBackend:
    """The section `section` of the configuration, of ``enabled_backends``, as ``host@section``."""

    def __init__(
        self, conf: cfg.ConfigOpts, section: str, database: Database, queue: OperationQueue, clock: Clock
    ) -> None:
        self._conf = conf
        self.manager = VolumeManager(
            service_name=section,
            configuration=volume_backend(conf, section, before_command=database.before_outside_work),
            database=database,
            clock=clock,
            host=f"{conf.host}@{section}",
            conf=conf,
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
        """Copies on replication targets."""
        return [_Replicating(self.manager)]

    def upkeep(self) -> Sequence[Work]:
        """Exports that could not be made at start, and copies on replication targets."""
        every_s = self._conf.periodic_interval
        return [
            Work("exports", every_s, lambda: self.manager.export_again(admin_context())),
            Work("replicas", REPLICAS_S, lambda: self.manager.replicate(admin_context())),
        ]

    def periodic(self) -> Sequence[Work]:
        """Heartbeat and capabilities."""
        conf, manager = self._conf, self.manager
        return [
            Work("heartbeat", conf.report_interval, manager.heartbeat),
            Work("capabilities", conf.periodic_interval, lambda: manager.publish_service_capabilities(admin_context())),
        ]
