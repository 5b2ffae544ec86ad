"""Two storage hosts for replicated volumes, which can lose power and come back, and a machine that uses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab.hosts import Lab
from lab.initiator import Initiator
from lab.kernel.machines import KernelLab
from penstock.host.runner import Host
from tests.product.sites import with_pool
from tests.product.volume_sites import with_lio

READ_TGT = "cat /etc/tgt/conf.d/penstock-*"
AGAIN_TGT = "/etc/tgt/conf.d/penstock-returned.conf"
SAVED_LIO = "/etc/rtslib-fb-target/saveconfig.json"
AGAIN_LIO = "/root/returned.json"


@dataclass(frozen=True)
class Side:
    """A storage host with a pool ``tank``; `cut_power` and `boot` are what they say.

    `target_files` is what its target server would be configured with at a start, `serve` makes it start with that.
    """

    find: Callable[[], Host]
    address: str
    cut_power: Callable[[], None]
    boot: Callable[[], None]
    target_files: Callable[[], str]
    serve: Callable[[str], None]

    @property
    def host(self) -> Host:
        return self.find()

    def datasets(self, root: str) -> list[str]:
        """Everything below it."""
        done = self.host.run(["zfs", "list", "-H", "-o", "name", "-t", "all", "-r", root], timeout_s=60)
        return [name for name in done.stdout.split() if name != root]


@dataclass(frozen=True)
class VolumePair:
    """`here` is this machine's address on their network; `target_lines` are options of backends.

    `keeps_all`: what was acknowledged is on a side's disk when its power is cut.
    """

    name: str
    home: Side
    far: Side
    user: Initiator
    here: str
    key_path: Path
    known_hosts_path: Path
    target_lines: tuple[str, ...] = ()
    keeps_all: bool = True

    def make(self, filesystem: str) -> None:
        """A new filesystem on both."""
        for side in (self.home, self.far):
            done = side.host.run(["zfs", "create", filesystem], timeout_s=60)
            assert done.exit_code == 0, done


def namespace_volume_pair(lab: Lab) -> VolumePair:
    """zfs-fuse and tgt on h1 and h2, qemu's initiator on c1."""
    lab.up(2, 1)

    def serve(host: Host, files: str) -> None:
        host.write_file(AGAIN_TGT, files)
        host.run(["tgt-admin", "-e", "-c", "/etc/tgt/targets.conf"], timeout_s=60)
        host.remove_file(AGAIN_TGT)

    def side(name: str) -> Side:
        host = lab.host(name)
        return Side(
            find=lambda: host,
            address=lab.address(name),
            cut_power=partial(lab.kill, name),
            boot=partial(lab.start, name),
            target_files=lambda: host.run(["sh", "-c", READ_TGT], timeout_s=60).stdout,
            serve=partial(serve, host),
        )

    return VolumePair(
        name="namespaces",
        home=side("h1"),
        far=side("h2"),
        user=_user(lab),
        here=f"{lab.network.prefix}.1",
        key_path=lab.key_path,
        known_hosts_path=lab.known_hosts_path,
        keeps_all=False,
    )


def kernel_volume_pair(machines: KernelLab, clients: Lab, home: str, far: str) -> VolumePair:
    """zvols and LIO on two kernel machines, of which the first loses its power; qemu's initiator on c1."""
    clients.up(0, 1)
    machines.up(home, far)

    def serve(name: str, files: str) -> None:
        machines.host(name).write_file(AGAIN_LIO, files)
        machines.host(name).run(["targetctl", "restore", AGAIN_LIO], timeout_s=120)

    def boot(name: str) -> None:
        machines.up(name)
        # nothing to do where the machine did it itself
        machines.host(name).run(["zpool", "import", "-a"], timeout_s=60)
        serve(name, with_lio(machines.host(name)).read_file(SAVED_LIO) or "{}")

    def side(name: str) -> Side:
        with_lio(with_pool(machines.host(name)))
        return Side(
            find=partial(machines.host, name),  # a power cut ends the connection
            address=machines.address(name),
            cut_power=partial(machines.kill, name),
            boot=partial(boot, name),
            target_files=lambda: machines.host(name).read_file(SAVED_LIO) or "",
            serve=partial(serve, name),
        )

    return VolumePair(
        name="kernel",
        home=side(home),
        far=side(far),
        user=_user(clients),
        here=f"{machines.network.prefix}.1",
        key_path=machines.key_path,
        known_hosts_path=machines.known_hosts_path,
        target_lines=("target_helper = lioadm",),
    )


def _user(lab: Lab) -> Initiator:
    return Initiator(lab.client("c1"), lab.address("c1"), "iqn.2026-11.lab.c1:user")
