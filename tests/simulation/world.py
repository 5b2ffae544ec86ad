"""The whole control plane in one process: services, queue, worker, manager and ZFS driver on a simulated host."""

from __future__ import annotations

import functools
import sqlite3
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from oslo_config import cfg

from penstock.clock import ManualClock
from penstock.config.backend import BackendConfiguration
from penstock.config.loading import load
from penstock.context import RequestContext
from penstock.domain.types import ShareType
from penstock.exports.nfs_kernel import DIRECTORY
from penstock.ids import ShareTypeId, new_id
from penstock.operations.queue import OperationQueue
from penstock.services.control_plane import ControlPlane
from penstock.services.rescheduling import Rescheduler
from penstock.share.drivers.zfsonlinux.driver import ZFSonLinuxShareDriver
from penstock.share.manager import ShareManager
from penstock.share_backend import Dispatch
from penstock.store import operations, types
from penstock.store.database import Database, whole_connection
from penstock.store.schema import metadata
from penstock.units import GIB
from penstock.zfs.flavour import ZFS_FUSE
from tests.simulation.at_once import AtOnceWorker
from tests.simulation.host_at_hand import HostAtHand
from tests.simulation.looks import Looks, looked
from tests.simulation.nfs_host import SimulatedNfs
from tests.simulation.nfs_server import chmod
from tests.simulation.trouble import MortalDatabase, Trouble
from tests.simulation.zfs_host import OPENZFS, SimulatedHost

SECTION = "zfs"
SERVICE = "sim@zfs"
CONTEXT = RequestContext("u1", "p1", ("member",))
CONFIG = f"""
[DEFAULT]
host = sim
enabled_share_backends = {SECTION}
enabled_share_protocols = NFS
default_share_type = default
[quota]
shares = 12
gigabytes = 40
[{SECTION}]
share_backend_name = {SECTION}
driver_handles_share_servers = False
zfs_share_export_ip = 10.0.0.5
zfs_service_ip = 10.0.0.5
zfs_zpool_list = tank,pond
zfs_nfs_server = kernel
max_over_subscription_ratio = 3.0
"""
EXTRA_SPECS = {
    "driver_handles_share_servers": "False",
    "snapshot_support": "True",
    "create_share_from_snapshot_support": "True",
    "revert_to_snapshot_support": "True",
}
SETTLED_AFTER = 200


@functools.cache
def configuration() -> cfg.ConfigOpts:
    """The configuration of every world; read once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "penstock.conf"
        path.write_text(CONFIG)
        return load([path])


@functools.cache
def _section() -> FixedConfiguration:
    return FixedConfiguration(configuration(), SECTION)


class FixedConfiguration(BackendConfiguration):
    """A backend's section that nobody changes any more: each value is looked up once."""

    def __init__(self, conf: cfg.ConfigOpts, section: str) -> None:
        self._known: dict[str, Any] = {}
        super().__init__(conf, section)

    def _value(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = super()._value(name)
        return self._known[name]


@functools.cache
def _schema() -> sqlite3.Connection:
    """An empty database with the schema, to be copied: a hundred times faster than making it."""
    made = Database("sqlite://")
    with made.begin() as tx:
        metadata.create_all(whole_connection(tx))
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    _raw(made).backup(copy)
    return copy


def _raw(database: Database) -> Any:
    connection = database.engine.raw_connection()
    return connection.driver_connection


@functools.cache
def _database() -> MortalDatabase:
    return MortalDatabase("sqlite://")


def empty_database() -> MortalDatabase:
    """The database of the life that begins: with the schema and without rows.

    One engine serves all lives of a process, one after the other: compiling its statements again for each one took a
    fifth of a life. Nobody dies while a life begins.
    """
    database = _database()
    database.trouble = None
    _schema().backup(_raw(database))
    return database


class World:
    """Everything that survives a crash (host, database, clock) and the process that does not."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = ManualClock()
        self.trouble = Trouble(self.random, cutting=Random(f"cuts {seed}"))
        self.trouble.boots = lambda host: self.nfs.boot(host.state.files)
        flavour = self.random.choice((OPENZFS, ZFS_FUSE))
        kind = HostAtHand if seed % 2 else SimulatedHost
        self.host = kind("sim", flavour=flavour, clock=self.clock, pools={"tank": 16 * GIB, "pond": 8 * GIB})
        self.host.programs["chmod"] = chmod
        self.nfs = SimulatedNfs()
        self.nfs.install(self.host)
        self.host.hooks = self.trouble
        self.database = empty_database()
        self.looks: Looks = {}
        with self.database.begin() as tx:
            share_type = ShareType(ShareTypeId(new_id()), "default", None, True, self.clock.utc(), None, EXTRA_SPECS)
            types.insert_type(tx, share_type)
        self.database.trouble = self.trouble
        self.deaths = 0
        self.has_lost_exports = False
        self._new_process()
        self.manager.init_host()
        self.worker.serve()

    @property
    def pending(self) -> list[Any]:
        """Operations that are not finished."""
        return looked(self.database, self.looks, "pending", operations.pending)

    def restart(self) -> None:
        """A new process after a death; it may die too while it starts, or find its host away."""
        self.deaths += 1
        self._new_process()
        self.manager.init_host()
        self.worker.resume_interrupted()
        self.worker.serve()

    def work(self) -> None:
        """Let the worker run what is due; like the daemon's, it only starts once its backend is ready."""
        if not self.manager.is_service_ready():
            self.restart()
        self.worker.run_pending()

    def lose_exports(self) -> None:
        """The host loses its configuration of exports, and its NFS server is restarted without."""
        files = self.host.state.files
        for name in [name for name in files if name.startswith(f"{DIRECTORY}/")]:
            del files[name]
        self.nfs.boot(files)
        self.has_lost_exports = True

    def look_after_exports(self) -> None:
        """What the daemon does each minute."""
        if self.manager.is_service_ready():
            self.manager.restore_exports()

    def settle(self) -> None:
        """Fair weather: let the process, or a new one, work until nothing is left to do."""
        self.trouble.clear()
        if not self.manager.is_service_ready() or self.random.random() < 0.5:
            self.restart()  # also what the restart of an idle daemon does must change nothing
        for _ in range(SETTLED_AFTER):
            self.worker.run_pending()
            if not self.pending:
                if self.has_lost_exports:
                    self.manager.restore_exports()
                self.has_lost_exports = False
                return
            self.clock.advance(61)
        raise AssertionError(f"operations never end: {self.pending}")

    def _new_process(self) -> None:
        conf = configuration()
        backend = _section()
        self.queue = OperationQueue(self.clock)
        self.plane = ControlPlane(self.database, self.queue, self.clock, conf)
        driver = ZFSonLinuxShareDriver(configuration=backend, host=self.host, clock=self.clock)
        self.manager = ShareManager(
            driver,
            SECTION,
            configuration=backend,
            database=self.database,
            clock=self.clock,
            host=SERVICE,
            conf=conf,
            placer=Rescheduler(self.plane),
        )
        self.worker = AtOnceWorker(self.database, self.queue, self.clock, SERVICE, Dispatch(self.manager))
