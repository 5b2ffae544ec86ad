"""The control plane of volumes in one process: services, queue, worker, manager, and a dummy driver with trouble."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from oslo_config import cfg

from penstock.clock import ManualClock
from penstock.config.backend import BackendConfiguration, volume_backend
from penstock.config.loading import load
from penstock.context import RequestContext
from penstock.domain.volume_groups import VolumeGroupType
from penstock.domain.volume_types import VolumeType
from penstock.errors import BackendFault, Unavailable, UnknownResult
from penstock.ids import VolumeGroupTypeId, VolumeTypeId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.volumes.rescheduling import Rescheduler
from penstock.store import operations, volume_group_types, volume_types
from penstock.volume.drivers.dummy import DummyVolumeDriver
from penstock.volume.drivers.dummy_records import DummyVolumes
from penstock.volume.manager import VolumeManager
from penstock.volume_backend import Dispatch
from tests.simulation.at_once import AtOnceWorker
from tests.simulation.looks import Looks, looked
from tests.simulation.trouble import Died, Trouble
from tests.simulation.world import SETTLED_AFTER, empty_database
from tests.volume_plane import WorkingQueue

CONTEXT = RequestContext("u1", "p1", ("member",))
ADMIN = RequestContext("admin", "p0", ("admin",), True)
SERVICE = "sim@dummy"
CONFIG = """
[DEFAULT]
host = sim
enabled_backends = dummy
quota_volumes = 12
quota_snapshots = 12
quota_gigabytes = 60
default_volume_type = default
[dummy]
volume_driver = penstock.volume.drivers.dummy.DummyVolumeDriver
volume_backend_name = dummy
dummy_pools = one,two
dummy_pool_size = 40
"""


@functools.cache
def configuration() -> cfg.ConfigOpts:
    """The configuration of every world; read once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "penstock.conf"
        path.write_text(CONFIG)
        return load([path])


@functools.cache
def _section() -> BackendConfiguration:
    return volume_backend(configuration(), "dummy")


class World:
    """Everything that survives a crash (records, database, clock) and the process that does not."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = ManualClock()
        self.trouble = Trouble(self.random)
        self.storage = DummyVolumes()
        self.storage.before = self._step
        self.database = empty_database()
        self.looks: Looks = {}
        self._add_type("default", {})
        self._add_type("shared", {"multiattach": "<is> True"})
        made = VolumeGroupType(VolumeGroupTypeId(new_id()), "group", None, True, self.clock.utc(), None, {})
        with self.database.begin() as tx:
            volume_group_types.insert_type(tx, made)
        self.database.trouble = self.trouble
        self.deaths = 0
        self._new_process()
        self.manager.init_host()
        self.worker.serve()

    @property
    def pending(self) -> list[Any]:
        """Operations that are not finished."""
        return looked(self.database, self.looks, "pending", operations.pending)

    def restart(self) -> None:
        """A new process after a death; it may die too while it starts, or find its backend away."""
        self.deaths += 1
        if self.random.random() < 0.3:
            self.storage.forget_exports()
        self._new_process()
        self.manager.init_host()
        self.worker.resume_interrupted()
        self.worker.serve()

    def work(self) -> None:
        """Let the worker run what is due; like the daemon's, it only starts once its backend is ready."""
        if not self.manager.is_service_ready():
            self.restart()
        self.worker.run_pending()

    def settle(self) -> None:
        """Fair weather: let the process, or a new one, work until nothing is left to do."""
        self.trouble.clear()
        if not self.manager.is_service_ready() or self.random.random() < 0.5:
            self.restart()  # also what the restart of an idle daemon does must change nothing
        for _ in range(SETTLED_AFTER):
            self.worker.run_pending()
            self.manager.export_again(ADMIN)
            if not self.pending:
                return
            self.clock.advance(61)
        raise AssertionError(f"operations never end: {self.pending}")

    def _add_type(self, name: str, extra_specs: dict[str, str]) -> None:
        made = VolumeType(VolumeTypeId(new_id()), name, None, True, None, self.clock.utc(), None, extra_specs)
        with self.database.begin() as tx:
            volume_types.insert_type(tx, made)

    def _new_process(self) -> None:
        self.queue = WorkingQueue(self.clock)
        self.plane = ControlPlane(self.database, self.queue, self.clock, configuration())
        driver = DummyVolumeDriver(configuration=_section(), storage=self.storage, host=SERVICE)
        self.manager = VolumeManager(
            driver,
            "dummy",
            configuration=_section(),
            database=self.database,
            clock=self.clock,
            conf=configuration(),
            host=SERVICE,
            queue=self.queue,
            placer=Rescheduler(self.plane),
        )
        self.worker = AtOnceWorker(self.database, self.queue, self.clock, SERVICE, Dispatch(self.manager))
        self.queue.worker = self.worker

    def _step(self, step: str) -> None:
        """What happens before a step of the driver, or after it when it is called ``... done``."""
        trouble = self.trouble
        if self._happens(trouble.dies):
            raise Died(step)
        if self._happens(trouble.hangs):
            raise UnknownResult(f"{step}: it hung")
        if step.endswith(" done"):
            return
        if self._happens(trouble.away):
            raise Unavailable(f"{step}: the backend is away")
        if step != "setup" and self._happens(trouble.breaks):
            trouble.told += 1
            raise BackendFault(f"{step}: simulated")

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance
