"""A ZFS volume backend with a replication target, on two simulated machines, and clients that write to its volumes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from penstock.clock import ManualClock
from penstock.context import admin_context
from penstock.host.boots import BOOT_ID
from penstock.host.streaming import Routes
from penstock.ids import new_id
from penstock.units import GIB
from penstock.volume.drivers.zfs.driver import ZFSVolumeDriver
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.models import AttachmentModel, SnapshotModel, VolumeModel, VolumeTypeModel
from penstock.volume.replication import ReplicaReport
from penstock.zfs.flavour import Flavour
from penstock.zfs.marks import KIND
from tests.contract.zfs_volumes import VolumeFiles
from tests.simulation.tgt_host import SimulatedTgt
from tests.simulation.zfs_host import SimulatedHost
from tests.simulation.zfs_network import SimulatedNetwork
from tests.volume_values import MemoryRecords, a_snapshot, a_volume, a_volume_backend

CONTEXT = admin_context("req-volume-replication")
POOL_HOST = "here@third#tank"
HOME, FAR = "default", "far"
ROOTS = {HOME: "tank/volumes", FAR: "pond/replicas"}
ADDRESSES = {HOME: "10.1.0.11", FAR: "10.1.0.12"}
DEVICE = f"backend_id:{FAR},zfs_zpool_list:{ROOTS[FAR]},target_ip_address:{ADDRESSES[FAR]}"
RPO_S = 60
REPLICATED = VolumeTypeModel(
    id="type-replicated",
    name="replicated",
    extra_specs={"replication_enabled": "<is> True", "replication_rpo_seconds": str(RPO_S)},
)
PLAIN = VolumeTypeModel(id="type-plain", name="plain")
CLIENT = {"initiator": "iqn.1993-08.org.debian:01:there", "host": "there", "ip": "10.99.0.7"}


class Named(Protocol):
    """A volume's row or model."""

    @property
    def id(self) -> str: ...


class Machines:
    """One for each side, and what their clients do and see."""

    def __init__(
        self,
        flavour: Flavour,
        more_pools: Mapping[str, Sequence[str]] = MappingProxyType({}),
        more_targets: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`more_pools`: other pools of a side's machine; `more_targets`: where other targets have their replicas."""
        self.roots = {**ROOTS, **more_targets}
        self.clock = ManualClock()
        self.boots = 0
        self.network = SimulatedNetwork()
        self.hosts: dict[str, SimulatedHost] = {}
        self.tgts: dict[str, SimulatedTgt] = {}
        self.files: dict[str, VolumeFiles] = {}
        for side, root in self.roots.items():
            pool = root.partition("/")[0]
            pools = dict.fromkeys((pool, *more_pools.get(side, ())), 100 * GIB)
            host = SimulatedHost(f"host-{side}", flavour=flavour, clock=self.clock, pools=pools)
            for one in (root, *(f"{other}/volumes" for other in more_pools.get(side, ()))):
                assert host.run(["zfs", "create", one], timeout_s=10).exit_code == 0
            host.state.files[BOOT_ID] = "boot-0"
            self.hosts[side] = host
            self.tgts[side] = SimulatedTgt(host, lambda _: None)
            self.files[side] = VolumeFiles(host)
            self.tgts[side].size_of = self.files[side].size_of  # type: ignore[method-assign]

    # --- the machines -------------------------------------------------------------------------------------------------

    def cut_off(self, side: str) -> None:
        """The control plane cannot reach it; what runs there goes on."""
        self.hosts[side].is_cut_off = True

    def cut_power(self, side: str) -> None:
        self.cut_off(side)
        self.tgts[side].stop()

    def boot(self, side: str) -> None:
        """The machine is back, with what it does by itself when it starts."""
        self.hosts[side].is_cut_off = False
        self.hosts[side].reboot()
        self.boots += 1
        self.hosts[side].state.files[BOOT_ID] = f"boot-{self.boots}"
        self.files[side].boot()
        self.tgts[side].boot()

    def lose_pool(self, side: str, pool: str) -> Callable[[], None]:
        """It is not imported any more; what is returned imports it again."""
        state = self.hosts[side].state
        gone = {name: one for name, one in state.filesystems.items() if name.partition("/")[0] == pool}
        was = state.pools.pop(pool)
        for name in gone:
            del state.filesystems[name]

        def import_again() -> None:
            state.pools[pool] = was
            state.filesystems.update(gone)

        return import_again

    # --- what there is ------------------------------------------------------------------------------------------------

    def place(self, volume: Named, side: str) -> str:
        return f"{self.roots[side]}/volume-{volume.id}"

    def kind(self, volume: Named, side: str) -> Kind | None:
        """What stands in the volume's place there."""
        found = self.hosts[side].state.filesystems.get(self.place(volume, side))
        return None if found is None else Kind(found.local[KIND])

    def write(self, volume: Named, side: str, size: int = 1000) -> None:
        """A client writes, to stay."""
        self.hosts[side].write(self.place(volume, side), size)

    def content(self, volume: Named, side: str) -> Sequence[int]:
        return self.hosts[side].content(self.place(volume, side))

    def is_served(self, volume: Named, side: str, auth: str | None = None) -> bool:
        """Can its client log in there?"""
        iqn = f"iqn.2010-10.org.openstack:volume-{volume.id}"
        _, user, secret = (auth or "CHAP - -").split()
        found = self.tgts[side].login(iqn, CLIENT["initiator"], CLIENT["ip"], (user, secret) if auth else None)
        return bool(found and found.get(1))

    def aside(self, side: str) -> list[str]:
        return sorted(name for name in self.hosts[side].state.filesystems if "_diverged_" in name)


class Rows(MemoryRecords):
    """Those of the volumes that the test knows."""

    def __init__(self, volumes: dict[str, VolumeModel]) -> None:
        super().__init__()
        self.volumes = volumes


class Sides(Machines):
    """The machines and a driver; `restart` is a new control plane, which knows from its rows where it is failed over
    to."""

    def __init__(
        self,
        flavour: Flavour,
        folder: Path,
        more_pools: Mapping[str, Sequence[str]] = MappingProxyType({}),
        more_targets: Mapping[str, str] = MappingProxyType({}),
        options: Sequence[str] = (),
    ) -> None:
        """`options`: more lines of the backend's section."""
        super().__init__(flavour, more_pools, more_targets)
        self.more_targets = more_targets
        self.options = options
        self.routes: Routes | None = self.network
        self.folder = folder
        self.more_pools = more_pools
        self.volumes: dict[str, VolumeModel] = {}
        self.restart(None)

    def restart(self, active: str | None) -> None:
        """A new process; one whose active side is away is not set up."""
        self.folder.mkdir(exist_ok=True, parents=True)
        more = [f"{pool}/volumes" for pool in self.more_pools.get(HOME, ())]
        section = "\n".join(
            (
                f"zfs_zpool_list = {','.join((ROOTS[HOME], *more))}",
                f"target_ip_address = {ADDRESSES[HOME]}",
                "volume_data_path = userspace",
                "zfs_volume_kind = file",
                *self.options,
                f"replication_device = {DEVICE}",
                *(
                    f"replication_device = backend_id:{side},zfs_zpool_list:{root},target_ip_address:10.1.1.{number}"
                    for number, (side, root) in enumerate(self.more_targets.items())
                ),
            )
        )
        self.driver = ZFSVolumeDriver(
            configuration=a_volume_backend(self.folder, section, default="my_ip = 10.1.0.1"),
            db=Rows(self.volumes),
            host="here@third",
            storage_host=self.hosts[HOME],
            target_hosts={side: host for side, host in self.hosts.items() if side != HOME},
            routes=self.routes,
            clock=self.clock,
            sync_threads=0,
            active_backend_id=active,
        )
        self.driver.do_setup(CONTEXT)
        self.driver.check_for_setup_error()
        self.driver.set_initialized()

    # --- volumes ------------------------------------------------------------------------------------------------------

    def new(self, volume_type: VolumeTypeModel = REPLICATED, size: int = 1, **fields: Any) -> VolumeModel:
        host = fields.pop("host", POOL_HOST)
        return a_volume(new_id(), size, host=host, volume_type=volume_type, volume_type_id=volume_type.id, **fields)

    def known(self, volume: VolumeModel, update: Any) -> VolumeModel:
        later = volume.updated({name: value for name, value in (update or {}).items() if hasattr(volume, name)})
        self.volumes[later.id] = later
        return later

    def made(self, volume_type: VolumeTypeModel = REPLICATED, **fields: Any) -> VolumeModel:
        volume = self.new(volume_type, **fields)
        return self.known(volume, self.driver.create_volume(volume))

    def taken(self, volume: VolumeModel) -> SnapshotModel:
        snapshot = a_snapshot(new_id(), self.volumes[volume.id])
        return snapshot.updated(self.driver.create_snapshot(snapshot))

    def attached(self, volume: VolumeModel) -> VolumeModel:
        volume = self.volumes[volume.id]
        volume = self.known(volume, self.driver.create_export(CONTEXT, volume, CLIENT))
        self.driver.initialize_connection(volume, CLIENT)
        attachment = AttachmentModel(new_id(), volume.id, "attached", connector=dict(CLIENT))
        return self.known(volume, {"volume_attachment": (attachment,)})

    def replicate(self, after_s: float = RPO_S) -> list[ReplicaReport]:
        """Time passes, and the manager's round comes."""
        self.clock.advance(after_s)
        return self.driver.replicate(CONTEXT, list(self.volumes.values()))

    def fail_over(self, to: str | None) -> str:
        """As the manager does, with what it stores."""
        active, updates, _ = self.driver.failover_host(CONTEXT, list(self.volumes.values()), to, [])
        self.told = {item["volume_id"]: item["updates"] for item in updates}
        for item in updates:
            self.known(self.volumes[item["volume_id"]], item["updates"])
        return active

    def later(self, volume: VolumeModel, **fields: Any) -> VolumeModel:
        self.volumes[volume.id] = dataclasses.replace(self.volumes[volume.id], **fields)
        return self.volumes[volume.id]
