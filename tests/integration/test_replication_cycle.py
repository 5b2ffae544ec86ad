"""Replicate, write, promote, write, cut the power of the active, promote, bring it back, fail back, migrate: on two
hosts, by stock clients, with the checksum of the data at each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab import hosts as namespace_hosts
from lab.hosts import Lab
from lab.kernel import machines as kernel_machines
from lab.kernel.machines import KernelLab
from tests.places import Place
from tests.product.pairs import Pair, kernel_pair, namespace_pair
from tests.product.replicating import Files, Replicating
from tests.product.running import PORTS, Product, running
from tests.product.user import User

ANYWHERE = "use_scheduler_to_create_share_from_snapshot = True"
QUICK = (ANYWHERE, "periodic_interval = 3", "replica_state_update_interval = 3", "[operations]", "max_retry_delay = 1")
# a command on a machine of user-mode Linux takes up to a second
PATIENT = (
    ANYWHERE,
    "periodic_interval = 60",
    "replica_state_update_interval = 120",
    "[operations]",
    "max_retry_delay = 5",
)
PATIENCE_S = 900.0
HASTY = "zfs_command_timeout = 10"
SPECS = {
    "driver_handles_share_servers": "false",
    "replication_type": "readable",
    "snapshot_support": "true",
    "create_share_from_snapshot_support": "true",
    "revert_to_snapshot_support": "true",
}


@pytest.fixture(scope="module")
def namespaces_of_two(place: Place) -> Iterator[Pair]:
    reason = namespace_hosts.missing()
    if reason:
        pytest.skip(reason)
    lab = Lab(f"{place.tag}r", place.memory / "r", f"10.182.{place.number}", pool_mib=2048)
    lab.down()  # what a crashed run left here
    try:
        yield namespace_pair(lab, HASTY)
    finally:
        lab.down()


@pytest.fixture(scope="module")
def kernels_of_two(place: Place) -> Iterator[Pair]:
    reason = kernel_machines.missing()
    if reason:
        pytest.skip(reason)
    machines = KernelLab(f"{place.tag}r", place.memory / "rk", f"10.182.{place.number}", disk_mib=2048)
    machines.down()  # what a crashed run left here
    try:
        yield kernel_pair(machines)
    finally:
        machines.down()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("namespaces_of_two", marks=pytest.mark.lab),
        pytest.param("kernels_of_two", marks=pytest.mark.kernel),
    ],
)
def pair(request: Any) -> Pair:
    found: Pair = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def product_of_two(pair: Pair, place: Place) -> Iterator[Product]:
    is_slow = pair.site.name == "kernel"
    work, port = place.directory / f"pair-{pair.site.name}", PORTS + 400 + place.number
    with running(pair.site, work, port, PATIENT if is_slow else QUICK) as product:
        if is_slow:
            product.user = User(product.user.caller, wait_s=PATIENCE_S)
        product.user.caller.ok("POST", "/types", {"share_type": {"name": "replicated", "extra_specs": SPECS}})
        yield product
        product.told("doctor")


@pytest.fixture
def replicated(product_of_two: Product, pair: Pair) -> Iterator[tuple[Replicating, Files]]:
    """A share of 1 GiB, whose client may write, with nothing in it; afterwards nothing is left of it on either host."""
    user = product_of_two.user
    share = user.share(1, share_type="replicated")
    user.allow(share, pair.friend.address)
    yield Replicating(product_of_two, share), Files(pair.friend)
    user.delete_all()
    assert pair.left_behind() == set()


def arrives(user: User, files: Files, location: str) -> None:
    """At a replica that follows: with zfs-fuse clients see what it received once it is mounted again, an instant
    later."""
    user.until(lambda: files.digest_at(location), lambda found: found == files.digest)


def test_the_whole_cycle(replicated: tuple[Replicating, Files], pair: Pair) -> None:
    share, files = replicated
    user = share.user
    first = share.active()["id"]

    # replicate
    files.write(share.location_of(first), "first", "before there were replicas")
    snapshot = user.snapshot(share.share)
    second = share.add()
    arrives(user, files, share.location_of(second))
    assert pair.friend.may(share.location_of(second)) == "ro"

    # write, and promote while both hosts live: nothing is lost
    files.write(share.location_of(first), "second", "written since the first copy")
    share.promote(second)
    assert user.location(share.share) == share.location_of(second)
    assert files.digest_at(share.location_of(second)) == files.digest
    assert pair.friend.may(share.location_of(second)) == "rw"
    share.until(first, "in_sync")
    assert pair.friend.may(share.location_of(first)) == "ro"

    # write, let it be copied, write once more, and lose the active's host
    files.write(share.location_of(second), "third", "written on the new active")
    user.caller.ok("POST", f"/shares/{share.share}/metadata", {"metadata": {"replication_rpo_seconds": "60"}})
    share.sync(first)
    known = Files(pair.friend, dict(files.contents))
    files.write(share.location_of(second), "lost", "never copied")
    dead = pair.machine(share.show(second)["host"])
    location_on_dead = share.location_of(second)
    dead.cut_power()
    share.promote(first)
    told = " ".join(user.messages(first))
    assert "was written in the" in told, told
    assert known.digest_at(share.location_of(first)) == known.digest
    assert pair.friend.may(share.location_of(first)) == "rw"
    known.write(share.location_of(first), "fourth", "while the other was dead")

    user.caller.ok("DELETE", f"/shares/{share.share}/metadata/replication_rpo_seconds")

    # it returns from the dead: nobody can write there, and it follows again; what only it had is kept aside
    dead.boot()
    assert not pair.friend.write(location_on_dead, "ghost", "x")
    share.until(second, "in_sync")
    arrives(user, known, share.location_of(second))
    assert pair.friend.read(share.location_of(second), "lost") is None
    aside = [name for name in dead.ran("zfs", "list", "-H", "-o", "name").split() if "_diverged_" in name]
    assert len(aside) == 1
    user.until(lambda: user.messages(second), lambda told: any(aside[0] in message for message in told))

    # fail back
    share.promote(second)
    assert known.digest_at(share.location_of(second)) == known.digest
    known.write(share.location_of(second), "fifth", "after the return")
    share.until(first, "in_sync")
    share.sync(first)
    arrives(user, known, share.location_of(first))

    # what was snapshotted at the very beginning is still there, wherever the share went; what was set aside needs a
    # later state than that, and is not sacrificed to a return
    user.revert(share.share, snapshot)
    assert any(aside[0] in message for message in user.messages(share.share))
    dead.ran("zfs", "destroy", "-r", aside[0])
    user.revert(share.share, snapshot)
    assert pair.friend.read(share.location_of(second), "first") == "before there were replicas"
    assert pair.friend.read(share.location_of(second), "second") is None


def test_migrate_cancel_migrate(replicated: tuple[Replicating, Files], pair: Pair) -> None:
    share, files = replicated
    user = share.user
    home = user.show(share.share)["host"]
    there = next(
        pool["name"]
        for pool in user.caller.ok("GET", "/scheduler-stats/pools")["pools"]
        if pair.machine(pool["name"]) is pair.other(pair.machine(home))
    )
    files.write(user.location(share.share), "first", "at home")
    snapshot = user.snapshot(share.share)
    words = (
        "--writable",
        "True",
        "--preserve-snapshots",
        "True",
        "--preserve-metadata",
        "True",
        "--nondisruptive",
        "False",
    )

    share.product.openstack("share", "migration", "start", *words, share.share, there)
    user.until(lambda: user.show(share.share), lambda row: row["task_state"] == "migration_driver_phase1_done")
    files.write(user.location(share.share), "second", "while it was copied")
    share.product.openstack("share", "migration", "cancel", share.share)
    user.until(lambda: user.show(share.share), lambda row: row["task_state"] == "migration_cancelled")
    assert user.until_share(share.share)["host"] == home
    assert files.digest_at(user.location(share.share)) == files.digest
    assert pair.friend.may(user.location(share.share)) == "rw"

    share.product.openstack("share", "migration", "start", *words, share.share, there)
    user.until(lambda: user.show(share.share), lambda row: row["task_state"] == "migration_driver_phase1_done")
    files.write(user.location(share.share), "third", "just before the end")
    share.product.openstack("share", "migration", "complete", share.share)
    user.until(lambda: user.show(share.share), lambda row: row["task_state"] == "migration_success")
    assert user.until_share(share.share)["host"] == there
    assert files.digest_at(user.location(share.share)) == files.digest
    assert pair.friend.may(user.location(share.share)) == "rw"
    copy = user.clone(snapshot)
    user.allow(copy, pair.friend.address)
    assert pair.friend.read(user.location(copy), "first") == "at home"
    assert pair.friend.read(user.location(copy), "second") is None


def test_a_share_from_a_snapshot_on_the_other_host(replicated: tuple[Replicating, Files], pair: Pair) -> None:
    share, files = replicated
    user = share.user
    home = pair.machine(user.show(share.share)["host"])
    files.write(user.location(share.share), "first", "in the snapshot")
    snapshot = user.snapshot(share.share)
    files.write(user.location(share.share), "second", "after it")

    copy = user.clone(snapshot, availability_zone=pair.other(home).zone)
    user.allow(copy, pair.friend.address)
    found = user.show(copy)
    assert pair.machine(found["host"]) is pair.other(home)
    assert found["progress"] == "100%"
    assert pair.friend.read(user.location(copy), "first") == "in the snapshot"
    assert pair.friend.read(user.location(copy), "second") is None
    user.delete_snapshot(snapshot)  # nothing holds it: the copy shares no block with it
    user.delete(share.share)
    assert pair.friend.read(user.location(copy), "first") == "in the snapshot"


def test_a_backend_is_drained(replicated: tuple[Replicating, Files], pair: Pair) -> None:
    share, files = replicated
    user, product = share.user, share.product
    home = pair.machine(user.show(share.share)["host"])
    service = user.show(share.share)["host"].partition("#")[0]
    files.write(user.location(share.share), "first", "before the drain")
    moved = [share.share, *(user.share(1, availability_zone=home.zone) for _ in range(2))]
    try:
        told = product.told("backend", "drain", service)
        assert all(one in told for one in moved), told
        assert {pair.machine(user.show(one)["host"]).backend for one in moved} == {pair.other(home).backend}
        assert files.digest_at(user.location(share.share)) == files.digest
        assert pair.friend.may(user.location(share.share)) == "rw"
    finally:
        user.caller.ok("PUT", "/services/enable", {"host": service, "binary": "manila-share"})
