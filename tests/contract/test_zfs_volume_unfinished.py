"""Syncs of ZFS volumes that arrived, and whose end nobody saw: what the source has forgotten of them since is gone back
from, nothing is copied twice for it, and what is not ours is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.models import VolumeModel
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.marks import KIND
from penstock.zfs.reigns import PROMOTED
from tests.contract.volume_sides import FAR, HOME, ROOTS, Sides
from tests.simulation.trouble import Died
from tests.simulation.zfs_host import OPENZFS


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def sides(request: Any, tmp_path: Path) -> Sides:
    return Sides(request.param, tmp_path)


class BeforeItIsMarked:
    """The process dies when it is about to say on the target that a stream has arrived."""

    def before(self, host: Any, words: tuple[str, ...]) -> None:
        if words[:2] == ("zfs", "set") and words[-1].startswith(ROOTS[FAR]):
            raise Died("here")

    def after(self, host: Any, words: tuple[str, ...], answer: Any) -> None:
        return None


def _arrived_unseen(sides: Sides, volume: VolumeModel) -> None:
    sides.write(volume, HOME)
    sides.hosts[FAR].hooks = BeforeItIsMarked()
    with pytest.raises(Died):
        sides.replicate()
    sides.hosts[FAR].hooks = None
    sides.restart(None)


def _check_in_line(sides: Sides, volume: VolumeModel) -> None:
    sides.write(volume, HOME)
    (report,) = sides.replicate()
    assert report.fault is None
    assert sides.kind(volume, FAR) is Kind.REPLICA
    assert sides.content(volume, FAR) == sides.content(volume, HOME)


def test_a_first_copy_whose_end_nobody_saw_twice(sides: Sides) -> None:
    volume = sides.made()
    for _ in range(2):
        _arrived_unseen(sides, volume)
    _check_in_line(sides, volume)
    assert sides.aside(FAR) == []
    sides.fail_over(FAR)
    assert sides.kind(volume, FAR) is Kind.VOLUME


def test_a_later_sync_whose_end_nobody_saw_twice(sides: Sides) -> None:
    volume = sides.made()
    sides.replicate()
    for _ in range(2):
        _arrived_unseen(sides, volume)
    _check_in_line(sides, volume)
    assert sides.aside(FAR) == []


def test_what_the_source_may_have_lost_is_kept_aside(sides: Sides) -> None:
    """It went on without the one that the first copy came from: what came then may be nowhere else."""
    volume = sides.made()
    for _ in range(2):
        _arrived_unseen(sides, volume)
    came = sides.content(volume, FAR)
    sides.hosts[HOME].filesystem(sides.place(volume, HOME)).local[PROMOTED] = "unplanned"
    _check_in_line(sides, volume)
    assert [sides.hosts[FAR].content(name) for name in sides.aside(FAR)] == [came]


def test_a_first_copy_without_marks_that_has_nothing_in_common_is_known_by_its_snapshots(sides: Sides) -> None:
    volume = sides.made()
    for _ in range(2):
        _arrived_unseen(sides, volume)
    came = sides.content(volume, FAR)
    sides.hosts[HOME].filesystem(sides.place(volume, HOME)).snapshots.clear()
    _check_in_line(sides, volume)
    assert [sides.hosts[FAR].content(name) for name in sides.aside(FAR)] == [came]


def test_somebody_s_dataset_in_the_place_of_the_copy_is_left_alone(sides: Sides) -> None:
    volume = sides.made()
    place = sides.place(volume, FAR)
    far = sides.hosts[FAR]
    for argv in (["zfs", "create", place], ["zfs", "snapshot", f"{place}@theirs"]):
        assert far.run(argv, timeout_s=10).exit_code == 0
    far.write(place, 1000)
    theirs = far.content(place)
    sides.write(volume, HOME)
    sides.replicate()
    (report,) = sides.replicate()
    assert "is not ours" in str(report.fault)
    assert (far.content(place), list(far.filesystem(place).snapshots)) == (theirs, ["theirs"])
    assert KIND not in far.filesystem(place).local
    assert sides.aside(FAR) == []
