"""Copies between two hosts: ours beside ``zfs send | ssh zfs receive`` by hand, of the same snapshots, taking turns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.rows import Row, median
from lab.hosts import Lab
from lab.kernel import machines
from penstock.host.routes import SshRoutes
from penstock.host.runner import Host
from penstock.zfs.client import Zfs
from penstock.zfs.flavour import detect
from penstock.zfs.names import Dataset
from penstock.zfs.transfer import Transfer

FIRST_MIB = 512
INCREMENT_MIB = 256
SNAPSHOTS = 1000
TURNS = 3
# throughput at least 95% of the bare command's is a time at most so many times as long
MOST = 1 / 0.95
A, OURS, BARE = Dataset("tank/a"), Dataset("tank/ours"), Dataset("tank/bare")
BY_HAND = "zfs send | ssh zfs receive, same snapshot, same hosts, in turns"


class Between:
    """Two hosts of a lab, and what is done between them."""

    def __init__(self, source: Host, target: Host, address: str) -> None:
        self.source, self.target = (Zfs(host, detect(host), timeout_s=600) for host in (source, target))
        self._address = address
        self._routes = SshRoutes()

    def ours(self, name: str) -> float:
        """Seconds that our transfer takes, all its looks included."""
        route = self._routes.between(self.source.host, self.target.host)
        started = time.perf_counter()
        Transfer(self.source, A.snapshot(name), self.target, OURS, route=route, properties={}).run()
        return time.perf_counter() - started

    def bare(self, words: str) -> float:
        """Seconds that it takes by hand, by a shell on the source."""
        line = f"{words} | ssh {self._address} zfs receive -u {BARE}"
        started = time.perf_counter()
        self.on_source("sh", "-c", line)
        return time.perf_counter() - started

    def on_source(self, *argv: str) -> None:
        """Run it there. Raises RuntimeError when it fails."""
        done = self.source.host.run(argv, timeout_s=1800)
        if done.exit_code != 0:
            raise RuntimeError(f"{argv}: {done.stderr}")

    def write(self, name: str, mib: int) -> None:
        """New data, and a snapshot of it."""
        path = f"/{A}/{name}"
        self.on_source("dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"count={mib}", "conv=fsync", "status=none")
        self.source.snapshot([A.snapshot(name)], {})

    def forget(self, dataset: Dataset) -> None:
        """Have it gone from the target."""
        if self.target.exists(dataset):
            self.target.destroy(dataset, recursive=True)


def copies() -> Iterator[Row]:
    """First copy, increment, and a thousand tiny snapshots."""
    with _two_hosts() as between:
        yield _first(between, FIRST_MIB)
        yield _increment(between, INCREMENT_MIB)
        yield from _many(between)


def copies_on_openzfs() -> Iterator[Row]:
    """First copies and increment between two machines of the kernel lab; nothing where that cannot run.

    Two first copies, because a machine of user-mode Linux takes 10 ms to start a process: by the size is told what our
    looks and guards take, which are always the same, from what is lost of the throughput.
    """
    if not machines.missing():
        with _two_machines() as between:
            yield _first(between, FIRST_MIB // 2, "OpenZFS, ")
            yield _increment(between, INCREMENT_MIB // 2, "OpenZFS, ")
        with _two_machines() as between:
            yield _first(between, FIRST_MIB * 2, "OpenZFS, ")


def _first(between: Between, mib: int, where: str = "") -> Row:
    between.write("s0", mib)
    between.ours("s0")  # not measured: logins that are kept, and what is read for the first time
    ours, bare = [], []
    for turn in range(TURNS):
        for is_ours in (True, False) if turn % 2 == 0 else (False, True):  # what is destroyed is freed during the next
            if is_ours:
                between.forget(OURS)
                ours.append(between.ours("s0"))
            else:
                between.forget(BARE)
                bare.append(between.bare(f"zfs send {A}@s0"))
    return Row(f"{where}first copy, {mib} MiB", median(ours), "s", MOST, median(bare), BY_HAND)


def _increment(between: Between, mib: int, where: str = "") -> Row:
    ours, bare = [], []
    for turn in range(1, TURNS + 1):
        between.write(f"s{turn}", mib)
        ours.append(between.ours(f"s{turn}"))
        bare.append(between.bare(f"zfs send -i @s{turn - 1} {A}@s{turn}"))
        between.on_source("rm", f"/{A}/s{turn}")
    return Row(f"{where}increment, {mib} MiB", median(ours), "s", MOST, median(bare), BY_HAND)


def _many(between: Between) -> Iterator[Row]:
    """One stream of a thousand; and, for the measure, some of them by one command each."""
    last = f"s{TURNS}"
    script = f"for n in $(seq {SNAPSHOTS}); do echo $n >/{A}/tiny; zfs snapshot {A}@n$n; done"
    between.on_source("sh", "-c", script)
    each, previous = [], last
    for number in range(1, 11):
        each.append(between.bare(f"zfs send -i @{previous} {A}@n{number}"))
        previous = f"n{number}"
    ours = between.ours(f"n{SNAPSHOTS}")
    by_one = median(each) * SNAPSHOTS
    what = f"{SNAPSHOTS} tiny snapshots"
    yield Row(what, ours, "s", 0.5, by_one, f"one command each ({len(each)} measured, times {SNAPSHOTS})")
    bare = between.bare(f"zfs send -I @{previous} {A}@n{SNAPSHOTS}")
    yield Row(what, ours, "s", None, bare, "zfs send -I | ssh zfs receive (990 of them)")


@contextmanager
def _two_hosts() -> Iterator[Between]:
    with tempfile.TemporaryDirectory(prefix="penstock-bench") as folder:
        lab = Lab("benchx", Path(folder) / "lab", "10.89.1", ("zfs", "ssh"), 8192)
        try:
            lab.up(2, 0)
            source, target = lab.ssh_host("h1"), lab.ssh_host("h2")
            between = Between(source, target, lab.address("h2"))
            between.source.create(A, {}, parents=False)
            yield between
            source.close()
            target.close()
        finally:
            lab.down()


@contextmanager
def _two_machines() -> Iterator[Between]:
    with tempfile.TemporaryDirectory(prefix="penstock-bench") as folder:
        lab = machines.KernelLab("benchk", Path(folder) / "lab", "10.89.2", disk_mib=4096)
        try:
            lab.up("k1", "k2")
            source, target = lab.host("k1"), lab.host("k2")
            for host in (source, target):
                host.run(("zpool", "create", "tank", "/dev/ubdb"), timeout_s=120)
            between = Between(source, target, lab.address("k2"))
            between.source.create(A, {}, parents=False)
            yield between
        finally:
            lab.down()
