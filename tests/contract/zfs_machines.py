"""The four ZFS that the contract holds to one meaning: simulated and real, OpenZFS and zfs-fuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from penstock.clock import Clock, SystemClock
from penstock.host.runner import Host
from penstock.units import MIB
from penstock.zfs.client import Zfs
from penstock.zfs.flavour import detect
from penstock.zfs.names import Dataset
from tests.simulation.zfs_host import SimulatedHost

TIMEOUT_S = 60.0


class Machine(Protocol):
    """A host with a pool ``tank`` of about 1 GiB, and what its users do there."""

    host: Host
    zfs: Zfs
    hasty: Zfs  # as `zfs`, with little patience

    def write(self, dataset: Dataset, name: str, size_mib: int) -> bool:
        """Write a new file of random bytes; False when it does not fit or may not be written."""

    def remove_all(self, dataset: Dataset) -> None:
        """Remove every file."""

    def content(self, dataset: Dataset) -> object:
        """Equal for filesystems with equal files."""

    def open_file(self, dataset: Dataset) -> object:
        """A context in which the filesystem is in use."""


def _clients(host: Host, clock: Clock) -> tuple[Zfs, Zfs]:
    flavour = detect(host)
    return (
        Zfs(host, flavour, timeout_s=TIMEOUT_S, clock=clock),
        Zfs(host, replace(flavour, busy_patience_s=0.2), timeout_s=TIMEOUT_S, clock=clock),
    )


class SimulatedMachine:
    """In memory."""

    def __init__(self, host: SimulatedHost) -> None:
        self.host = host
        self.zfs, self.hasty = _clients(host, host.clock)

    def write(self, dataset: Dataset, name: str, size_mib: int) -> bool:
        try:
            self.host.write(str(dataset), size_mib * MIB)
        except OSError:
            return False
        return True

    def remove_all(self, dataset: Dataset) -> None:
        self.host.empty(str(dataset))

    def content(self, dataset: Dataset) -> object:
        return self.host.content(str(dataset))

    @contextmanager
    def open_file(self, dataset: Dataset) -> Iterator[None]:
        self.host.open_file(str(dataset))
        yield
        self.host.close_files(str(dataset))


class RealMachine:
    """With a kernel or a daemon behind it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.zfs, self.hasty = _clients(host, SystemClock())

    def _mountpoint(self, dataset: Dataset) -> str:
        return self.zfs.get(dataset, ["mountpoint"])["mountpoint"].value

    def write(self, dataset: Dataset, name: str, size_mib: int) -> bool:
        path = f"{self._mountpoint(dataset)}/{name}"
        argv = ["dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"count={size_mib}", "conv=fsync"]
        done = self.host.run(argv, timeout_s=TIMEOUT_S)
        self.host.run(["sync", "-f", path], timeout_s=TIMEOUT_S)
        return done.exit_code == 0

    def remove_all(self, dataset: Dataset) -> None:
        argv = ["find", self._mountpoint(dataset), "-type", "f", "-delete"]
        assert self.host.run(argv, timeout_s=TIMEOUT_S).exit_code == 0

    def content(self, dataset: Dataset) -> object:
        top = self._mountpoint(dataset)
        done = self.host.run(["find", top, "-type", "f", "-exec", "sha256sum", "{}", "+"], timeout_s=TIMEOUT_S)
        assert done.exit_code == 0, done.stderr
        return sorted(line.replace(top, "") for line in done.stdout.splitlines())

    @contextmanager
    def open_file(self, dataset: Dataset) -> Iterator[None]:
        script = 'cd "$1" && { setsid sleep 100 </dev/null >/dev/null 2>&1 & echo $!; }'
        done = self.host.run(["sh", "-c", script, "sh", self._mountpoint(dataset)], timeout_s=TIMEOUT_S)
        yield
        self.host.run(["kill", done.stdout.strip()], timeout_s=TIMEOUT_S)
