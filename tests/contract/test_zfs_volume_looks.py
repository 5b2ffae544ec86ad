"""The ZFS volume driver looks whether a dataset is the volume's while it changes something: and it is not."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest

from penstock.errors import Fault, Unavailable, UnknownResult
from penstock.units import GIB
from penstock.volume.drivers.zfs.connecting import Looked
from penstock.volume.drivers.zfs.finding import LookedAtSource
from penstock.volume.errors import SnapshotNotFound, VolumeNotFound
from penstock.volume.models import SnapshotModel, VolumeModel
from penstock.zfs.flavour import ZFS_FUSE, Flavour
from penstock.zfs.names import Dataset
from tests.contract.test_zfs_volume_steps import World
from tests.contract.volume_driver_contract import CONTEXT, ELSEWHERE, THERE
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, SimulatedHost


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    flavour: Flavour = request.param
    return World(flavour, tmp_path)


def run(world: World, *argv: str) -> None:
    done = world.host.run(argv, timeout_s=10)
    assert done.exit_code == 0, done.stderr


def give_away(world: World, volume: VolumeModel) -> None:
    """What is in the volume's place is another's from now on."""
    run(world, "zfs", "set", "penstock:id=another", str(volume.provider_id))


def initiators(world: World, volume: VolumeModel) -> list[str]:
    found = world.driver.storage.exports.get(world.driver._iqn(volume))
    return [] if found is None else found.names


def test_no_snapshot_is_left_on_what_is_another_s(world: World) -> None:
    give_away(world, world.volume)
    before = world.seen()
    with pytest.raises(VolumeNotFound):
        world.taken(world.volume)
    assert world.seen() == before


def test_no_clone_is_left_of_what_is_another_s(world: World) -> None:
    give_away(world, world.volume)
    before = world.seen()
    with pytest.raises(SnapshotNotFound):
        world.driver.create_volume_from_snapshot(world.new(snapshot_id=world.snapshot.id), world.snapshot)
    assert world.seen() == before


def test_nobody_is_let_in_to_what_is_another_s_and_who_was_in_stays(world: World) -> None:
    mine = world.attached(world.copy)
    give_away(world, world.volume)
    give_away(world, mine)
    for volume in (world.volume, mine):
        before = world.seen()
        for connector in (ELSEWHERE, THERE):
            with pytest.raises(VolumeNotFound):
                world.driver.initialize_connection(volume, connector)
        assert world.seen() == before
    assert initiators(world, world.volume) == []
    assert initiators(world, mine) == [THERE["initiator"]]


def looked(world: World, volume: VolumeModel) -> Future[Looked | None]:
    """The look ahead, taken now."""
    found: Future[Looked | None] = Future()
    try:
        found.set_result(world.driver.look_ahead(volume))
    except Fault as fault:
        found.set_exception(fault)
    return found


def test_a_look_ahead_lets_in_to_what_is_the_volume_s_and_out_again_of_what_is_not(world: World) -> None:
    ahead = looked(world, world.volume)
    world.driver.initialize_connection(world.volume, THERE, looked=ahead)
    assert initiators(world, world.volume) == [THERE["initiator"]]
    assert world.driver.terminate_connection(world.volume, THERE) is False
    give_away(world, world.volume)
    before = world.seen()
    for ahead in (looked(world, world.volume), Future()):
        if not ahead.done():
            ahead.set_exception(Unavailable("the host does not answer"))
        with pytest.raises(VolumeNotFound):
            world.driver.initialize_connection(world.volume, THERE, looked=ahead)
        assert world.seen() == before


def test_a_look_ahead_at_another_place_says_nothing(world: World) -> None:
    ahead = looked(world, world.copy)
    assert ahead.result() == Looked(Dataset(str(world.copy.provider_id)), is_volume=True)
    give_away(world, world.volume)
    before = world.seen()
    with pytest.raises(VolumeNotFound):
        world.driver.initialize_connection(world.volume, THERE, looked=ahead)
    assert world.seen() == before


def looked_at_source(world: World, snapshot: SnapshotModel) -> Future[LookedAtSource | None]:
    """The look ahead, taken now."""
    found: Future[LookedAtSource | None] = Future()
    try:
        found.set_result(world.driver.look_at_source(snapshot))
    except Fault as fault:
        found.set_exception(fault)
    return found


class Heard:
    """Notes the commands that the host is given."""

    def __init__(self) -> None:
        self.words: list[tuple[str, ...]] = []

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        self.words.append(words)
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return None


def test_a_clone_is_made_without_another_look_where_one_was_taken_before(world: World) -> None:
    ahead = looked_at_source(world, world.snapshot)
    wanted = world.new(snapshot_id=world.snapshot.id)
    world.host.hooks = heard = Heard()
    world.driver.create_volume_from_snapshot(wanted, world.snapshot, looked=ahead)
    world.host.hooks = None
    assert heard.words[0][:2] == ("zfs", "clone")
    assert ("zfs", "get") not in [words[:2] for words in heard.words]
    world.driver.create_volume_from_snapshot(wanted, world.snapshot, looked=ahead)  # also when it is there already
    assert world.driver.finder.volume(wanted) is not None


def test_no_clone_is_left_of_what_a_look_ahead_saw_to_be_another_s(world: World) -> None:
    give_away(world, world.volume)
    before = world.seen()
    for ahead in (looked_at_source(world, world.snapshot), Future()):
        if not ahead.done():
            ahead.set_result(None)  # the driver has no look ahead of it
        with pytest.raises(SnapshotNotFound):
            wanted = world.new(snapshot_id=world.snapshot.id)
            world.driver.create_volume_from_snapshot(wanted, world.snapshot, looked=ahead)
        assert world.seen() == before


def test_a_look_ahead_at_another_source_says_nothing(world: World) -> None:
    other = world.taken(world.copy)
    ahead = looked_at_source(world, other)
    assert ahead.result() == LookedAtSource(world.driver.finder.snapshot_place(other), is_snapshot=True)
    give_away(world, world.volume)
    before = world.seen()
    with pytest.raises(SnapshotNotFound):
        wanted = world.new(snapshot_id=world.snapshot.id)
        world.driver.create_volume_from_snapshot(wanted, world.snapshot, looked=ahead)
    assert world.seen() == before


def test_a_clone_whose_look_ahead_failed_is_whole_after_the_next_attempt(world: World) -> None:
    ahead: Future[LookedAtSource | None] = Future()
    ahead.set_exception(Unavailable("the host does not answer"))
    wanted = world.new(snapshot_id=world.snapshot.id)
    with pytest.raises(Unavailable):
        world.driver.create_volume_from_snapshot(wanted, world.snapshot, looked=ahead)
    world.driver.create_volume_from_snapshot(wanted, world.snapshot)
    assert world.driver.finder.volume(wanted) is not None


class AnswerLost:
    """Nobody learns that the host has let that initiator in."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.has_struck = False

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        if not self.has_struck and any(self._name in text for text in host.state.files.values()):
            self.has_struck = True
            raise UnknownResult("the connection was lost")
        return None


def test_nobody_stays_let_in_to_what_is_another_s_when_the_answer_is_lost(world: World) -> None:
    give_away(world, world.volume)
    before = world.seen()
    world.host.hooks = lost = AnswerLost(str(ELSEWHERE["initiator"]))
    with pytest.raises(Fault):
        world.driver.initialize_connection(world.volume, ELSEWHERE)
    world.host.hooks = None
    assert lost.has_struck
    assert world.seen() == before


def test_who_is_let_in_to_its_volume_is_in_though_the_answer_is_lost(world: World) -> None:
    world.host.hooks = lost = AnswerLost(str(ELSEWHERE["initiator"]))
    world.driver.initialize_connection(world.volume, ELSEWHERE)
    world.host.hooks = None
    assert lost.has_struck
    assert initiators(world, world.volume) == [ELSEWHERE["initiator"]]


def test_a_volume_elsewhere_is_found_and_served_from_there_alone(tmp_path: Path) -> None:
    world = World(OPENZFS, tmp_path)  # zfs-fuse hardly ever renames
    made = world.made(world.new())
    place = str(made.provider_id)
    for words in (("unmount", place), ("rename", place, f"{place}-moved"), ("mount", f"{place}-moved")):
        run(world, "zfs", *words)
    volume = world.attached(made)
    iqn = world.driver._iqn(volume)
    assert world.tgt.login(iqn, str(THERE["initiator"]), "10.99.0.7") == {1: GIB}
    run(world, "zfs", "create", place)  # now somebody else's stands there
    run(world, "sh", "-c", 'truncate -s ">$1" -- "$2"', "grow", str(7 * GIB), f"/{place}/volume")
    world.attached(volume, ELSEWHERE)
    for connector, address in ((THERE, "10.99.0.7"), (ELSEWHERE, "10.99.0.8")):
        assert world.tgt.login(iqn, str(connector["initiator"]), address) == {1: GIB}
    assert world.driver.terminate_connection(volume, None) is False
    world.driver.remove_export(CONTEXT, volume)
