"""Three simulated ZFS hosts with the real driver, and what clients do to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from random import Random

from penstock.clock import Clock, ManualClock
from penstock.config.backend import BackendConfiguration
from penstock.domain.pools import PoolRef
from penstock.domain.shares import Share, ShareStatus
from penstock.host.boots import BOOT_ID
from penstock.share.driver import ShareDriver
from penstock.share.drivers.zfsonlinux.driver import ZFSonLinuxShareDriver
from penstock.share.drivers.zfsonlinux.identity import ID, KIND, PREFIX, ROLE, Kind
from penstock.share.drivers.zfsonlinux.options import read_settings, zfsonlinux_opts
from penstock.share.drivers.zfsonlinux.peers import Peer
from penstock.share.drivers.zfsonlinux.storage import open_storage
from penstock.share.replication import Role
from penstock.units import GIB, MIB
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.reigns import EPOCH, OF
from tests.simulation.nfs_host import SimulatedNfs
from tests.simulation.nfs_server import chmod
from tests.simulation.replicas.accounts import check_accounts, check_nothing_left
from tests.simulation.replicas.losses import destroy_one
from tests.simulation.replicas.site import Copy
from tests.simulation.replicas.strangers import Strangers
from tests.simulation.replicas.trouble import ReplicaTrouble
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, SimulatedHost
from tests.simulation.zfs_network import SimulatedNetwork
from tests.simulation.zfs_state import Filesystem

CLIENT = "10.0.0.1"
POOL = "pool"
SIZE = 8 * GIB
FIRST_CONTENT = 10**12


@dataclass
class _Lines:
    """The network's set of cut pairs, read from the trouble of the moment."""

    trouble: ReplicaTrouble

    def __contains__(self, pair: object) -> bool:
        assert isinstance(pair, tuple)
        is_cut = not self.trouble.reaches(*pair)
        if is_cut:
            self.trouble.count("hosts apart")
        return is_cut


@dataclass
class _Hooks:
    """Each command and file of a simulated host is a step."""

    trouble: ReplicaTrouble

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        self.trouble.at_step(host.name, " ".join(words[:2]), has_after=True)
        self.fill(host)
        return None

    def fill(self, host: SimulatedHost) -> None:
        """Take all the room there is on a pool that is to be full, and give it back on one that is not."""
        pool = host.state.pools[POOL]
        size = pool.root.used if host.name in self.trouble.full else SIZE
        if pool.size != size:
            pool.size = size
            pool.age += 1

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        if "out of space" in answer.stderr or "quota exceeded" in answer.stderr:
            self.trouble.told += 1
            self.trouble.count("pool full")
        self.trouble.after_step(host.name, " ".join(words[:2]))
        return None


@dataclass
class ZfsSite:
    """One host per section, all of one flavour or mixed."""

    trouble: ReplicaTrouble
    clock: ManualClock
    random: Random
    sections: tuple[str, ...]
    configuration: Callable[[str], BackendConfiguration]  # by section
    hosts: dict[str, SimulatedHost] = field(default_factory=dict)
    tags: dict[int, str] = field(default_factory=dict)
    boots: int = 0

    def __post_init__(self) -> None:
        self.nfs = SimulatedNfs()
        self.network = SimulatedNetwork(cut=_Lines(self.trouble))  # type: ignore[arg-type]
        self.network.breaking = self._breaking
        self.strangers = Strangers(Random(self.random.random()))
        mixed = self.random.choice(((OPENZFS,), (ZFS_FUSE,), (OPENZFS, ZFS_FUSE)))
        for section in self.sections:
            flavour = self.random.choice(mixed)
            host = SimulatedHost(section, flavour=flavour, clock=self.clock, pools={POOL: SIZE})
            host.programs["chmod"] = chmod
            self.nfs.install(host)
            host.state.files[BOOT_ID] = "boot-0"
            host.hooks = _Hooks(self.trouble)
            self.hosts[section] = host
            self.strangers.move_in(host, POOL)

    def _breaking(self) -> float | None:
        if self.random.random() >= self.trouble.hangs:
            return None
        self.trouble.count("stream broken")
        return self.random.random()

    def driver(self, configuration: BackendConfiguration, clock: Clock) -> ShareDriver:
        peers = _Peers(self, clock)
        host = self.hosts[configuration.config_group]
        return ZFSonLinuxShareDriver(
            configuration=configuration, host=host, clock=clock, peers=peers, routes=self.network
        )

    def write(self, section: str, instance_id: str, what: str) -> None:
        host = self.hosts[section]
        found = self._find(host, instance_id)
        if found is None or not self._is_exported(host, found):
            raise OSError(30, "read-only, or not there")
        if not found.is_mounted:
            raise OSError(2, "not mounted")
        _Hooks(self.trouble).fill(host)
        content = FIRST_CONTENT + len(self.tags)  # hosts number their own blocks, each from one
        host.model.write(found, MIB, content)
        self.tags[content] = what

    def copies(self) -> Iterator[Copy]:
        for section, host in self.hosts.items():
            for path, filesystem in host.state.filesystems.items():
                instance_id = filesystem.local.get(ID)
                if filesystem.local.get(KIND) != Kind.SHARE or instance_id is None:
                    continue
                role = filesystem.local.get(ROLE, Role.ACTIVE)
                yield Copy(
                    section,
                    instance_id,
                    int(filesystem.local.get(EPOCH, "1")),
                    role,
                    _takes_writes(filesystem),
                    self._content(host, path),
                    frozenset(
                        snap.local[f"{PREFIX}snapshot_id"]
                        for snap in filesystem.snapshots.values()
                        if snap.local.get(KIND) == Kind.SNAPSHOT
                    ),
                )

    keeps_of_deleted = True

    def kept(self, instance_id: str) -> Iterator[str]:
        for host in self.hosts.values():
            for path, filesystem in host.state.filesystems.items():
                if filesystem.local.get(KIND) == Kind.DIVERGED and filesystem.local.get(OF) == instance_id:
                    yield ",".join(self._content(host, path))

    def writers(self) -> Iterator[tuple[str, int]]:
        for host in self.hosts.values():
            for filesystem in host.state.filesystems.values():
                local = filesystem.local
                if local.get(KIND) == Kind.SHARE and ID in local and _takes_writes(filesystem):
                    yield local[ID], int(local.get(EPOCH, "1"))

    def reboot(self, section: str) -> None:
        self.boots += 1
        host = self.hosts[section]
        host.reboot()
        host.state.files[BOOT_ID] = f"boot-{self.boots}"
        self.nfs.boot(host.state.files)

    def disturb(self) -> None:
        self.strangers.act(self.hosts[self.strangers.random.choice(self.sections)])

    def destroy_ours(self) -> str | None:
        return destroy_one(self.hosts.values(), self.strangers.random)

    def leave(self) -> None:
        self.strangers.leave()

    def check_strangers(self, instances: Set[str]) -> None:
        self.strangers.check(instances)

    def check(self, replicas: Mapping[str, Share]) -> None:
        kept = {i for i, row in replicas.items() if row.instance.status is not ShareStatus.ERROR_DELETING}
        self.strangers.check(kept)
        check_accounts(self.hosts, replicas, self.strangers.guids)

    def check_empty(self) -> None:
        self.strangers.check(set())
        check_nothing_left(self.hosts)

    def _content(self, host: SimulatedHost, path: str) -> tuple[str, ...]:
        return tuple(self.tags.get(number, f"?{number}") for number in host.content(path))

    def _find(self, host: SimulatedHost, instance_id: str) -> Filesystem | None:
        for filesystem in host.state.filesystems.values():
            if filesystem.local.get(ID) == instance_id and filesystem.local.get(KIND) == Kind.SHARE:
                return filesystem
        return None

    def _is_exported(self, host: SimulatedHost, filesystem: Filesystem) -> bool:
        return self.nfs.allows(host.state.files, f"/{filesystem.path}", CLIENT) == "rw"


def _takes_writes(filesystem: Filesystem) -> bool:
    """Would it, if a client reached it? Whether it is exported does not matter."""
    return filesystem.is_mounted and filesystem.local.get("readonly") != "on"


@dataclass
class _Peers:
    """Another backend's storage as one daemon reaches it. Implements `Peers`."""

    site: ZfsSite
    clock: Clock
    known: dict[str, Peer] = field(default_factory=dict)

    def storage_of(self, host: str) -> Peer:
        section = PoolRef.parse(host).backend
        if section not in self.known:
            configuration = self.site.configuration(section)
            configuration.append_config_values(zfsonlinux_opts)
            settings = read_settings(configuration)
            there = self.site.hosts[section]
            storage = open_storage(settings, connect_timeout_s=60, host=there, nfs=None, clock=self.clock)
            self.known[section] = Peer(section, storage, settings)
        return self.known[section]
