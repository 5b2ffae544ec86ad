"""Storage hosts for volumes, and machines that use them: zfs-fuse and tgt in namespaces, zvols and LIO on OpenZFS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.hosts import Lab
from lab.initiator import Initiator
from lab.kernel.initiator import KernelInitiator
from lab.kernel.machines import KernelLab
from lab.network import await_true
from penstock.host.runner import Host
from tests.product.sites import with_pool

LOAD_LIO = (
    "mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config; "
    "modprobe -a target_core_mod iscsi_target_mod"
)
SHOW_TGT = ("tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "show")
SHOW_LIO = "cd /sys/kernel/config/target && ls iscsi 2>/dev/null | grep iqn; ls core | grep -v alua; true"


@dataclass(frozen=True)
class VolumeSite:
    """A storage host with a pool ``tank``. `user` and `stranger` are machines beside it, `here` is this one there.

    `programs` is the storage host with this machine's programs, which see `folder`; `target_lines` are options of
    backends.
    """

    name: str
    storage: Host
    programs: Host
    folder: Path
    address: str
    here: str
    key_path: Path
    known_hosts_path: Path
    target_lines: tuple[str, ...]
    user: Initiator
    stranger: Initiator
    targets: Callable[[], str]
    lose_targets: Callable[[], None]

    @property
    def zfs_lines(self) -> tuple[str, ...]:
        """The lines of a backend that say how the storage host is reached, and where it serves."""
        return (
            "zfs_use_ssh = True",
            f"zfs_service_ip = {self.address}",
            "zfs_ssh_username = root",
            f"zfs_ssh_private_key_path = {self.key_path}",
            f"zfs_ssh_known_hosts_file = {self.known_hosts_path}",
            f"target_ip_address = {self.address}",
            *self.target_lines,
        )

    def make(self, filesystem: str) -> None:
        """A new filesystem."""
        done = self.storage.run(["zfs", "create", filesystem], timeout_s=60)
        assert done.exit_code == 0, done

    def datasets(self, root: str) -> list[str]:
        """Everything there."""
        argv = ["zfs", "list", "-H", "-r", "-t", "all", "-o", "name", root]
        return self.storage.run(argv, timeout_s=60).stdout.split()


def namespace_volumes(lab: Lab) -> VolumeSite:
    """zfs-fuse and tgt on h1, qemu's initiator on c1 and c2."""
    lab.up(1, 2)
    host = lab.host("h1")

    def lose_targets() -> None:
        host.run(["sh", "-c", "kill -9 $(pidof tgtd); rm -f /run/tgtd/socket.0.lock"], timeout_s=60)
        is_up = ["sh", "-c", "pidof tgtd || tgtd"]
        await_true("tgtd", lambda: host.run(is_up, timeout_s=60).exit_code == 0, timeout_s=60)
        await_true("tgtd's answer", lambda: host.run(SHOW_TGT, timeout_s=60).exit_code == 0, timeout_s=60)

    return VolumeSite(
        name="namespaces",
        storage=host,
        programs=host,
        folder=lab.directory,
        address=lab.address("h1"),
        here=f"{lab.network.prefix}.1",
        key_path=lab.key_path,
        known_hosts_path=lab.known_hosts_path,
        target_lines=(),
        user=Initiator(lab.client("c1"), lab.address("c1"), "iqn.2026-11.lab.c1:user"),
        stranger=_stranger(lab),
        targets=lambda: host.run(SHOW_TGT, timeout_s=60).stdout,
        lose_targets=lose_targets,
    )


def kernel_volumes(machines: KernelLab, clients: Lab) -> VolumeSite:
    """zvols and LIO on k1; the kernel's own initiator and NFS client on k2, through os-brick; qemu's on c2."""
    clients.up(0, 2)
    machines.up("k1", "k2")
    host = with_lio(with_pool(machines.host("k1")))
    return VolumeSite(
        name="kernel",
        storage=host,
        programs=machines.workplace("k1"),
        folder=machines.directory,
        address=machines.address("k1"),
        here=f"{machines.network.prefix}.1",
        key_path=machines.key_path,
        known_hosts_path=machines.known_hosts_path,
        target_lines=("target_helper = lioadm", "target_prefix = iqn.2010-10.org.openstack:"),
        user=KernelInitiator(machines.workplace("k2"), machines.address("k2"), machines.initiator("k2")),
        stranger=_stranger(clients),
        targets=lambda: host.run(["sh", "-c", SHOW_LIO], timeout_s=60).stdout,
        lose_targets=lambda: host.run(["targetctl", "clear"], timeout_s=60) and None,
    )


def with_lio(machine: Host) -> Host:
    """A kernel machine with its target server, which serves nothing yet."""
    assert machine.run(["sh", "-c", LOAD_LIO], timeout_s=60).exit_code == 0
    return machine


def _stranger(lab: Lab) -> Initiator:
    return Initiator(lab.client("c2"), lab.address("c2"), "iqn.2026-11.lab.c2:stranger")
