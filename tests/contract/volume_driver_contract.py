"""What every volume driver must do, whatever it works on. Subclass it and give the fixtures its class names.

`VolumeDriverContract` needs no data path; `VolumeDataContract` adds what can be seen by reading and writing. A method
that a driver does not implement is not asked of it: those tests are skipped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import pytest

from penstock.context import admin_context
from penstock.errors import Fault
from penstock.ids import new_id
from penstock.volume.driver import BaseVD, capabilities_of
from penstock.volume.errors import ManageExistingInvalidReference, SnapshotIsBusy, VolumeIsBusy
from penstock.volume.models import SnapshotModel, VolumeModel
from tests.volume_data import VolumeData
from tests.volume_values import MemoryRecords, a_snapshot, a_volume

CONTEXT = admin_context("req-volume-contract")
MIB = 2**20
THERE = {
    "host": "there",
    "ip": "10.99.0.7",
    "initiator": "iqn.1993-08.org.debian:01:there",
    "multipath": False,
    "platform": "x86_64",
    "os_type": "linux",
}
ELSEWHERE = {**THERE, "host": "elsewhere", "ip": "10.99.0.8", "initiator": "iqn.1993-08.org.debian:01:elsewhere"}
# What os-brick cannot connect without, and the type it insists on.
WANTED: Mapping[str, Mapping[str, type]] = {
    "iscsi": {"target_portal": str, "target_iqn": str, "target_lun": int},
    "nfs": {"export": str, "name": str},
    "local": {"device_path": str},
}


class VolumeSteps:
    """What a manager does around a driver's calls: updates are kept, and handed back with the next call."""

    def wants(self, driver: BaseVD, *names: str) -> None:
        """Skip what the driver does not claim to do."""
        missing = set(names) - capabilities_of(driver)
        if missing:
            pytest.skip(f"{type(driver).__name__} has no {', '.join(sorted(missing))}")

    def known(self, driver: BaseVD, volume: VolumeModel, update: Any) -> VolumeModel:
        later = volume.updated({**(update or {}), "status": "available"})
        records: Any = driver.db
        assert isinstance(records, MemoryRecords), "give the driver MemoryRecords as its db"
        records.volumes[later.id] = later
        return later

    def new(self, pool_host: str, size: int = 1, **fields: Any) -> VolumeModel:
        return a_volume(new_id(), size, host=pool_host, **fields)

    def made(self, driver: BaseVD, volume: VolumeModel) -> VolumeModel:
        return self.known(driver, volume, driver.create_volume(volume))

    def taken(self, driver: BaseVD, volume: VolumeModel) -> SnapshotModel:
        snapshot = a_snapshot(new_id(), volume)
        later = snapshot.updated({**(driver.create_snapshot(snapshot) or {}), "status": "available"})
        records: Any = driver.db
        records.snapshots[later.id] = later
        return later

    def exported(self, driver: BaseVD, volume: VolumeModel, connector: Mapping[str, Any]) -> tuple[VolumeModel, Any]:
        driver.validate_connector(connector)
        volume = self.known(driver, volume, driver.create_export(CONTEXT, volume, connector))
        return volume, driver.initialize_connection(volume, connector)

    def released(self, driver: BaseVD, volume: VolumeModel, connector: Mapping[str, Any] | None) -> None:
        if not driver.terminate_connection(volume, connector):
            driver.remove_export(CONTEXT, volume)

    def gone(self, driver: BaseVD, *volumes: VolumeModel) -> None:
        for volume in volumes:
            driver.delete_volume(volume)


class VolumeDriverContract(VolumeSteps):
    """The subclass gives `driver` (set up, its ``db`` a MemoryRecords) and `pool_host` (``host@backend#pool``)."""

    @pytest.fixture
    def volume(self, driver: BaseVD, pool_host: str) -> VolumeModel:
        """A volume that exists, as the manager would hand it to the driver from now on."""
        return self.made(driver, self.new(pool_host))

    def test_create_twice_is_create_once(self, driver: BaseVD, pool_host: str) -> None:
        volume = self.new(pool_host)
        assert driver.create_volume(volume) == driver.create_volume(volume)
        driver.delete_volume(self.known(driver, volume, None))

    def test_delete_twice(self, driver: BaseVD, volume: VolumeModel) -> None:
        driver.delete_volume(volume)
        driver.delete_volume(volume)

    def test_delete_of_what_never_was(self, driver: BaseVD, pool_host: str) -> None:
        driver.delete_volume(self.new(pool_host))

    def test_a_volume_that_was_deleted_can_be_made_again(self, driver: BaseVD, volume: VolumeModel) -> None:
        driver.delete_volume(volume)
        again = self.made(driver, volume.updated({"provider_location": None, "provider_id": None}))
        driver.delete_volume(again)

    def test_extend_can_be_repeated(self, driver: BaseVD, volume: VolumeModel) -> None:
        self.wants(driver, "extend_volume")
        for _ in range(2):
            driver.extend_volume(volume, 2)
        driver.extend_volume(volume.updated({"size": 2}), 2)

    def test_extending_what_is_gone_says_so(self, driver: BaseVD, volume: VolumeModel) -> None:
        self.wants(driver, "extend_volume")
        driver.delete_volume(volume)
        with pytest.raises(Fault):
            driver.extend_volume(volume, 2)

    def test_snapshot_twice_and_delete_twice(self, driver: BaseVD, volume: VolumeModel) -> None:
        self.wants(driver, "create_snapshot", "delete_snapshot")
        snapshot = a_snapshot(new_id(), volume)
        first = driver.create_snapshot(snapshot)
        assert driver.create_snapshot(snapshot) == first
        later = snapshot.updated(first)
        driver.delete_snapshot(later)
        driver.delete_snapshot(later)

    def test_delete_of_a_snapshot_that_never_was(self, driver: BaseVD, volume: VolumeModel) -> None:
        self.wants(driver, "delete_snapshot")
        driver.delete_snapshot(a_snapshot(new_id(), volume))

    @pytest.mark.parametrize("size", [1, 2])
    def test_a_volume_of_a_snapshot_outlives_it(
        self, driver: BaseVD, pool_host: str, volume: VolumeModel, size: int
    ) -> None:
        self.wants(driver, "create_snapshot", "create_volume_from_snapshot")
        snapshot = self.taken(driver, volume)
        copy = self.new(pool_host, size, snapshot_id=snapshot.id)
        first = driver.create_volume_from_snapshot(copy, snapshot)
        assert driver.create_volume_from_snapshot(copy, snapshot) == first
        copy = self.known(driver, copy, first)
        self._removed_or_busy(driver, snapshot, copy)

    def _removed_or_busy(self, driver: BaseVD, snapshot: SnapshotModel, copy: VolumeModel) -> None:
        """A snapshot with a copy may be refused; then it goes after the copy. So may its volume."""
        try:
            driver.delete_snapshot(snapshot)
            driver.delete_volume(snapshot.volume)
        except (SnapshotIsBusy, VolumeIsBusy):
            driver.delete_volume(copy)
            driver.delete_snapshot(snapshot)
            driver.delete_volume(snapshot.volume)
        else:
            driver.extend_volume(copy, copy.size + 1)  # it is still there
            driver.delete_volume(copy)

    @pytest.mark.parametrize("size", [1, 2])
    def test_a_clone_outlives_its_source(self, driver: BaseVD, pool_host: str, volume: VolumeModel, size: int) -> None:
        self.wants(driver, "create_cloned_volume", "extend_volume")
        clone = self.new(pool_host, size, source_volid=volume.id)
        first = driver.create_cloned_volume(clone, volume)
        assert driver.create_cloned_volume(clone, volume) == first
        clone = self.known(driver, clone, first)
        try:
            driver.delete_volume(volume)
        except VolumeIsBusy:
            self.gone(driver, clone, volume)
        else:
            driver.extend_volume(clone, size + 1)
            driver.delete_volume(clone)

    def test_clones_of_clones(self, driver: BaseVD, pool_host: str, volume: VolumeModel) -> None:
        self.wants(driver, "create_cloned_volume")
        line = [volume]
        for _ in range(3):
            clone = self.new(pool_host, source_volid=line[-1].id)
            line.append(self.known(driver, clone, driver.create_cloned_volume(clone, line[-1])))
        self.gone(driver, *reversed(line))

    def test_a_connection_is_what_os_brick_needs(self, driver: BaseVD, volume: VolumeModel) -> None:
        volume, info = self.exported(driver, volume, THERE)
        wanted = WANTED[info["driver_volume_type"]]
        assert {name: type(info["data"].get(name)) for name in wanted} == wanted
        self.released(driver, volume, THERE)

    def test_connections_can_be_repeated(self, driver: BaseVD, volume: VolumeModel) -> None:
        volume, first = self.exported(driver, volume, THERE)
        volume, second = self.exported(driver, volume, THERE)
        assert second == first
        for _ in range(2):
            driver.terminate_connection(volume, THERE)
        for _ in range(2):
            driver.remove_export(CONTEXT, volume)

    def test_two_hosts_at_once_as_in_a_live_migration(self, driver: BaseVD, volume: VolumeModel) -> None:
        volume, first = self.exported(driver, volume, THERE)
        volume, second = self.exported(driver, volume, ELSEWHERE)
        assert first["driver_volume_type"] == second["driver_volume_type"]
        driver.terminate_connection(volume, THERE)
        assert driver.initialize_connection(volume, ELSEWHERE) == second
        self.released(driver, volume, ELSEWHERE)

    def test_everybody_can_be_sent_away(self, driver: BaseVD, volume: VolumeModel) -> None:
        for connector in (THERE, ELSEWHERE):
            volume, _ = self.exported(driver, volume, connector)
        driver.terminate_connection(volume, None, force=True)
        driver.remove_export(CONTEXT, volume)
        driver.delete_volume(volume)

    def test_an_export_is_made_anew_after_a_restart(self, driver: BaseVD, volume: VolumeModel) -> None:
        volume, first = self.exported(driver, volume, THERE)
        for _ in range(2):
            volume = self.known(driver, volume, driver.ensure_export(CONTEXT, volume))
        assert driver.initialize_connection(volume, THERE) == first
        self.released(driver, volume, THERE)

    def test_an_export_of_what_is_gone_is_taken_away_all_the_same(self, driver: BaseVD, volume: VolumeModel) -> None:
        volume, _ = self.exported(driver, volume, THERE)
        self.released(driver, volume, THERE)
        driver.delete_volume(volume)
        driver.remove_export(CONTEXT, volume)
        driver.terminate_connection(volume, THERE, force=True)

    def test_connecting_to_what_is_gone_says_so(self, driver: BaseVD, volume: VolumeModel) -> None:
        driver.delete_volume(volume)
        with pytest.raises(Fault):
            self.exported(driver, volume, THERE)

    def test_stats_have_the_published_names(self, driver: BaseVD, pool_host: str) -> None:
        stats = driver.get_volume_stats(refresh=True)
        assert {"volume_backend_name", "vendor_name", "driver_version", "storage_protocol"} <= set(stats)
        for pool in stats.get("pools") or [stats]:
            total, free = pool["total_capacity_gb"], pool["free_capacity_gb"]
            assert "unknown" in (total, free) or "infinite" in (total, free) or 0 <= float(free) <= float(total)
            assert 0 <= pool["reserved_percentage"] <= 100
        names = [pool["pool_name"] for pool in stats.get("pools") or ()]
        assert not names or pool_host.partition("#")[2] in names

    def test_revert_can_be_repeated(self, driver: BaseVD, volume: VolumeModel) -> None:
        self.wants(driver, "create_snapshot", "revert_to_snapshot")
        snapshot = self.taken(driver, volume)
        for _ in range(2):
            driver.revert_to_snapshot(CONTEXT, volume, snapshot)
        driver.delete_snapshot(snapshot)
        driver.delete_volume(volume)

    def test_an_older_snapshot_survives_a_revert(self, driver: BaseVD, volume: VolumeModel) -> None:
        self.wants(driver, "create_snapshot", "revert_to_snapshot")
        older, latest = self.taken(driver, volume), self.taken(driver, volume)
        driver.revert_to_snapshot(CONTEXT, volume, latest)
        driver.revert_to_snapshot(CONTEXT, volume, latest)
        for snapshot in (latest, older):
            driver.delete_snapshot(snapshot)
        driver.delete_volume(volume)

    def test_what_is_let_go_can_be_taken_over(self, driver: BaseVD, pool_host: str, volume: VolumeModel) -> None:
        self.wants(driver, "manage_existing", "manage_existing_get_size", "get_manageable_volumes")
        for _ in range(2):
            driver.unmanage(volume)
        assert isinstance(driver, BaseVD)
        ask: Any = driver
        found = ask.get_manageable_volumes([], None, 1000, 0, ["size"], ["asc"])
        mine = [item for item in found if item["safe_to_manage"] and volume.id in str(item)]
        assert len(mine) == 1, found
        again = self.new(pool_host)
        assert ask.manage_existing_get_size(again, mine[0]["reference"]) == volume.size
        first = ask.manage_existing(again, mine[0]["reference"])
        again = self.known(driver, again, first)
        assert ask.manage_existing(again, mine[0]["reference"]) == first
        managed = ask.get_manageable_volumes([again], None, 1000, 0, ["size"], ["asc"])
        assert [item["safe_to_manage"] for item in managed if item["cinder_id"] == again.id] == [False]
        driver.delete_volume(again)

    def test_a_reference_to_nothing_is_refused(self, driver: BaseVD, pool_host: str) -> None:
        self.wants(driver, "manage_existing", "manage_existing_get_size")
        ask: Any = driver
        for reference in ({"source-name": "no-such-volume"}, {"colour": "red"}, {}):
            with pytest.raises(ManageExistingInvalidReference):
                ask.manage_existing_get_size(self.new(pool_host), reference)

    def test_more_than_there_is_room_for(self, driver: BaseVD, pool_host: str) -> None:
        """Thick backends refuse it, thin ones may not; either way it can be deleted."""
        volume = self.new(pool_host, 2**13)
        with contextlib.suppress(Fault):
            driver.create_volume(volume)
        driver.delete_volume(volume)


class VolumeDataContract(VolumeSteps):
    """The same fixtures, and `data`, which reads and writes volumes as an attached machine does."""

    @pytest.fixture
    def volume(self, driver: BaseVD, pool_host: str) -> VolumeModel:
        return self.made(driver, self.new(pool_host))

    def test_a_new_volume_is_empty_to_its_end_and_no_longer(
        self, driver: BaseVD, data: VolumeData, volume: VolumeModel
    ) -> None:
        assert data.size_bytes(volume) == volume.size * 2**30
        assert data.holds(volume, 0, 0, MIB)
        assert data.holds(volume, 0, volume.size * 2**30 - MIB, MIB)

    def test_what_was_written_is_read_back(self, data: VolumeData, volume: VolumeModel) -> None:
        end = volume.size * 2**30 - MIB
        data.write(volume, 0xA1, 0, MIB)
        data.write(volume, 0xA2, end, MIB)
        assert data.holds(volume, 0xA1, 0, MIB)
        assert data.holds(volume, 0xA2, end, MIB)

    def test_the_next_user_does_not_see_the_last_ones_data(
        self, driver: BaseVD, data: VolumeData, pool_host: str, volume: VolumeModel
    ) -> None:
        data.write(volume, 0xB1, 0, 4 * MIB)
        driver.delete_volume(volume)
        assert data.holds(self.made(driver, self.new(pool_host)), 0, 0, 4 * MIB)

    def test_extending_keeps_the_data_and_adds_zeros(
        self, driver: BaseVD, data: VolumeData, volume: VolumeModel
    ) -> None:
        self.wants(driver, "extend_volume")
        data.write(volume, 0xC1, 2**30 - MIB, MIB)
        driver.extend_volume(volume, 2)
        volume = self.known(driver, volume, {"size": 2})
        assert data.size_bytes(volume) == 2 * 2**30
        assert data.holds(volume, 0xC1, 2**30 - MIB, MIB)
        assert data.holds(volume, 0, 2**30, MIB)

    @pytest.mark.parametrize("size", [1, 2])
    def test_a_snapshot_is_of_its_moment(
        self, driver: BaseVD, data: VolumeData, pool_host: str, volume: VolumeModel, size: int
    ) -> None:
        self.wants(driver, "create_snapshot", "create_volume_from_snapshot")
        data.write(volume, 0xD1, 0, MIB)
        snapshot = self.taken(driver, volume)
        data.write(volume, 0xD2, 0, MIB)
        copy = self.new(pool_host, size, snapshot_id=snapshot.id)
        copy = self.known(driver, copy, driver.create_volume_from_snapshot(copy, snapshot))
        assert data.size_bytes(copy) == size * 2**30
        assert data.holds(copy, 0xD1, 0, MIB)
        data.write(copy, 0xD3, 0, MIB)
        assert data.holds(volume, 0xD2, 0, MIB)
        assert data.holds(copy, 0xD3, 0, MIB)

    def test_making_a_volume_of_a_snapshot_again_leaves_what_was_written(
        self, driver: BaseVD, data: VolumeData, pool_host: str, volume: VolumeModel
    ) -> None:
        self.wants(driver, "create_snapshot", "create_volume_from_snapshot")
        data.write(volume, 0xD4, 0, MIB)
        snapshot = self.taken(driver, volume)
        copy = self.new(pool_host, snapshot_id=snapshot.id)
        for _ in range(2):
            copy = self.known(driver, copy, driver.create_volume_from_snapshot(copy, snapshot))
        assert data.holds(copy, 0xD4, 0, MIB)

    def test_a_clone_is_a_copy(self, driver: BaseVD, data: VolumeData, pool_host: str, volume: VolumeModel) -> None:
        self.wants(driver, "create_cloned_volume")
        data.write(volume, 0xE1, 0, MIB)
        clone = self.new(pool_host, 2, source_volid=volume.id)
        clone = self.known(driver, clone, driver.create_cloned_volume(clone, volume))
        data.write(volume, 0xE2, 0, MIB)
        assert data.holds(clone, 0xE1, 0, MIB)
        assert data.size_bytes(clone) == 2 * 2**30
        second = self.new(pool_host, 2, source_volid=clone.id)
        second = self.known(driver, second, driver.create_cloned_volume(second, clone))
        assert data.holds(second, 0xE1, 0, MIB)

    def test_revert_brings_back_the_data_and_keeps_the_size(
        self, driver: BaseVD, data: VolumeData, volume: VolumeModel
    ) -> None:
        self.wants(driver, "create_snapshot", "revert_to_snapshot", "extend_volume")
        data.write(volume, 0xF1, 0, MIB)
        snapshot = self.taken(driver, volume)
        data.write(volume, 0xF2, 0, MIB)
        driver.extend_volume(volume, 2)
        volume = self.known(driver, volume, {"size": 2})
        driver.revert_to_snapshot(CONTEXT, volume, snapshot)
        assert data.holds(volume, 0xF1, 0, MIB)
        assert data.size_bytes(volume) == 2 * 2**30

    def test_who_was_not_let_in_reads_nothing(self, driver: BaseVD, data: VolumeData, volume: VolumeModel) -> None:
        if data.everybody_is_let_in:
            pytest.skip("this backend lets in everybody")
        data.write(volume, 0x11, 0, MIB)
        assert not data.reached_by_a_stranger(volume)
