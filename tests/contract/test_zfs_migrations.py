"""Migrations of the ZFS driver between simulated hosts of both flavours: data, snapshots, rules, interruptions."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from penstock.clock import ManualClock
from penstock.errors import Cancelled, Conflict, Fault, InsufficientCapacity, Unavailable
from penstock.ids import new_id
from penstock.share.drivers.zfsonlinux.driver import ZFSonLinuxShareDriver
from penstock.share.drivers.zfsonlinux.identity import kind_of
from penstock.share.drivers.zfsonlinux.observe import SeenShare, observe_share
from penstock.share.migrating import HasWatchedMigration
from penstock.share.models import AccessModel, ShareModel, SnapshotModel
from penstock.share.replication import Watch
from penstock.units import GIB, MIB
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.names import Dataset
from tests.contract.replica_sites import Site, Sites
from tests.contract.share_backends import CONTEXT
from tests.driver_values import a_rule, a_share, a_snapshot
from tests.simulation.nfs_server import SimulatedNfs, chmod
from tests.simulation.replica_sites import Overtaken, hook_all
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, SimulatedHost
from tests.simulation.zfs_network import SimulatedNetwork

FLAVOURS = pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
MOST_STEPS = 400
EVERY = 1 if os.environ.get("PENSTOCK_SEEDS") else 3  # commands: all of them where many seeds are played


class Hosts(Sites):
    """Two backends in memory, a and b, with one clock; a has two pools."""

    def __init__(self, flavour: Any, size: int = 8 * GIB) -> None:
        self.clock = ManualClock()
        self.network = SimulatedNetwork()
        sites = {}
        for name in "ab":
            host = SimulatedHost(name, flavour=flavour, clock=self.clock, pools={"tank": size})
            host.programs["chmod"] = chmod
            sites[name] = Site(name, host, SimulatedNfs(host), Dataset("tank"), self.clock)
        super().__init__(sites, self.network)
        self.restart()

    def host(self, name: str) -> SimulatedHost:
        host = self.all[name].host
        assert isinstance(host, SimulatedHost)
        return host


@dataclass
class Moving:
    """A share on `a` with a rule and snapshots, and what it will be on `to`."""

    hosts: Hosts
    to: str = "b"
    specs: dict[str, str] = field(default_factory=dict)
    rules: list[AccessModel] = field(default_factory=lambda: [a_rule("10.0.0.1")])
    snapshots: list[SnapshotModel] = field(default_factory=list)
    mappings: dict[str, SnapshotModel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        share = replace(a_share("tank", status="migrating"), host="host@a#tank")
        self.source: ShareModel = share
        self.driver.create_share(CONTEXT, share)
        self.driver.update_access(CONTEXT, share, self.rules, [], [])
        self.target: ShareModel = replace(
            share, id=new_id(), host=f"host@{self.to}#tank", status="migrating_to", extra_specs=self.specs
        )

    @property
    def driver(self) -> ZFSonLinuxShareDriver:
        return self.hosts.all["a"].driver

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.source, self.target, self.snapshots, self.mappings

    def write(self, size: int = MIB) -> None:
        self.hosts.host("a").write(str(self.dataset(self.source, "a")), size)

    def take_snapshot(self) -> None:
        one = replace(a_snapshot(self.source), id=new_id(), share_instance_id=self.source.id, share=self.source)
        self.driver.create_snapshot(CONTEXT, one)
        self.snapshots.append(one)
        other = replace(one, id=new_id(), share_instance_id=self.target.id, share=self.target, provider_location=None)
        self.mappings[one.id] = other

    def start(self) -> None:
        self.driver.migration_start(CONTEXT, *self.arguments)

    def go_on(self, **more: Any) -> bool:
        return self.driver.migration_continue(CONTEXT, *self.arguments, **more)

    def complete(self) -> dict[str, Any]:
        return self.driver.migration_complete(CONTEXT, *self.arguments)

    def cancel(self) -> None:
        self.driver.migration_cancel(CONTEXT, *self.arguments)

    def all_of_it(self) -> dict[str, Any]:
        self.start()
        assert self.go_on()
        return self.complete()

    def delete_source(self) -> None:
        self.driver.delete_share(CONTEXT, self.source)

    # --- looking ----------------------------------------------------------------------------------------------------

    def dataset(self, share: ShareModel, name: str) -> Dataset:
        return self.hosts.all[name].root.child("manila_share_" + share.id.replace("-", "_"))

    def seen(self, share: ShareModel, name: str) -> SeenShare | None:
        return observe_share(self.hosts.all[name].zfs, self.dataset(share, name))

    def content(self, share: ShareModel, name: str) -> Any:
        return self.hosts.host(name).content(str(self.dataset(share, name)))

    def all_names(self, name: str) -> list[str]:
        """Every dataset and snapshot of the site but its root."""
        site = self.hosts.all[name]
        found = site.zfs.tree(site.root, ("type",), kinds=("filesystem", "snapshot"))
        return sorted(set(found) - {str(site.root)})

    def holds(self, name: str) -> list[str]:
        state = self.hosts.host(name).state
        return [tag for fs in state.filesystems.values() for snap in fs.snapshots.values() for tag in snap.holds]

    def exports(self, name: str) -> list[str]:
        return sorted(self.hosts.all[name].driver.storage.nfs.all())


@FLAVOURS
def test_a_share_goes_to_another_host_with_all_it_has(flavour: Any) -> None:
    moving = Moving(Hosts(flavour))
    moving.write()
    moving.take_snapshot()
    moving.write()
    moving.take_snapshot()
    moving.start()
    assert moving.go_on()
    moving.write()  # clients still write
    before = moving.content(moving.source, "a")
    answer = moving.complete()
    assert moving.content(moving.target, "b") == before
    assert moving.complete() == answer  # twice is once
    seen = moving.seen(moving.target, "b")
    assert seen is not None
    assert (seen.marks.role, seen.is_readonly, seen.is_mounted, seen.is_boot_safe) == (None, False, True, False)
    assert [rule.id for rule in seen.rules or ()] == [rule.access_id for rule in moving.rules]
    assert moving.exports("b") == [seen.mountpoint]
    assert moving.exports("a") == []
    assert len(answer["snapshot_updates"]) == 2
    names = [update["provider_location"] for update in answer["snapshot_updates"].values()]
    assert [name for name in moving.all_names("b") if "@" in name] == sorted(names)
    with pytest.raises(OSError, match=r"read|mounted"):
        moving.write()  # the source is fenced
    moving.delete_source()
    assert moving.all_names("a") == []
    assert moving.holds("a") == moving.holds("b") == []
    for snapshot in moving.mappings.values():
        told = replace(snapshot, provider_location=answer["snapshot_updates"][snapshot.id]["provider_location"])
        moving.hosts.all["b"].driver.delete_snapshot(CONTEXT, told)
    moving.hosts.all["b"].driver.delete_share(CONTEXT, moving.target)
    assert moving.all_names("b") == []


@FLAVOURS
@pytest.mark.parametrize("when", ["before", "started", "copied"])
def test_cancelled_nothing_is_left_of_it(flavour: Any, when: str) -> None:
    moving = Moving(Hosts(flavour))
    moving.write()
    moving.take_snapshot()
    before, names, exports = moving.seen(moving.source, "a"), moving.all_names("a"), moving.exports("a")
    if when != "before":
        moving.start()
    if when == "copied":
        moving.go_on()
    moving.cancel()
    moving.cancel()
    assert moving.seen(moving.source, "a") == before
    assert moving.all_names("a") == names
    assert moving.exports("a") == exports
    assert moving.all_names("b") == []
    assert moving.holds("a") == []
    moving.write()
    moving.all_of_it()
    assert moving.content(moving.target, "b") == moving.content(moving.source, "a")


@FLAVOURS
def test_snapshots_of_migrations_have_their_prefix(flavour: Any) -> None:
    moving = Moving(Hosts(flavour))
    moving.write()
    moving.go_on()
    (name,) = [name.partition("@")[2] for name in moving.all_names("a") if "@" in name]
    assert name.startswith("tmp_snapshot_for_share_migration_")


@dataclass
class Trouble:
    """At command number `at` of both hosts together, it happens, before or after the command's effect."""

    at: int
    happen: Callable[[], None]
    is_after: bool = False
    count: int = 0

    def before(self, _host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        self.count += 1
        if self.count == self.at and not self.is_after:
            self.happen()
        return None

    def after(self, _host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        if self.count == self.at and self.is_after:
            self.happen()
        return None


class Died(BaseException):
    """kill -9"""


@FLAVOURS
def test_a_fence_is_not_lifted_once_another_process_has_switched(flavour: Any) -> None:
    moving = Moving(Hosts(flavour))
    moving.write()
    moving.start()
    moving.go_on()
    moving.write()
    overtaken = Overtaken(moving.hosts, "a", moving.dataset(moving.source, "a"), moving.complete)
    hook_all(moving.hosts, overtaken)
    with pytest.raises(Fault):
        moving.complete()
    hook_all(moving.hosts, None)
    assert overtaken.is_done
    source, target = moving.seen(moving.source, "a"), moving.seen(moving.target, "b")
    assert source is not None
    assert target is not None
    assert (source.role, target.role) == ("demoted", "active")
    moving.complete()


@FLAVOURS
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("dies", [False, True], ids=["away", "dies"])
def test_interrupted_at_each_command_and_gone_on_with(flavour: Any, is_after: bool, dies: bool) -> None:
    """Not parametrized by the command: how many there are only the run tells."""

    def happen() -> None:
        raise Died if dies else Unavailable("the host is away")

    for at in range(1, MOST_STEPS, EVERY):
        moving = Moving(Hosts(flavour))
        moving.write()
        moving.take_snapshot()
        moving.write()
        hooks = Trouble(at, happen, is_after)
        hook_all(moving.hosts, hooks)
        try:
            moving.all_of_it()
        except (Died, Fault):
            hook_all(moving.hosts, None)
            moving.hosts.restart()
            moving.all_of_it()
        is_over = hooks.count < at
        hook_all(moving.hosts, None)
        moving.delete_source()
        assert moving.all_names("a") == [], at
        assert len(moving.all_names("b")) == 2, at
        assert len(moving.exports("b")) == 1, at
        assert moving.exports("a") == [], at
        assert moving.holds("b") == [], at
        seen = moving.seen(moving.target, "b")
        assert seen is not None
        assert (seen.is_readonly, seen.marks.role) == (False, None), at
        if is_over:
            return
    pytest.fail("there is no end to it")


@FLAVOURS
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_interrupted_at_each_command_and_cancelled(flavour: Any, is_after: bool) -> None:
    def happen() -> None:
        raise Died

    for at in range(1, MOST_STEPS, EVERY):
        moving = Moving(Hosts(flavour))
        moving.write()
        moving.take_snapshot()
        names, exports = moving.all_names("a"), moving.exports("a")
        before = moving.seen(moving.source, "a")
        hooks = Trouble(at, happen, is_after)
        hook_all(moving.hosts, hooks)
        with suppress(Died):
            moving.all_of_it()
        hook_all(moving.hosts, None)
        moving.hosts.restart()
        try:
            moving.cancel()
        except Conflict:
            moving.complete()
            assert moving.content(moving.target, "b") == moving.content(moving.source, "a"), at
            if hooks.count < at:
                return
            continue
        assert moving.seen(moving.source, "a") == before, at
        assert moving.all_names("a") == names, at
        assert moving.exports("a") == exports, at
        assert moving.all_names("b") == [], at
        assert moving.holds("a") == [], at
        moving.write()
    pytest.fail("there is no end to it")


@FLAVOURS
def test_the_source_serves_when_the_last_changes_cannot_be_sent(flavour: Any) -> None:
    moving = Moving(Hosts(flavour))
    moving.write()
    moving.start()
    moving.go_on()
    moving.write()
    nfs, fences = moving.driver.storage.nfs, []
    remove = nfs.remove

    def cut(paths: Sequence[str]) -> None:
        moving.write()
        remove(paths)
        fences.append(paths)
        moving.hosts.network.breaking = lambda: 0.5

    nfs.remove = cut  # type: ignore[method-assign]  # the first act of the fence
    with pytest.raises(Unavailable):
        moving.complete()
    assert fences
    moving.write()
    assert len(moving.exports("a")) == 1
    nfs.remove = remove  # type: ignore[method-assign]
    moving.hosts.network.breaking = lambda: None
    before = moving.content(moving.source, "a")
    moving.complete()
    assert moving.content(moving.target, "b") == before


def test_a_copy_that_is_to_stop_stops_and_goes_on_later() -> None:
    moving = Moving(Hosts(OPENZFS))
    moving.write(8 * MIB)
    told: list[int] = []
    with pytest.raises(Cancelled):
        moving.go_on(watch=Watch(told.append, lambda: bool(told)))
    assert moving.driver.migration_get_progress(CONTEXT, *moving.arguments)["total_progress"] < 100
    assert moving.go_on()
    found = moving.driver.migration_get_progress(CONTEXT, *moving.arguments)
    assert found["total_progress"] >= 99


def test_progress_has_bytes_and_the_time_left() -> None:
    moving = Moving(Hosts(OPENZFS))
    moving.write(8 * MIB)
    seen: list[dict[str, Any]] = []

    def look(_sent: int) -> None:
        moving.hosts.clock.advance(1)
        seen.append(moving.driver.migration_get_progress(CONTEXT, *moving.arguments))

    moving.go_on(watch=Watch(look))
    assert seen[0]["moved_bytes"] < seen[0]["total_bytes"]
    assert seen[0]["eta_seconds"] > 0


def test_a_destination_without_room_is_told_before_the_copy() -> None:
    moving = Moving(Hosts(OPENZFS))
    moving.write(40 * MIB)
    moving.hosts.host("b").write("tank", int(7.99 * GIB))
    with pytest.raises(InsufficientCapacity):
        moving.start()


def test_what_is_not_ours_at_the_destination_is_left_alone() -> None:
    moving = Moving(Hosts(OPENZFS))
    moving.hosts.all["b"].zfs.create(moving.dataset(moving.target, "b"), {}, parents=False)
    with pytest.raises(Conflict):
        moving.start()
    moving.cancel()
    assert moving.all_names("b") == [str(moving.dataset(moving.target, "b"))]


def test_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    moving = Moving(Hosts(OPENZFS))
    assert isinstance(moving.driver, HasWatchedMigration)

    def can(target: ShareModel) -> dict[str, Any]:
        return dict(moving.driver.migration_check_compatibility(CONTEXT, moving.source, target))

    yes = dict.fromkeys(("compatible", "writable", "preserve_metadata", "preserve_snapshots"), True)
    assert can(moving.target) == {**yes, "nondisruptive": False}
    assert can(replace(moving.target, host="host@b#nowhere"))["reason"]
    assert not can(replace(moving.target, extra_specs={"zfsonlinux:compression": "odd"}))["compatible"]
    thick = replace(moving.target, host="host@a#tank", extra_specs={"thin_provisioning": "False"})
    assert can(thick) == {**yes, "nondisruptive": True}
    squeezed = replace(moving.target, host="host@a#tank", extra_specs={"zfsonlinux:compression": "gzip"})
    assert can(squeezed) == {**yes, "nondisruptive": False}


@FLAVOURS
def test_another_type_in_place_keeps_path_and_data(flavour: Any) -> None:
    moving = Moving(Hosts(flavour), to="a", specs={"thin_provisioning": "False"})
    moving.write()
    moving.take_snapshot()
    before, exports = moving.seen(moving.source, "a"), moving.exports("a")
    moving.cancel()
    assert moving.seen(moving.source, "a") == before
    answer = moving.all_of_it()
    assert moving.complete() == answer
    moving.delete_source()
    assert moving.exports("a") == exports
    after = moving.seen(moving.source, "a")
    assert after is not None
    assert (after.owner_id, after.refreservation_bytes > 0, after.is_mounted) == (moving.target.id, True, True)
    with pytest.raises(Conflict):
        moving.cancel()
    told = replace(moving.target, status="available")
    moving.driver.extend_share(told, 3)
    assert len(moving.all_names("a")) == 2


@FLAVOURS
def test_another_compression_means_a_copy_on_the_same_pool(flavour: Any) -> None:
    moving = Moving(Hosts(flavour), to="a", specs={"zfsonlinux:compression": "gzip"})
    moving.write()
    moving.take_snapshot()
    moving.all_of_it()
    assert moving.content(moving.target, "a") == moving.content(moving.source, "a")
    moving.delete_source()
    seen = moving.seen(moving.target, "a")
    assert seen is not None
    assert seen.compression.startswith("gzip")
    assert len(moving.all_names("a")) == 2
    assert len(moving.exports("a")) == 1


@FLAVOURS
def test_clones_made_from_its_snapshots_stay_where_they_are(flavour: Any) -> None:
    moving = Moving(Hosts(flavour))
    moving.write()
    moving.take_snapshot()
    clone = replace(a_share("tank"), host="host@a#tank")
    moving.driver.create_share_from_snapshot(CONTEXT, clone, moving.snapshots[0], parent_share=moving.source)
    before = moving.content(clone, "a")
    moving.all_of_it()
    moving.delete_source()
    assert moving.content(clone, "a") == before
    assert kind_of(moving.hosts.all["a"].zfs.get(moving.dataset(clone, "a"), ("penstock:kind",))) == "share"
    names = [name for name in moving.all_names("a") if "@" not in name]
    assert names == [str(moving.dataset(clone, "a"))]


@FLAVOURS
def test_a_clone_is_moved_as_a_whole(flavour: Any) -> None:
    moving = Moving(Hosts(flavour))
    moving.write()
    moving.take_snapshot()
    clone = replace(a_share("tank"), host="host@a#tank")
    moving.driver.create_share_from_snapshot(CONTEXT, clone, moving.snapshots[0], parent_share=moving.source)
    moving.source, moving.snapshots, moving.mappings = clone, [], {}
    moving.target = replace(clone, id=new_id(), host="host@b#tank")
    moving.all_of_it()
    assert moving.content(moving.target, "b") == moving.content(clone, "a")
    moving.delete_source()
