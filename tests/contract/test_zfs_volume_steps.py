"""The ZFS volume driver interrupted between any two commands, and what it does beyond the common contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Conflict, Invalid, Unavailable, Unsupported
from penstock.ids import new_id
from penstock.units import GIB
from penstock.volume.drivers.zfs.driver import ZFSVolumeDriver
from penstock.volume.errors import VolumeNotFound
from penstock.volume.models import (
    AttachmentModel,
    GroupModel,
    GroupSnapshotModel,
    SnapshotModel,
    VolumeModel,
    VolumeTypeModel,
)
from penstock.zfs.flavour import ZFS_FUSE, Flavour
from tests.contract.volume_driver_contract import CONTEXT, ELSEWHERE, THERE
from tests.contract.zfs_volumes import a_zfs_driver, simulated_site
from tests.simulation.tgt_host import SimulatedTgt
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, SimulatedHost
from tests.volume_values import a_snapshot, a_volume

TANK, POND = "here@third#tank", "here@third#pond"
TEXT = "zfs_volume_kind = file\n"


class Trouble:
    """Breaks off at the given command: before it, or after it took effect."""

    def __init__(self, at: int, *, is_after: bool) -> None:
        self._at = at
        self._is_after = is_after
        self.count = 0
        self.has_struck = False

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        if not self._is_after:
            self._strike()
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        if self._is_after:
            self._strike()
        return None

    def _strike(self) -> None:
        self.count += 1
        if self.count == self._at:
            self.has_struck = True
            raise Unavailable("the control plane died here")


class Listening:
    """Notes every command."""

    def __init__(self, commands: list[tuple[str, ...]]) -> None:
        self._commands = commands

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        self._commands.append(words)
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return None


class World:
    """A simulated machine with two pools, a driver, and one volume with a snapshot and a clone of it."""

    def __init__(self, flavour: Flavour, folder: Path, text: str = "") -> None:
        self.host, self.tgt = simulated_site(flavour, "tank", "pond")
        self.folder = folder
        self.driver = self.another_driver(text)
        self.volume = self.made(self.new())
        self.snapshot = self.taken(self.volume)
        copy = self.new(snapshot_id=self.snapshot.id)
        self.copy = copy.updated(self.driver.create_volume_from_snapshot(copy, self.snapshot))

    def another_driver(self, text: str = "") -> ZFSVolumeDriver:
        return a_zfs_driver(self.host, self.folder, pools=("tank", "pond"), text=TEXT + text)

    def new(self, host: str = TANK, size: int = 1, **fields: Any) -> VolumeModel:
        return a_volume(new_id(), size, host=host, **fields)

    def made(self, volume: VolumeModel) -> VolumeModel:
        return volume.updated(self.driver.create_volume(volume))

    def taken(self, volume: VolumeModel) -> SnapshotModel:
        snapshot = a_snapshot(new_id(), volume)
        return snapshot.updated(self.driver.create_snapshot(snapshot))

    def attached(self, volume: VolumeModel, connector: Any = THERE) -> VolumeModel:
        volume = volume.updated(self.driver.create_export(CONTEXT, volume, connector))
        self.driver.initialize_connection(volume, connector)
        return volume

    def datasets(self) -> set[str]:
        return set(self.host.state.filesystems) - {"tank", "pond", "tank/volumes", "pond/volumes"}

    def seen(self) -> Any:
        """Everything that counts on the host: datasets with what they hold, snapshots, targets."""
        filesystems = {
            path: (
                sorted(one.local.items()),
                sorted(snap for snap in one.snapshots),
                max((block.content for block in one.blocks.values() if block.size == 0), default=0),
            )
            for path, one in self.host.state.filesystems.items()
        }
        observed = self.driver.storage.exports.observe()
        return filesystems, dict(observed.configured), observed.in_force


SOURCE_ID, TARGET_ID = "11111111-2222-4333-8444-555555555555", "66666666-7777-4888-8999-000000000000"


def create(world: World) -> None:
    world.driver.create_volume(a_volume(TARGET_ID, 2, host=TANK))


def clone(world: World) -> None:
    world.driver.create_cloned_volume(a_volume(TARGET_ID, 3, host=TANK), world.volume)


def from_snapshot(world: World) -> None:
    world.driver.create_volume_from_snapshot(a_volume(TARGET_ID, 3, host=TANK), world.snapshot)


def to_another_pool(world: World) -> None:
    world.driver.create_volume_from_snapshot(a_volume(TARGET_ID, 3, host=POND), world.snapshot)


def take(world: World) -> None:
    world.driver.create_snapshot(a_snapshot(TARGET_ID, world.volume))


def drop_snapshot(world: World) -> None:
    world.driver.delete_snapshot(world.snapshot)


def delete(world: World) -> None:
    world.driver.delete_volume(world.volume)


def extend(world: World) -> None:
    world.driver.extend_volume(world.volume, 5)


def attach(world: World) -> None:
    volume = world.volume.updated(world.driver.create_export(CONTEXT, world.volume, THERE))
    world.driver.initialize_connection(volume, THERE)


def detach(world: World) -> None:
    if not world.driver.terminate_connection(world.copy, THERE):
        world.driver.remove_export(CONTEXT, world.copy)


def move(world: World) -> None:
    capabilities = {"location_info": world.driver.location_info}
    done, _ = world.driver.migrate_volume(CONTEXT, world.copy, {"host": POND, "capabilities": capabilities})
    assert done


def discard(world: World) -> None:
    """What is left to do after a copy through a host, and the swap of the two rows."""
    copied = world.made(a_volume(TARGET_ID, 1, host=POND))
    before = dataclasses.replace(world.copy, id=copied.id, name_id=world.copy.id)
    world.driver.delete_volume(before)
    assert str(copied.provider_id) in world.datasets(), "the volume itself was deleted"


def retype(world: World) -> None:
    kind = VolumeTypeModel("t", "packed", extra_specs={"zfs:compression": "gzip", "thin_provisioning": "False"})
    assert world.driver.retype(CONTEXT, world.copy, kind, {}, {"host": TANK}) == (True, None)


OPERATIONS: list[Callable[[World], None]] = [
    create,
    clone,
    from_snapshot,
    to_another_pool,
    take,
    drop_snapshot,
    delete,
    extend,
    attach,
    detach,
    move,
    discard,
    retype,
]


def a_world(flavour: Flavour, folder: Path) -> World:
    world = World(flavour, folder)
    world.copy = world.attached(world.copy)
    return world


@pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_interrupted_anywhere_and_asked_again_it_ends_the_same(
    operation: Callable[[World], None], is_after: bool, flavour: Flavour, tmp_path: Path
) -> None:
    world = a_world(flavour, tmp_path)
    start = world.host.saved()
    operation(world)
    wanted = _plain(world)
    for at in range(1, 60):
        world.host.use(start)
        start = world.host.saved()
        world.host.hooks = trouble = Trouble(at, is_after=is_after)
        try:
            operation(world)
        except Unavailable:
            pass
        finally:
            world.host.hooks = None
        if not trouble.has_struck:
            assert at > 1
            return
        operation(world)
        assert _plain(world) == wanted, f"broken off at command {at}"
    raise AssertionError("it never ends")


def _plain(world: World) -> Any:
    """What is to be the same; numbers given out on the way are not."""
    filesystems, configured, in_force = world.seen()
    return filesystems, configured, in_force


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def world(request: Any, tmp_path: Path) -> World:
    return World(request.param, tmp_path)


def test_nothing_stays_of_volumes_snapshots_and_clones_deleted_in_any_order(world: World) -> None:
    clone = world.new(size=2)
    clone = clone.updated(world.driver.create_cloned_volume(clone, world.copy))
    world.driver.delete_snapshot(world.snapshot)
    assert world.driver.finder.snapshot(world.snapshot) is None
    for volume in (world.volume, world.copy, clone):
        world.driver.delete_volume(volume)
    assert world.datasets() == set()


class Vanishing:
    """Says once that what `word` is done to is not there."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.has_struck = False

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        if self.has_struck or self.word not in words or words[words.index(self.word) - 1] != "zfs":
            return None
        self.has_struck = True
        return Answer(1, "", f"cannot open '{words[-1]}': dataset does not exist")

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return None


@pytest.mark.parametrize("word", ["destroy", "set", "promote"])
def test_a_snapshot_that_goes_meanwhile_does_not_save_its_volume(world: World, word: str) -> None:
    dataset = f"tank/volumes/{world.volume.name}"
    world.host.hooks = vanishing = Vanishing(word)
    world.driver.delete_volume(world.volume)
    assert vanishing.has_struck
    assert dataset not in world.datasets()
    world.host.hooks = None
    world.driver.extend_volume(world.copy, 2)
    world.driver.delete_volume(world.copy)
    assert world.datasets() == set()


def test_a_clone_of_somebody_else_keeps_the_data_and_not_the_volume(world: World) -> None:
    world.driver.delete_volume(world.copy)
    taken = world.driver.finder.existing_snapshot(world.snapshot)
    assert world.host.run(["zfs", "clone", str(taken), "tank/theirs"], timeout_s=5).exit_code == 0
    world.driver.delete_snapshot(world.snapshot)
    world.driver.delete_volume(world.volume)
    with pytest.raises(VolumeNotFound):
        world.driver.extend_volume(world.volume, 2)
    assert "tank/theirs" in world.host.state.filesystems
    again = world.made(world.new())
    world.driver.delete_volume(again)


def test_what_is_not_ours_is_neither_used_nor_destroyed(world: World) -> None:
    stranger = world.new()
    place = f"tank/volumes/{stranger.name}"
    words = ["zfs", "create", "-o", "org.example:owner=somebody", place]  # see test_unmarked for what bears nothing
    assert world.host.run(words, timeout_s=5).exit_code == 0
    with pytest.raises(Conflict):
        world.driver.create_volume(stranger)
    world.driver.delete_volume(stranger)
    assert place in world.host.state.filesystems


def test_a_revert_never_loses_a_later_snapshot_nor_a_clone(world: World) -> None:
    later = world.taken(world.volume)
    with pytest.raises(Invalid, match="not the latest"):
        world.driver.revert_to_snapshot(CONTEXT, world.volume, world.snapshot)
    clone = world.new()
    world.driver.create_cloned_volume(clone, world.volume)
    with pytest.raises(NotImplementedError):
        world.driver.revert_to_snapshot(CONTEXT, world.volume, later)


def test_a_moved_volume_is_where_it_should_be_and_nowhere_else(world: World) -> None:
    capabilities = {"location_info": world.driver.location_info}
    volume = world.made(world.new(size=3))
    done, update = world.driver.migrate_volume(CONTEXT, volume, {"host": POND, "capabilities": capabilities})
    assert done
    moved = dataclasses.replace(volume.updated(update), host=POND)
    assert world.driver.get_pool(moved) == "pond"
    assert f"tank/volumes/{volume.name}" not in world.datasets()
    world.driver.extend_volume(moved, 4)
    world.driver.delete_volume(moved)
    assert not any(volume.name in name for name in world.datasets())


def test_what_cannot_be_moved_is_left_to_others(world: World) -> None:
    ours = {"location_info": world.driver.location_info}
    assert world.driver.migrate_volume(CONTEXT, world.copy, {"host": POND, "capabilities": {}}) == (False, None)
    assert world.driver.migrate_volume(CONTEXT, world.volume, {"host": POND, "capabilities": ours}) == (False, None)


def test_snapshots_of_a_group_are_one_command(tmp_path: Path) -> None:
    world = World(OPENZFS, tmp_path)
    other = world.made(world.new())
    group = GroupModel("g", "g", "available", TANK, "p", "u")
    together = GroupSnapshotModel("gs", "gs", "creating", "g", "p", "u", group)
    snapshots = [a_snapshot(new_id(), volume, group_snapshot_id="gs") for volume in (world.volume, other)]
    commands: list[tuple[str, ...]] = []
    world.host.hooks = Listening(commands)
    for _ in range(2):
        whole, parts = world.driver.create_group_snapshot(CONTEXT, together, snapshots)
    assert whole == {"status": "available"}
    assert len([words for words in commands if words[:2] == ("zfs", "snapshot")]) == 1
    taken = [snapshot.updated(part) for snapshot, part in zip(snapshots, parts or (), strict=True)]
    assert all(world.driver.finder.snapshot(snapshot) for snapshot in taken)
    for _ in range(2):
        world.driver.delete_group_snapshot(CONTEXT, together, taken)
    assert not any(world.driver.finder.snapshot(snapshot) for snapshot in taken)


def test_thick_and_compressed(world: World) -> None:
    kind = VolumeTypeModel("t", "packed", extra_specs={"zfs:compression": "gzip", "thin_provisioning": "<is> False"})
    volume = world.made(world.new(volume_type=kind, volume_type_id="t"))
    filesystem = world.host.state.filesystems[f"tank/volumes/{volume.name}"]
    assert filesystem.local["compression"] == "gzip"
    assert int(filesystem.local["refreservation"]) > GIB
    plain = VolumeTypeModel("p", "plain")
    assert world.driver.retype(CONTEXT, volume, plain, {}, {"host": TANK}) == (True, None)
    filesystem = world.host.state.filesystems[f"tank/volumes/{volume.name}"]
    assert "compression" not in filesystem.local
    assert filesystem.local.get("refreservation", "0") in ("0", "none")
    with pytest.raises(Unsupported):
        world.made(world.new(volume_type=VolumeTypeModel("x", "x", extra_specs={"zfs:compression": "snappy"})))


def test_chap_is_kept_and_asked_for(tmp_path: Path) -> None:
    world = World(OPENZFS, tmp_path, "use_chap_auth = True\n")
    volume = world.attached(world.volume)
    _, user, secret = str(volume.provider_auth).split()
    assert world.driver.create_export(CONTEXT, volume, THERE) == {
        "provider_location": volume.provider_location,
        "provider_auth": volume.provider_auth,
    }
    data = world.driver.initialize_connection(volume, THERE)["data"]
    assert (data["auth_method"], data["auth_username"], data["auth_password"]) == ("CHAP", user, secret)
    iqn, initiator = data["target_iqn"], str(THERE["initiator"])
    assert world.tgt.login(iqn, initiator, "10.99.0.7", (user, secret)) == {1: GIB}
    assert world.tgt.login(iqn, initiator, "10.99.0.7", (user, "another")) is None
    assert world.tgt.login(iqn, str(ELSEWHERE["initiator"]), "10.99.0.8", (user, secret)) is None


def test_several_portals_are_told(tmp_path: Path) -> None:
    world = World(OPENZFS, tmp_path, "iscsi_secondary_ip_addresses = 10.2.0.11\n")
    volume = world.volume.updated(world.driver.create_export(CONTEXT, world.volume, THERE))
    data = world.driver.initialize_connection(volume, {**THERE, "multipath": True})["data"]
    assert data["target_portals"] == ["10.1.0.11:3260", "10.2.0.11:3260"]
    assert data["target_iqns"] == [data["target_iqn"]] * 2
    assert data["target_luns"] == [1, 1]


def test_several_hosts_at_once_and_one_goes(world: World) -> None:
    volume = world.attached(world.attached(world.volume), ELSEWHERE)
    iqn = world.driver.initialize_connection(volume, ELSEWHERE)["data"]["target_iqn"]
    assert world.driver.terminate_connection(volume, THERE) is True
    assert world.tgt.login(iqn, str(THERE["initiator"]), "10.99.0.7") is None
    assert world.tgt.login(iqn, str(ELSEWHERE["initiator"]), "10.99.0.8") == {1: GIB}
    assert not world.driver.terminate_connection(volume, ELSEWHERE)


def test_a_connector_that_names_no_initiator_shuts_nobody_out(world: World) -> None:
    volume = world.attached(world.volume)
    iqn = world.driver.initialize_connection(volume, THERE)["data"]["target_iqn"]
    for connector in ({}, {"host": "x"}, {"initiator": None}):
        assert world.driver.terminate_connection(volume, connector, force=True) is True
    assert world.tgt.login(iqn, str(THERE["initiator"]), "10.99.0.7") == {1: GIB}
    assert not world.driver.terminate_connection(volume, None)
    assert not world.driver.terminate_connection(volume, {"host": "x"})


def test_targets_are_back_after_a_restart_also_when_their_configuration_is_lost(world: World) -> None:
    volume = world.attached(world.volume)
    iqn = world.driver.initialize_connection(volume, THERE)["data"]["target_iqn"]
    world.tgt.stop()
    world.host.reboot()
    SimulatedTgt.boot(world.tgt)
    world.another_driver()
    assert world.tgt.login(iqn, str(THERE["initiator"]), "10.99.0.7") == {1: GIB}
    for path in [path for path in world.host.state.files if path.startswith("/etc/tgt")]:
        del world.host.state.files[path]
    world.tgt.boot()
    assert world.tgt.login(iqn, str(THERE["initiator"]), "10.99.0.7") is None
    attachment = AttachmentModel("a", volume.id, "attached", connector=dict(THERE))
    world.driver.ensure_export(CONTEXT, dataclasses.replace(volume, volume_attachment=(attachment,)))
    assert world.tgt.login(iqn, str(THERE["initiator"]), "10.99.0.7") == {1: GIB}


def test_growing_is_seen_by_who_is_attached(world: World) -> None:
    volume = world.attached(world.volume)
    iqn = world.driver.initialize_connection(volume, THERE)["data"]["target_iqn"]
    world.driver.extend_volume(volume, 7)
    assert world.tgt.login(iqn, str(THERE["initiator"]), "10.99.0.7") == {1: 7 * GIB}


def test_a_pool_that_is_full_says_so(world: World) -> None:
    thick = VolumeTypeModel("t", "thick", extra_specs={"thin_provisioning": "False"})
    big = world.new(size=500, volume_type=thick)
    with pytest.raises(Exception, match=r"space|quota|available"):
        world.driver.create_volume(big)
    world.driver.delete_volume(big)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("target_helper = scstadmin", "target_helper"),
        ("zfs_volume_blocksize = 3K", "zfs_volume_blocksize"),
        ("zfs_use_ssh = True", "zfs_service_ip"),
        ("iscsi_secondary_ip_addresses = host", "iscsi_secondary_ip_addresses"),
    ],
)
def test_options_that_cannot_be(text: str, word: str, tmp_path: Path) -> None:
    host, _ = simulated_site(OPENZFS, "tank")
    with pytest.raises(Invalid, match=word):
        a_zfs_driver(host, tmp_path, text=text + "\n")


def test_a_pool_that_is_not_there_is_named(tmp_path: Path) -> None:
    host, _ = simulated_site(OPENZFS, "tank")
    with pytest.raises(Unavailable, match="pond/volumes"):
        a_zfs_driver(host, tmp_path, pools=("tank", "pond"))
