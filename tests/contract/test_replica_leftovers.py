"""What syncs leave on simulated hosts, and what of it goes: bases, snapshots that came along, half a first copy."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from penstock.errors import SnapshotResourceNotFound, Unavailable, UnknownResult
from penstock.share.drivers.zfsonlinux.identity import Kind
from penstock.share.replication import Role
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.holds import hold, release
from penstock.zfs.lines import observe_line
from tests.contract.share_backends import CONTEXT
from tests.simulation.replica_sites import Crash, DiesAt, SimulatedShare, SimulatedSites, Watching
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS
from tests.simulation.zfs_network import SimulatedNetwork


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=["openzfs", "zfs-fuse"])
def share(request: Any) -> SimulatedShare:
    simulated = SimulatedShare(SimulatedSites(request.param))
    simulated.create("a")
    return simulated


class DiesAtStream:
    """The process dies before it sends its `count`th stream."""

    def __init__(self, count: int) -> None:
        self.count = count

    def before(self, host: Any, words: tuple[str, ...]) -> None:
        self.count -= words[:2] == ("zfs", "send") and "-nvP" not in words
        if self.count == 0:
            raise Crash(" ".join(words))

    def after(self, host: Any, words: tuple[str, ...], answer: Any) -> None:
        """Nothing."""


def names_of_snapshots(share: SimulatedShare, name: str) -> list[str]:
    found = share.sites.all[name].zfs.tree(share.dataset(name), ("type",), kinds=("snapshot",), depth=1)
    return [key.partition("@")[2] for key in found]


def in_line(share: SimulatedShare, *names: str) -> None:
    """The copies hold the same, have one base each, and nothing else lies about."""
    first = names[0]
    for name in names:
        assert share.content(name) == share.content(first)
        assert len(share.syncs(name)) == 1
        assert share.others(name) == []


def test_a_base_that_a_strangers_clone_keeps_is_forgotten_by_all(share: SimulatedShare) -> None:
    """Destroyed deferred it is still listed at the active one, and no replica may keep its own for that."""
    for name in ("b", "c"):
        share.add(name)
        share.sync(name)
    (base,) = share.syncs("a")
    zfs = share.sites.all["a"].zfs
    zfs.clone(share.dataset("a").snapshot(base), share.sites.all["a"].root.child("theirs"), {})
    for _ in range(2):
        share.write("a")
        for name in ("b", "c"):
            assert share.sync(name) == "in_sync"
    assert base in names_of_snapshots(share, "a")
    share.sync("b")
    for name in ("b", "c"):
        assert base not in names_of_snapshots(share, name)
        assert share.content(name) == share.content("a")


def test_what_a_clone_keeps_at_the_source_is_nobodys_elsewhere(share: SimulatedShare) -> None:
    """A stream carries it along, to a copy that nobody marked it on, and never will."""
    for name in ("b", "c"):
        share.add(name)
        share.sync(name)
    before = set(share.syncs("a"))
    share.write("a")
    share.sync("b")
    (kept,) = set(share.syncs("a")) - before
    zfs = share.sites.all["a"].zfs
    zfs.clone(share.dataset("a").snapshot(kept), share.sites.all["a"].root.child("theirs"), {})
    share.write("a")
    share.sync("b")
    share.sync("c")
    assert kept in names_of_snapshots(share, "a")
    for name in ("b", "c"):
        assert kept not in names_of_snapshots(share, name)


def test_a_sync_that_was_given_up_and_came_later_belongs_to_somebody(share: SimulatedShare) -> None:
    """Its snapshot comes along with the next one, whose end destroys it at the source: at the copy, too."""
    share.add("b")
    share.sync("b")
    share.write("a")
    share.sites.hook(DiesAtStream(1))
    with pytest.raises(Crash):
        share.sync("b")
    share.sites.hook(None)
    share.write("a")
    share.sync("b")
    assert names_of_snapshots(share, "b") == share.syncs("b")
    in_line(share, "a", "b")


def test_a_first_copy_of_what_the_source_has_no_more_is_begun_anew(share: SimulatedShare) -> None:
    """Between its two streams the only snapshot that had arrived was deleted."""
    share.write("a")
    item = share.take_snapshot()
    share.write("a")
    share.add("b")
    share.sites.hook(DiesAtStream(2))
    with pytest.raises(Crash):
        share.sync("b")
    share.sites.hook(None)
    assert share.others("b") != []
    share.driver("a").delete_replicated_snapshot(CONTEXT, [share.models["a"]], [item["a"]])
    share.snapshots.clear()
    assert share.sync("b") == "in_sync"
    in_line(share, "a", "b")


def test_a_snapshot_whose_deletion_failed_is_marked_and_need_not_be_there(share: SimulatedShare) -> None:
    share.add("b")
    item = share.take_snapshot()
    item["b"] = replace(item["b"], status="error_deleting")
    assert share.sync("b") == "in_sync"
    line = observe_line(share.sites.all["b"].zfs, share.dataset("b"), ())
    assert line.owned_by(item["b"].id) is not None
    share.driver("b").delete_snapshot(CONTEXT, item["b"])
    assert share.sync("b") == "in_sync"


def test_what_the_last_replica_left_goes_when_the_active_one_is_back(share: SimulatedShare) -> None:
    share.add("b")
    share.sync("b")
    share.sites.away.add("a")
    share.delete("b")
    share.gone("b")
    share.sites.away.clear()
    assert share.reports("a").is_replicated
    for _ in range(2):
        share.driver("a").end_replication(share.models["a"])
    assert share.syncs("a") == []
    assert not share.reports("a").is_replicated


@pytest.mark.parametrize("is_active_away", [False, True])
def test_what_only_a_deleted_copy_has_is_kept_and_said(share: SimulatedShare, is_active_away: bool) -> None:
    share.add("b")
    share.sync("b")
    share.write("a")
    only_there = share.content("a")
    share.sites.away.add("a")
    share.promote("b")
    share.sites.away.clear()
    if is_active_away:
        share.sites.away.add("b")
    told = [share.delete("a") for _ in range(2)]
    assert told == [[f"{share.dataset('a')}_diverged_1"]] * 2
    assert share.seen("a") is None
    assert share.site("a").content(told[0][0]) == only_there


def test_an_old_active_copy_that_has_nothing_of_its_own_is_destroyed(share: SimulatedShare) -> None:
    share.add("b")
    share.sync("b")
    share.sites.away.add("a")
    share.promote("b")
    share.sites.away.clear()
    assert share.delete("a") == []
    assert share.seen("a") is None
    assert share.others("a") == []


def test_an_activation_that_broke_off_takes_no_writes_and_is_not_called_well() -> None:
    """zfs-fuse takes properties one at a time: the copy calls itself active, and is read-only still."""
    share = SimulatedShare(SimulatedSites(ZFS_FUSE))
    share.create("a")
    share.add("b")
    share.sync("b")
    share.sites.hook(DiesAt("b", "zfs set readonly=off", after="penstock:role=active"))
    with pytest.raises(Crash):
        share.promote("b")
    share.sites.hook(None)
    report = share.reports("b")
    assert report is not None
    assert (share.seen("b").role, report.role) == (Role.ACTIVE, Role.DEMOTED)
    share.promote("b")
    share.write("b")
    report = share.reports("b")
    assert report is not None
    assert report.role is Role.ACTIVE


def test_a_snapshot_that_came_before_its_taking_was_repeated_elsewhere_is_the_one(share: SimulatedShare) -> None:
    """It was taken, nobody could write that down, another copy was promoted, and the same call is made there."""
    share.add("b")
    share.sync("b")
    item = share.take_snapshot()
    share.snapshots.clear()
    share.promote("b")
    (answer,) = share.driver("b").create_replicated_snapshot(CONTEXT, share.list, list(item.values()))
    assert (answer["id"], answer["status"]) == (item["b"].id, "available")
    names = [name for name in names_of_snapshots(share, "b") if name not in share.syncs("b")]
    assert len(names) == 1
    assert answer["provider_location"] == str(share.dataset("b").snapshot(names[0]))


def test_a_snapshot_that_was_an_error_when_a_replica_was_made_goes_from_there_too(share: SimulatedShare) -> None:
    """The first copy brings it to one that has no instance of it; its owner deletes it."""
    item = share.take_snapshot()
    share.snapshots.clear()
    share.add("b")
    share.sync("b")
    assert set(names_of_snapshots(share, "b")) > set(share.syncs("b"))
    told = share.driver("a").delete_replicated_snapshot(CONTEXT, share.list, [item["a"]])
    assert [one["id"] for one in told] == [item["a"]["id"]]
    for name in ("a", "b"):
        assert names_of_snapshots(share, name) == share.syncs(name)


def promoted_with_a_snapshot_of_a_replica_that_is_gone(share: SimulatedShare) -> dict[str, Any]:
    """It came to "b" by a sync that did not know of it; "a", which it was taken of, is deleted. Its instances."""
    share.add("b")
    share.sync("b")
    item = share.take_snapshot()
    share.snapshots.clear()
    share.sync("b")
    share.promote("b")
    share.delete("a")
    share.gone("a")
    del item["a"]
    return item


def test_a_snapshot_is_known_though_the_replica_that_it_was_taken_of_is_gone(share: SimulatedShare) -> None:
    item = promoted_with_a_snapshot_of_a_replica_that_is_gone(share)
    mine = replace(item["b"], status="creating")
    told = share.driver("b").update_replicated_snapshot(CONTEXT, share.list, share.models["b"], [mine], mine)
    assert told["status"] == "available"
    line = observe_line(share.sites.all["b"].zfs, share.dataset("b"), ())
    assert line.owned_by(mine.id) is not None


def test_what_was_given_up_and_is_there_is_marked_with_the_next_replica(share: SimulatedShare) -> None:
    """Its rows are errors, so nobody asks how far it is; the share's next replica is brought it all the same."""
    item = promoted_with_a_snapshot_of_a_replica_that_is_gone(share)
    item["b"] = replace(item["b"], status="error")
    share.snapshots.append(item)
    share.add("c")
    item["c"] = replace(item["c"], status="error")
    assert share.sync("c") == "in_sync"
    for name in ("b", "c"):
        line = observe_line(share.sites.all[name].zfs, share.dataset(name), ())
        assert line.owned_by(item[name].id) is not None
    share.driver("b").delete_replicated_snapshot(CONTEXT, share.list, list(item.values()))
    for name in ("b", "c"):
        assert names_of_snapshots(share, name) == share.syncs(name)


def test_a_replica_that_somebody_holds_a_snapshot_of_is_deleted_and_swept_later() -> None:
    share = SimulatedShare(SimulatedSites(OPENZFS))
    share.create("a")
    share.add("b")
    share.sync("b")
    zfs = share.sites.all["b"].zfs
    held = [share.dataset("b").snapshot(name) for name in share.syncs("b")]
    hold(zfs, held, "theirs")
    share.delete("b")
    seen = share.seen("b")
    assert seen is not None
    assert (seen.kind, seen.is_mounted) == (Kind.TOMBSTONE, False)
    release(zfs, held, "theirs")
    share.driver("b").sweep()
    assert share.seen("b") is None


def test_an_unmounted_copy_without_any_snapshot_is_set_aside_and_made_anew(share: SimulatedShare) -> None:
    """It looks like the first half of a receive, but for its marks; nobody would ever end that one."""
    share.add("b")
    share.sync("b")
    share.write("a")
    share.sites.reboot("b")
    lost = share.site("b").filesystem(str(share.dataset("b")))
    lost.snapshots.clear()
    assert not lost.is_mounted
    assert share.sync("b") == "in_sync"
    assert share.content("b") == share.content("a")
    assert len(share.syncs("b")) == 1
    assert len(share.others("b")) == 1


def _break_streams(share: SimulatedShare, at: float | None) -> None:
    network = share.sites.routes
    assert isinstance(network, SimulatedNetwork)
    network.breaking = lambda: at


def test_a_sync_broken_off_between_two_snapshots_is_gone_on_with(share: SimulatedShare) -> None:
    """What came along is what another replica started from, and has gone on from since: the source needs it no more."""
    for name in ("b", "c"):
        share.add(name)
        share.sync(name)
    share.write("a")
    share.sync("c")
    share.write("a")
    _break_streams(share, 0.6)
    with pytest.raises(UnknownResult):
        share.sync("b")
    _break_streams(share, None)
    assert len(names_of_snapshots(share, "b")) == 2
    share.write("a")
    share.sync("c")
    share.promote("c")
    for name in ("b", "a", "b"):
        assert share.sync(name) == "in_sync"
    assert share.content("b") == share.content("c") == share.content("a")
    assert share.others("b") == []


def test_a_part_of_a_stream_goes_when_its_copy_is_promoted_without_the_rest(share: SimulatedShare) -> None:
    share.add("b")
    share.sync("b")
    share.write("a")
    _break_streams(share, 0.6)
    with pytest.raises(UnknownResult):
        share.sync("b")
    _break_streams(share, None)
    copy = share.site("b").filesystem(str(share.dataset("b")))
    assert (copy.partial is not None) is share.site("b").flavour.can_resume
    share.sites.away.add("a")
    assert share.promote("b").kind == "unplanned"
    assert copy.partial is None


def test_syncs_that_arrived_and_were_forgotten_at_the_source_are_forgotten(share: SimulatedShare) -> None:
    """Twice the process died, once before the stream and once after it: the second snapshot is only here."""
    share.add("b")
    share.sync("b")
    for before in (True, False):
        share.write("a")
        share.sites.hook(DiesAtStream(1) if before else DiesAt("b", "zfs set penstock:", after="zfs receive"))
        with pytest.raises(Crash):
            share.sync("b")
        share.sites.hook(None)
    share.write("a")
    assert share.sync("b") == "in_sync"
    in_line(share, "a", "b")


def test_a_first_copy_goes_back_no_further_than_it_has_to(share: SimulatedShare) -> None:
    """The same while the first copy is on its way: what arrived before is not sent again."""
    share.write("a")
    share.add("b")
    for ended in (1, 2):
        share.sites.hook(DiesAt("b", "zfs set", after="zfs receive") if ended == 2 else DiesAtStream(2))
        if ended == 1:
            share.take_snapshot()
        share.write("a")
        with pytest.raises(Crash):
            share.sync("b")
        share.sites.hook(None)
    arriving = share.site("b").filesystem(f"{share.dataset('b')}_receiving/data")
    assert len(arriving.snapshots) > 1
    share.write("a")
    assert share.sync("b") == "in_sync"
    assert share.site("b").filesystem(str(share.dataset("b"))) is arriving
    assert share.content("a") == share.content("b")
    assert len(share.syncs("b")) == 1
    assert share.others("b") == []


def left_with_an_unfinished_sync(share: SimulatedShare) -> None:
    """b has two snapshots beyond its last sync, and only b has the first."""
    share.add("b")
    share.sync("b")
    for before in (True, False):
        share.write("a")
        share.sites.hook(DiesAtStream(1) if before else DiesAt("b", "zfs set penstock:", after="zfs receive"))
        with pytest.raises(Crash):
            share.sync("b")
        share.sites.hook(None)
    share.write("a")


def test_going_back_that_broke_off_anywhere_is_gone_on_with(share: SimulatedShare) -> None:
    left_with_an_unfinished_sync(share)
    before = share.sites.saved()
    models = dict(share.models)
    is_over = False
    for at in range(200):
        share.sites.back_to(before)
        share.models = dict(models)
        watching = Watching(share, at, "crash before")
        share.sites.hook(watching)
        with contextlib.suppress(Crash):
            share.sync("b")
        is_over = not watching.struck
        share.sites.hook(None)
        share.sites.restart()
        assert share.sync("b") == "in_sync"
        in_line(share, "a", "b")
        if is_over:
            break
    assert is_over


@pytest.mark.parametrize("keep", ["hold", "clone"])
def test_what_somebody_keeps_of_an_unfinished_sync_is_set_aside_with_it(share: SimulatedShare, keep: str) -> None:
    zfs = share.sites.all["b"].zfs
    if keep == "hold" and zfs.flavour == ZFS_FUSE:
        pytest.skip("it knows no holds that we would see")
    left_with_an_unfinished_sync(share)
    newest = share.dataset("b").snapshot(names_of_snapshots(share, "b")[-1])
    if keep == "hold":
        hold(zfs, [newest], "theirs")
    else:
        zfs.clone(newest, share.sites.all["b"].root.child("theirs"), {})
    assert share.sync("b") == "in_sync"
    assert share.content("b") == share.content("a")
    assert any(name.endswith("_diverged_1") for name in share.others("b"))


class PromotedMeanwhile:
    """Before the first stream another replica is promoted, and what it starts from is tidied away."""

    def __init__(self, share: SimulatedShare, name: str) -> None:
        self.share = share
        self.name = name

    def before(self, host: Any, words: tuple[str, ...]) -> Answer | None:
        if words[:2] != ("zfs", "send") or "-nvP" in words:
            return None
        self.share.sites.hook(None)
        self.share.promote(self.name)
        return Answer(1, "", f"cannot open '{words[-1]}': dataset does not exist\n")

    def after(self, host: Any, words: tuple[str, ...], answer: Any) -> None:
        """Nothing."""


def test_a_sync_that_looks_again_does_not_go_on_from_what_is_not_active_any_more(share: SimulatedShare) -> None:
    for name in ("b", "c"):
        share.add(name)
        share.sync(name)
    share.write("a")
    synced_at = share.seen("b").marks.synced_at
    share.sites.hook(PromotedMeanwhile(share, "c"))
    with pytest.raises(Unavailable):
        share.sync("b")
    assert share.active == "c"
    assert share.seen("b").marks.synced_at == synced_at
    assert share.sync("b") == "in_sync"
    assert share.content("b") == share.content("c")


@pytest.mark.parametrize("command", ["zfs rename", "zfs clone", "zfs promote"])
def test_a_snapshot_deleted_while_its_copy_is_half_set_aside_does_not_come_back(
    share: SimulatedShare, command: str
) -> None:
    """The clone that takes the copy's place has its older snapshots again, once it is promoted."""
    share.add("b")
    item = share.take_snapshot()
    share.sync("b")
    share.write("a")
    share.sites.away.add("a")
    share.promote("b")
    share.sites.away.clear()
    share.sites.hook(DiesAt(share.site("a").name, command, after=f"kind={Kind.DIVERGED.value}"))
    with pytest.raises(Crash):
        share.sync("a")
    share.sites.hook(None)
    share.sites.restart()
    deleting = {name: replace(one, status="deleting") for name, one in item.items()}
    told = share.driver("b").delete_replicated_snapshot(CONTEXT, share.list, list(deleting.values()))
    assert [one["id"] for one in told] == [item["b"].id]  # of the other one it is not known to be gone
    share.snapshots.clear()
    assert share.sync("a") == "in_sync"
    with pytest.raises(SnapshotResourceNotFound):
        share.driver("a").update_replicated_snapshot(
            CONTEXT, share.list, share.models["a"], list(deleting.values()), deleting["a"]
        )
    assert sorted(names_of_snapshots(share, "a")) == sorted(share.syncs("a"))
