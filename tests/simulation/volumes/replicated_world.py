"""A ZFS volume backend with a replication target on two simulated machines, and the daemon that may die at any step."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from penstock.clock import Clock
from penstock.domain.operations import Operation
from penstock.domain.volumes import ReplicationStatus, VolumeStatus
from penstock.errors import Fault
from penstock.ids import OperationId
from penstock.operations.outcome import RetryPolicy
from penstock.services.volumes import replication
from penstock.store import backends, operations, volumes
from penstock.store.backends import Service
from penstock.store.database import Database
from penstock.volume.drivers.zfs.driver import ZFSVolumeDriver
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.replication import RECOVERY_POINT
from penstock.zfs.marks import ID, KIND
from penstock.zfs.reigns import EPOCH
from tests.contract.volume_sides import ADDRESSES, DEVICE, FAR, HOME, ROOTS, RPO_S, Machines
from tests.simulation.looks import Looks, looked
from tests.simulation.replicas.trouble import ReplicaTrouble
from tests.simulation.tgt_host import STATE
from tests.simulation.trouble import Died
from tests.simulation.world import empty_database
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, ZFS_FUSE, SimulatedHost
from tests.simulation.zfs_state import Filesystem
from tests.volume_plane import ADMIN, VolumePlane, WorkingQueue

HOST = "host@dummy"
CONFIG = f"""
[DEFAULT]
host = host
my_ip = 10.1.0.1
enabled_backends = dummy
default_volume_type = default
quota_volumes = 20
quota_snapshots = 20
[dummy]
volume_driver = penstock.volume.drivers.zfs.driver.ZFSVolumeDriver
volume_backend_name = dummy
zfs_zpool_list = {ROOTS[HOME]}
target_ip_address = {ADDRESSES[HOME]}
volume_data_path = userspace
zfs_volume_kind = file
use_chap_auth = True
replication_device = {DEVICE}
"""
REPLICATED = {"replication_enabled": "<is> True", "replication_rpo_seconds": str(RPO_S)}
SIDES = (HOME, FAR)
SETTLED_AFTER = 120
AT_HOME = (None, ReplicationStatus.ENABLED)
FIRST_CONTENT = 10**12


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def name_of(side: str) -> str:
    """What the side's machine is called in the trouble."""
    return f"host-{side}"


@dataclass
class _Hooks:
    """Each command and file of a machine is a step."""

    trouble: ReplicaTrouble

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        self.trouble.at_step(host.name, " ".join(words[:2]), has_after=True)
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        self.trouble.after_step(host.name, " ".join(words[:2]))
        return None


@dataclass
class _Lines:
    """The network's set of cut pairs, read from the trouble of the moment."""

    trouble: ReplicaTrouble

    def __contains__(self, pair: object) -> bool:
        assert isinstance(pair, tuple)
        return not self.trouble.reaches(*pair)


@dataclass(frozen=True, slots=True)
class Told:
    """What an owner was told of a failover: what was written after `recovery_point` is lost."""

    recovery_point: datetime
    at: datetime


class _Queue(WorkingQueue):
    """Like the daemon's worker, nobody works before the backend is ready."""

    world: ReplicatedWorld

    def wait(self, database: Database, operation_id: OperationId, *, timeout_s: float) -> Operation | None:
        if self.world.manager.is_service_ready():
            return super().wait(database, operation_id, timeout_s=timeout_s)
        return None


class ReplicatedWorld(VolumePlane):
    """Machines, database and clock; and the process that does not outlive its death."""

    def queue_class(self, clock: Clock) -> WorkingQueue:  # type: ignore[override]
        queue = _Queue(clock)
        queue.world = self
        return queue

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.trouble = ReplicaTrouble(self.random)
        self.machines = Machines(self.random.choice((OPENZFS, ZFS_FUSE)))
        self.machines.network.cut = _Lines(self.trouble)  # type: ignore[assignment]
        self.machines.network.breaking = self._breaking
        for host in self.machines.hosts.values():
            host.hooks = _Hooks(self.trouble)
        self.told: dict[str, list[Told]] = {}
        self.looks: Looks = {}
        folder, database = Path(_folder().name), empty_database()
        retry = RetryPolicy(give_up_after_s=10**6)  # whatever waits for a machine ends well in the end
        super().__init__(folder, clock=self.machines.clock, config=CONFIG, retry=retry, database=database)
        self.add_type("replicated", REPLICATED)
        database.trouble = self.trouble  # type: ignore[assignment]

    def _breaking(self) -> float | None:
        if self.random.random() >= self.trouble.hangs:
            return None
        self.trouble.count("stream broken")
        return self.random.random()

    def make_driver(self, section: Any) -> Any:
        driver = ZFSVolumeDriver(
            configuration=section,
            host=HOST,
            storage_host=self.machines.hosts[HOME],
            target_hosts={FAR: self.machines.hosts[FAR]},
            routes=self.machines.network,
            clock=self.machines.clock,
            sync_threads=0,
        )
        self._listen(driver)
        return driver

    def _listen(self, driver: Any) -> None:
        """Note what failovers told, whoever survives to write it down; and what the driver is in the middle of."""
        fail_over, replicate = driver.failover_host, driver.replicate

        def failed_over(*args: Any, **kwargs: Any) -> Any:
            with self.trouble.within("failover"):
                active, updates, groups = fail_over(*args, **kwargs)
            self.trouble.count("failover ended")
            for item in updates:
                self._note(item["volume_id"], item["updates"])
            return active, updates, groups

        def replicated(*args: Any, **kwargs: Any) -> Any:
            with self.trouble.within("round of syncs"):
                return replicate(*args, **kwargs)

        driver.failover_host, driver.replicate = failed_over, replicated

    def _note(self, volume_id: str, update: Mapping[str, Any]) -> None:
        point = update.get(RECOVERY_POINT)
        if point is not None:
            self.trouble.count("failover told a loss")
            self.told.setdefault(volume_id, []).append(Told(point, self.machines.clock.utc()))

    # --- the daemon -------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> list[Any]:
        """Operations that are not finished."""
        return looked(self.database, self.looks, "pending", operations.pending)  # type: ignore[attr-defined]

    @property
    def service(self) -> Service:
        """The backend's row."""
        with self.database.read() as tx:
            return backends.list_services(tx, host=HOST)[0]

    def turn(self, chance: float = 1.0) -> None:
        """One round of what the daemon does; of its periodic work what it gets to."""
        if not self.manager.is_service_ready():
            self.restart()
        self.worker.run_pending()
        for periodic in (self.manager.heartbeat, self._replicate, self._export):
            if self.random.random() < chance:
                periodic()

    def _replicate(self) -> None:
        self.manager.replicate(ADMIN)

    def _export(self) -> None:
        self.manager.export_again(ADMIN)

    def survive(self, chance: float = 1.0) -> None:
        """A turn; a process that dies in it is started again, as often as it takes."""
        try:
            self.turn(chance)
        except Fault:
            return
        except Died:
            self.start_again()

    def start_again(self) -> None:
        """A new process."""
        for _ in range(3):
            try:
                self.restart()
            except Died:
                continue
            except Fault:
                pass  # a machine is away: it waits for it
            return
        with self.trouble.paused():
            try:
                self.restart()
            except Fault:
                return

    # --- machines ---------------------------------------------------------------------------------------------------

    def cut_power(self, side: str) -> None:
        self.trouble.down.add(name_of(side))
        self.machines.tgts[side].stop()

    def boot(self, side: str) -> None:
        self.trouble.down.discard(name_of(side))
        self.machines.boot(side)

    def datasets(self) -> Iterator[tuple[str, Filesystem, Kind]]:
        """All that is ours: the side, the dataset, and what it is."""
        for side, host in self.machines.hosts.items():
            for filesystem in host.state.filesystems.values():
                if filesystem.local.get(KIND) in set(Kind):
                    yield side, filesystem, Kind(filesystem.local[KIND])

    def two_writers(self) -> list[tuple[str, int]]:
        """Volume and reign of what two copies take writes of and serve; one that nobody was let in to does neither."""
        reigns: dict[tuple[str, int], list[str]] = {}
        for side, filesystem, kind in self.datasets():
            if kind is Kind.VOLUME and filesystem.local.get("readonly") != "on":
                reign = filesystem.local[ID], int(filesystem.local.get(EPOCH, "1"))
                reigns.setdefault(reign, []).append(side)
        return [reign for reign, sides in reigns.items() if sum(self._serves(side, reign[0]) for side in sides) > 1]

    def _serves(self, side: str, volume_id: str) -> bool:
        state = self.machines.hosts[side].state.files.get(STATE)  # none while the server is down
        targets = json.loads(state)["targets"].values() if state is not None else ()
        return any(one["name"].endswith(f"volume-{volume_id}") and one["acl"] for one in targets)

    def content(self, filesystem: Filesystem) -> Sequence[int]:
        """What clients wrote, without what says how long its file is."""
        return sorted(block.content for block in filesystem.blocks.values() if block.content >= FIRST_CONTENT)

    def _is_one_elsewhere(self) -> bool:
        """Was the way back asked for while a later copy was away? Then it is over there, and comes back from there."""
        with self.database.read() as tx:
            found = volumes.of_backend(tx, HOST)
        return any(
            one.status is VolumeStatus.ERROR
            and one.replication_status is ReplicationStatus.ERROR
            and one.launched_at is not None
            for one in found
        )

    # --- the end ----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Everybody is there and nothing new goes wrong; the backend is failed back to where it is at home."""
        for side in SIDES:
            if name_of(side) in self.trouble.down:
                self.boot(side)
        self.trouble.clear()
        if self.random.random() < 0.5:
            self.start_again()
        quiet = 0
        for _ in range(SETTLED_AFTER):
            self.survive()
            service = self.service
            is_home = service.replication_status in AT_HOME and service.active_backend_id is None
            if is_home and self._is_one_elsewhere():
                replication.failover(self.plane, ADMIN, HOST, FAR)
            quiet = quiet + 1 if is_home and not self.pending else 0
            if quiet == 4:  # rounds of syncs, the first of which may find out only what has to be done
                return
            if service.replication_status in (ReplicationStatus.FAILED_OVER, ReplicationStatus.FAILOVER_ERROR):
                replication.failover(self.plane, ADMIN, HOST, "default")
            self.machines.clock.advance(61)
        raise AssertionError(f"it never ends: {self.service}, {[(o.call, o.state, o.error) for o in self.pending]}")
