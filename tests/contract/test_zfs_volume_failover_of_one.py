"""What is wrong with one ZFS volume alone, on the side that the backend is failed over to, keeps no other from being
served there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.errors import BackendFault, Conflict
from penstock.volume.drivers.zfs.identity import Kind
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.marks import KIND
from tests.contract.test_zfs_volume_failover_faults import AfterAnActivation
from tests.contract.volume_sides import CLIENT, CONTEXT, FAR, HOME, Sides
from tests.simulation.trouble import Died
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def sides(request: Any, tmp_path: Path) -> Sides:
    return Sides(request.param, tmp_path)


class Refusing:
    """One command on one dataset is refused."""

    def __init__(self, dataset: str, word: str) -> None:
        self._dataset = dataset
        self._word = word

    def before(self, _: Any, words: tuple[str, ...]) -> Answer | None:
        is_meant = words[-1] == self._dataset and self._word in words
        return Answer(1, "", "internal error: unexpected error 5\n") if is_meant else None

    def after(self, _: Any, __: tuple[str, ...], answer: Answer) -> Answer | None:
        return answer


@pytest.mark.parametrize("word", [f"{KIND}=volume", "mount"], ids=["not-marked", "marked"])
@pytest.mark.parametrize("is_planned", [True, False], ids=["planned", "unplanned"])
@pytest.mark.parametrize("back", [FAR, HOME])
def test_a_volume_that_alone_cannot_be_served_keeps_no_other_from_it(
    sides: Sides, word: str, is_planned: bool, back: str
) -> None:
    sick, *others = [sides.attached(sides.made()) for _ in range(3)]
    sides.replicate()
    sides.replicate()
    for volume in (sick, *others):
        sides.write(volume, HOME)
    written = sides.content(sick, HOME)
    if not is_planned:
        sides.replicate()
        sides.cut_power(HOME)
    sides.hosts[FAR].hooks = Refusing(sides.place(sick, FAR), word)
    sides.fail_over(FAR)
    sides.hosts[FAR].hooks = None
    assert [sides.kind(volume, FAR) for volume in others] == [Kind.VOLUME] * 2
    assert [sides.told[volume.id]["replication_status"] for volume in others] == ["failed-over"] * 2
    assert sides.told[sick.id]["status"] == "error"
    assert "error 5" in sides.told[sick.id]["reason"]
    for volume in others:
        sides.driver.create_export(CONTEXT, sides.volumes[volume.id], CLIENT)
        sides.driver.initialize_connection(sides.volumes[volume.id], CLIENT)
        assert sides.is_served(volume, FAR)
    assert not sides.is_served(sick, FAR)
    if not is_planned:
        sides.boot(HOME)
    sides.fail_over(back)  # when what was wrong was mended
    assert sides.kind(sick, back) is Kind.VOLUME
    assert "status" not in sides.told[sick.id]
    assert sides.content(sick, back) == written
    sides.replicate()
    sides.replicate()
    other = HOME if back == FAR else FAR
    assert [sides.kind(volume, other) for volume in (sick, *others)] == [Kind.REPLICA] * 3
    assert sides.content(sick, other) == written


def _stranger(sides: Sides, place: str) -> None:
    marks = ["-o", "canmount=off", "-o", f"{KIND}=volume", "-o", "penstock:id=somebody-else"]
    assert sides.hosts[FAR].run(["zfs", "create", *marks, place], timeout_s=10).exit_code == 0


def test_somebody_s_dataset_in_the_place_of_one_copy_keeps_no_other_from_being_served(sides: Sides) -> None:
    strange, other = sides.made(), sides.attached(sides.made())
    _stranger(sides, sides.place(strange, FAR))
    sides.replicate()
    sides.replicate()
    with pytest.raises(Conflict):  # where it is served now, it would not be any more
        sides.fail_over(FAR)
    assert [sides.kind(volume, HOME) for volume in (strange, other)] == [Kind.VOLUME] * 2
    assert sides.is_served(other, HOME)
    sides.cut_power(HOME)
    sides.fail_over(FAR)
    assert sides.kind(other, FAR) is Kind.VOLUME
    assert sides.told[other.id]["replication_status"] == "failed-over"
    assert sides.told[strange.id]["status"] == "error"
    assert "somebody-else" in sides.told[strange.id]["reason"]
    sides.boot(HOME)
    sides.write(other, FAR)
    written = sides.content(other, FAR)
    assert sides.hosts[FAR].run(["zfs", "destroy", sides.place(strange, FAR)], timeout_s=10).exit_code == 0
    sides.fail_over(HOME)
    assert [sides.kind(volume, HOME) for volume in (strange, other)] == [Kind.VOLUME] * 2
    assert sides.content(other, HOME) == written


def test_it_hides_no_failover_that_began_from_the_way_back(sides: Sides) -> None:
    strange, *others = [sides.made() for _ in range(3)]
    _stranger(sides, sides.place(strange, FAR))
    sides.replicate()
    sides.replicate()
    sides.cut_power(HOME)
    sides.hosts[FAR].hooks = AfterAnActivation()
    with pytest.raises(Died):
        sides.fail_over(FAR)
    sides.hosts[FAR].hooks = None
    assert {sides.kind(volume, FAR) for volume in others} == {Kind.REPLICA, Kind.VOLUME}
    sides.boot(HOME)
    sides.restart(None)
    begun = sides.driver._begun(list(sides.volumes.values()))
    assert begun is not None
    assert begun.id == FAR


def test_where_none_can_be_served_it_is_a_fault(sides: Sides) -> None:
    volume = sides.attached(sides.made())
    sides.replicate()
    sides.replicate()
    sides.hosts[FAR].hooks = Refusing(sides.place(volume, FAR), f"{KIND}=volume")
    with pytest.raises(BackendFault, match="error 5"):
        sides.fail_over(FAR)
