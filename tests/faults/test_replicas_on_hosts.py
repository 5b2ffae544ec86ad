"""Replicated shares on real hosts (zfs-fuse with NFS-Ganesha, OpenZFS with the kernel's server), ssh between them; and
everything that can happen to those.

By default a few of each; PENSTOCK_FAULTS=all injects them at many moments. A table of what was injected is printed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from lab.daemon import LabDaemon
from lab.hosts import FOLDER
from lab.network import HERE, run
from tests.faults.acknowledged import Acknowledged, Writing
from tests.faults.conftest import ALL
from tests.faults.log_watch import LogWatch
from tests.faults.replica_operations import (
    OPERATIONS,
    ReplicaOperation,
    check_all,
    prepare_all,
)
from tests.faults.replica_place import STRANGER, ReplicaPlace, Share, dataset_at
from tests.faults.replica_sites import kernels, namespaces
from tests.faults.tally import TALLY
from tests.places import Place
from tests.product.pairs import ROOT, Machine
from tests.product.running import PORTS

SITES = {"namespaces": namespaces, "kernel": kernels}
MARKS = {"namespaces": pytest.mark.lab, "kernel": pytest.mark.kernel}
NUMBERS = range(3)


@pytest.fixture(scope="module")
def whole_place(request: Any, place: Place) -> Iterator[ReplicaPlace]:
    with SITES[request.param](place) as found:
        yield found
        if found.own:
            found.forget_shares()


def _on(*names: str) -> pytest.MarkDecorator:
    each = [pytest.param(name, marks=MARKS[name]) for name in names]
    return pytest.mark.parametrize("whole_place", each, indirect=True, scope="module")


# machines take their time: there it is for who asks for all
on_each = _on("namespaces", "kernel") if ALL else _on("namespaces")
on_openzfs = _on("kernel")


@pytest.fixture
def busy_hosts(whole_place: ReplicaPlace) -> Iterator[ReplicaPlace]:
    """With shares that other faults left. Afterwards all holds that always has to, and the doctor finds nothing."""
    whole_place.product.daemon.up()
    whole_place.user.caller.log_in()  # again: a token does not last for all faults
    yield whole_place
    whole_place.check()
    whole_place.product.told("doctor")
    if not whole_place.is_tidy():
        whole_place.forget_shares()


@pytest.fixture
def hosts(busy_hosts: ReplicaPlace) -> ReplicaPlace:
    """With nothing on them. Afterwards also nothing is left once all is deleted."""
    if busy_hosts.own:
        busy_hosts.forget_shares()
    return busy_hosts


def disturb(
    hosts: ReplicaPlace,
    fault: str,
    trouble: Callable[[], None],
    after_actions: int,
    kinds: tuple[type[ReplicaOperation], ...] = OPERATIONS,
) -> None:
    """Every operation is under way, each on a share of its own; `trouble` happens; all of it ends well."""
    operations = prepare_all(hosts, kinds)
    watch = LogWatch(hosts.product, hosts.actions_s)
    for operation in operations:
        operation.ask()
    watch.await_actions(after_actions)
    trouble()
    hosts.product.daemon.up()
    for operation, end in zip(operations, check_all(operations), strict=True):
        TALLY.add(fault, operation.name, end)
    hosts.check()


@on_each
@pytest.mark.parametrize("after_actions", range(0, 150, 15) if ALL else (20,))
def test_daemon_killed(busy_hosts: ReplicaPlace, after_actions: int) -> None:
    disturb(busy_hosts, "daemon killed", busy_hosts.product.daemon.kill, after_actions)


@on_each
@pytest.mark.parametrize("after_actions", (5, 40, 80) if ALL else (40,))
@pytest.mark.parametrize("number", NUMBERS if ALL else (0,))
def test_power_cut(busy_hosts: ReplicaPlace, number: int, after_actions: int) -> None:
    machine = busy_hosts.machines[busy_hosts.names[number]]

    def cut() -> None:
        machine.cut_power()
        machine.boot()

    disturb(busy_hosts, "power of a host cut", cut, after_actions)


ONE = 0  # the host that is cut off, of the three
OTHERS = (1, 2)
WAYS: dict[str, tuple[tuple[int | None, int | None], ...]] = {  # None is where the control plane is
    "control plane to host lost": ((None, ONE),),
    "host to control plane lost": ((ONE, None),),
    "control plane and host apart": ((None, ONE), (ONE, None)),
    "host to other hosts lost": tuple((ONE, other) for other in OTHERS),
    "other hosts to host lost": tuple((other, ONE) for other in OTHERS),
    "hosts apart": tuple(way for other in OTHERS for way in ((ONE, other), (other, ONE))),
}


@on_each
@pytest.mark.parametrize("after_actions", (0, 50) if ALL else (30,))
@pytest.mark.parametrize("way", WAYS if ALL else ("host to control plane lost",))
def test_partition(busy_hosts: ReplicaPlace, way: str, after_actions: int) -> None:
    def name(end: int | None) -> str:
        return HERE if end is None else busy_hosts.names[end]

    def cut() -> None:
        with busy_hosts.cut(*((name(sender), name(receiver)) for sender, receiver in WAYS[way])):
            threading.Event().wait(busy_hosts.cut_s)

    disturb(busy_hosts, way, cut, after_actions)


# --- what happens to one share at a time ----------------------------------------------------------------------------


def replicated(hosts: ReplicaPlace, replicas: int = 1) -> tuple[Share, list[str]]:
    """A share with files, and replicas that have them."""
    share = hosts.new_share()
    for number in range(3):
        share.write(f"first{number}")
    return share, [share.add_replica() for _ in range(replicas)]


@on_each
@pytest.mark.parametrize("how", ["reserved", "written"] if ALL else ["reserved"])
@pytest.mark.parametrize("side", ["source", "target"] if ALL else ["target"])
def test_pool_full(hosts: ReplicaPlace, side: str, how: str) -> None:
    """Syncs and a promotion fail while there is no room, harm nothing, and go on once there is some."""
    share, (replica,) = replicated(hosts)
    full = share.machine() if side == "source" else hosts.machine_of(share.row(replica)["host"])
    share.write("before it was full")
    ballast = f"/{STRANGER}/ballast"
    if how == "written":
        fill = ["dd", "if=/dev/zero", f"of={ballast}", "bs=1M", "conv=fsync"]
        assert full.host.run(fill, timeout_s=120).exit_code != 0
    else:
        full.ran("touch", ballast)
        free = int(full.ran("zfs", "get", "-Hp", "-o", "value", "available", STRANGER))
        full.ran("zfs", "set", f"reservation={free}", STRANGER)
    try:
        share.act(replica, "resync")
        share.write_if_it_can("while it was full")
        share.act_if_it_can(replica, "promote")
        share.until(lambda: share.row(replica)["status"], lambda status: status != "replication_change")
        assert len(hosts.writers_of(share)) <= 1
    finally:
        full.ran("truncate", "-s", "0", ballast)
        full.ran("zfs", "set", "reservation=none", STRANGER)
    TALLY.add(f"pool of the {side} full", f"increment, then promotion ({how})", share.check())


def let_go(machine: Machine, snapshot: str) -> None:
    """Release every hold, as somebody who knows better. There are none on zfs-fuse, which does not know the command and
    says so on stdout."""
    done = machine.host.run(("zfs", "holds", "-H", snapshot), timeout_s=60)
    for line in done.stdout.splitlines() if done.exit_code == 0 else ():
        machine.ran("zfs", "release", line.split("\t")[1], snapshot)


@on_each
@pytest.mark.parametrize("side", ["source", "target"] if ALL else ["target"])
def test_snapshot_missing(hosts: ReplicaPlace, side: str) -> None:
    """Somebody destroys what the next increment would start from."""
    share, (replica,) = replicated(hosts)
    rows = {"source": share.active(), "target": share.row(replica)}
    row = rows[side]
    machine, dataset = hosts.machine_of(row["host"]), share.dataset_of(row)
    for name in machine.ran("zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-r", dataset).split():
        let_go(machine, name)
        machine.host.run(("zfs", "destroy", name), timeout_s=60)
    share.write("after that")
    TALLY.add(f"snapshot missing on the {side}", "increment", share.check())


@on_each
@pytest.mark.parametrize("repeat", range(2 if ALL else 0))
def test_two_promotions_at_once(hosts: ReplicaPlace, repeat: int) -> None:
    """Of two replicas, by two administrators, while a client writes."""
    share, replicas = replicated(hosts, 2)
    writing = Writing(share.acknowledged, hosts.user.location(share.id))
    writing.start()
    with ThreadPoolExecutor(2) as threads:
        accepted = sum(threads.map(lambda replica: share.act_if_it_can(replica, "promote"), replicas))
    share.settle()
    writing.end()
    TALLY.add("two promotions at once", f"promotion, {accepted} accepted", share.check())
    assert share.active()["id"] in replicas


@on_each
@pytest.mark.parametrize("repeat", range(2 if ALL else 0))
@pytest.mark.parametrize("then", ["promote", "delete"])
def test_during_a_sync(hosts: ReplicaPlace, then: str, repeat: int) -> None:
    """Of a replica that is in the midst of an increment of some size."""
    share, (replica,) = replicated(hosts)
    path = f"/{share.dataset_of(share.active())}"
    share.machine().ran("dd", "if=/dev/urandom", f"of={path}/large", "bs=1M", f"count={60 + 20 * repeat}", "conv=fsync")
    watch = LogWatch(hosts.product, hosts.actions_s)
    share.act(replica, "resync")
    watch.await_actions(10)
    if then == "promote":
        share.act(replica, "promote")
        end = share.check()
        assert share.active()["id"] == replica
    else:
        hosts.user.caller.ok("DELETE", f"/share-replicas/{replica}")
        hosts.user.until_gone(f"/share-replicas/{replica}")
        end = share.check()
    TALLY.add("another request during a sync", "promotion" if then == "promote" else "deletion of a replica", end)


@on_each
@pytest.mark.parametrize("repeat", range(2 if ALL else 1))
@pytest.mark.parametrize(
    "is_cut_off", [False, True] if ALL else [False], ids=lambda is_cut: "cut off" if is_cut else "dead"
)
def test_back_from_the_dead(hosts: ReplicaPlace, is_cut_off: bool, repeat: int) -> None:
    """An active's host dies, or only we and the others do not see it any more; a replica is promoted without it."""
    share, (replica,) = replicated(hosts)
    old = share.active()
    name, location = hosts.name_of(old["host"]), share.location_of(old["id"])
    share.write("known to the replica")
    share.act(replica, "resync")
    share.until(lambda: share.files_of(share.row(replica)), lambda found: "known to the replica" in found)
    writing = Writing(share.acknowledged, location)
    writing.start()
    others = [HERE, *(other for other in hosts.names if other != name)]
    if is_cut_off:
        with hosts.cut(*((name, other) for other in others), *((other, name) for other in others)):
            share.act(replica, "promote")
            share.until(share.active, lambda row: row["id"] == replica and row["status"] == "available")
            assert share.acknowledged.write(hosts.user.location(share.id), "new reign")
            ghost = Acknowledged(hosts.client)
            assert ghost.write(location, "ghost")  # nobody can tell it to stop: see docs/explanation/replication.md
    else:
        hosts.machines[name].cut_power()
        share.act(replica, "promote")
        share.until(share.active, lambda row: row["id"] == replica and row["status"] == "available")
        assert share.acknowledged.write(hosts.user.location(share.id), "new reign")
        hosts.machines[name].boot()
    writing.end()
    share.acknowledged.files.pop("ghost", None)
    end = share.check()
    assert not Acknowledged(hosts.client).write(location, "late")
    fault = "active cut off, then back" if is_cut_off else "active dead, then back"
    TALLY.add(fault, "unplanned promotion, return", end)
    assert end == "unplanned, told"
    assert {"known to the replica", "new reign"} <= share.files_of(share.row(old["id"]))


@on_each
@pytest.mark.parametrize("repeat", range(2 if ALL else 1))
def test_boot_while_nothing_of_ours_runs(hosts: ReplicaPlace, repeat: int) -> None:
    """An active's host loses power, its NFS server starts: nobody writes where nothing is mounted."""
    share, _ = replicated(hosts)
    active = share.active()
    location, machine = share.location_of(active["id"]), hosts.machine_of(active["host"])
    hosts.product.daemon.kill()
    machine.cut_power()
    machine.boot()
    lost = Acknowledged(hosts.client)
    assert not lost.write(location, "lost")
    assert machine.ran("find", f"/{dataset_at(location)}").count("\n") == 0
    hosts.product.daemon.up()
    share.until(lambda: lost.write(location, "served again"), bool)
    share.acknowledged.files |= lost.files
    TALLY.add("power of the active cut while the daemon is down", "boot", share.check())


LARGE_MIB = 200


@on_openzfs
@pytest.mark.parametrize(
    "trouble", ["power of the target", "power of the source", "hosts apart", "daemon killed"] if ALL else []
)
def test_a_large_first_copy_goes_on_where_it_was_cut(hosts: ReplicaPlace, trouble: str) -> None:
    """What had arrived is not sent again: OpenZFS resumes a stream."""
    share = hosts.new_share()
    source, path = share.machine(), f"/{share.dataset_of(share.active())}"
    source.ran("dd", "if=/dev/urandom", f"of={path}/large", "bs=1M", f"count={LARGE_MIB}", "conv=fsync")
    share.write("small")
    watch = LogWatch(hosts.product, hosts.actions_s)
    replica = share.ask_replica()
    target = hosts.machine_of(share.until(lambda: share.row(replica), lambda row: bool(row["host"]))["host"])
    share.until(lambda: used_mib(target), lambda mib: mib > LARGE_MIB / 4)
    if trouble == "daemon killed":
        hosts.product.daemon.kill()
        hosts.product.daemon.up()
    elif trouble == "hosts apart":
        one, other = (hosts.name_of(f"lab@{machine.backend}#tank") for machine in (source, target))
        with hosts.cut((one, other), (other, one)):
            threading.Event().wait(hosts.cut_s)  # until ssh has noticed
    else:
        machine = target if trouble == "power of the target" else source
        machine.cut_power()
        machine.boot()
    end = share.check()
    resumed = [line for line in watch.lines("host.command") if RESUMING.search(line)]
    assert resumed, "it began anew"
    assert (
        source.ran("sha256sum", f"{path}/large").split()[0]
        == target.ran("sha256sum", f"/{share.dataset_of(share.row(replica))}/large").split()[0]
    )
    TALLY.add(f"{trouble}, midway", f"first copy of {LARGE_MIB} MiB, resumed", end)


# without -n, which only asks
RESUMING = re.compile(r"'zfs', 'send', ('-v', '-P', )?'-t'")


def used_mib(machine: Machine) -> float:
    """Of all shares on it."""
    return int(machine.ran("zfs", "get", "-Hp", "-o", "value", "used", ROOT)) / 2**20


@on_each
@pytest.mark.parametrize("shift_s", [-3600, 3600] if ALL else [])
def test_clocks_apart(hosts: ReplicaPlace, place: Place, shift_s: int) -> None:
    """Ours is an hour from the hosts', and then it jumps: syncs and promotions go on, nothing is from the future."""
    share, (replica,) = replicated(hosts)
    library = place.directory / f"clock{shift_s}.so"
    source = FOLDER / "shifted_clock.c"
    run("gcc", "-shared", "-fPIC", "-O2", f"-DSHIFT_S={shift_s}", "-o", str(library), str(source), "-ldl")
    product = hosts.product
    product.daemon.down()
    shifted = LabDaemon(
        product.work,
        product.site.backends,
        port=PORTS + 800 + place.number,
        options=hosts.options,
        inside=("env", f"LD_PRELOAD={library}"),
    )
    shifted.up()
    try:
        hosts.user.caller.log_in()
        share.write("while it was apart")
        share.check()
        share.act(replica, "promote")
        share.until(share.active, lambda row: row["id"] == replica)
        end = share.check()
        TALLY.add("clocks apart", "increment, promotion", end)
        assert end == "settled"
    finally:
        shifted.down()
        product.daemon.up()
        hosts.user.caller.log_in()
    share.write("once it was right again")
    TALLY.add("clock of the control plane jumps", "increment", share.check())
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    share.until(share.replicas, lambda rows: all((row["synced_at"] or "") <= now for row in rows))
