"""Three daemons, each with its backend, on one database; hosts, lines and clocks of their own."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any
from unittest import mock
from uuid import UUID

from oslo_config import cfg

from penstock.clock import ManualClock
from penstock.config.loading import load
from penstock.context import admin_context
from penstock.domain.shares import ReplicaState, ShareStatus
from penstock.domain.types import ShareType
from penstock.errors import Fault
from penstock.ids import ShareTypeId, new_id
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.services.control_plane import ControlPlane
from penstock.share.interface.values import Updates
from penstock.share.manager import ShareManager
from penstock.share.manager.replicated_snapshots import ON_THEIR_WAY
from penstock.share.replication import PROMOTION, Promotion
from penstock.share_backend import Dispatch
from penstock.store import operations, replicas, snapshots, types
from tests.simulation.looks import Looks, looked
from tests.simulation.replicas.site import DummySite, Site
from tests.simulation.replicas.trouble import ReplicaTrouble
from tests.simulation.replicas.zfs_site import ZfsSite
from tests.simulation.trouble import Died
from tests.simulation.world import FixedConfiguration, empty_database

SECTIONS = ("east", "west", "north")
CONTEXT = admin_context("req-sim")
SETTLED_AFTER = 60
MOST_SKEW_S = 90
DOING = {
    "update_replica_state": "sync",
    "promote_replica": "promotion",
    "create_replica": "first copy",
    "delete_replica": "deletion of a replica",
    "create_replicated_snapshot": "snapshot",
    "delete_replicated_snapshot": "deletion of a snapshot",
    "revert_to_replicated_snapshot": "revert",
    "migration_start": "migration, start",
    "migration_continue": "migration, copying",
    "migration_complete": "migration, switch",
    "migration_cancel": "migration, cancel",
}
CONFIG = """
[DEFAULT]
host = sim
enabled_share_backends = east,west,north
enabled_share_protocols = NFS
default_share_type = readable
replica_state_update_interval = 60
""" + "".join(
    f"""
[{name}]
share_backend_name = {name}
driver_handles_share_servers = False
replication_domain = d
dummy_pool_size = 100
zfs_share_export_ip = 10.0.0.{number}
zfs_service_ip = 10.0.0.{number}
zfs_zpool_list = pool
zfs_nfs_server = kernel
"""
    for number, name in enumerate(SECTIONS, 5)
)


SPECS = {
    "driver_handles_share_servers": "False",
    "snapshot_support": "True",
    "revert_to_snapshot_support": "True",
    "replication_type": "readable",
}


@functools.cache
def configuration() -> cfg.ConfigOpts:
    """The configuration of every world; read once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "penstock.conf"
        path.write_text(CONFIG)
        return load([path])


@functools.cache
def section_of_configuration(section: str) -> FixedConfiguration:
    """One backend's part of it."""
    return FixedConfiguration(configuration(), section)


@contextmanager
def life(seed: int) -> Iterator[None]:
    """Within the block the same seed makes the same ids, and daemons are processes: none waits for a lock of another.

    One acts in the middle of another's step, in one thread, so a lock of the process would never be let go.
    """
    source = Random(seed)

    def seeded_uuid() -> UUID:
        return UUID(int=source.getrandbits(128), version=4)

    def lock_of_one_process(*_of: str) -> Lock:
        return Lock()

    with (
        mock.patch("uuid.uuid4", seeded_uuid),
        mock.patch("penstock.exports.shards._change_lock", lock_of_one_process),
        mock.patch("penstock.zfs.commands.mount_lock", lock_of_one_process),
    ):
        yield


class Skewed:
    """A clock that is wrong by some seconds, `most_s` the most ever, and otherwise the world's."""

    def __init__(self, clock: ManualClock, offset_s: float) -> None:
        self._clock = clock
        self._offset_s = offset_s
        self.most_s = abs(offset_s)

    def set(self, offset_s: float) -> None:
        """Be wrong by so much from now on: time jumps, or goes back."""
        self._offset_s = offset_s
        self.most_s = max(self.most_s, abs(offset_s))

    def utc(self) -> datetime:
        return self._clock.utc() + timedelta(seconds=self._offset_s)

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)


class Daemon:
    """One process serving one backend. It dies with all it knows and begins anew."""

    def __init__(self, world: World, section: str) -> None:
        conf = configuration()
        backend = section_of_configuration(section)
        self.section = section
        self.clock = world.clocks[section]
        self.queue = OperationQueue(self.clock)
        self.driver = world.site.driver(backend, self.clock)
        world.listen(section, self.driver)
        self.manager = ShareManager(
            self.driver,
            section,
            configuration=backend,
            database=world.database,
            clock=self.clock,
            host=f"sim@{section}",
            conf=conf,
            queue=self.queue,
        )
        self.worker = Worker(world.database, self.queue, self.clock, f"sim@{section}", Dispatch(self.manager))

    def start(self) -> None:
        """What a daemon does before it works. Raises the Fault that keeps it from it."""
        self.manager.init_host()
        self.worker.resume_interrupted()

    def turn(self, does: Callable[[float], bool]) -> None:
        """One round of what it does; `does` says whether its threads get to something of that likelihood."""
        if not self.manager.is_service_ready():
            self.start()
        if does(0.2):
            self.manager.heartbeat()
        if does(0.9):
            self.worker.run_pending()
        if does(0.6):
            self.manager.periodic_share_replica_update(CONTEXT)
        if does(0.4):
            self.manager.periodic_share_replica_snapshot_update(CONTEXT)


class World:
    """What outlives the daemons: hosts, database, time; and how promotions went, by share and epoch."""

    def __init__(self, seed: int, kind: str) -> None:
        """`kind`: ``dummy``, or ``zfs`` for the ZFS driver on simulated hosts."""
        self.random = Random(seed)
        self.clock = ManualClock()
        skew = self.random.choice((0, 0, 2, 20, MOST_SKEW_S))
        self.clocks = {name: Skewed(self.clock, self.random.uniform(-skew, skew)) for name in SECTIONS}
        self.trouble = ReplicaTrouble(self.random)
        if skew:
            self.trouble.count("clocks apart")
        self.site: Site = (
            DummySite(self.trouble)
            if kind == "dummy"
            else ZfsSite(self.trouble, self.clock, self.random, SECTIONS, section_of_configuration)
        )
        self.database = empty_database()
        self.looks: Looks = {}
        self.database.trouble = self.trouble  # type: ignore[assignment]
        self.promotions: dict[tuple[str, int], tuple[str, Promotion]] = {}
        self.queue = OperationQueue(self.clock)
        self.plane = ControlPlane(self.database, self.queue, self.clock, configuration())
        self.daemons = {name: Daemon(self, name) for name in SECTIONS}
        with self.database.begin() as tx:
            share_type = ShareType(ShareTypeId(new_id()), "readable", None, True, self.clock.utc(), None, SPECS)
            types.insert_type(tx, share_type)
        for daemon in self.daemons.values():
            daemon.start()

    def set_clock(self, section: str) -> None:
        """Somebody sets a daemon's clock, or its machine does."""
        self.trouble.count("clock set")
        self.clocks[section].set(self.random.uniform(-MOST_SKEW_S, MOST_SKEW_S))

    def listen(self, section: str, driver: Any) -> None:
        """Note how promotions went, whoever survives to write it down."""
        promote = driver.promote_replica

        def noted(context: Any, replica_list: Any, replica: Any, *args: Any, **kwargs: Any) -> list[Updates]:
            answer: list[Updates] = promote(context, replica_list, replica, *args, **kwargs)
            for item in answer:
                if PROMOTION in item:
                    self.promotions.setdefault((replica.share_id, item[PROMOTION].epoch), (section, item[PROMOTION]))
            return answer

        driver.promote_replica = noted
        for method, what in DOING.items():
            setattr(driver, method, self._told(getattr(driver, method), what))

    def _told(self, method: Callable[..., Any], what: str) -> Callable[..., Any]:
        """The driver's method, of which the trouble knows that it is under way."""

        @functools.wraps(method)
        def told(*args: Any, **kwargs: Any) -> Any:
            with self.trouble.within(what):
                return method(*args, **kwargs)

        return told

    @property
    def pending(self) -> list[Any]:
        """Operations that are not finished."""
        return looked(self.database, self.looks, "pending", operations.pending)

    def work(self, section: str, *, all_of_it: bool = False) -> None:
        """One daemon's turn; when it dies a new one is started, as often as it takes."""
        try:
            self.daemons[section].turn(lambda chance: all_of_it or self.random.random() < chance)
        except Fault:
            return  # its host is away: it tries again
        except Died:
            self.restart(section)

    def work_all(self) -> None:
        """A turn of each daemon."""
        for section in SECTIONS:
            self.work(section, all_of_it=True)

    def restart(self, section: str) -> None:
        """A new process."""
        for _ in range(3):
            self.daemons[section] = Daemon(self, section)
            try:
                self.daemons[section].start()
            except Died:
                continue
            except Fault:
                return
            else:
                return
        with self.trouble.paused():
            self.daemons[section] = Daemon(self, section)
            try:
                self.daemons[section].start()
            except Fault:
                return

    def settle(self) -> None:
        """Everybody is there again and nothing new goes wrong: let the daemons work until nothing is left to do."""
        for section in sorted(self.trouble.down):
            self.site.reboot(section)
        self.trouble.clear()
        quiet = 0
        for _ in range(SETTLED_AFTER):
            for section in SECTIONS:
                if self.random.random() < 0.1:
                    self.restart(section)
                self.work(section, all_of_it=True)
            quiet = quiet + 1 if self._is_quiet() else 0
            if quiet == 2:  # looks that mend, syncs that follow, and snapshots that arrive with them
                return
            self.clock.advance(61)
        if self.pending:
            raise AssertionError(f"operations never end: {[(o.call, o.state, o.error) for o in self.pending]}")

    def _is_quiet(self) -> bool:
        """Is nothing asked for, out of sync, or on its way?"""
        if self.pending:
            return False
        with self.database.read() as tx:
            rows = [row for name in SECTIONS for row in replicas.on(tx, f"sim@{name}")]
            on_their_way = [
                one for name in SECTIONS for one in snapshots.of_backend(tx, f"sim@{name}", statuses=ON_THEIR_WAY)
            ]
        well = (ReplicaState.ACTIVE, ReplicaState.IN_SYNC)
        failed = (ShareStatus.ERROR, ShareStatus.ERROR_DELETING)
        followed = all(
            (row.replica_state in well and not row.lag_alarm and row.status not in failed)
            or (row.launched_at is None and row.status in failed)
            for row in rows
        )
        return followed and not on_their_way
