"""Where the faults of replicas happen: three namespaces with zfs-fuse, or three machines with OpenZFS."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab import hosts as namespace_hosts
from lab.hosts import Lab
from lab.kernel import machines as kernel_machines
from lab.kernel.machines import KernelLab
from penstock.host.runner import Host
from tests.faults.replica_place import STRANGER, TYPE, ReplicaPlace
from tests.faults.tally import TALLY
from tests.faults.two_writers import TwoWritersWatch
from tests.places import Place
from tests.product.pairs import DOMAIN, ROOT, Machine, kernel_machines_of, namespace_machines
from tests.product.running import PORTS, running
from tests.product.sites import Site, over_ssh
from tests.product.user import User

LOGS_VARIABLE = "PENSTOCK_FAULTS_LOGS"
POOL_MIB = 1280
SPECS = {
    "driver_handles_share_servers": "false",
    "replication_type": "readable",
    "snapshot_support": "true",
    "create_share_from_snapshot_support": "true",
}


@dataclass(frozen=True)
class Pace:
    """How quick the hosts are, and so how patient the product and the tests."""

    options: tuple[str, ...]
    command_timeout_s: int
    connect_timeout_s: int
    settled_s: float
    wait_s: float
    actions_s: float
    between_looks_s: float
    pause_s: float

    @property
    def lines(self) -> tuple[str, ...]:
        """Of each backend."""
        return (
            f"zfs_command_timeout = {self.command_timeout_s}",
            f"ssh_conn_timeout = {self.connect_timeout_s}",
            "max_over_subscription_ratio = 100",
        )


QUICK = Pace(
    ("periodic_interval = 2", "replica_state_update_interval = 3", "[operations]", "max_retry_delay = 1"),
    command_timeout_s=5,
    connect_timeout_s=3,
    settled_s=90,
    wait_s=60,
    actions_s=10,
    between_looks_s=0.1,
    pause_s=0.1,
)
# a command on a machine of user-mode Linux takes a tenth of a second, or three while others want the processors; its
# boot ten seconds to minutes. Whoever looks at such a machine all the time keeps it from anything else.
PATIENT = Pace(
    ("periodic_interval = 20", "replica_state_update_interval = 60", "[operations]", "max_retry_delay = 3"),
    command_timeout_s=20,
    connect_timeout_s=8,
    settled_s=900,
    wait_s=600,
    actions_s=90,
    between_looks_s=1,
    pause_s=0.5,
)


@contextmanager
def namespaces(place: Place) -> Iterator[ReplicaPlace]:
    """zfs-fuse and NFS-Ganesha on h1 to h3."""
    reason = namespace_hosts.missing()
    if reason:
        pytest.skip(reason)
    lab = Lab(f"{place.tag}x", place.memory / "x", f"10.183.{place.number}", pool_mib=POOL_MIB)
    lab.down()  # what a crashed run left here
    lab.up(3, 1)
    try:
        machines = namespace_machines(lab, "h1", "h2", "h3")
        paths = lab.key_path, lab.known_hosts_path
        client = lab.client("c1"), lab.address("c1")
        with _inhabited("namespaces", place, machines, paths, client, lab.cut, QUICK) as found:
            yield found
    finally:
        lab.down()


@contextmanager
def kernels(place: Place) -> Iterator[ReplicaPlace]:
    """OpenZFS and the kernel's NFS server on k1 to k3."""
    reason = namespace_hosts.missing(()) or kernel_machines.missing()
    if reason:
        pytest.skip(reason)
    tag, prefix = f"{place.tag}y", f"10.184.{place.number}"
    clients = Lab(tag, place.memory / "yc", prefix, ())
    lab = KernelLab(tag, place.memory / "yk", prefix, disk_mib=POOL_MIB)
    lab.down()  # what a crashed run left here
    clients.down()
    clients.up(0, 1)
    try:
        machines = kernel_machines_of(lab, "k1", "k2", "k3")
        paths = lab.key_path, lab.known_hosts_path
        client = clients.client("c1"), clients.address("c1")
        cut = partial(lab.cut, aside=clients.network.namespace("c1"))
        with _inhabited("kernel", place, machines, paths, client, cut, PATIENT) as found:
            yield found
    finally:
        lab.down()
        clients.down()


@contextmanager
def _inhabited(
    name: str,
    place: Place,
    machines: Sequence[Machine],
    paths: tuple[Path, Path],
    client: tuple[Host, str],
    cut: Callable[..., AbstractContextManager[None]],
    pace: Pace,
) -> Iterator[ReplicaPlace]:
    """The product runs, a stranger has something on each host, and somebody looks for two writers."""
    backends = {machine.backend: over_ssh(machine.address, *paths, ROOT, DOMAIN, *pace.lines) for machine in machines}
    first = machines[0]
    nobody: Any = None  # those clients are of other tests
    site = Site(name, first.host, first.address, backends, nobody, nobody, None)
    work, port = place.directory / f"daemon-replicas-{name}", PORTS + 800 + place.number
    shutil.rmtree(work, ignore_errors=True)  # what a crashed run left here
    with kept(work / "penstock.log", name), running(site, work, port, pace.options) as product:
        product.user = User(product.user.caller, wait_s=pace.wait_s, pause_s=pace.pause_s)
        product.user.caller.ok("POST", "/types", {"share_type": {"name": TYPE, "extra_specs": SPECS}})
        watch = TwoWritersWatch(machines, pace.between_looks_s)
        by_name = {machine.backend.removeprefix("on-"): machine for machine in machines}
        found = ReplicaPlace(
            product,
            by_name,
            watch,
            *client,
            cut,
            pace.command_timeout_s + 3.0,
            pace.settled_s,
            pace.actions_s,
            pace.pause_s,
            pace.options,
        )
        for machine in machines:
            machine.ran("zfs", "create", STRANGER)
            machine.ran("zfs", "snapshot", f"{STRANGER}@kept")
        found.theirs = found.guids_of_theirs()
        watch.start()
        yield found
        watch.end()
        TALLY.add("(looks for two writers)", "all of these", "none seen", watch.looks)


@contextmanager
def kept(log: Path, name: str) -> Iterator[None]:
    """At the end, the daemon's log goes to the folder ``PENSTOCK_FAULTS_LOGS``, where one is named: its own is removed
    with the place."""
    try:
        yield
    finally:
        folder = os.environ.get(LOGS_VARIABLE)
        if folder is not None and log.exists():
            shutil.copy(log, Path(folder) / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}.log")
