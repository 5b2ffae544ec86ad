"""Which copy of a ZFS volume outranks the others after failovers that ended too early: no side that was away comes back
with a reign nobody knew of, and what clients wrote where the volume is served is never the older data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Unavailable
from penstock.store import volumes as volume_rows
from penstock.volume.drivers.zfs.copies import Reign
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.errors import InvalidReplicationTarget
from penstock.volume.models import VolumeModel, VolumeTypeModel
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.reigns import EPOCH, FENCED, SYNCED_AT
from tests.contract.test_volume_failover_on_zfs import Site
from tests.contract.test_zfs_volume_failover_faults import AfterAnActivation, AfterTheFences
from tests.contract.volume_sides import CONTEXT, FAR, HOME, PLAIN, REPLICATED, Machines, Sides
from tests.simulation.trouble import Died
from tests.simulation.zfs_host import OPENZFS


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def sides(request: Any, tmp_path: Path) -> Sides:
    return Sides(request.param, tmp_path)


def _prepared(sides: Sides) -> VolumeModel:
    volume = sides.attached(sides.made())
    sides.replicate()
    sides.replicate()
    sides.clock.advance(5)
    sides.write(volume, HOME)
    return volume


def _begun_on_the_target(sides: Sides) -> VolumeModel:
    """The primary could not be reached for a while and served on; a failover made the copy active, and died."""
    volume = _prepared(sides)
    sides.cut_off(HOME)
    sides.hosts[FAR].hooks = AfterAnActivation()
    with pytest.raises(Died):
        sides.fail_over(FAR)
    sides.hosts[FAR].hooks = None
    sides.hosts[HOME].is_cut_off = False
    sides.restart(None)
    assert sides.kind(volume, FAR) is Kind.VOLUME
    sides.clock.advance(5)
    return volume


def _epoch(sides: Sides, volume: VolumeModel, side: str) -> int:
    return int(sides.hosts[side].state.filesystems[sides.place(volume, side)].local.get(EPOCH, "1"))


def _synced_at(sides: Sides, volume: VolumeModel) -> datetime:
    local = sides.hosts[FAR].state.filesystems[sides.place(volume, FAR)].local
    return datetime.fromisoformat(local[SYNCED_AT])


def _mount(sides: Sides, volume: VolumeModel, side: str) -> None:
    assert sides.hosts[side].run(["zfs", "mount", sides.place(volume, side)], timeout_s=10).exit_code == 0


def _kept(sides: Sides) -> VolumeModel:
    """The next attempt found the target silent: the backend stays where it is, and its clients write."""
    volume = _begun_on_the_target(sides)
    sides.cut_off(FAR)
    with pytest.raises(InvalidReplicationTarget):
        sides.fail_over(FAR)
    sides.write(volume, HOME)
    return volume


def test_what_stays_outranks_what_was_begun_on_a_target_that_is_silent(sides: Sides) -> None:
    volume = _kept(sides)
    written = sides.content(volume, HOME)
    assert _epoch(sides, volume, HOME) > _epoch(sides, volume, FAR)
    sides.hosts[FAR].is_cut_off = False
    reports = [*sides.replicate(), *sides.replicate()]
    assert reports[-1].fault is None
    assert (sides.kind(volume, FAR), sides.content(volume, FAR)) == (Kind.REPLICA, written)
    sides.fail_over(FAR)
    assert sides.content(volume, FAR) == written
    assert "recovery_point" not in sides.told[volume.id]
    assert sides.aside(HOME) == sides.aside(FAR) == []


def test_failing_over_to_what_was_begun_before_takes_what_was_written_since(sides: Sides) -> None:
    """No sync came between."""
    volume = _kept(sides)
    written = sides.content(volume, HOME)
    sides.hosts[FAR].is_cut_off = False
    sides.fail_over(FAR)
    assert sides.content(volume, FAR) == written
    assert "recovery_point" not in sides.told[volume.id]


def test_what_was_begun_before_is_told_as_older_when_the_other_is_lost(sides: Sides) -> None:
    volume = _kept(sides)
    lost = sides.content(volume, HOME)
    since = _synced_at(sides, volume)
    sides.cut_power(HOME)
    sides.hosts[FAR].is_cut_off = False
    with pytest.raises(Unavailable):
        sides.restart(None)
    sides.fail_over(FAR)
    assert sides.told[volume.id]["recovery_point"] == since
    sides.write(volume, FAR)
    sides.restart(FAR)
    sides.boot(HOME)
    for _ in range(3):
        sides.replicate()
    assert sides.kind(volume, HOME) is Kind.REPLICA
    assert sides.content(volume, HOME) == sides.content(volume, FAR)
    assert [sides.hosts[HOME].content(name) for name in sides.aside(HOME)] == [lost]


def test_the_way_back_while_the_target_is_silent_outranks_it_too(sides: Sides) -> None:
    """Not refused, but asked for: the failover is taken back."""
    volume = _begun_on_the_target(sides)
    sides.cut_off(FAR)
    sides.fail_over(HOME)
    assert "recovery_point" not in sides.told[volume.id]
    sides.write(volume, HOME)
    written = sides.content(volume, HOME)
    sides.hosts[FAR].is_cut_off = False
    for _ in range(2):
        sides.replicate()
    assert (sides.kind(volume, FAR), sides.content(volume, FAR)) == (Kind.REPLICA, written)


@pytest.mark.parametrize("to", [FAR, HOME])
def test_a_target_that_was_never_served_costs_nothing_where_the_primary_answers_again(sides: Sides, to: str) -> None:
    """What was begun without it has nothing that it does not have; its clients wrote on."""
    volume = _begun_on_the_target(sides)
    sides.write(volume, HOME)
    written = sides.content(volume, HOME)
    sides.fail_over(to)
    assert sides.content(volume, to) == written
    assert "recovery_point" not in sides.told[volume.id]
    sides.restart(None if to == HOME else to)
    for _ in range(2):
        sides.replicate()
    assert [sides.kind(volume, side) for side in (HOME, FAR)].count(Kind.VOLUME) == 1
    assert sides.content(volume, HOME) == sides.content(volume, FAR)
    assert sides.aside(HOME) == sides.aside(FAR) == []


def test_a_fence_that_was_lifted_is_outranked_when_its_side_is_lost(sides: Sides) -> None:
    """The reign it was lifted under is one that no copy elsewhere has heard of."""
    volume = _prepared(sides)
    sides.hosts[HOME].hooks = AfterTheFences(1, lambda: sides.cut_off(FAR))
    with pytest.raises(Unavailable):
        sides.fail_over(FAR)
    sides.hosts[HOME].hooks = None
    sides.write(volume, HOME)
    lost = sides.content(volume, HOME)
    sides.cut_power(HOME)
    sides.hosts[FAR].is_cut_off = False
    sides.fail_over(FAR)
    assert sides.told[volume.id]["recovery_point"] is not None
    sides.write(volume, FAR)
    sides.boot(HOME)
    for _ in range(3):
        sides.replicate()
    assert _epoch(sides, volume, FAR) >= _epoch(sides, volume, HOME)
    assert sides.kind(volume, HOME) is Kind.REPLICA
    assert sides.content(volume, HOME) == sides.content(volume, FAR)
    assert [sides.hosts[HOME].content(name) for name in sides.aside(HOME)] == [lost]


def _no_database(sides: Sides) -> Callable[[], None]:
    """Nothing can be written to it from now on; returns how it comes back."""
    patch = pytest.MonkeyPatch()
    patch.setattr(sides.driver.db, "update_volumes", _refused)
    return patch.undo


def _refused(updates: Any) -> None:
    raise Unavailable("the database is away")


def test_a_failover_is_taken_back_without_the_database(sides: Sides) -> None:
    """The number for the way back was given out with the failover's; and no copy elsewhere has heard of it."""
    volume = _prepared(sides)
    back = list[Callable[[], None]]()

    def all_away() -> None:
        sides.cut_off(FAR)
        back.append(_no_database(sides))

    sides.hosts[HOME].hooks = AfterTheFences(1, all_away)
    with pytest.raises(Unavailable) as caught:
        sides.fail_over(FAR)
    sides.hosts[HOME].hooks = None
    assert "fenced" not in str(caught.value)
    assert sides.kind(volume, HOME) is Kind.VOLUME
    assert sides.is_served(volume, HOME)
    row = Reign.of(sides.volumes[volume.id])
    assert row.epoch < _epoch(sides, volume, HOME) < row.given
    sides.write(volume, HOME)
    written = sides.content(volume, HOME)
    back[0]()
    sides.hosts[FAR].is_cut_off = False
    sides.fail_over(FAR)
    assert _epoch(sides, volume, FAR) > row.given
    assert sides.content(volume, FAR) == written
    assert "recovery_point" not in sides.told[volume.id]
    assert sides.aside(HOME) == sides.aside(FAR) == []


def test_without_the_database_nothing_is_fenced(sides: Sides) -> None:
    volume = _prepared(sides)
    _no_database(sides)
    with pytest.raises(Unavailable):
        sides.fail_over(FAR)
    assert FENCED not in sides.hosts[HOME].state.filesystems[sides.place(volume, HOME)].local
    assert sides.is_served(volume, HOME)


def test_a_failover_that_began_without_a_loss_tells_none_when_the_primary_dies(sides: Sides) -> None:
    """The number for the way back, which that one did not take, is not taken for a later reign of its."""
    volume = _prepared(sides)
    written = sides.content(volume, HOME)
    sides.hosts[FAR].hooks = AfterAnActivation()
    with pytest.raises(Died):
        sides.fail_over(FAR)
    sides.hosts[FAR].hooks = None
    sides.cut_power(HOME)
    with pytest.raises(Unavailable):
        sides.restart(None)
    sides.fail_over(FAR)
    assert sides.content(volume, FAR) == written
    assert "recovery_point" not in sides.told[volume.id]


def test_what_stays_fenced_is_named(sides: Sides) -> None:
    """Both machines go away: whoever reads the fault must not think that all is as it was."""
    volume = _prepared(sides)

    def all_away() -> None:
        sides.cut_off(FAR)
        sides.cut_off(HOME)

    sides.hosts[HOME].hooks = AfterTheFences(1, all_away)
    with pytest.raises(Unavailable, match=f"fenced on '{HOME}' .{volume.id}.: fail over to '{HOME}'") as caught:
        sides.fail_over(FAR)
    assert caught.value.message == str(caught.value)
    sides.hosts[HOME].hooks = None
    sides.hosts[HOME].is_cut_off = False
    assert FENCED in sides.hosts[HOME].state.filesystems[sides.place(volume, HOME)].local
    sides.fail_over(HOME)
    assert sides.kind(volume, HOME) is Kind.VOLUME


class AtASnapshot:
    """Does something before it."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def before(self, host: Any, words: tuple[str, ...]) -> None:
        if words[:2] == ("zfs", "snapshot"):
            self._then()

    def after(self, host: Any, words: tuple[str, ...], answer: Any) -> None:
        return None


def test_what_was_not_fenced_is_not_called_so(sides: Sides) -> None:
    """The machine that serves goes away before it came to that: it may serve on."""
    volume = _prepared(sides)
    sides.hosts[HOME].hooks = AtASnapshot(lambda: sides.cut_off(HOME))
    with pytest.raises(Unavailable) as caught:
        sides.fail_over(FAR)
    assert "fenced" not in str(caught.value)
    assert sides.kind(volume, HOME) is Kind.VOLUME


def test_what_stays_is_mounted(sides: Sides) -> None:
    """It was about to be served again when the process died: the fence was lifted, and no more."""
    volume = _prepared(sides)
    sides.hosts[HOME].hooks = AfterTheFences(1, _die)
    with pytest.raises(Died):
        sides.fail_over(FAR)
    sides.cut_off(FAR)
    sides.restart(None)
    sides.hosts[HOME].hooks = AfterAnActivation()
    with pytest.raises(Died):
        sides.fail_over(HOME)
    sides.hosts[HOME].hooks = None
    sides.restart(None)
    with pytest.raises(InvalidReplicationTarget):
        sides.fail_over(FAR)
    sides.driver.ensure_export(CONTEXT, sides.volumes[volume.id])
    assert sides.is_served(volume, HOME)


def test_a_way_back_that_began_and_was_served_is_not_forgotten(sides: Sides) -> None:
    """The target made way for it; by the rows it is served where it began, so that clients were let in there."""
    volume = _begun_on_the_target(sides)
    _mount(sides, volume, FAR)
    sides.write(volume, FAR)  # else the primary would outrank it
    sides.hosts[HOME].hooks = AfterAnActivation()
    with pytest.raises(Died):
        sides.fail_over(HOME)
    sides.hosts[HOME].hooks = None
    sides.restart(None)
    _mount(sides, volume, HOME)
    sides.driver.ensure_export(CONTEXT, sides.volumes[volume.id])  # as at each start
    sides.clock.advance(5)
    sides.write(volume, HOME)
    sides.cut_power(HOME)
    with pytest.raises(Unavailable):
        sides.restart(None)
    sides.fail_over(FAR)
    assert sides.told[volume.id]["recovery_point"] is not None


class _Stored(Site):
    """With the rows, where numbers are."""

    def reign(self, volume: Any) -> Reign:
        with self.database.read() as tx:
            found = volume_rows.get(tx, volume.id)
        assert found is not None
        return Reign.of(found)  # type: ignore[arg-type]


def test_a_number_is_in_the_row_before_any_side_is_told_of_it(tmp_path: Path) -> None:
    site = _Stored(tmp_path, Machines(OPENZFS))
    volume = site.made()
    site.replicate()
    site.replicate()
    site.machines.hosts[HOME].hooks = AfterTheFences(1, _die)
    with pytest.raises(Died):
        site.fail_over(FAR)
    site.machines.hosts[HOME].hooks = None
    begun = site.reign(volume)
    assert begun.given > begun.epoch
    site.restart()
    site.work()
    ended = site.reign(volume)
    assert ended.given == ended.epoch > begun.given


def _die() -> None:
    raise Died("here")


def test_rows_of_before_have_given_what_they_know() -> None:
    old = '{"epoch": 4, "places": {"far": "pond/x"}}'
    reign = Reign.of(VolumeModel(**_FIELDS, replication_driver_data=old))
    assert reign == Reign(4, {"far": "pond/x"}, 4)
    assert str(reign) == old
    ahead = str(Reign(4, {}, 6))
    assert Reign.of(VolumeModel(**_FIELDS, replication_driver_data=ahead)) == Reign(4, {}, 6)


_FIELDS: Any = {
    "id": "v", "name": "volume-v", "name_id": "v", "size": 1, "status": "available", "host": "", "project_id": "",
    "user_id": "",
}  # fmt: skip


def _retyped(sides: Sides, volume: VolumeModel, kind: VolumeTypeModel) -> VolumeModel:
    done, update = sides.driver.retype(CONTEXT, sides.volumes[volume.id], kind, {}, {"host": volume.host})
    assert done
    sides.later(volume, volume_type=kind, volume_type_id=kind.id)
    return sides.known(sides.volumes[volume.id], update)


def test_a_retype_there_and_back_outranks_what_was_begun_on_a_target_that_is_silent(sides: Sides) -> None:
    volume = _begun_on_the_target(sides)
    begun = _epoch(sides, volume, FAR)
    sides.cut_off(FAR)
    sides.write(volume, HOME)
    volume = _retyped(sides, volume, PLAIN)
    assert sides.volumes[volume.id].replication_status == "disabled"
    assert Reign.of(sides.volumes[volume.id]) == Reign(0, {}, begun)
    for _ in range(2):  # also when it is asked for again by who died before it was stored
        _retyped(sides, volume, REPLICATED)
        sides.later(volume, volume_type=PLAIN)
    sides.later(volume, volume_type=REPLICATED)
    assert _epoch(sides, volume, HOME) == begun + 1
    sides.hosts[FAR].is_cut_off = False
    sides.write(volume, HOME)
    sides.replicate()
    assert (sides.kind(volume, HOME), sides.kind(volume, FAR)) == (Kind.VOLUME, Kind.REPLICA)
    sides.replicate()
    assert sides.content(volume, FAR) == sides.content(volume, HOME)
    sides.cut_power(HOME)
    sides.fail_over(FAR)
    assert sides.told[volume.id]["replication_status"] == "failed-over"
    assert sides.kind(volume, FAR) is Kind.VOLUME


def test_a_migration_outranks_what_was_begun_on_a_target_that_is_silent(tmp_path: Path) -> None:
    sides = Sides(OPENZFS, tmp_path, more_pools={HOME: ("lake",)})
    volume = _begun_on_the_target(sides)
    begun = _epoch(sides, volume, FAR)
    sides.cut_off(FAR)
    sides.driver.remove_export(CONTEXT, sides.volumes[volume.id])
    volume = sides.later(volume, volume_attachment=())
    to = {"host": "here@third#lake", "capabilities": {"location_info": sides.driver.location_info}}
    done, update = sides.driver.migrate_volume(CONTEXT, volume, to)
    assert done
    volume = sides.known(sides.later(volume, host=to["host"]), update)
    assert Reign.of(volume) == Reign(0, {}, begun + 1)
    place = f"lake/volumes/{volume.name}"
    assert sides.hosts[HOME].filesystem(place).local[EPOCH] == str(begun + 1)
    assert sides.driver.migrate_volume(CONTEXT, volume, to) == (done, update)
    sides.hosts[FAR].is_cut_off = False
    sides.replicate()
    sides.replicate()
    assert sides.kind(volume, FAR) is Kind.REPLICA
    assert sides.content(volume, FAR) == sides.hosts[HOME].content(place)


def test_who_never_failed_over_has_nothing_to_be_outranked(sides: Sides) -> None:
    volume = sides.made()
    sides.replicate()
    for kind in (PLAIN, REPLICATED):
        _retyped(sides, volume, kind)
    assert sides.volumes[volume.id].replication_driver_data is None
    assert EPOCH not in sides.hosts[HOME].filesystem(sides.place(volume, HOME)).local
