"""Two machines and the way between them: simulated, zfs-fuse by namespaces and ssh, OpenZFS in the kernel lab."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from penstock.clock import ManualClock
from penstock.errors import Fault
from penstock.host.routes import SshRoutes
from penstock.host.streaming import Routes
from penstock.units import GIB
from penstock.zfs.faults import Busy
from penstock.zfs.flavour import ZFS_FUSE, Flavour
from penstock.zfs.names import Dataset, SnapshotName
from penstock.zfs.transfer import Transfer, Transferred
from tests.contract.zfs_machines import Machine, RealMachine, SimulatedMachine
from tests.simulation.zfs_host import OPENZFS, SimulatedHost
from tests.simulation.zfs_network import SimulatedNetwork

NUMBERS = itertools.count()
MARKS = {"penstock:kind": "share", "penstock:id": "7", "canmount": "noauto", "readonly": "on"}
# real streams need time to be stopped in
SLOW_BYTES_PER_S = 4 * 2**20
LATE_RECEIVES = 5


@dataclass
class Duo:
    """`a` has the dataset, `b` shall get it as `into`."""

    source: Machine
    target: Machine
    routes: Routes
    route_name: str
    a: Dataset
    into: Dataset

    @property
    def is_real(self) -> bool:
        return isinstance(self.source, RealMachine)

    @property
    def resumes(self) -> bool:
        return all(machine.zfs.flavour.can_resume for machine in (self.source, self.target))

    def snapshot(self, name: str, mib: int = 0) -> SnapshotName:
        """Write so much to the source, and take a snapshot of it."""
        if mib:
            assert self.source.write(self.a, f"file-{name}", mib)
        self.source.zfs.snapshot([self.a.snapshot(name)], {})
        return self.a.snapshot(name)

    def transfer(self, to: SnapshotName, **options: Any) -> Transfer:
        route = self.routes.between(self.source.host, self.target.host)
        assert route.name == self.route_name
        options = {"properties": MARKS, **options}
        return Transfer(self.source.zfs, to, self.target.zfs, self.into, route=route, **options)

    def send(self, to: SnapshotName, **options: Any) -> Transferred:
        return self.transfer(to, **options).run()

    def stopped(self, to: SnapshotName) -> None:
        """Begin, and be stopped when something has gone over."""
        moved: list[int] = []
        limit = SLOW_BYTES_PER_S if self.is_real else None
        self.transfer(to).run(moved.append, lambda: bool(moved and moved[-1] > 0), limit)

    def target_content(self) -> object:
        self.target.zfs.mount(self.into)
        found = self.target.content(self.into)
        self.target.zfs.unmount(self.into)
        return found


def simulated(first: Flavour, second: Flavour) -> tuple[Machine, Machine, Routes]:
    clock = ManualClock()
    machines = [
        SimulatedMachine(SimulatedHost(name, flavour=flavour, clock=clock, pools={"tank": GIB}))
        for name, flavour in (("one", first), ("two", second))
    ]
    return machines[0], machines[1], SimulatedNetwork()


SIMULATED: dict[str, Callable[[], tuple[Machine, Machine, Routes]]] = {
    "simulated-openzfs": lambda: simulated(OPENZFS, OPENZFS),
    "simulated-zfs-fuse": lambda: simulated(ZFS_FUSE, ZFS_FUSE),
    "simulated-old-to-new": lambda: simulated(ZFS_FUSE, OPENZFS),
    "simulated-new-to-old": lambda: simulated(OPENZFS, ZFS_FUSE),
}


def real(hosts: tuple[Any, Any], *, direct: bool) -> tuple[Machine, Machine, Routes]:
    return RealMachine(hosts[0]), RealMachine(hosts[1]), SshRoutes(direct=direct)


@contextmanager
def duo_of(machines: tuple[Machine, Machine, Routes], route_name: str) -> Iterator[Duo]:
    """With filesystems of this test's own, gone afterwards."""
    source, target, routes = machines
    tops = [Dataset("tank").child(f"x{next(NUMBERS)}") for _ in range(2)]
    for machine, top in zip((source, target), tops, strict=True):
        machine.zfs.create(top, {}, parents=False)
    source.zfs.create(tops[0].child("a"), {}, parents=False)
    try:
        yield Duo(source, target, routes, route_name, tops[0].child("a"), tops[1].child("into"))
    finally:
        for machine, top in zip((source, target), tops, strict=True):
            destroyed(machine, top)


def destroyed(machine: Machine, top: Dataset) -> None:
    """Also with what an interrupted receive left."""
    with suppress(Fault):  # mostly there is nothing of that kind
        machine.zfs.commands.zfs("receive", "-A", str(top.child("into")))
    for _ in range(LATE_RECEIVES):  # a busy machine ends a receive that was broken off late
        with suppress(Busy):
            machine.zfs.destroy(top, recursive=True)
            return
    machine.zfs.destroy(top, recursive=True)
