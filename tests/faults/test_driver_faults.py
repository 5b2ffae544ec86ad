"""Every command of every driver method fails, or is the last one before a crash; then the same call settles it.

The simulated host counts what a method does: commands, files, reloads. Each test runs the method once undisturbed, and
then once for each of its actions and each kind of trouble, every time from the same start: after the repeat the host
must be as if nothing had happened.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from penstock.clock import ManualClock
from penstock.config.backend import BackendConfiguration
from penstock.errors import Fault, UnknownResult
from penstock.share.drivers.zfsonlinux.driver import ZFSonLinuxShareDriver
from penstock.share.models import ShareModel
from penstock.units import GIB
from penstock.zfs.flavour import ZFS_FUSE, Flavour
from tests.contract.share_backends import CONTEXT, make_driver
from tests.driver_values import a_configuration, a_rule, a_share, a_snapshot
from tests.simulation.nfs_server import SERVED, SimulatedNfs, chmod
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, SimulatedHost
from tests.simulation.zfs_state import State


class Crash(Exception):
    """The process died here; not a fault, so nothing catches it."""


class Trouble:
    """Counts actions, and makes trouble at one of them."""

    def __init__(self, at: int = -1, kind: str = "") -> None:
        self.at = at
        self.kind = kind
        self.count = 0
        self.struck = ""

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        self.count += 1
        if self.count - 1 != self.at:
            return None
        self.struck = " ".join(words)
        if self.kind == "crash before":
            raise Crash(self.struck)
        if self.kind == "timeout before":
            raise UnknownResult(self.struck)
        return Answer(1, "", "cannot do it: I/O error\n") if self.kind == "refused" else None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        if self.count - 1 == self.at:
            if self.kind == "crash after":
                raise Crash(self.struck)
            if self.kind == "timeout after":
                raise UnknownResult(self.struck)
        return None


KINDS = ("crash before", "crash after", "timeout before", "timeout after", "refused")


@dataclass
class World:
    """A host with things on it, and a driver; `fresh_driver` is the daemon after a restart."""

    flavour: Flavour
    configuration: BackendConfiguration = field(init=False)
    host: SimulatedHost = field(init=False)
    driver: ZFSonLinuxShareDriver = field(init=False)
    made: ShareModel | None = None  # the share that the scenario's call makes

    def __post_init__(self) -> None:
        pools = {"tank": 64 * GIB, "pond": 64 * GIB}
        self.configuration = a_configuration(zfs_zpool_list=["tank", "pond"])
        self.host = SimulatedHost("sim", flavour=self.flavour, clock=ManualClock(), pools=pools)
        self.restart()

    def restart(self) -> None:
        self.host.hooks = None
        self.host.programs["chmod"] = chmod
        self.driver = make_driver(self.host, SimulatedNfs(self.host), self.configuration)

    def back_to(self, state: State) -> None:
        self.host.use(copy.deepcopy(state))
        self.restart()

    def picture(self) -> dict[str, Any]:
        """What is there, without what legitimately differs from run to run (times, GUIDs, the order of snapshots)."""
        seen: dict[str, Any] = {}
        for path, filesystem in self.host.state.filesystems.items():
            origin = filesystem.origin.path if filesystem.origin is not None else None
            snapshots = {
                name: (sorted(snap.local.items()), snap.is_deferred) for name, snap in filesystem.snapshots.items()
            }
            properties = sorted((n, v) for n, v in filesystem.local.items() if v not in ("0", "none"))
            seen[path] = (properties, filesystem.is_mounted, origin, snapshots, self.host.content(path))
        seen["served"] = self.host.state.files.get(SERVED) or "[]"
        return seen


Scenario = Callable[[World], Callable[[ZFSonLinuxShareDriver], object]]
"""Prepares the world, and returns the call that is to be disturbed."""


def creating(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    world.made = share = a_share()
    return lambda driver: driver.create_share(CONTEXT, share)


def creating_thick(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    world.made = share = a_share(extra_specs={"thin_provisioning": "False", "zfsonlinux:compression": "gzip"})
    return lambda driver: driver.create_share(CONTEXT, share)


def _parent(world: World) -> tuple[Any, Any]:
    share = a_share()
    world.driver.create_share(CONTEXT, share)
    world.host.write("tank/manila_share_" + share.id.replace("-", "_"), 1000)
    snapshot = a_snapshot(share)
    world.driver.create_snapshot(CONTEXT, snapshot)
    rule = a_rule()
    world.driver.update_access(CONTEXT, share, [rule], [rule], [])
    return share, snapshot


def cloning(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    _, snapshot = _parent(world)
    world.made = child = a_share(snapshot_id=snapshot.snapshot_id)
    return lambda driver: driver.create_share_from_snapshot(CONTEXT, child, snapshot)


def copying_to_another_pool(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    _, snapshot = _parent(world)
    world.made = child = a_share("pond", snapshot_id=snapshot.snapshot_id)
    return lambda driver: driver.create_share_from_snapshot(CONTEXT, child, snapshot)


def deleting(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share, _ = _parent(world)
    return lambda driver: driver.delete_share(CONTEXT, share)


def deleting_with_clones(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share, snapshot = _parent(world)
    for _ in range(2):
        world.driver.create_share_from_snapshot(CONTEXT, a_share(), snapshot)
    return lambda driver: driver.delete_share(CONTEXT, share)


def deleting_with_a_foreign_clone(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share, _ = _parent(world)
    (snap,) = world.host.filesystem("tank/manila_share_" + share.id.replace("-", "_")).snapshots.values()
    world.host.run(["zfs", "clone", snap.path, "tank/theirs"], timeout_s=1)
    return lambda driver: driver.delete_share(CONTEXT, share)


def deleting_the_last_clone_of_a_tombstone(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    _, snapshot = _parent(world)
    child = a_share()
    world.driver.create_share_from_snapshot(CONTEXT, child, snapshot)
    world.driver.delete_snapshot(CONTEXT, snapshot)
    return lambda driver: driver.delete_share(CONTEXT, child)


def extending(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share, _ = _parent(world)
    return lambda driver: driver.extend_share(share, 3)


def extending_thick(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share = a_share(extra_specs={"thin_provisioning": "False"})
    world.driver.create_share(CONTEXT, share)
    return lambda driver: driver.extend_share(share, 3)


def shrinking_thick(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share = a_share(extra_specs={"thin_provisioning": "False"}, size=3)
    world.driver.create_share(CONTEXT, share)
    return lambda driver: driver.shrink_share(share, 1)


def snapshotting(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share, _ = _parent(world)
    snapshot = a_snapshot(share)
    return lambda driver: driver.create_snapshot(CONTEXT, snapshot)


def deleting_a_snapshot(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    _, snapshot = _parent(world)
    return lambda driver: driver.delete_snapshot(CONTEXT, snapshot)


def deleting_a_cloned_snapshot(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    _, snapshot = _parent(world)
    world.driver.create_share_from_snapshot(CONTEXT, a_share(), snapshot)
    return lambda driver: driver.delete_snapshot(CONTEXT, snapshot)


def reverting(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share, snapshot = _parent(world)
    world.host.write("tank/manila_share_" + share.id.replace("-", "_"), 5000)
    return lambda driver: driver.revert_to_snapshot(CONTEXT, snapshot, [], [])


def changing_rules(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share, _ = _parent(world)
    rules = [a_rule("10.0.0.2"), a_rule("10.0.0.3", "ro")]
    return lambda driver: driver.update_access(CONTEXT, share, rules, [], [])


def changing_very_many_rules(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share, _ = _parent(world)
    many = [a_rule(f"10.0.2.{number}") for number in range(1, 60)]
    world.driver.update_access(CONTEXT, share, many, [], [])
    return lambda driver: driver.update_access(CONTEXT, share, many[20:40], [], [])


def removing_rules(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share, _ = _parent(world)
    return lambda driver: driver.update_access(CONTEXT, share, [], [], [])


def managing(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    world.host.run(["zfs", "create", "-o", f"quota={5 * GIB}", "tank/theirs"], timeout_s=1)
    share = a_share(path="192.0.2.5:/tank/theirs")
    return lambda driver: driver.manage_existing(share, {})


def managing_with_rename(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    world.host.run(["zfs", "create", "tank/theirs"], timeout_s=1)
    share = a_share(path="192.0.2.5:/tank/theirs")
    return lambda driver: driver.manage_existing(share, {"rename": "true", "size": 2})


def unmanaging(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share, _ = _parent(world)
    return lambda driver: driver.unmanage(share)


def managing_a_snapshot(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    share, _ = _parent(world)
    path = "tank/manila_share_" + share.id.replace("-", "_") + "@daily"
    world.host.run(["zfs", "snapshot", path], timeout_s=1)
    snapshot = a_snapshot(share, provider_location=path)
    return lambda driver: driver.manage_existing_snapshot(snapshot, {})


def unmanaging_a_snapshot(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    _, snapshot = _parent(world)
    return lambda driver: driver.unmanage_snapshot(snapshot)


def ensuring_after_a_power_cut(world: World) -> Callable[[ZFSonLinuxShareDriver], object]:
    shares = [_parent(world)[0] for _ in range(3)]
    world.host.state.files.pop(SERVED)
    world.host.filesystem("tank/manila_share_" + shares[0].id.replace("-", "_")).is_mounted = False
    return lambda driver: driver.ensure_shares(CONTEXT, shares)


SCENARIOS: tuple[Scenario, ...] = (
    creating,
    creating_thick,
    cloning,
    copying_to_another_pool,
    deleting,
    deleting_with_clones,
    deleting_with_a_foreign_clone,
    deleting_the_last_clone_of_a_tombstone,
    extending,
    extending_thick,
    shrinking_thick,
    snapshotting,
    deleting_a_snapshot,
    deleting_a_cloned_snapshot,
    reverting,
    changing_rules,
    changing_very_many_rules,
    removing_rules,
    managing,
    managing_with_rename,
    unmanaging,
    managing_a_snapshot,
    unmanaging_a_snapshot,
    ensuring_after_a_power_cut,
)


@pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_same_call_again_settles_it(scenario: Scenario, flavour: Flavour) -> None:
    world = World(flavour)
    call = scenario(world)
    start = world.host.saved()
    world.back_to(start)
    undisturbed = Trouble()
    world.host.hooks = undisturbed
    call(world.driver)
    expected = world.picture()
    assert undisturbed.count > 0
    for at in range(undisturbed.count):
        for kind in KINDS:
            world.back_to(start)
            trouble = Trouble(at, kind)
            world.host.hooks = trouble
            try:
                call(world.driver)
            except (Crash, Fault):
                world.restart()
            world.host.hooks = None
            call(world.driver)
            assert world.picture() == expected, f"{kind} {trouble.struck}"


@pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
@pytest.mark.parametrize("scenario", [creating, creating_thick, cloning, copying_to_another_pool])
def test_a_share_half_made_is_deleted_without_an_orphan(scenario: Scenario, flavour: Flavour) -> None:
    world = World(flavour)
    call = scenario(world)
    start = world.host.saved()
    before = world.picture()
    world.back_to(start)
    undisturbed = Trouble()
    world.host.hooks = undisturbed
    call(world.driver)
    for at in range(undisturbed.count):
        for kind in ("crash before", "crash after"):
            world.back_to(start)
            trouble = Trouble(at, kind)
            world.host.hooks = trouble
            with pytest.raises(Crash):
                call(world.driver)
            world.restart()
            assert world.made is not None
            world.driver.delete_share(CONTEXT, world.made)
            assert world.picture() == before, f"{kind} {trouble.struck}"
