"""Storage hosts for a running product: one list of backends each, and clients that can reach them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path

from lab.hosts import Lab
from lab.kernel.machines import KernelLab
from lab.network import run
from penstock.host.runner import Host
from tests.product.nfs_clients import KernelClient, LibnfsClient, NfsClient

DRIVER = (
    "share_driver = penstock.share.drivers.zfsonlinux.driver.ZFSonLinuxShareDriver",
    "driver_handles_share_servers = False",
)
# Two pools on the first backend, one of them with nested datasets; a second backend.
NESTED, SECOND_POOL, SECOND = "tank/penstock/nfs", "pond", "tank/second"
V6_PREFIX = "fd4e:1"


@dataclass(frozen=True)
class Site:
    """What a daemon manages, by ssh. Backend ``one`` is on `host`, in pools tank and pond; ``two`` is another.

    `friend` and `stranger` are clients; `network` holds both. `v6` are IPv6 addresses of host and friend.
    """

    name: str
    host: Host
    address: str
    backends: dict[str, tuple[str, ...]]
    friend: NfsClient
    stranger: NfsClient
    v6: tuple[str, str] | None

    @property
    def network(self) -> str:
        return f"{self.address.rpartition('.')[0]}.0/24"

    def ran(self, *argv: str) -> str:
        """What a command on the first host says; it has to work."""
        done = self.host.run(argv, timeout_s=120)
        assert done.exit_code == 0, done
        return done.stdout.strip()

    def has(self, *argv: str) -> bool:
        return self.host.run(argv, timeout_s=60).exit_code == 0


def over_ssh(
    address: str, key: Path, known_hosts: Path, roots: str, *more: str, export_ips: str = "", user: str = "root"
) -> tuple[str, ...]:
    """The lines of a backend's section."""
    return (
        *DRIVER,
        f"zfs_share_export_ip = {export_ips or address}",
        f"zfs_service_ip = {address}",
        f"zfs_zpool_list = {roots}",
        "zfs_use_ssh = True",
        f"zfs_ssh_username = {user}",
        f"zfs_ssh_private_key_path = {key}",
        f"zfs_ssh_known_hosts_file = {known_hosts}",
        *more,
    )


def namespace_site(lab: Lab) -> Site:
    """zfs-fuse and NFS-Ganesha on h1 and h2; libnfs on c1 and c2."""
    lab.up(2, 2)
    host = lab.host("h1")
    v6 = tuple(f"{V6_PREFIX}::{index}" for index in (1, 2))
    for name, address in zip(("h1", "c1"), v6, strict=True):
        run("ip", "-n", lab.network.namespace(name), "addr", "add", f"{address}/64", "dev", "eth0", "nodad")
    disk = f"{lab.directory}/h1/pond"
    for command in (
        ("truncate", "-s", "4G", disk),
        ("zpool", "create", SECOND_POOL, disk),
        ("zfs", "create", "-p", NESTED),
    ):
        assert host.run(command, timeout_s=60).exit_code == 0, command
    assert lab.host("h2").run(["zfs", "create", SECOND], timeout_s=60).exit_code == 0
    paths = lab.key_path, lab.known_hosts_path
    first = lab.address("h1")
    backends = {
        "one": over_ssh(first, *paths, f"{NESTED},{SECOND_POOL}", export_ips=f"{first},{v6[0]}"),
        "two": over_ssh(lab.address("h2"), *paths, SECOND),
    }
    friend, stranger = (LibnfsClient(lab.client(name), lab.address(name)) for name in ("c1", "c2"))
    return Site("namespaces", host, first, backends, friend, stranger, (v6[0], v6[1]))


def kernel_site(machines: KernelLab, clients: Lab) -> Site:
    """OpenZFS and the kernel's NFS server on k1, two backends of it; the kernel's NFS client on k2, libnfs on c2."""
    clients.up(0, 2)
    machines.up("k1", "k2")
    host, first = machines.host("k1"), machines.address("k1")
    with_pool(host)
    for command in (
        ("zpool", "create", SECOND_POOL, "/dev/ubdc"),
        ("zfs", "create", "-p", NESTED),
        ("zfs", "create", SECOND),
    ):
        assert host.run(command, timeout_s=60).exit_code == 0, command
    paths = machines.key_path, machines.known_hosts_path
    backends = {
        "one": over_ssh(first, *paths, f"{NESTED},{SECOND_POOL}"),
        "two": over_ssh(first, *paths, SECOND),
    }
    friend = KernelClient(machines.host("k2"), machines.address("k2"), count())
    return Site(
        "kernel", host, first, backends, friend, LibnfsClient(clients.client("c2"), clients.address("c2")), None
    )


def with_pool(machine: Host) -> Host:
    """The kernel machine, with its pool tank."""
    if machine.run(["zpool", "list", "-H", "-o", "name", "tank"], timeout_s=20).exit_code != 0:
        made = machine.run(["zpool", "create", "tank", "/dev/ubdb"], timeout_s=60)
        assert made.exit_code == 0, made.stderr
    return machine
