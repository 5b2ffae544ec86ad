"""A control plane for volumes with one backend, in one process and one thread: services, queue, worker, manager."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.clock import Clock, ManualClock
from penstock.config.backend import volume_backend
from penstock.config.loading import load
from penstock.context import RequestContext
from penstock.domain.operations import Operation
from penstock.domain.volume_types import VolumeType
from penstock.ids import OperationId, VolumeTypeId, new_id
from penstock.images.choosing import image_service
from penstock.operations.outcome import RetryPolicy
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.services.control_plane import ControlPlane
from penstock.store import operations, volume_types
from penstock.store.database import Database
from penstock.volume.drivers.dummy import DummyVolumeDriver
from penstock.volume.drivers.dummy_records import DummyVolumes
from penstock.volume.manager import VolumeManager
from penstock.volume_backend import Dispatch
from tests.databases import in_memory

OWNER = RequestContext("u1", "p1", ("member",))
ADMIN = RequestContext("admin", "p0", ("admin",), True)
CONNECTOR = {"initiator": "iqn.1994-05.com.redhat:one", "host": "one", "ip": "10.0.0.1"}
CONFIG = """
[DEFAULT]
host = host
enabled_backends = dummy
quota_volumes = 20
quota_snapshots = 20
default_volume_type = default
[dummy]
volume_driver = penstock.volume.drivers.dummy.DummyVolumeDriver
volume_backend_name = dummy
"""


class WorkingQueue(OperationQueue):
    """Whoever waits for an operation does the work meanwhile."""

    worker: Worker | None = None

    def wait(self, database: Database, operation_id: OperationId, *, timeout_s: float) -> Operation | None:
        if self.worker is not None:
            self.worker.run_pending()
        with database.read() as tx:
            found = operations.get(tx, operation_id)
        return None if found is None or found.state in operations.PENDING else found


class VolumePlane:
    """Everything, with the dummy driver; `restart` is a new process on the same rows and records."""

    queue_class = WorkingQueue

    def __init__(
        self,
        folder: Path,
        *,
        database: Database | None = None,
        clock: Clock | None = None,
        config: str = CONFIG,
        retry: RetryPolicy | None = None,
    ) -> None:
        path = folder / "penstock.conf"
        path.write_text(config)
        self.conf = load([path])
        self.clock = clock or ManualClock()
        self.storage = DummyVolumes()
        self.retry = retry
        self.database = in_memory() if database is None else database
        self.add_type("default", {})
        self.restart()

    def restart(self) -> None:
        """A new process."""
        self.queue = self.queue_class(self.clock)
        images = image_service(self.conf, self.clock)
        self.plane = ControlPlane(self.database, self.queue, self.clock, self.conf, images)
        section = volume_backend(self.conf, "dummy")
        self.driver = self.make_driver(section)
        self.manager = VolumeManager(
            self.driver,
            "dummy",
            configuration=section,
            database=self.database,
            clock=self.clock,
            conf=self.conf,
            queue=self.queue,
        )
        dispatch = Dispatch(self.manager)
        self.worker = Worker(
            self.database,
            self.queue,
            self.clock,
            self.manager.host,
            dispatch,
            retry=self.retry,
            look_ahead=dispatch.look_ahead,
        )
        self.queue.worker = self.worker
        self.manager.init_host()
        self.worker.resume_interrupted()

    def make_driver(self, section: Any) -> DummyVolumeDriver:
        """The driver of the new process."""
        return DummyVolumeDriver(configuration=section, storage=self.storage, host="host@dummy")

    def work(self) -> None:
        """Let the worker run what is due."""
        self.worker.run_pending()

    def add_type(self, name: str, extra_specs: dict[str, str]) -> VolumeType:
        """Store a volume type."""
        made = VolumeType(VolumeTypeId(new_id()), name, None, True, None, self.clock.utc(), None, extra_specs)
        with self.database.begin() as tx:
            volume_types.insert_type(tx, made)
        return made
