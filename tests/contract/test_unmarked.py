"""A power cut between a dataset and its marks: what is taken for ours then, and what never is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Conflict, Unavailable
from penstock.share.models import ShareModel, SnapshotModel
from penstock.units import GIB
from penstock.zfs.flavour import ZFS_FUSE, Flavour
from penstock.zfs.names import Dataset
from penstock.zfs.unmarked import Attempt, objection
from tests.contract.share_backends import CONTEXT, Backend, make_backend
from tests.contract.test_zfs_volume_steps import World
from tests.contract.zfs_machines import SimulatedMachine
from tests.driver_values import a_share, a_snapshot
from tests.simulation.replica_sites import SimulatedShare, SimulatedSites
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, SimulatedHost

OWNER = ("penstock:id", "me")
FLAVOURS = [OPENZFS, ZFS_FUSE]


class PowerCut:
    """The host loses power in the first creation, with `groups` of its later transaction groups on disk."""

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.has_struck = False

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        if not self.has_struck and host.cut_in_creation(words, self.groups):
            self.has_struck = True
            raise Unavailable("power is gone")
        return None


class Death:
    """The control plane dies before command `at`."""

    def __init__(self, at: int) -> None:
        self.at = at

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        self.at -= 1
        if self.at == 0:
            raise Unavailable("the control plane died here")
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return None


# --- shares -----------------------------------------------------------------------------------------------------------


class Shares:
    """A backend on a simulated host, a share with data and its snapshot, and shares to be made: empty, or from it."""

    def __init__(self, flavour: Flavour) -> None:
        self.host = SimulatedHost(flavour.name, flavour=flavour, pools={"tank": 8 * GIB})
        self.backend: Backend = make_backend(SimulatedMachine(self.host))
        self.now = self.host.clock.utc()
        self.parent = a_share()
        self.backend.driver.create_share(CONTEXT, self.parent)
        self.backend.write(self.parent, "data")
        self.snapshot = self.taken()
        self.backend.write(self.parent, "later")

    def taken(self) -> SnapshotModel:
        snapshot = a_snapshot(self.parent)
        self.backend.driver.create_snapshot(CONTEXT, snapshot)
        return snapshot

    def new(self, *, is_clone: bool) -> ShareModel:
        share = a_share(created_at=self.now, extra_specs={"thin_provisioning": "False"})
        return replace(share, snapshot_id=self.snapshot.snapshot_id) if is_clone else share

    def make(self, share: ShareModel) -> None:
        driver = self.backend.restarted()
        if share.snapshot_id is None:
            driver.create_share(CONTEXT, share)
        else:
            driver.create_share_from_snapshot(CONTEXT, share, self.snapshot, parent_share=self.parent)

    def cut(self, share: ShareModel, groups: int = 0) -> Dataset:
        """Make it, with a power cut in the midst; where it is."""
        self.host.hooks = PowerCut(groups)
        with pytest.raises(Unavailable):
            self.make(share)
        self.host.hooks = None
        dataset = self.backend.dataset(share)
        assert "penstock:id" not in self.host.filesystem(str(dataset)).local
        return dataset

    def state(self, share: ShareModel) -> Any:
        """What counts of a share's dataset."""
        found = self.host.filesystem(str(self.backend.dataset(share)))
        marks = {
            name: value for name, value in found.local.items() if name != "canmount"
        }  # some are told that it is on
        return {**marks, "penstock:id": "", "penstock:share_id": ""}, found.is_mounted, self.backend.content(share)


@pytest.fixture(params=FLAVOURS, ids=lambda flavour: flavour.name)
def shares(request: Any) -> Shares:
    return Shares(request.param)


@pytest.mark.parametrize("groups", [0, 1, 2])
@pytest.mark.parametrize("is_clone", [False, True], ids=["empty", "clone"])
def test_a_share_whose_marks_a_power_cut_took_is_completed(shares: Shares, is_clone: bool, groups: int) -> None:
    whole, cut = shares.new(is_clone=is_clone), shares.new(is_clone=is_clone)
    shares.make(whole)
    shares.cut(cut, groups)
    shares.make(cut)
    assert shares.state(cut) == shares.state(whole)


@pytest.mark.parametrize("is_clone", [False, True], ids=["empty", "clone"])
def test_who_dies_while_completing_it_completes_it_the_next_time(shares: Shares, is_clone: bool) -> None:
    share = shares.new(is_clone=is_clone)
    shares.cut(share)
    for at in range(1, 40):
        shares.host.hooks = Death(at)
        try:
            shares.make(share)
        except Unavailable:
            continue
        finally:
            shares.host.hooks = None
        assert at > 5
        return
    raise AssertionError("it never ends")


@pytest.mark.parametrize("is_clone", [False, True], ids=["empty", "clone"])
def test_a_share_that_never_came_to_its_marks_leaves_nothing_when_it_is_deleted(shares: Shares, is_clone: bool) -> None:
    share = shares.new(is_clone=is_clone)
    dataset = shares.cut(share)
    for _ in range(2):
        shares.backend.restarted().delete_share(CONTEXT, share)
        assert not shares.backend.zfs.exists(dataset)
    assert shares.backend.zfs.exists(shares.backend.dataset(shares.parent))


def written(shares: Shares, dataset: Dataset) -> None:
    shares.host.write(str(dataset), 64 * 1024)


def snapped(shares: Shares, dataset: Dataset) -> None:
    shares.backend.zfs.snapshot([dataset.snapshot("theirs")], {})


def with_a_child(shares: Shares, dataset: Dataset) -> None:
    shares.backend.zfs.create(dataset.child("theirs"), {}, parents=False)


def labelled(shares: Shares, dataset: Dataset) -> None:
    shares.backend.zfs.set(dataset, {"org.example:owner": "somebody"})


def mounted_elsewhere(shares: Shares, dataset: Dataset) -> None:
    shares.backend.zfs.set(dataset, {"mountpoint": "/home"})


def of_another(shares: Shares, dataset: Dataset) -> None:
    shares.backend.zfs.set(dataset, {"penstock:id": "another"})


def a_tombstone(shares: Shares, dataset: Dataset) -> None:
    shares.backend.zfs.set(dataset, {"penstock:kind": "tombstone"})


def older(shares: Shares, dataset: Dataset) -> None:
    shares.host.filesystem(str(dataset)).created -= 3600


def of_other_origin(shares: Shares, dataset: Dataset) -> None:
    is_clone = shares.host.filesystem(str(dataset)).origin is not None
    shares.backend.zfs.destroy(dataset, recursive=True)
    if is_clone:
        shares.backend.zfs.create(dataset, {}, parents=False)
    else:
        taken = shares.backend.driver.snapshots.name(shares.snapshot)
        shares.backend.zfs.clone(taken, dataset, {})


def of_another_snapshot(shares: Shares, dataset: Dataset) -> None:
    shares.backend.zfs.destroy(dataset, recursive=True)
    shares.backend.zfs.clone(shares.backend.driver.snapshots.name(shares.taken()), dataset, {})


OTHERS = [
    written,
    snapped,
    with_a_child,
    labelled,
    mounted_elsewhere,
    of_another,
    a_tombstone,
    older,
    of_another_snapshot,
]


@pytest.mark.parametrize("is_clone", [False, True], ids=["empty", "clone"])
@pytest.mark.parametrize("become", OTHERS, ids=lambda become: become.__name__)
def test_what_may_be_somebody_elses_is_neither_completed_nor_destroyed(
    shares: Shares, become: Callable[[Shares, Dataset], None], is_clone: bool
) -> None:
    share = shares.new(is_clone=is_clone)
    dataset = shares.cut(share)
    become(shares, dataset)
    before = dict(shares.host.filesystem(str(dataset)).local)
    with pytest.raises(Conflict, match="exists and belongs to"):
        shares.make(share)
    shares.backend.restarted().delete_share(CONTEXT, share)
    assert shares.host.filesystem(str(dataset)).local == before


@pytest.mark.parametrize("is_clone", [False, True], ids=["empty", "clone"])
def test_what_started_from_something_else_is_not_completed(shares: Shares, is_clone: bool) -> None:
    share = shares.new(is_clone=is_clone)
    of_other_origin(shares, shares.cut(share))
    with pytest.raises(Conflict, match="clone"):
        shares.make(share)


class LateMarks:
    """The command that was taken for cut off comes to its marks while it is looked at what it left."""

    def __init__(self, dataset: str, marks: dict[str, str]) -> None:
        self.dataset = dataset
        self.marks = marks

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        if words[:2] == ("zfs", "get") and "all" in words:
            host.filesystem(self.dataset).local.update(self.marks)
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return None


@pytest.mark.parametrize("is_wanted", [True, False], ids=["goes on", "deleted"])
@pytest.mark.parametrize("is_clone", [False, True], ids=["empty", "clone"])
def test_a_command_that_was_only_late_is_none_of_somebody_else(shares: Shares, is_clone: bool, is_wanted: bool) -> None:
    whole, late = shares.new(is_clone=is_clone), shares.new(is_clone=is_clone)
    shares.make(whole)
    dataset = shares.cut(late)
    marks = dict(shares.host.filesystem(str(shares.backend.dataset(whole))).local)
    shares.host.hooks = LateMarks(str(dataset), {**marks, "penstock:id": late.id})
    if is_wanted:
        shares.make(late)
        assert shares.state(late) == shares.state(whole)
    else:
        shares.backend.restarted().delete_share(CONTEXT, late)
        assert not shares.backend.zfs.exists(dataset)


def test_a_share_that_was_whole_once_is_not_destroyed_without_its_marks(shares: Shares) -> None:
    share = a_share(path="10.0.0.5:/somewhere")
    shares.make(share)
    dataset = shares.backend.dataset(share)
    for name in list(shares.host.filesystem(str(dataset)).local):
        if name.startswith("penstock:"):
            shares.backend.zfs.inherit(dataset, name)
    shares.backend.restarted().delete_share(CONTEXT, share)
    assert shares.backend.zfs.exists(dataset)


@pytest.mark.parametrize("is_clone", [False, True], ids=["empty", "clone"])
def test_the_driver_names_it_to_the_doctor_and_discards_it_unwritten_only(shares: Shares, is_clone: bool) -> None:
    share = shares.new(is_clone=is_clone)
    dataset = shares.cut(share)
    driver = shares.backend.restarted()
    (left,) = driver.inventory().leftovers
    assert (left.location, left.instance_id) == (str(dataset), share.id)
    shares.host.write(str(dataset), 64 * 1024)
    with pytest.raises(Conflict):
        driver.discard(left.location)
    shares.backend.zfs.destroy(dataset, recursive=True)
    shares.cut(share)
    for _ in range(2):
        driver.discard(left.location)
    assert driver.inventory().leftovers == ()
    assert not shares.backend.zfs.exists(dataset)


# --- replicas ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "ended"])
@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
def test_a_rehearsal_whose_marks_a_power_cut_took_goes_on_or_goes(flavour: Flavour, goes_on: bool) -> None:
    share = SimulatedShare(SimulatedSites(flavour))
    share.create("a")
    share.write("a")
    share.add("b")
    share.sync("b")
    share.sites.hook(PowerCut(0))
    with pytest.raises(Unavailable):
        share.driver("b").rehearse_replica(share.models["b"], "10.0.0.9")
    share.sites.hook(None)
    (left,) = share.others("b")
    if goes_on:
        share.driver("b").rehearse_replica(share.models["b"], "10.0.0.9")
        assert share.site("b").filesystem(str(left)).local["penstock:kind"] == "rehearsal"
    share.driver("b").end_rehearsal(share.models["b"])
    assert share.others("b") == []


@pytest.mark.parametrize("is_wanted", [True, False], ids=["goes on", "deleted"])
@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
def test_a_replica_whose_place_lost_its_marks_is_made_or_goes(flavour: Flavour, is_wanted: bool) -> None:
    share = SimulatedShare(SimulatedSites(flavour))
    share.create("a")
    share.write("a")
    share.sites.hook(PowerCut(0))
    with pytest.raises(Unavailable):
        share.add("b")
    share.sites.hook(None)
    share.sites.restart()
    if is_wanted:
        share.add("b")
        assert share.sync("b") == "in_sync"
        assert share.content("b") == share.content("a")
    share.delete("b")
    root = share.sites.all["b"].root
    assert set(share.site("b").state.filesystems) == {str(root)}


# --- volumes ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=FLAVOURS, ids=lambda flavour: flavour.name)
def world(request: Any, tmp_path: Path) -> World:
    return World(request.param, tmp_path)


def empty(world: World) -> tuple[Any, Callable[[Any], Any]]:
    return world.new(), lambda volume: world.driver.create_volume(volume)


def from_snapshot(world: World) -> tuple[Any, Callable[[Any], Any]]:
    volume = world.new(snapshot_id=world.snapshot.id)
    return volume, lambda volume: world.driver.create_volume_from_snapshot(volume, world.snapshot)


def larger_from_snapshot(world: World) -> tuple[Any, Callable[[Any], Any]]:
    volume = world.new(snapshot_id=world.snapshot.id, size=2)
    return volume, lambda volume: world.driver.create_volume_from_snapshot(volume, world.snapshot)


def of_a_volume(world: World) -> tuple[Any, Callable[[Any], Any]]:
    world.driver.db.volumes[world.volume.id] = world.volume
    volume = world.new(source_volid=world.volume.id)
    return volume, lambda volume: world.driver.create_cloned_volume(volume, world.volume)


WAYS = [empty, from_snapshot, larger_from_snapshot, of_a_volume]
Way = Callable[[World], tuple[Any, Callable[[Any], Any]]]


def cut_volume(world: World, volume: Any, make: Callable[[Any], Any], groups: int) -> str:
    world.host.hooks = PowerCut(groups)
    with pytest.raises(Unavailable):
        make(volume)
    world.host.hooks = None
    dataset = f"tank/volumes/{volume.name}"
    assert "penstock:id" not in world.host.filesystem(dataset).local
    return dataset


@pytest.mark.parametrize("groups", [0, 1])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_volume_whose_marks_a_power_cut_took_is_completed(world: World, way: Way, groups: int) -> None:
    volume, make = way(world)
    cut_volume(world, volume, make, groups)
    made = volume.updated(make(volume))
    found = world.host.filesystem(f"tank/volumes/{volume.name}")
    assert (found.local["penstock:id"], found.local["penstock:kind"]) == (volume.id, "volume")
    (seen,) = [one for one in world.driver.inventory().volumes if one.id == volume.id]
    assert seen.size_bytes == volume.size * GIB
    world.driver.delete_volume(made)
    assert f"tank/volumes/{volume.name}" not in world.datasets()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_volume_that_never_came_to_its_marks_leaves_nothing_when_it_is_deleted(world: World, way: Way) -> None:
    before = world.datasets()
    volume, make = way(world)
    cut_volume(world, volume, make, 0)
    for _ in range(2):
        world.driver.delete_volume(volume)
        assert world.datasets() == before
    assert not [snap for one in world.host.state.filesystems.values() for snap in one.snapshots if "clone-" in snap]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_volume_in_whose_place_somebody_wrote_is_neither_completed_nor_destroyed(world: World, way: Way) -> None:
    volume, make = way(world)
    dataset = cut_volume(world, volume, make, 0)
    world.host.write(dataset, 64 * 1024)
    with pytest.raises(Conflict):
        make(volume)
    world.driver.delete_volume(volume)
    assert dataset in world.datasets()
    with pytest.raises(Conflict):
        world.driver.discard(dataset)
    assert [left.location for left in world.driver.inventory().leftovers] == [dataset]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_volume_left_unmarked_is_discarded_for_the_doctor(world: World, way: Way) -> None:
    volume, make = way(world)
    dataset = cut_volume(world, volume, make, 0)
    (left,) = world.driver.inventory().leftovers
    assert (left.location, left.volume_id, left.is_copy) == (dataset, volume.id, False)
    world.driver.discard(dataset)
    assert world.driver.inventory().leftovers == ()


# --- on every ZFS -----------------------------------------------------------------------------------------------------


class TestUnmarked:
    """What ZFS itself says of a dataset that nobody touched since it was made, and of one that somebody did."""

    def attempt(self, dataset: Dataset, origin: Any = None, **changes: Any) -> Attempt:
        since = datetime.now(UTC).replace(tzinfo=None, year=2020)
        return replace(Attempt(dataset, OWNER, frozenset({"refquota"}), origin, since), **changes)

    def test_a_new_filesystem(self, machine, top):
        new = top.child("new")
        machine.zfs.create(new, {"refquota": "1G"}, parents=False)
        assert objection(machine.zfs, self.attempt(new)) is None
        machine.zfs.unmount(new)
        assert objection(machine.zfs, self.attempt(new)) is None
        future = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
        assert "before it was asked for" in str(objection(machine.zfs, self.attempt(new, since=future)))
        machine.write(new, "file", 1)
        machine.remove_all(new)
        machine.zfs.set(new, {"org.example:mine": "yes"})
        assert "org.example:mine" in str(objection(machine.zfs, self.attempt(new)))

    def test_a_file_is_seen(self, machine, top):
        new = top.child("new")
        machine.zfs.create(new, {}, parents=False)
        machine.write(new, "file", 1)
        assert objection(machine.zfs, self.attempt(new)) is not None

    def test_a_new_clone(self, machine, top):
        machine.write(top, "file", 1)
        taken, clone = top.snapshot("s"), top.child("clone")
        machine.zfs.snapshot([taken], {"penstock:snapshot_id": "42"})
        machine.zfs.clone(taken, clone, {})
        assert objection(machine.zfs, self.attempt(clone, taken)) is None
        machine.zfs.unmount(clone)
        machine.zfs.mount(clone)
        assert objection(machine.zfs, self.attempt(clone, ("penstock:snapshot_id", "42"))) is None
        assert "clone of" in str(objection(machine.zfs, self.attempt(clone)))
        assert "another snapshot" in str(objection(machine.zfs, self.attempt(clone, ("penstock:snapshot_id", "43"))))
        machine.write(clone, "other", 1)
        assert "bytes were written" in str(objection(machine.zfs, self.attempt(clone, taken)))
