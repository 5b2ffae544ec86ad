"""Failovers of ZFS volumes that meet a fault half way: what had made way is served again, and what is told is true."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.volumes import ReplicationStatus
from penstock.errors import Fault, Unavailable
from penstock.services.volumes import replication
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.errors import InvalidReplicationTarget
from penstock.volume.models import VolumeModel
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.reigns import FENCED, PROMOTED
from tests.contract.test_volume_failover_on_zfs import Site
from tests.contract.test_zfs_volume_steps import Trouble
from tests.contract.volume_sides import FAR, HOME, Machines, Sides
from tests.simulation.trouble import Died
from tests.simulation.zfs_host import OPENZFS
from tests.volume_plane import ADMIN


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def sides(request: Any, tmp_path: Path) -> Sides:
    return Sides(request.param, tmp_path)


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def site(request: Any, tmp_path: Path) -> Site:
    return Site(tmp_path, Machines(request.param))


class AfterTheFences:
    """Does something once so many volumes are fenced."""

    def __init__(self, number: int, then: Any) -> None:
        self._left = number
        self._then = then

    def before(self, host: Any, words: tuple[str, ...]) -> None:
        return None

    def after(self, host: Any, words: tuple[str, ...], answer: Any) -> None:
        fences = [word for word in words if word.startswith(f"{FENCED}=")]
        if words[:2] == ("zfs", "set") and fences:
            self._left -= 1
            if self._left == 0:
                self._then()


def _die() -> None:
    raise Died("here")


def _prepared(sides: Sides) -> Sequence[VolumeModel]:
    volumes = [sides.attached(sides.made()), sides.made()]
    sides.replicate()
    sides.replicate()
    return volumes


def test_the_target_dies_after_the_fences(sides: Sides) -> None:
    volumes = _prepared(sides)
    sides.hosts[HOME].hooks = AfterTheFences(2, lambda: sides.cut_off(FAR))
    with pytest.raises(Unavailable):
        sides.fail_over(FAR)
    sides.hosts[HOME].hooks = None
    assert [sides.kind(volume, HOME) for volume in volumes] == [Kind.VOLUME, Kind.VOLUME]
    assert sides.is_served(volumes[0], HOME)
    with pytest.raises(InvalidReplicationTarget):  # nothing is changed: it is served as before
        sides.fail_over(FAR)


def test_a_crash_after_the_fences_and_a_target_that_is_gone(sides: Sides) -> None:
    volumes = _prepared(sides)
    written = sides.content(volumes[0], HOME)
    sides.hosts[HOME].hooks = AfterTheFences(2, _die)
    with pytest.raises(Died):
        sides.fail_over(FAR)
    sides.hosts[HOME].hooks = None
    sides.cut_off(FAR)
    sides.restart(None)
    with pytest.raises(Unavailable):  # what the target was told is not known
        sides.fail_over(FAR)
    sides.fail_over(HOME)
    assert [sides.kind(volume, HOME) for volume in volumes] == [Kind.VOLUME, Kind.VOLUME]
    assert sides.content(volumes[0], HOME) == written
    assert all("recovery_point" not in sides.told[volume.id] for volume in volumes)


class AtTheSecondActivation:
    """Dies there."""

    def __init__(self) -> None:
        self._number = 0

    def before(self, host: Any, words: tuple[str, ...]) -> None:
        if any(word.startswith(f"{PROMOTED}=") for word in words):
            self._number += 1
            if self._number == 2:
                _die()

    def after(self, host: Any, words: tuple[str, ...], answer: Any) -> None:
        return None


def test_going_back_from_half_a_failover_brings_what_was_written_there(sides: Sides) -> None:
    volumes = _prepared(sides)
    sides.hosts[FAR].hooks = AtTheSecondActivation()
    with pytest.raises(Died):
        sides.fail_over(FAR)
    sides.hosts[FAR].hooks = None
    sides.restart(None)
    (over,) = [one for one in volumes if sides.kind(one, FAR) is Kind.VOLUME]
    (other,) = [one for one in volumes if one is not over]
    sides.write(over, FAR)
    written = {over.id: sides.content(over, FAR), other.id: sides.content(other, HOME)}
    sides.fail_over(HOME)
    for volume in volumes:
        assert [sides.kind(volume, side) for side in (HOME, FAR)] == [Kind.VOLUME, Kind.REPLICA]
        assert sides.content(volume, HOME) == written[volume.id]
        assert "recovery_point" not in sides.told[volume.id]


def test_a_backend_whose_volumes_made_way_is_not_called_enabled(site: Site) -> None:
    volume = site.made()
    site.replicate()
    site.replicate()
    site.machines.hosts[HOME].hooks = AfterTheFences(1, _die)
    replication.failover(site.plane, ADMIN, "host@dummy", FAR)
    with pytest.raises(Died):
        site.work()
    site.machines.hosts[HOME].hooks = None
    site.machines.cut_off(FAR)
    with pytest.raises(Fault):
        site.restart()
    assert site.service().replication_status == ReplicationStatus.FAILING_OVER
    assert FENCED in site.machines.hosts[HOME].state.filesystems[site.machines.place(volume, HOME)].local


def test_a_target_blips_for_a_process_that_started_without_the_primary(sides: Sides) -> None:
    volumes = _prepared(sides)
    sides.cut_power(HOME)
    with pytest.raises(Unavailable):
        sides.restart(None)
    sides.hosts[FAR].hooks = Trouble(5, is_after=False)
    with pytest.raises(Unavailable):  # and nothing else: it is called again
        sides.fail_over(FAR)
    sides.hosts[FAR].hooks = None
    sides.fail_over(FAR)
    assert [sides.kind(volume, FAR) for volume in volumes] == [Kind.VOLUME, Kind.VOLUME]


def test_a_primary_that_is_back_after_a_start_without_it_loses_nothing(sides: Sides) -> None:
    volumes = _prepared(sides)
    sides.write(volumes[0], HOME)
    written = sides.content(volumes[0], HOME)
    sides.cut_off(HOME)
    with pytest.raises(Unavailable):
        sides.restart(None)
    sides.hosts[HOME].is_cut_off = False
    sides.fail_over(FAR)
    assert sides.content(volumes[0], FAR) == written
    assert "recovery_point" not in sides.told[volumes[0].id]
