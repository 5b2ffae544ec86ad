"""Replicated volumes of the ZFS driver on two simulated machines: copies, failover, the way back, and what breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Unavailable
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.errors import InvalidReplicationTarget, UnableToFailOver
from penstock.volume.models import VolumeModel, VolumeTypeModel
from penstock.zfs.flavour import ZFS_FUSE
from tests.contract.remote_host import Remote
from tests.contract.volume_sides import CLIENT, CONTEXT, FAR, HOME, PLAIN, REPLICATED, RPO_S, Sides
from tests.simulation.zfs_host import OPENZFS

THICK = VolumeTypeModel(
    id="type-thick", name="thick", extra_specs={**REPLICATED.extra_specs, "thin_provisioning": "<is> False"}
)


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def sides(request: Any, tmp_path: Path) -> Sides:
    return Sides(request.param, tmp_path)


def test_a_copy_follows_the_volume(sides: Sides) -> None:
    volume = sides.made()
    assert volume.replication_status == "enabling"
    sides.replicate()
    assert sides.kind(volume, FAR) is Kind.REPLICA
    for _ in range(3):
        sides.write(volume, HOME)
        sides.replicate()
        assert sides.content(volume, FAR) == sides.content(volume, HOME)
    assert len(sides.hosts[HOME].filesystem(sides.place(volume, HOME)).snapshots) == 1
    assert len(sides.hosts[FAR].filesystem(sides.place(volume, FAR)).snapshots) == 1
    (report,) = sides.replicate()
    assert report.fault is None
    assert report.synced_at == sides.clock.utc()
    assert not sides.hosts[FAR].filesystem(sides.place(volume, FAR)).is_mounted


def test_a_copy_is_made_within_its_objective_and_not_all_the_time(sides: Sides) -> None:
    volume = sides.made()
    sides.replicate()
    begun = sides.network.streams
    sides.write(volume, HOME)
    (report,) = sides.replicate(after_s=RPO_S / 10)
    assert sides.network.streams == begun
    sides.replicate(after_s=RPO_S / 2)
    assert sides.network.streams == begun + 1
    assert report.synced_at is not None
    assert sides.content(volume, FAR) == sides.content(volume, HOME)


def test_no_stream_of_a_backend_is_faster_than_its_limit(tmp_path: Path) -> None:
    sides = Sides(OPENZFS, tmp_path, options=["replication_bandwidth_limit = 64K"])
    volume = sides.made()
    sides.replicate()
    sides.write(volume, HOME)
    assert sides.fail_over(FAR) == FAR
    sides.write(volume, FAR)
    sides.replicate()
    assert sides.fail_over("default") == HOME
    assert sides.network.streams >= 3
    assert sides.network.limits == {64 * 1024}


@pytest.mark.parametrize(("route", "name"), [("auto", "direct"), ("direct", "direct"), ("relay", "relay")])
def test_the_way_of_streams_is_an_option(tmp_path: Path, route: str, name: str) -> None:
    sides = Sides(OPENZFS, tmp_path, options=[f"replication_route = {route}"])
    sides.routes = None
    sides.restart(None)
    source, target = Remote("one"), Remote("two")
    assert {sides.driver.routes.between(source, target).name for _ in range(3)} == {name}
    assert source.probes == (0 if route == "relay" else 1)  # what was found out is known to the next stream


def test_plain_volumes_have_no_copy(sides: Sides) -> None:
    volume = sides.made(PLAIN)
    assert sides.replicate() == []
    assert sides.kind(volume, FAR) is None


def test_a_planned_failover_loses_nothing_and_the_way_back_neither(sides: Sides) -> None:
    volume = sides.made()
    sides.replicate()
    volume = sides.attached(volume)
    sides.write(volume, HOME)
    written = sides.content(volume, HOME)
    assert sides.is_served(volume, HOME)
    assert sides.fail_over(FAR) == FAR
    told = sides.told[volume.id]
    assert told["replication_status"] == "failed-over"
    assert told["provider_id"] == sides.place(volume, FAR)
    assert "10.1.0.12" in told["provider_location"]
    assert "recovery_point" not in told
    assert (sides.kind(volume, HOME), sides.kind(volume, FAR)) == (Kind.REPLICA, Kind.VOLUME)
    assert sides.content(volume, FAR) == written
    assert not sides.is_served(volume, HOME)
    sides.driver.initialize_connection(sides.volumes[volume.id], CLIENT)
    assert sides.is_served(volume, FAR)
    sides.restart(FAR)
    sides.write(volume, FAR)
    sides.replicate()
    assert sides.content(volume, HOME) == sides.content(volume, FAR)
    sides.write(volume, FAR)
    written = sides.content(volume, FAR)
    streams = sides.network.streams
    assert sides.fail_over(HOME) == HOME
    assert sides.content(volume, HOME) == written
    assert sides.told[volume.id]["replication_status"] == "enabled"
    assert sides.network.streams - streams <= 2, "increments, no full copy"
    assert not sides.is_served(volume, FAR)
    assert sides.aside(HOME) == sides.aside(FAR) == []


def test_an_unplanned_failover_tells_what_is_lost_and_the_old_side_is_brought_back(sides: Sides) -> None:
    volume = sides.attached(sides.made())
    sides.replicate()
    copied_at, copied = sides.clock.utc(), sides.content(volume, HOME)
    sides.clock.advance(10)
    sides.write(volume, HOME)
    lost = sides.content(volume, HOME)
    sides.cut_power(HOME)
    sides.fail_over(None)
    told = sides.told[volume.id]
    assert told["recovery_point"] == copied_at
    assert f"{copied_at:%Y-%m-%dT%H:%M:%S}Z" in told["replication_extended_status"]
    assert "does not answer" in told["reason"]
    assert sides.content(volume, FAR) == copied
    sides.write(volume, FAR)
    sides.boot(HOME)
    assert not sides.is_served(volume, HOME), "a machine that comes back serves nothing by itself"
    (report,) = sides.replicate()
    assert not report.fault
    (report,) = sides.replicate()
    assert report.diverged == tuple(sides.aside(HOME))
    assert len(sides.aside(HOME)) == 1
    assert sides.hosts[HOME].content(sides.aside(HOME)[0]) == lost, "what only it had is kept"
    assert sides.kind(volume, HOME) is Kind.REPLICA
    assert sides.content(volume, HOME) == sides.content(volume, FAR)
    sides.write(volume, FAR)
    written = sides.content(volume, FAR)
    sides.fail_over(HOME)
    assert sides.content(volume, HOME) == written
    sides.attached(volume)
    assert sides.is_served(volume, HOME)


def test_a_side_that_was_cut_off_and_went_on_serving_is_fenced_when_it_is_seen(sides: Sides) -> None:
    volume = sides.attached(sides.made())
    sides.replicate()
    sides.cut_off(HOME)
    sides.fail_over(FAR)
    sides.write(volume, HOME)  # its clients do not know
    sides.hosts[HOME].is_cut_off = False
    sides.replicate()
    assert sides.kind(volume, HOME) is Kind.REPLICA
    assert not sides.is_served(volume, HOME)
    assert len(sides.aside(HOME)) == 1


def test_back_when_the_target_is_gone_and_the_old_side_is_of_an_old_reign(sides: Sides) -> None:
    volume = sides.made()
    sides.replicate()
    sides.cut_off(HOME)
    sides.fail_over(FAR)
    sides.hosts[HOME].is_cut_off = False
    sides.cut_off(FAR)
    sides.fail_over(HOME)
    assert sides.told[volume.id]["status"] == "error"
    assert "not in line" in sides.told[volume.id]["reason"]


def test_a_target_that_is_none_or_away_changes_nothing(sides: Sides) -> None:
    volume = sides.attached(sides.made())
    sides.replicate()
    with pytest.raises(InvalidReplicationTarget, match="nowhere"):
        sides.fail_over("nowhere")
    sides.cut_off(FAR)
    with pytest.raises(InvalidReplicationTarget, match="does not answer"):
        sides.fail_over(FAR)
    assert sides.is_served(volume, HOME)


def test_a_failover_that_cannot_be_done_leaves_everything_served(sides: Sides) -> None:
    volume = sides.attached(sides.made())
    sides.replicate()
    sides.write(volume, HOME)
    sides.network.breaking = lambda: 0.5
    with pytest.raises((Unavailable, UnableToFailOver)):
        sides.fail_over(FAR)
    sides.network.breaking = lambda: None
    assert sides.kind(volume, HOME) is Kind.VOLUME
    assert sides.is_served(volume, HOME)
    sides.write(volume, HOME)
    written = sides.content(volume, HOME)
    sides.fail_over(FAR)
    assert sides.content(volume, FAR) == written


def test_a_daemon_that_starts_while_the_primary_is_dead_can_fail_over(sides: Sides) -> None:
    volume = sides.made()
    sides.replicate()
    sides.cut_power(HOME)
    with pytest.raises(Unavailable):
        sides.restart(None)
    assert sides.fail_over(FAR) == FAR
    assert sides.kind(volume, FAR) is Kind.VOLUME


def test_snapshots_go_along_and_can_be_reverted_to(sides: Sides) -> None:
    volume = sides.made()
    sides.write(volume, HOME)
    kept, gone = sides.taken(volume), sides.taken(volume)
    content = sides.content(volume, HOME)
    sides.write(volume, HOME)
    sides.replicate()
    sides.driver.delete_snapshot(gone)
    sides.write(volume, HOME)
    sides.replicate()
    names = sides.hosts[FAR].filesystem(sides.place(volume, FAR)).snapshots
    assert kept.name in names
    assert gone.name not in names
    sides.driver.revert_to_snapshot(CONTEXT, volume, kept)
    assert sides.content(volume, HOME) == content
    sides.replicate()
    assert sides.content(volume, FAR) == content
    assert sides.aside(FAR) == []
    sides.fail_over(FAR)
    sides.write(volume, FAR)
    sides.driver.revert_to_snapshot(CONTEXT, sides.volumes[volume.id], kept)
    assert sides.content(volume, FAR) == content
    clone = sides.new(snapshot_id=kept.id)
    sides.driver.create_volume_from_snapshot(clone, kept)
    assert sides.content(clone, FAR) == content


def _none_begins(volume_id: str, side: str, sync: Any) -> bool:
    raise AssertionError(f"a sync of {volume_id} to {side}, though there is nothing to do")


def _snapshots(sides: Sides, volume: VolumeModel, side: str) -> list[str]:
    found = sides.hosts[side].filesystem(sides.place(volume, side)).snapshots
    return [name for name in found if name.startswith("snapshot-")]


@pytest.mark.parametrize("is_away", [True, False])
def test_a_deleted_snapshot_goes_from_the_copy_though_nobody_writes(sides: Sides, is_away: bool) -> None:
    volume = sides.made()
    taken, kept = sides.taken(volume), sides.taken(volume)
    sides.replicate()
    sides.replicate()
    assert _snapshots(sides, volume, FAR) == [f"snapshot-{taken.id}", f"snapshot-{kept.id}"]
    if is_away:
        sides.cut_off(FAR)
    for _ in range(2):  # also when who destroyed it died before he was done
        sides.driver.delete_snapshot(taken)
    sides.hosts[FAR].is_cut_off = False
    sides.replicate(1)
    assert _snapshots(sides, volume, FAR) == [f"snapshot-{kept.id}"]
    sides.driver.syncs.start = _none_begins  # type: ignore[method-assign]
    (report,) = sides.replicate()
    assert report.synced_at == sides.clock.utc()


def test_a_snapshot_that_was_deleted_while_the_target_was_away_goes_with_the_way_back(sides: Sides) -> None:
    """The target never heard of it, and served for a while."""
    volume = sides.made()
    taken = sides.taken(volume)
    sides.replicate()
    sides.replicate()
    sides.cut_off(FAR)
    sides.driver.delete_snapshot(taken)
    sides.hosts[FAR].is_cut_off = False
    sides.cut_power(HOME)
    sides.fail_over(FAR)
    sides.boot(HOME)
    sides.replicate()
    sides.fail_over(HOME)
    for _ in range(2):
        sides.replicate(1)
    assert (_snapshots(sides, volume, HOME), _snapshots(sides, volume, FAR)) == ([], [])


def test_a_deleted_snapshot_goes_from_the_old_side_after_a_failover(sides: Sides) -> None:
    volume = sides.made()
    taken, kept = sides.taken(volume), sides.taken(volume)
    sides.replicate()
    sides.replicate()
    sides.driver.delete_snapshot(taken)
    sides.fail_over(FAR)
    volume = sides.volumes[volume.id]
    sides.driver.delete_snapshot(kept.updated({"volume": volume}))
    sides.replicate(1)
    sides.replicate(1)
    assert (_snapshots(sides, volume, HOME), _snapshots(sides, volume, FAR)) == ([], [])


def test_deleting_removes_the_copies_also_those_on_a_side_that_was_away(sides: Sides) -> None:
    here, away, plain = sides.made(), sides.made(), sides.made(PLAIN)
    sides.replicate()
    sides.driver.delete_volume(here)
    del sides.volumes[here.id]
    assert (sides.kind(here, HOME), sides.kind(here, FAR)) == (None, None)
    sides.cut_off(FAR)
    sides.driver.delete_volume(away)
    del sides.volumes[away.id]
    sides.hosts[FAR].is_cut_off = False
    assert sides.kind(away, FAR) is Kind.REPLICA
    sides.replicate()
    assert sides.kind(away, FAR) is None
    assert sides.kind(plain, HOME) is Kind.VOLUME


def test_a_copy_that_no_row_knows_stays_while_its_volume_is_there(sides: Sides) -> None:
    volume = sides.made()
    sides.replicate()
    del sides.volumes[volume.id]  # the database was put back from a backup
    sides.replicate()
    assert sides.kind(volume, FAR) is Kind.REPLICA


def test_retyping_switches_it_on_and_off(sides: Sides) -> None:
    volume = sides.made(PLAIN)
    pool = {"host": volume.host}
    done, update = sides.driver.retype(CONTEXT, volume, REPLICATED, {}, pool)
    assert (done, update) == (True, {"replication_status": "enabling", "replication_driver_data": None})
    volume = sides.later(volume, volume_type=REPLICATED)
    sides.replicate()
    assert sides.kind(volume, FAR) is Kind.REPLICA
    done, update = sides.driver.retype(CONTEXT, volume, PLAIN, {}, pool)
    assert done
    assert update is not None
    assert update["replication_status"] == "disabled"
    assert sides.kind(volume, FAR) is None
    home = sides.hosts[HOME].filesystem(sides.place(volume, HOME))
    assert not home.snapshots
    assert not {name for name in home.local if "epoch" in name or "synced" in name}


def test_an_extended_volume_is_as_large_on_the_other_side(sides: Sides) -> None:
    volume = sides.made()
    sides.replicate()
    sides.driver.extend_volume(volume, 5)
    volume = sides.later(volume, size=5)
    sides.fail_over(FAR)
    sides.attached(volume)
    iqn = f"iqn.2010-10.org.openstack:{volume.name}"
    assert sides.tgts[FAR].login(iqn, CLIENT["initiator"], CLIENT["ip"]) == {1: 5 * 2**30}


def test_while_it_is_failed_over_no_volume_is_made_that_would_be_lost(sides: Sides) -> None:
    volume = sides.made()
    sides.replicate()
    sides.fail_over(FAR)
    with pytest.raises(UnableToFailOver, match="only replicated"):
        sides.driver.create_volume(sides.new(PLAIN))
    clone = sides.new()
    clone = sides.known(clone, sides.driver.create_cloned_volume(clone, sides.volumes[volume.id]))
    sides.replicate()
    sides.fail_over(HOME)
    assert sides.content(clone, HOME) == sides.content(volume, HOME)


def test_what_is_on_the_other_side_alone_is_not_taken_for_gone(sides: Sides) -> None:
    plain = sides.later(sides.made(PLAIN), launched_at=sides.clock.utc())
    sides.fail_over(FAR)
    with pytest.raises(Unavailable, match="failed over"):
        sides.driver.delete_volume(plain)
    sides.fail_over(HOME)
    sides.driver.delete_volume(plain)
    assert sides.kind(plain, HOME) is None


def test_the_scheduler_is_told(sides: Sides) -> None:
    (pool,) = sides.driver.get_volume_stats(refresh=True)["pools"]
    assert pool["replication_enabled"] is True
    assert (pool["replication_count"], pool["replication_targets"]) == (1, [FAR])
    sides.replicate()
    sides.fail_over(FAR)
    (pool,) = sides.driver.get_volume_stats(refresh=True)["pools"]
    assert (pool["pool_name"], pool["backend_state"]) == ("tank", "up")


def test_a_retype_between_thin_and_thick_reaches_the_copy_though_nobody_writes(sides: Sides) -> None:
    """A copy that had no space kept free could not take over when its pool is full."""
    volume = sides.made()
    sides.replicate()
    pool = {"host": volume.host}
    for kind, is_kept in ((THICK, True), (REPLICATED, False)):
        assert sides.driver.retype(CONTEXT, volume, kind, {}, pool)[0]
        volume = sides.later(volume, volume_type=kind, volume_type_id=kind.id)
        sides.replicate()
        for side in (HOME, FAR):
            kept = sides.hosts[side].filesystem(sides.place(volume, side)).local.get("refreservation", "none")
            assert (kept not in ("none", "0")) == is_kept, (side, kept)
        begun = sides.network.streams
        sides.replicate()
        assert sides.network.streams == begun
