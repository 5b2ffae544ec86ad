"""Failovers of ZFS volumes that meet a fault half way: what had made way is served again, and what is told is true."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.volumes import ReplicationStatus, VolumeStatus
from penstock.errors import Fault, Invalid, Unavailable
from penstock.services.volumes import attachments, lifecycle, replication
from penstock.store import attachments as attachment_rows
from penstock.store import backends, operations
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.errors import InvalidReplicationTarget, UnableToFailOver
from penstock.volume.models import VolumeModel
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.marks import KIND
from penstock.zfs.reigns import FENCED, PROMOTED, SYNCED_AT
from tests.contract.test_volume_failover_on_zfs import HOST, Site, attached
from tests.contract.test_zfs_volume_steps import Trouble
from tests.contract.volume_sides import CLIENT, CONTEXT, FAR, HOME, PLAIN, ROOTS, Machines, Sides
from tests.simulation.trouble import Died
from tests.simulation.zfs_host import OPENZFS
from tests.volume_plane import ADMIN, OWNER


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


def test_a_copy_of_an_older_reign_is_not_served_by_a_way_back_that_cannot_be(sides: Sides) -> None:
    """The primary is back, and the side that served since is away: nobody may write to what is not the volume now."""
    volumes = _prepared(sides)
    sides.cut_off(HOME)
    sides.fail_over(FAR)
    sides.hosts[HOME].is_cut_off = False
    sides.cut_off(FAR)
    sides.fail_over(HOME)
    assert "not in line" in sides.told[volumes[0].id]["reason"]
    assert sides.kind(volumes[0], HOME) is Kind.REPLICA
    assert not sides.is_served(volumes[0], HOME)
    sides.hosts[FAR].is_cut_off = False
    sides.fail_over(FAR)
    sides.fail_over(HOME)
    assert sides.kind(volumes[0], HOME) is Kind.VOLUME
    assert "recovery_point" not in sides.told[volumes[0].id]


def test_what_half_a_failover_without_the_primary_lost_is_told_by_the_way_back(sides: Sides) -> None:
    """The process died before anybody was told; also when the first way back breaks off. Somebody wrote there: without
    that what it has would be older, and nobody's."""
    volumes = _prepared(sides)
    sides.write(volumes[0], HOME)
    lost = sides.content(volumes[0], HOME)
    sides.cut_off(HOME)
    sides.hosts[FAR].hooks = AtTheSecondActivation()
    with pytest.raises(Died):
        sides.fail_over(FAR)
    sides.hosts[FAR].hooks = None
    sides.write(volumes[0], FAR)
    sides.hosts[HOME].is_cut_off = False
    sides.restart(None)
    sides.hosts[FAR].hooks = AfterTheFences(1, lambda: sides.cut_off(HOME))
    with pytest.raises(Fault):
        sides.fail_over(HOME)
    sides.hosts[FAR].hooks = None
    sides.hosts[HOME].is_cut_off = False
    sides.fail_over(HOME)
    assert sides.told[volumes[0].id]["recovery_point"] is not None
    assert "recovery_point" not in sides.told[volumes[1].id]
    (aside,) = sides.aside(HOME)
    assert sides.hosts[HOME].content(aside) == lost


class AfterAnActivation:
    """Dies there, before any row knows of it."""

    def before(self, host: Any, words: tuple[str, ...]) -> None:
        return None

    def after(self, host: Any, words: tuple[str, ...], answer: Any) -> None:
        if words[:2] == ("zfs", "set") and f"{KIND}={Kind.VOLUME.value}" in words:
            _die()


def _untold_loss(sides: Sides) -> tuple[VolumeModel, datetime]:
    """A volume that became active at the target without its last writes, and was written to there, by a process that
    died before it told; and the time since which they are lost."""
    volume, _ = _prepared(sides)
    synced_at = sides.hosts[FAR].state.filesystems[sides.place(volume, FAR)].local[SYNCED_AT]
    sides.clock.advance(5)
    sides.write(volume, HOME)
    sides.cut_off(HOME)
    sides.hosts[FAR].hooks = AtTheSecondActivation()
    with pytest.raises(Died):
        sides.fail_over(FAR)
    sides.hosts[FAR].hooks = None
    sides.write(volume, FAR)
    sides.hosts[HOME].is_cut_off = False
    sides.restart(None)
    sides.clock.advance(5)
    return volume, datetime.fromisoformat(synced_at)


def _died_and_called_again(sides: Sides, to: str) -> None:
    sides.hosts[to].hooks = AfterAnActivation()
    with pytest.raises(Died):
        sides.fail_over(to)
    sides.hosts[to].hooks = None
    sides.restart(None)
    sides.clock.advance(5)
    sides.fail_over(to)


def test_a_second_death_on_the_way_back_leaves_the_loss_to_be_told(sides: Sides) -> None:
    volume, lost_since = _untold_loss(sides)
    _died_and_called_again(sides, HOME)
    assert sides.kind(volume, HOME) is Kind.VOLUME
    assert sides.told[volume.id]["recovery_point"] == lost_since


def test_a_second_death_where_it_went_on_leaves_the_loss_to_be_told(sides: Sides) -> None:
    """It made way for a way back that never began."""
    volume, lost_since = _untold_loss(sides)
    sides.hosts[FAR].hooks = AfterTheFences(1, _die)
    with pytest.raises(Died):
        sides.fail_over(HOME)
    sides.hosts[FAR].hooks = None
    sides.cut_off(HOME)
    with pytest.raises(Unavailable):
        sides.restart(None)
    sides.hosts[FAR].hooks = AfterAnActivation()
    with pytest.raises(Died):
        sides.fail_over(FAR)
    sides.hosts[FAR].hooks = None
    with pytest.raises(Unavailable):
        sides.restart(None)
    sides.fail_over(FAR)
    assert sides.kind(volume, FAR) is Kind.VOLUME
    assert sides.told[volume.id]["recovery_point"] == lost_since


def test_a_stale_copy_that_is_in_use_ends_no_failover(sides: Sides) -> None:
    volumes = _prepared(sides)
    sides.cut_off(HOME)
    sides.fail_over(FAR)
    sides.hosts[HOME].is_cut_off = False
    sides.hosts[HOME].open_file(sides.place(volumes[0], HOME))
    sides.cut_off(FAR)
    assert sides.fail_over(HOME) == HOME
    for volume in volumes:
        assert sides.told[volume.id]["status"] == "error"
        assert sides.kind(volume, HOME) is Kind.REPLICA
        assert not sides.is_served(volume, HOME)


def test_a_side_that_goes_away_at_a_stale_copy_has_not_failed_over(sides: Sides) -> None:
    _prepared(sides)
    sides.cut_off(HOME)
    sides.fail_over(FAR)
    sides.hosts[HOME].is_cut_off = False
    sides.cut_off(FAR)
    sides.hosts[HOME].hooks = AfterTheFences(1, lambda: sides.cut_off(HOME))
    with pytest.raises(Unavailable):
        sides.fail_over(HOME)


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
    replication.failover(site.plane, ADMIN, HOST, FAR)
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


def test_the_only_copy_is_not_retyped_away(sides: Sides) -> None:
    volume, _ = _prepared(sides)
    sides.fail_over(FAR)
    sides.write(volume, FAR)
    volume = sides.volumes[volume.id]
    with pytest.raises(UnableToFailOver):
        sides.driver.retype(CONTEXT, volume, PLAIN, {}, {"host": volume.host})
    with pytest.raises(UnableToFailOver):
        sides.driver.unmanage(volume)
    assert sides.kind(volume, HOME) is Kind.REPLICA
    assert sides.kind(volume, FAR) is Kind.VOLUME


def test_what_is_at_home_alone_is_not_taken_for_gone(sides: Sides) -> None:
    plain = sides.later(sides.attached(sides.made(PLAIN)), launched_at=sides.clock.utc())
    taken = sides.taken(plain)
    sides.fail_over(FAR)
    plain = sides.volumes[plain.id]
    for act in (
        lambda: sides.driver.terminate_connection(plain, CLIENT),
        lambda: sides.driver.remove_export(CONTEXT, plain),
        lambda: sides.driver.delete_snapshot(taken),
        lambda: sides.driver.unmanage(plain),
        lambda: sides.driver.delete_volume(plain),
    ):
        with pytest.raises(Unavailable):
            act()


def test_managing_while_failed_over_is_refused_before_anything_is_marked(sides: Sides) -> None:
    _prepared(sides)
    sides.fail_over(FAR)
    there = f"{ROOTS[FAR]}/theirs"
    assert sides.hosts[FAR].run(["zfs", "create", there], timeout_s=10).exit_code == 0
    with pytest.raises(UnableToFailOver):
        sides.driver.manage_existing(sides.new(PLAIN), {"source-name": there})
    assert KIND not in sides.hosts[FAR].state.filesystems[there].local


def test_a_detach_while_failed_over_is_not_lost(site: Site) -> None:
    plain = site.made("default")
    use = attached(site, plain)
    site.fail_over(FAR)
    with pytest.raises(Fault):
        attachments.delete(site.plane, OWNER, use)
    for _ in range(30):
        site.settle()
    with site.database.read() as tx:
        assert attachment_rows.get(tx, use) is not None
    site.fail_over(HOME)
    attachments.delete(site.plane, OWNER, use)
    site.settle()
    seen = site.seen(plain)
    assert (seen.status, seen.previous_status) == (VolumeStatus.AVAILABLE, None)
    assert not site.machines.is_served(plain, HOME, seen.provider_auth)


def test_who_went_meanwhile_is_not_let_in_again(site: Site) -> None:
    plain = site.made("default")
    use = attached(site, plain)
    site.fail_over(FAR)
    with site.database.begin() as tx:  # its end was forced
        attachment_rows.delete_attachment(tx, use)
    assert site.machines.is_served(plain, HOME, site.seen(plain).provider_auth)
    site.fail_over(HOME)
    site.settle()
    seen = site.seen(plain)
    assert (seen.status, seen.replication_status) == (VolumeStatus.AVAILABLE, None)
    assert not site.machines.is_served(plain, HOME, seen.provider_auth)


def test_a_volume_on_its_way_keeps_its_state(site: Site) -> None:
    plain = site.made("default")
    lifecycle.delete(site.plane, OWNER, plain.id)
    with site.database.begin() as tx:
        (deletion,) = operations.pending(tx)
        operations.retry(tx, deletion.id, not_before=site.clock.utc() + timedelta(minutes=5), error="later")
    site.fail_over(FAR)
    seen = site.seen(plain)
    assert (seen.status, seen.previous_status) == (VolumeStatus.DELETING, None)
    site.fail_over(HOME)
    for _ in range(5):
        site.settle()
    with pytest.raises(Fault):
        site.seen(plain)


def test_a_commit_that_fails_after_the_driver_was_done(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt goes to the same target, and ends the failover."""
    volume = site.made()
    site.replicate()
    site.replicate()
    left = [1]
    update = backends.update_service

    def failing(tx: Any, service_id: int, **values: Any) -> None:
        if "active_backend_id" in values and left.pop() == 1:
            left.append(0)
            raise Unavailable("the database is away")
        update(tx, service_id, **values)

    replication.failover(site.plane, ADMIN, HOST, None)
    monkeypatch.setattr(backends, "update_service", failing)
    site.work()
    monkeypatch.undo()
    assert site.service().active_backend_id is None
    site.settle()
    service = site.service()
    assert (service.active_backend_id, service.replication_status) == (FAR, ReplicationStatus.FAILED_OVER)
    assert site.machines.kind(volume, FAR) is Kind.VOLUME


def test_a_failover_that_nothing_works_on_can_be_asked_for_again(site: Site) -> None:
    site.made()
    site.replicate()
    service_id = site.service().id
    with site.database.begin() as tx:
        backends.update_service(tx, service_id, replication_status=ReplicationStatus.FAILING_OVER)
    site.fail_over(FAR)
    assert site.service().replication_status == ReplicationStatus.FAILED_OVER
    replication.failover(site.plane, ADMIN, HOST, HOME)
    with pytest.raises(Invalid):
        replication.failover(site.plane, ADMIN, HOST, FAR)
