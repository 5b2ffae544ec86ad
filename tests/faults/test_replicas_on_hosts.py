"""Replicated shares on real hosts: zfs-fuse, NFS-Ganesha, ssh between them; and everything that can happen to those.

By default a few of each; PENSTOCK_FAULTS=all injects them at many moments. A table of what was injected is printed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from lab import hosts as namespace_hosts
from lab.daemon import LabDaemon
from lab.hosts import FOLDER, Lab
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
from tests.faults.replica_place import STRANGER, TYPE, ReplicaPlace, Share, dataset_at
from tests.faults.tally import TALLY
from tests.faults.two_writers import TwoWritersWatch
from tests.places import Place
from tests.product.pairs import DOMAIN, ROOT, namespace_machines
from tests.product.running import PORTS, running
from tests.product.sites import Site, over_ssh

pytestmark = pytest.mark.lab
NAMES = ("h1", "h2", "h3")
OPTIONS = ("periodic_interval = 2", "replica_state_update_interval = 3", "[operations]", "max_retry_delay = 1")
COMMAND_TIMEOUT_S = 5
HASTY = (
    f"zfs_command_timeout = {COMMAND_TIMEOUT_S}",
    "ssh_conn_timeout = 3",
    "max_over_subscription_ratio = 100",
)
POOL_MIB = 1280
CUT_S = COMMAND_TIMEOUT_S + 3.0
SPECS = {
    "driver_handles_share_servers": "false",
    "replication_type": "readable",
    "snapshot_support": "true",
    "create_share_from_snapshot_support": "true",
}


@pytest.fixture(scope="module")
def whole_place(place: Place) -> Iterator[ReplicaPlace]:
    reason = namespace_hosts.missing()
    if reason:
        pytest.skip(reason)
    lab = Lab(f"{place.tag}x", place.directory / "x", f"10.183.{place.number}", pool_mib=POOL_MIB)
    lab.down()  # what a crashed run left here
    lab.up(len(NAMES), 1)
    try:
        machines = dict(zip(NAMES, namespace_machines(lab, *NAMES), strict=True))
        paths = lab.key_path, lab.known_hosts_path
        backends = {
            machine.backend: over_ssh(machine.address, *paths, ROOT, DOMAIN, *HASTY) for machine in machines.values()
        }
        first = machines["h1"]
        client = None
        site = Site("namespaces", first.host, first.address, backends, client, client, None)  # type: ignore[arg-type]
        with running(site, place.directory / "daemon-replicas", PORTS + 800 + place.number, OPTIONS) as product:
            product.user.caller.ok("POST", "/types", {"share_type": {"name": TYPE, "extra_specs": SPECS}})
            watch = TwoWritersWatch(list(machines.values()))
            found = ReplicaPlace(product, lab, machines, watch)
            for machine in machines.values():
                machine.ran("zfs", "create", STRANGER)
                machine.ran("zfs", "snapshot", f"{STRANGER}@kept")
            found.theirs = found.guids_of_theirs()
            watch.start()
            yield found
            watch.end()
            TALLY.add("(looks for two writers)", "all of these", "none seen", watch.looks)
    finally:
        lab.down()


@pytest.fixture
def hosts(whole_place: ReplicaPlace) -> Iterator[ReplicaPlace]:
    """Afterwards all holds that always has to, the doctor finds nothing, and once all is deleted nothing is left."""
    whole_place.product.daemon.up()
    yield whole_place
    whole_place.check()
    whole_place.product.told("doctor")
    whole_place.forget_shares()


def disturb(
    hosts: ReplicaPlace,
    fault: str,
    trouble: Callable[[], None],
    after_actions: int,
    kinds: tuple[type[ReplicaOperation], ...] = OPERATIONS,
) -> None:
    """Every operation is under way, each on a share of its own; `trouble` happens; all of it ends well."""
    operations = prepare_all(hosts, kinds)
    watch = LogWatch(hosts.product)
    for operation in operations:
        operation.ask()
    watch.await_actions(after_actions)
    trouble()
    hosts.product.daemon.up()
    for operation, end in zip(operations, check_all(operations), strict=True):
        TALLY.add(fault, operation.name, end)
    hosts.check()


@pytest.mark.parametrize("after_actions", range(0, 150, 15) if ALL else (20,))
def test_daemon_killed(hosts: ReplicaPlace, after_actions: int) -> None:
    disturb(hosts, "daemon killed", hosts.product.daemon.kill, after_actions)


@pytest.mark.parametrize("after_actions", (5, 40, 80) if ALL else (40,))
@pytest.mark.parametrize("name", NAMES if ALL else NAMES[:1])
def test_power_cut(hosts: ReplicaPlace, name: str, after_actions: int) -> None:
    def cut() -> None:
        hosts.lab.kill(name)
        hosts.lab.start(name)

    disturb(hosts, "power of a host cut", cut, after_actions)


HOST, OTHERS = NAMES[0], NAMES[1:]
WAYS = {
    "control plane to host lost": ((HERE, HOST),),
    "host to control plane lost": ((HOST, HERE),),
    "control plane and host apart": ((HERE, HOST), (HOST, HERE)),
    "host to other hosts lost": tuple((HOST, other) for other in OTHERS),
    "other hosts to host lost": tuple((other, HOST) for other in OTHERS),
    "hosts apart": tuple(way for other in OTHERS for way in ((HOST, other), (other, HOST))),
}


@pytest.mark.parametrize("after_actions", (0, 50) if ALL else (30,))
@pytest.mark.parametrize("way", WAYS if ALL else ("host to control plane lost",))
def test_partition(hosts: ReplicaPlace, way: str, after_actions: int) -> None:
    def cut() -> None:
        with hosts.lab.cut(*WAYS[way]):
            threading.Event().wait(CUT_S)

    disturb(hosts, way, cut, after_actions)


# --- what happens to one share at a time ----------------------------------------------------------------------------


def replicated(hosts: ReplicaPlace, replicas: int = 1) -> tuple[Share, list[str]]:
    """A share with files, and replicas that have them."""
    share = hosts.new_share()
    for number in range(3):
        share.write(f"first{number}")
    return share, [share.add_replica() for _ in range(replicas)]


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


@pytest.mark.parametrize("side", ["source", "target"] if ALL else ["target"])
def test_snapshot_missing(hosts: ReplicaPlace, side: str) -> None:
    """Somebody destroys what the next increment would start from."""
    share, (replica,) = replicated(hosts)
    rows = {"source": share.active(), "target": share.row(replica)}
    row = rows[side]
    machine, dataset = hosts.machine_of(row["host"]), share.dataset_of(row)
    for name in machine.ran("zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-r", dataset).split():
        machine.host.run(("zfs", "destroy", name), timeout_s=60)
    share.write("after that")
    TALLY.add(f"snapshot missing on the {side}", "increment", share.check())


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


@pytest.mark.parametrize("repeat", range(2 if ALL else 0))
@pytest.mark.parametrize("then", ["promote", "delete"])
def test_during_a_sync(hosts: ReplicaPlace, then: str, repeat: int) -> None:
    """Of a replica that is in the midst of an increment of some size."""
    share, (replica,) = replicated(hosts)
    path = f"/{share.dataset_of(share.active())}"
    share.machine().ran("dd", "if=/dev/urandom", f"of={path}/large", "bs=1M", f"count={60 + 20 * repeat}", "conv=fsync")
    watch = LogWatch(hosts.product)
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
    others = [HERE, *(other for other in NAMES if other != name)]
    if is_cut_off:
        with hosts.lab.cut(*((name, other) for other in others), *((other, name) for other in others)):
            share.act(replica, "promote")
            share.until(share.active, lambda row: row["id"] == replica and row["status"] == "available")
            assert share.acknowledged.write(hosts.user.location(share.id), "new reign")
            ghost = Acknowledged(hosts.lab.client("c1"))
            assert ghost.write(location, "ghost")  # nobody can tell it to stop: see docs/explanation/replication.md
    else:
        hosts.lab.kill(name)
        share.act(replica, "promote")
        share.until(share.active, lambda row: row["id"] == replica and row["status"] == "available")
        assert share.acknowledged.write(hosts.user.location(share.id), "new reign")
        hosts.lab.start(name)
    writing.end()
    share.acknowledged.files.pop("ghost", None)
    end = share.check()
    assert not Acknowledged(hosts.lab.client("c1")).write(location, "late")
    fault = "active cut off, then back" if is_cut_off else "active dead, then back"
    TALLY.add(fault, "unplanned promotion, return", end)
    assert end == "unplanned, told"
    assert {"known to the replica", "new reign"} <= share.files_of(share.row(old["id"]))


@pytest.mark.parametrize("repeat", range(2 if ALL else 1))
def test_boot_while_nothing_of_ours_runs(hosts: ReplicaPlace, repeat: int) -> None:
    """An active's host loses power, its NFS server starts: nobody writes where nothing is mounted."""
    share, _ = replicated(hosts)
    active = share.active()
    location, machine = share.location_of(active["id"]), hosts.machine_of(active["host"])
    hosts.product.daemon.kill()
    machine.cut_power()
    machine.boot()
    lost = Acknowledged(hosts.lab.client("c1"))
    assert not lost.write(location, "lost")
    assert machine.ran("find", f"/{dataset_at(location)}").count("\n") == 0
    hosts.product.daemon.up()
    share.until(lambda: lost.write(location, "served again"), bool)
    share.acknowledged.files |= lost.files
    TALLY.add("power of the active cut while the daemon is down", "boot", share.check())


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
        options=OPTIONS,
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
