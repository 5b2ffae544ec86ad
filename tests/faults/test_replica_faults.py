"""Each action of each replica operation fails, or is the last before a crash; then the same call settles it.

Between any two actions at most one copy accepts writes; afterwards data, bases and holds are as if nothing had
happened.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

import pytest

from penstock.errors import Fault
from penstock.zfs.flavour import ZFS_FUSE, Flavour
from tests.contract.share_backends import CONTEXT
from tests.simulation.replica_sites import (
    Crash,
    DiesAt,
    InTheMidst,
    Overtaken,
    SimulatedShare,
    SimulatedSites,
    Watching,
)
from tests.simulation.zfs_host import OPENZFS

ALL = os.environ.get("PENSTOCK_FAULTS") == "all"


def replicated(share: SimulatedShare) -> None:
    share.create("a")
    share.write("a")
    share.add("b")
    share.sync("b")


def first_copy(share: SimulatedShare) -> Callable[[], object]:
    share.create("a")
    share.write("a")
    share.take_snapshot()
    share.write("a")
    share.add("b")
    return lambda: share.sync("b")


def increment(share: SimulatedShare) -> Callable[[], object]:
    replicated(share)
    share.take_snapshot()
    share.write("a")
    return lambda: share.sync("b")


def increment_with_two(share: SimulatedShare) -> Callable[[], object]:
    replicated(share)
    share.add("c")
    share.sync("c")
    share.write("a")
    share.sync("c")
    share.write("a")
    return lambda: share.sync("b")


def unchanged(share: SimulatedShare) -> Callable[[], object]:
    replicated(share)
    return lambda: share.sync("b")


def planned(share: SimulatedShare) -> Callable[[], object]:
    replicated(share)
    share.write("a")
    return lambda: share.promote("b", epoch=2)


def unplanned(share: SimulatedShare) -> Callable[[], object]:
    replicated(share)
    share.write("a")
    share.sites.away.add("a")
    share.is_split = True
    return lambda: share.promote("b", epoch=2)


def returned(share: SimulatedShare) -> Callable[[], object]:
    """The old active wrote on while it was cut off, and comes back."""
    replicated(share)
    share.write("a")
    share.sites.away.add("a")
    share.is_split = True
    share.promote("b")
    share.write("b")
    share.sites.away.clear()
    return lambda: share.sync("a")


def deleting(share: SimulatedShare) -> Callable[[], object]:
    replicated(share)
    share.add("c")
    share.sync("c")
    return lambda: share.delete("b")


def deleting_the_last(share: SimulatedShare) -> Callable[[], object]:
    replicated(share)
    return lambda: share.delete("b")


SCENARIOS = (
    first_copy,
    increment,
    increment_with_two,
    unchanged,
    planned,
    unplanned,
    returned,
    deleting,
    deleting_the_last,
)


def picture(share: SimulatedShare) -> dict[str, Any]:
    """What is there, without names and times that legitimately differ."""
    seen: dict[str, Any] = {"writable": share.writable()}
    for name in share.sites.all:
        host = share.site(name)
        for path, filesystem in host.state.filesystems.items():
            snapshots = sorted(
                (host.content(s.path), s.local.get("penstock:kind", "")) for s in filesystem.snapshots.values()
            )
            marks = {n: filesystem.local.get(f"penstock:{n}") for n in ("kind", "role", "of")}
            mounted = (filesystem.is_mounted, filesystem.local.get("readonly"), filesystem.local.get("canmount"))
            seen[f"{name}:{path}"] = (marks, mounted, snapshots, host.content(path))
        nfs: Any = share.sites.all[name].nfs
        seen[f"{name} served"] = sorted(nfs.served().items())
        seen[f"{name} holds"] = share.holds(name) if name in share.models else 0
    return seen


def settle(share: SimulatedShare, scenario: object) -> None:
    """What comes after it anyway."""
    if scenario in (deleting, deleting_the_last):
        share.gone("b")
    share.settle()


@pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_same_call_again_settles_it(
    scenario: Callable[[SimulatedShare], Callable[[], object]], flavour: Flavour
) -> None:
    sites = SimulatedSites(flavour)
    share = SimulatedShare(sites)
    call = scenario(share)
    start, away, models = sites.saved(), set(sites.away), dict(share.models)
    undisturbed = Watching(share)
    sites.hook(undisturbed)
    call()
    sites.hook(None)
    settle(share, scenario)
    expected = picture(share)
    for at in range(undisturbed.count):
        for kind in Watching.KINDS if ALL else (Watching.KINDS[at % len(Watching.KINDS)],):
            sites.back_to(start)
            sites.away |= away
            share.models = copy.copy(models)
            watching = Watching(share, at, kind)
            sites.hook(watching)
            try:
                call()
            except (Crash, Fault):
                sites.hook(None)
                sites.restart()
                call()
            sites.hook(None)
            settle(share, scenario)
            assert picture(share) == expected, f"{kind} {watching.struck}"


@pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def test_a_promotion_that_died_is_taken_back_or_gone_on_with(flavour: Flavour) -> None:
    """Promoting the one that the rows call active ends well after a crash anywhere, as does promoting a third one."""
    sites = SimulatedSites(flavour)
    share = SimulatedShare(sites)
    call = planned(share)
    share.add("c")
    share.sync("c")
    share.write("a")
    start, models = sites.saved(), dict(share.models)
    undisturbed = Watching(share)
    sites.hook(undisturbed)
    call()
    everything = share.content("b")
    for at in range(undisturbed.count):
        for chosen in "ac":
            sites.back_to(start)
            share.models = copy.copy(models)
            sites.hook(Watching(share, at, "crash after"))
            with pytest.raises(Crash):
                call()
            share.publish("a", 1)
            sites.restart()
            sites.hook(Watching(share))
            if chosen == "a" and "b" in share.writable():
                continue  # it was finished: then the database is told so, not another promotion begun
            share.promote(chosen, epoch=7)
            sites.hook(None)
            share.settle()
            assert share.writable() == [chosen], f"after {at}"
            assert share.content("a") == share.content("b") == share.content("c") == everything
            assert all(share.others(name) == [] for name in "abc"), f"something was set aside after {at}"


def two_followers(share: SimulatedShare) -> None:
    """Each of them is behind, from a base of its own."""
    replicated(share)
    share.add("c")
    share.sync("c")
    share.write("a")
    share.sync("b")
    share.write("a")


def two_followers_after_a_promotion(share: SimulatedShare) -> None:
    """The source has what each of them starts from, and not all of it is known as that."""
    two_followers(share)
    share.sync("c")
    share.write("a")
    share.promote("b")
    share.write("b")


@pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
@pytest.mark.parametrize("scenario", [two_followers, two_followers_after_a_promotion], ids=lambda one: one.__name__)
def test_a_sync_in_the_midst_of_another_ones(scenario: Callable[[SimulatedShare], None], flavour: Flavour) -> None:
    """Two replicas of one source are synced beside each other: neither fails, whatever the other one tidied away."""
    sites = SimulatedSites(flavour)
    share = SimulatedShare(sites)
    scenario(share)
    first, second = [name for name in share.models if name != share.active]
    interleave(share, [(first, second), (second, first)])


@pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
@pytest.mark.parametrize("scenario", [increment, two_followers_after_a_promotion], ids=lambda one: one.__name__)
def test_a_sync_in_the_midst_of_itself(scenario: Callable[[SimulatedShare], object], flavour: Flavour) -> None:
    """What a dead process began on the hosts ends there while the next one does the same: nothing is set aside."""
    share = SimulatedShare(SimulatedSites(flavour))
    scenario(share)
    interleave(share, [(name, name) for name in share.models if name != share.active])


def interleave(share: SimulatedShare, pairs: Sequence[tuple[str, str]]) -> None:
    """Of each pair the sync of the second runs as a whole before some action of that of the first."""
    sites = share.sites
    assert isinstance(sites, SimulatedSites)
    start, models = sites.saved(), dict(share.models)
    at, count = 0, 1
    while at < count:
        for one, other in pairs:
            sites.back_to(start)
            share.models = copy.copy(models)
            midst = InTheMidst(sites, at, lambda other=other: share.sync(other))
            sites.hook(midst)
            try:
                share.sync(one)
            except Fault as fault:
                raise AssertionError(f"{other} synced before {midst.struck}: {fault}") from fault
            sites.hook(None)
            count = max(count, midst.count)
            share.settle()
            assert len({share.content(name) for name in share.models}) == 1
            assert all(len(share.syncs(name)) <= 2 for name in share.models), midst.struck
            assert all(share.others(name) == [] for name in share.models), f"set aside, synced before {midst.struck}"
        at += 1 if ALL else 4


@pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def test_a_replica_half_brought_back_into_line_is_nobodys_source(flavour: Flavour) -> None:
    """Somebody wrote to one on its host, and its return was cut off; so was a promotion of another, after the fence."""
    share = SimulatedShare(SimulatedSites(flavour))
    share.create("a")
    share.write("a")
    for name in "bc":
        share.add(name)
        share.sync(name)
    share.site("b").run(("zfs", "set", "readonly=off", str(share.dataset("b"))), timeout_s=1)
    for name in "ba":
        share.write(name)
    share.sites.hook(DiesAt("b", "zfs receive", after="zfs clone"))
    with pytest.raises(Crash):
        share.sync("b")
    share.sites.hook(DiesAt("a", "zfs", after="readonly=on"))
    share.models = {name: share.models[name] for name in "bac"}  # rows come in any order
    with pytest.raises(Crash):
        share.promote("c", epoch=3)
    share.sites.hook(None)
    share.sites.restart()
    written = share.content("a")
    assert share.promote("c", epoch=5).kind == "planned"
    assert share.content("c") == written


@pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def test_a_fence_is_not_lifted_once_another_process_has_activated_the_replica(flavour: Flavour) -> None:
    """One hangs before its last delta; another takes the operation over and dies just after the activation; the first
    wakes up, and its delta fails."""
    share = SimulatedShare(SimulatedSites(flavour))
    call = planned(share)
    overtaken = Overtaken(share.sites, "a", share.dataset("a"), call)
    share.sites.hook(overtaken)
    with pytest.raises(Fault):
        call()
    share.sites.hook(None)
    assert overtaken.is_done
    roles = {name: getattr(share.seen(name), "role", None) for name in "ab"}
    assert roles == {"a": "demoted", "b": "active"}


def promote_again(share: SimulatedShare) -> object:
    mine = replace(share.models["b"], epoch=2)
    return share.driver("b").promote_replica(CONTEXT, share.list, mine, share.rules)


def sync_again(share: SimulatedShare) -> object:
    return share.driver("b").update_replica_state(CONTEXT, share.list, share.models["b"], share.rules, [])


@pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
@pytest.mark.parametrize("call", [promote_again, sync_again], ids=lambda call: call.__name__)
def test_a_process_that_wakes_up_after_a_promotion_leaves_it_as_it_is(
    call: Callable[[SimulatedShare], object], flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hung before some action of the same promotion, or of a sync, and clients have written to the replica since."""
    for lock in ("penstock.zfs.commands.mount_lock", "penstock.exports.shards._change_lock"):
        monkeypatch.setattr(lock, lambda *_of: Lock())  # they are of one process
    sites = SimulatedSites(flavour)
    share = SimulatedShare(sites)
    planned(share)
    start, models = sites.saved(), dict(share.models)

    def promote() -> None:
        share.promote("b", epoch=4)
        share.write("b")

    at, is_over = 0, False
    while not is_over:
        sites.back_to(start)
        share.models = copy.copy(models)
        midst = InTheMidst(sites, at, promote, serial=frozenset())
        sites.hook(midst)
        with contextlib.suppress(Fault):
            call(share)
        sites.hook(None)
        at, is_over = at + 1, not midst.struck
        if is_over:
            continue
        seen, everything = share.seen("b"), share.content("b")
        assert seen is not None, midst.struck
        assert (seen.role, seen.epoch) == ("active", share.models["b"].epoch), midst.struck
        share.settle()
        share.write("b")
        share.settle()
        assert share.writable() == ["b"], midst.struck
        assert share.content("a") == share.content("b"), midst.struck
        assert set(everything) <= set(share.content("b")), midst.struck
        assert share.others("a") == share.others("b") == [], f"something was set aside before {midst.struck}"
