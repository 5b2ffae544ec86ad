"""Replicated volumes whose side is neither whole nor gone: a pool of several is away, a volume lies elsewhere or was
deleted meanwhile, one of several targets is older.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Unavailable
from penstock.ids import new_id
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.errors import InvalidReplicationTarget
from penstock.volume.models import VolumeModel
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.marks import ID, KIND
from tests.contract.volume_sides import CONTEXT, FAR, HOME, PLAIN, Sides
from tests.simulation.zfs_host import OPENZFS, Answer, SimulatedHost

LAKE = "here@third#lake"


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def sides(request: Any, tmp_path: Path) -> Sides:
    return Sides(request.param, tmp_path, {HOME: ("lake",)})


@pytest.mark.parametrize("is_new_daemon", [False, True], ids=["same-daemon", "new-daemon"])
def test_one_missing_pool_leaves_the_failover_of_the_other_pools_volumes_planned(
    sides: Sides, is_new_daemon: bool
) -> None:
    healthy, lost = sides.made(), sides.made(host=LAKE)
    sides.replicate()
    healthy, lost = sides.attached(healthy), sides.attached(lost)
    sides.write(healthy, HOME)
    written = sides.content(healthy, HOME)
    import_again = sides.lose_pool(HOME, "lake")
    if is_new_daemon:
        with pytest.raises(Unavailable):
            sides.restart(None)
    assert sides.fail_over(FAR) == FAR
    assert "recovery_point" not in sides.told[healthy.id]
    assert sides.content(healthy, FAR) == written
    assert sides.kind(healthy, HOME) is Kind.REPLICA
    assert not sides.is_served(healthy, HOME)
    assert sides.told[lost.id]["recovery_point"] is not None
    assert sides.kind(lost, FAR) is Kind.VOLUME
    assert not sides.is_served(lost, HOME)

    sides.write(healthy, FAR)
    reports = {report.volume_id: report for report in sides.replicate()}
    assert reports[healthy.id].fault is None
    assert sides.content(healthy, HOME) == sides.content(healthy, FAR)
    assert "lake" in (reports[lost.id].fault or "")

    import_again()
    sides.replicate()
    assert sides.hosts[HOME].filesystem(f"lake/volumes/volume-{lost.id}").local[KIND] == Kind.REPLICA.value


@pytest.mark.parametrize("is_repeated", [False, True], ids=["once", "repeated"])
def test_a_volume_that_lies_elsewhere_is_found_and_fenced_when_its_side_is_back(
    sides: Sides, is_repeated: bool
) -> None:
    odd = "tank/volumes/odd"
    sides.hosts[HOME].run(["zfs", "create", odd], timeout_s=10)
    volume = sides.new()
    volume = sides.known(volume, sides.driver.manage_existing(volume, {"source-name": odd}))
    sides.replicate()
    volume = sides.attached(volume)
    sides.cut_off(HOME)
    if is_repeated:  # what the first call answered was not stored
        sides.driver.failover_host(CONTEXT, list(sides.volumes.values()), FAR, [])
    assert sides.fail_over(FAR) == FAR
    assert sides.volumes[volume.id].provider_id == sides.place(volume, FAR)
    assert sides.is_served(volume, HOME)  # nobody could tell it
    sides.hosts[HOME].is_cut_off = False
    sides.write(volume, FAR)
    sides.replicate()
    assert not sides.is_served(volume, HOME)
    assert sides.hosts[HOME].filesystem(odd).local[KIND] == Kind.REPLICA.value
    assert sides.content(volume, FAR) == sides.hosts[HOME].content(odd)
    assert sides.kind(volume, HOME) is None
    assert sides.fail_over(HOME) == HOME
    assert sides.volumes[volume.id].provider_id == odd


def _deleted(sides: Sides, volume: VolumeModel) -> None:
    sides.driver.delete_volume(sides.volumes[volume.id])
    del sides.volumes[volume.id]


def test_a_volume_deleted_while_its_old_side_is_away_is_served_nowhere_when_that_is_back(sides: Sides) -> None:
    volume, other = sides.made(), sides.made()
    plain = sides.made(PLAIN)
    sides.replicate()
    volume = sides.attached(volume)
    sides.write(volume, HOME)
    sides.cut_off(HOME)
    sides.fail_over(FAR)
    _deleted(sides, volume)
    sides.hosts[HOME].is_cut_off = False
    assert sides.is_served(volume, HOME)  # nobody could tell it
    stranger = new_id()
    sides.hosts[HOME].run(
        ["zfs", "create", "-o", f"{KIND}=volume", "-o", f"{ID}={stranger}", f"tank/volumes/volume-{stranger}"],
        timeout_s=10,
    )
    sides.replicate()
    assert not sides.is_served(volume, HOME)
    assert sides.kind(volume, HOME) is None
    (aside,) = (name for name in sides.aside(HOME) if volume.id in name)
    assert sides.hosts[HOME].filesystem(aside).local["readonly"] == "on"
    assert sides.kind(plain, HOME) is Kind.VOLUME
    assert sides.kind(other, HOME) is Kind.REPLICA
    assert f"tank/volumes/volume-{stranger}" in sides.hosts[HOME].state.filesystems  # another backend's


def test_a_volume_deleted_after_a_planned_failover_leaves_nothing_where_it_was(sides: Sides) -> None:
    volume, _ = sides.made(), sides.made()
    sides.replicate()
    sides.fail_over(FAR)
    sides.cut_off(HOME)
    _deleted(sides, volume)
    sides.hosts[HOME].is_cut_off = False
    assert sides.kind(volume, HOME) is Kind.REPLICA
    sides.replicate()
    assert sides.kind(volume, HOME) is None
    assert not [name for name in sides.aside(HOME) if volume.id in name]


class Failing:
    """One dataset of a machine cannot be listed."""

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset

    def before(self, _: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        if ("list" in words or "get" in words) and words[-1] == self.dataset:
            return Answer(1, "", "internal error: unexpected error 5\n")
        return None

    def after(self, _: SimulatedHost, __: tuple[str, ...], answer: Answer) -> Answer | None:
        return answer


def test_a_pool_that_cannot_be_looked_at_holds_nobody_else_up_and_is_told_of(sides: Sides) -> None:
    healthy, sick = sides.made(), sides.made(host=LAKE)
    first = {report.volume_id: report for report in sides.replicate()}
    first |= {report.volume_id: report for report in sides.replicate()}
    sides.hosts[HOME].hooks = Failing("lake/volumes")
    sides.write(healthy, HOME)
    reports = {report.volume_id: report for report in sides.replicate()}
    assert reports[healthy.id].fault is None
    assert sides.content(healthy, FAR) == sides.content(healthy, HOME)
    assert "lake/volumes" in (reports[sick.id].fault or "")
    assert reports[sick.id].synced_at == first[sick.id].synced_at


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def with_two(request: Any, tmp_path: Path) -> Sides:
    return Sides(request.param, tmp_path, more_targets={"near": "well/replicas"})


def test_without_a_named_target_the_one_with_the_newest_copies_serves(with_two: Sides) -> None:
    sides = with_two
    volume = sides.made()
    sides.replicate()
    sides.cut_off(FAR)
    sides.write(volume, HOME)
    sides.replicate()
    written = sides.content(volume, HOME)
    sides.hosts[FAR].is_cut_off = False  # it answers, and is older
    sides.cut_power(HOME)
    assert sides.fail_over(None) == "near"
    assert sides.content(volume, "near") == written


def test_a_target_without_its_pool_is_not_chosen(with_two: Sides) -> None:
    sides = with_two
    volume = sides.made()
    sides.replicate()
    import_again = sides.lose_pool(FAR, "pond")
    with pytest.raises(InvalidReplicationTarget, match="pond/replicas"):
        sides.fail_over(FAR)
    assert sides.kind(volume, HOME) is Kind.VOLUME
    assert sides.fail_over(None) == "near"
    import_again()
