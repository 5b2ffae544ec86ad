"""Failovers of ZFS volumes, broken off between any two commands, and gone on with by a new process: no acknowledged
write is lost by a planned one, and no two sides ever serve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from penstock.errors import Fault, Unavailable
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.models import VolumeModel
from penstock.zfs.flavour import ZFS_FUSE
from tests.contract.test_zfs_volume_steps import Trouble
from tests.contract.volume_sides import CONTEXT, FAR, HOME, Sides
from tests.simulation.trouble import Died
from tests.simulation.zfs_host import OPENZFS

MOST_STEPS = 200


class Death(Trouble):
    """The process dies at the given command of either machine."""

    def _strike(self) -> None:
        self.count += 1
        if self.count == self._at:
            self.has_struck = True
            raise Died("here")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def sides(request: Any, tmp_path: Path) -> Callable[[], Sides]:
    count = iter(range(10**6))
    return lambda: Sides(request.param, tmp_path / str(next(count)))


def _trouble(sides: Sides, trouble: Trouble | None) -> None:
    for host in sides.hosts.values():
        host.hooks = trouble


def _check_one_side(sides: Sides, volume: VolumeModel) -> None:
    kinds = [sides.kind(volume, side) for side in (HOME, FAR)]
    assert kinds.count(Kind.VOLUME) <= 1, kinds
    assert sum(sides.is_served(volume, side) for side in (HOME, FAR)) <= 1
    writable = [
        side
        for side in (HOME, FAR)
        if (found := sides.hosts[side].state.filesystems.get(sides.place(volume, side))) is not None
        and found.is_mounted
        and found.local.get("readonly") != "on"
    ]
    assert len(writable) <= 1, writable


def _prepared(sides: Sides) -> tuple[VolumeModel, VolumeModel]:
    attached, idle = sides.attached(sides.made()), sides.made()
    sides.write(idle, HOME)
    sides.replicate()
    sides.write(attached, HOME)
    return attached, idle


def _struck(sides: Sides, trouble: Trouble, act: Callable[[], object]) -> bool:
    """Did it break off?"""
    _trouble(sides, trouble)
    try:
        act()
    except (Died, Fault):
        assert trouble.has_struck
    finally:
        _trouble(sides, None)
    return trouble.has_struck


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_planned(sides: Callable[[], Sides], is_after: bool) -> None:
    for at in range(1, MOST_STEPS):
        world = sides()
        volumes = _prepared(world)
        written = {volume.id: world.content(volume, HOME) for volume in volumes}
        has_struck = _struck(world, Death(at, is_after=is_after), lambda world=world: world.fail_over(FAR))
        for volume in volumes:
            _check_one_side(world, volume)
        world.restart(None)  # the rows know nothing of it
        world.fail_over(FAR)
        for volume in volumes:
            _check_one_side(world, volume)
            assert world.content(volume, FAR) == written[volume.id], at
            assert "recovery_point" not in world.told[volume.id]
        world.restart(FAR)
        world.replicate()
        world.replicate()
        for volume in volumes:
            assert world.kind(volume, HOME) is Kind.REPLICA
            assert world.content(volume, HOME) == written[volume.id]
        assert world.aside(HOME) == world.aside(FAR) == [], at
        if not has_struck:
            return
    raise AssertionError("it never ends")


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_an_interrupted_failover_that_is_given_up_leaves_everything_served(
    sides: Callable[[], Sides], is_after: bool
) -> None:
    """One that failed while the other side was not active yet has lifted its fences."""
    for at in range(1, MOST_STEPS):
        world = sides()
        attached, _ = _prepared(world)
        has_struck = _struck(world, Trouble(at, is_after=is_after), lambda world=world: world.fail_over(FAR))
        kinds = {side: world.kind(attached, side) for side in (HOME, FAR)}
        if kinds[HOME] is Kind.VOLUME:
            world.driver.ensure_export(CONTEXT, world.volumes[attached.id])  # whose command may have been the broken
            assert world.is_served(attached, HOME)
            world.write(attached, HOME)
        written = world.content(attached, FAR if kinds[FAR] is Kind.VOLUME else HOME)
        world.fail_over(FAR)  # the same process goes on
        _check_one_side(world, attached)
        assert world.content(attached, FAR) == written, at
        if not has_struck:
            return
    raise AssertionError("it never ends")


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_unplanned_and_the_return_of_the_old_side(sides: Callable[[], Sides], is_after: bool) -> None:
    for at in range(1, MOST_STEPS):
        world = sides()
        attached, idle = _prepared(world)
        lost = world.content(attached, HOME)
        world.cut_power(HOME)
        first = _struck(world, Death(at, is_after=is_after), lambda world=world: world.fail_over(FAR))
        if first:
            with pytest.raises(Unavailable):
                world.restart(None)
        world.fail_over(FAR)
        told = world.told[attached.id]
        assert told["recovery_point"] is not None
        assert "recovery_point" in world.told[idle.id]
        world.write(attached, FAR)
        world.restart(FAR)
        world.boot(HOME)
        second = _struck(world, Death(at, is_after=is_after), world.replicate)
        assert not world.is_served(attached, HOME)
        world.restart(FAR)
        for _ in range(3):
            world.replicate()
        for volume in (attached, idle):
            _check_one_side(world, volume)
            assert world.content(volume, HOME) == world.content(volume, FAR), at
            assert world.kind(volume, HOME) is Kind.REPLICA
        aside = [world.hosts[HOME].content(name) for name in world.aside(HOME)]
        assert aside == [lost], at
        if not first and not second:
            return
    raise AssertionError("it never ends")
