"""What fails with volumes on ZFS: nothing of the volume, nor of others, is lost by it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import BackendFault, Conflict, Unavailable
from penstock.units import GIB
from penstock.zfs.flavour import ZFS_FUSE
from tests.contract.test_zfs_volume_steps import POND, World
from tests.contract.volume_driver_contract import CONTEXT
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, SimulatedHost


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def world(request: Any, tmp_path: Path) -> World:
    return World(request.param, tmp_path)


def test_after_a_copy_and_a_swap_each_row_has_its_own_dataset(world: World) -> None:
    old, new = world.volume, world.made(world.new(host=POND))
    live = dataclasses.replace(new, id=old.id, name_id=new.id, name=new.name)
    discarded = dataclasses.replace(old, id=new.id, name_id=old.id, name=old.name)
    assert world.driver.get_pool(live) == "pond"
    for _ in range(2):
        world.driver.delete_volume(discarded)
        assert world.driver.get_pool(live) == "pond"
    world.driver.delete_volume(live)
    assert not any(new.name in name or old.name in name for name in world.datasets())


class Refusing:
    """Lets no command through that has this word, or breaks off there."""

    def __init__(self, word: str, fault: Exception | None = None) -> None:
        self._word = word
        self._fault = fault

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        if self._word not in words:
            return None
        raise self._fault or Unavailable("the control plane died here")

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return None


@pytest.mark.parametrize("broken", ["receive", "destroy"])
@pytest.mark.parametrize("fault", [Unavailable("away"), BackendFault("no")], ids=["given-up", "final"])
def test_what_was_written_after_a_migration_failed_is_there_after_the_next(
    world: World, broken: str, fault: Exception
) -> None:
    to = {"host": POND, "capabilities": {"location_info": world.driver.location_info}}
    volume = world.made(world.new(size=3))
    world.host.hooks = Refusing(broken, fault)
    with pytest.raises(type(fault)):
        world.driver.migrate_volume(CONTEXT, volume, to)
    world.host.hooks = None
    assert world.driver.get_pool(volume) == "tank"
    world.driver.extend_volume(volume, 6)  # what the simulated file holds is its length
    done, update = world.driver.migrate_volume(CONTEXT, volume, to)
    assert done
    moved = dataclasses.replace(volume.updated(update), host=POND)
    place = f"pond/volumes/{volume.name}"
    filesystem = world.host.state.filesystems[place]
    assert max(block.content for block in filesystem.blocks.values() if block.size == 0) == 6 * GIB
    assert not filesystem.snapshots
    assert world.driver.get_pool(moved) == "pond"


def test_a_source_that_somebody_has_open_is_the_volume_no_more(world: World) -> None:
    to = {"host": POND, "capabilities": {"location_info": world.driver.location_info}}
    volume = world.made(world.new())
    source = f"tank/volumes/{volume.name}"
    world.host.open_file(source)
    done, update = world.driver.migrate_volume(CONTEXT, volume, to)
    world.host.close_files(source)
    assert done
    moved = dataclasses.replace(volume.updated(update), host=POND)
    assert world.driver.get_pool(moved) == "pond"
    assert world.host.state.filesystems[source].local["penstock:kind"] == "volume_tombstone"


def test_a_migration_that_fails_for_good_leaves_nothing(world: World) -> None:
    to = {"host": POND, "capabilities": {"location_info": world.driver.location_info}}
    volume = world.made(world.new(size=3))
    world.host.hooks = Refusing("receive", BackendFault("no"))
    with pytest.raises(BackendFault):
        world.driver.migrate_volume(CONTEXT, volume, to)
    world.host.hooks = None
    assert f"pond/volumes/{volume.name}" not in world.datasets()
    assert not world.host.state.filesystems[f"tank/volumes/{volume.name}"].snapshots


def test_a_revert_and_a_failed_clone_touch_nothing_of_others_and_leave_nothing(world: World) -> None:
    place = f"tank/volumes/{world.volume.name}"
    before = set(world.host.state.filesystems[place].snapshots)
    world.host.hooks = Refusing("clone", BackendFault("no"))
    with pytest.raises(BackendFault):
        world.driver.create_cloned_volume(world.new(), world.volume)
    world.host.hooks = None
    assert set(world.host.state.filesystems[place].snapshots) == before
    assert world.host.run(["zfs", "snapshot", f"{place}@daily"], timeout_s=5).exit_code == 0
    with pytest.raises(Conflict, match="@daily"):
        world.driver.revert_to_snapshot(CONTEXT, world.volume, world.snapshot)
    assert "daily" in world.host.state.filesystems[place].snapshots


def test_a_snapshot_that_somebody_holds_stays_when_the_volume_goes(tmp_path: Path) -> None:
    world = World(OPENZFS, tmp_path)
    volume = world.made(world.new())
    place = f"tank/volumes/{volume.name}"
    assert world.host.run(["zfs", "snapshot", f"{place}@theirs"], timeout_s=5).exit_code == 0
    assert world.host.run(["zfs", "hold", "keep", f"{place}@theirs"], timeout_s=5).exit_code == 0
    for _ in range(2):
        world.driver.delete_volume(volume)
    assert world.driver.finder.volume(volume) is None
    assert "theirs" in world.host.state.filesystems[place].snapshots


def test_what_a_clone_that_was_cut_off_left_goes_with_it(world: World) -> None:
    place = f"tank/volumes/{world.volume.name}"
    before = set(world.host.state.filesystems[place].snapshots)
    clone = world.new(source_volid=world.volume.id)
    world.driver.db.volumes[world.volume.id] = world.volume
    world.host.hooks = Refusing("clone")
    with pytest.raises(Unavailable):
        world.driver.create_cloned_volume(clone, world.volume)
    world.host.hooks = None
    world.driver.delete_volume(clone)
    assert set(world.host.state.filesystems[place].snapshots) == before
