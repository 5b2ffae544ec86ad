"""Two storage hosts that replicate to each other, for a running product: each can be cut off power, and come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count

from lab.hosts import Lab
from lab.kernel.machines import KernelLab
from penstock.host.runner import Host
from tests.product.nfs_clients import KernelClient, LibnfsClient, NfsClient
from tests.product.sites import Site, over_ssh

ROOT = "tank/penstock"
DOMAIN = "replication_domain = lab"


@dataclass(frozen=True)
class Machine:
    """A storage host; `cut_power` and `boot` are what they say."""

    backend: str
    host: Host
    address: str
    cut_power: Callable[[], None]
    boot: Callable[[], None]

    @property
    def zone(self) -> str:
        """Each machine is an availability zone."""
        return f"zone-{self.backend}"

    def ran(self, *argv: str) -> str:
        """What a command on it says; it has to work."""
        done = self.host.run(argv, timeout_s=120)
        assert done.exit_code == 0, done
        return done.stdout.strip()


@dataclass(frozen=True)
class Pair:
    """Two machines, each a backend of the site, in one replication domain. The site's friend uses the shares."""

    site: Site
    machines: tuple[Machine, Machine]

    @property
    def friend(self) -> NfsClient:
        return self.site.friend

    def machine(self, host: str) -> Machine:
        """The machine that ``host@backend#pool`` is on."""
        return next(machine for machine in self.machines if f"@{machine.backend}#" in host)

    def other(self, machine: Machine) -> Machine:
        return next(one for one in self.machines if one is not machine)

    def left_behind(self) -> set[str]:
        """Datasets and snapshots of ours on both machines."""
        return {
            f"{machine.backend}:{name}"
            for machine in self.machines
            for name in machine.ran("zfs", "list", "-H", "-o", "name", "-t", "all", "-r", ROOT).split()
            if name != ROOT
        }


def _zone(machine: Machine) -> str:
    return f"backend_availability_zone = {machine.zone}"


def namespace_machines(lab: Lab, *names: str) -> list[Machine]:
    """Hosts of the namespace lab, each with our place in its pool."""
    machines = [
        Machine(f"on-{name}", lab.host(name), lab.address(name), partial(lab.kill, name), partial(lab.start, name))
        for name in names
    ]
    for machine in machines:
        machine.ran("zfs", "create", "-p", ROOT)
    return machines


def namespace_pair(lab: Lab, *more: str) -> Pair:
    """zfs-fuse and NFS-Ganesha on h1 and h2, libnfs on c1 and c2."""
    lab.up(2, 2)
    machines = namespace_machines(lab, "h1", "h2")
    paths = lab.key_path, lab.known_hosts_path
    backends = {
        machine.backend: over_ssh(machine.address, *paths, ROOT, DOMAIN, _zone(machine), *more, user=user)
        for machine, user in zip(machines, ("root", "storage"), strict=True)
    }
    friend, stranger = (LibnfsClient(lab.client(name), lab.address(name)) for name in ("c1", "c2"))
    site = Site("namespaces", machines[0].host, machines[0].address, backends, friend, stranger, None)
    return Pair(site, (machines[0], machines[1]))


def kernel_machines_of(lab: KernelLab, *names: str) -> list[Machine]:
    """Machines of the kernel lab, each with a pool and our place in it."""
    lab.up(*names)

    def boot(name: str) -> None:
        lab.up(name)
        lab.host(name).run(["zpool", "import", "-a"], timeout_s=60)  # nothing to do where the machine did it itself

    machines = [
        Machine(f"on-{name}", lab.host(name), lab.address(name), partial(lab.kill, name), partial(boot, name))
        for name in names
    ]
    for machine in machines:
        machine.ran("zpool", "create", "tank", "/dev/ubdb")
        machine.ran("zfs", "create", ROOT)
    return machines


def kernel_pair(lab: KernelLab, *more: str) -> Pair:
    """OpenZFS and the kernel's NFS server on k1 and k2; the kernel's NFS client on k3."""
    lab.up("k1", "k2", "k3")
    machines = kernel_machines_of(lab, "k1", "k2")
    paths = lab.key_path, lab.known_hosts_path
    backends = {
        machine.backend: over_ssh(machine.address, *paths, ROOT, DOMAIN, _zone(machine), *more) for machine in machines
    }
    friend = KernelClient(lab.host("k3"), lab.address("k3"), count())
    return Pair(
        Site("kernel", machines[0].host, machines[0].address, backends, friend, friend, None),
        (machines[0], machines[1]),
    )
