"""A third party's driver under the driver contract; and the generic ways of the interface, carried out with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Conflict, Invalid, Unavailable, Unsupported
from penstock.volume.errors import ExportFailure, InvalidSnapshot, VolumeBackendAPIException
from penstock.volume.fallback.groups import VolumeByVolume, grouping
from penstock.volume.fallback.revert import revert_by_copy
from penstock.volume.fallback.volume_copy import Remote, copy_volume_data
from penstock.volume.models import (
    AttachmentModel,
    BackupModel,
    GroupModel,
    GroupSnapshotModel,
    GroupTypeModel,
    VolumeModel,
)
from tests.contract.volume_driver_contract import CONTEXT, MIB, VolumeDataContract, VolumeDriverContract, VolumeSteps
from tests.local_files import LocalFiles
from tests.volume_data import VolumeData
from tests.volume_values import HOST, MemoryRecords, a_snapshot, a_volume_backend


def a_driver(folder: Path, kind: type[LocalFiles] = LocalFiles, text: str = "") -> LocalFiles:
    driver = kind(configuration=a_volume_backend(folder, f"volumes_dir = {folder}/volumes\n{text}"), db=MemoryRecords())
    driver.check_for_setup_error()
    driver.set_throttle()
    return driver


@pytest.fixture
def driver(tmp_path: Path) -> LocalFiles:
    return a_driver(tmp_path)


@pytest.fixture
def data(driver: LocalFiles) -> VolumeData:
    return VolumeData(driver, everybody_is_let_in=True)


@pytest.fixture
def pool_host() -> str:
    return HOST


class TestFilesDriver(VolumeDriverContract): ...


class TestFilesData(VolumeDataContract): ...


class TestGenericWays(VolumeSteps):
    """What drivers get without writing it."""

    @pytest.fixture
    def volume(self, driver: LocalFiles, data: VolumeData) -> VolumeModel:
        volume = self.made(driver, self.new(HOST))
        data.write(volume, 0x51, 0, MIB)
        return volume

    @pytest.fixture
    def records(self, driver: LocalFiles) -> MemoryRecords:
        found: Any = driver.db
        return found

    def test_a_copy_from_one_volume_to_another(self, driver: LocalFiles, data: VolumeData, volume: VolumeModel) -> None:
        target = self.made(driver, self.new(HOST, 2))
        data.write(target, 0x52, 2 * MIB, MIB)
        copy_volume_data(driver, CONTEXT, volume, target)
        assert data.holds(target, 0x51, 0, MIB)
        assert data.holds(target, 0, 2 * MIB, MIB)
        with pytest.raises(Invalid, match="cannot hold"):
            copy_volume_data(driver, CONTEXT, target, volume)

    def test_a_copy_onto_a_new_thin_volume_stays_thin(self, driver: LocalFiles, volume: VolumeModel) -> None:
        target = self.made(driver, self.new(HOST))
        copy_volume_data(driver, CONTEXT, volume, target, target_is_zero=True)
        assert Path(driver.local_path(target)).stat().st_blocks * 512 < 2 * MIB

    def test_a_copy_keeps_to_its_limit(self, tmp_path: Path, data: VolumeData, volume: VolumeModel) -> None:
        slow = a_driver(tmp_path, text="volume_copy_bps_limit = 1000000")
        assert slow.throttle.bps_limit == 1000000

    def test_a_copy_to_another_backend_connects_by_its_manager(
        self, driver: LocalFiles, records: MemoryRecords, data: VolumeData, volume: VolumeModel
    ) -> None:
        target = self.made(driver, self.new(HOST))
        records.elsewhere[target.id] = driver.initialize_connection(target, {})
        copy_volume_data(driver, CONTEXT, volume, target, remote=Remote.TARGET)
        assert data.holds(target, 0x51, 0, MIB)
        assert not records.connected

    def test_revert_by_copying(
        self, driver: LocalFiles, records: MemoryRecords, data: VolumeData, volume: VolumeModel
    ) -> None:
        snapshot = self.taken(driver, volume)
        data.write(volume, 0x53, 0, 2 * MIB)
        revert_by_copy(driver, records, CONTEXT, volume, snapshot)
        assert data.holds(volume, 0x51, 0, MIB)
        assert data.holds(volume, 0, MIB, MIB)
        assert list(records.volumes) == [volume.id]
        assert {path.name for path in driver.folder.iterdir()} == {volume.name, snapshot.name}
        with pytest.raises(InvalidSnapshot, match="had 1 when"):
            revert_by_copy(driver, records, CONTEXT, volume.updated({"size": 2}), snapshot)

    def test_a_revert_that_failed_leaves_nothing_of_its_own(
        self, tmp_path: Path, records: MemoryRecords, volume: VolumeModel
    ) -> None:
        class Unreachable(LocalFiles):
            def create_export(self, context: Any, volume: Any, connector: Any) -> None:
                raise Unavailable("no way there")

        driver = a_driver(tmp_path, Unreachable)
        driver.db = records
        snapshot = self.taken(driver, volume)
        with pytest.raises(ExportFailure, match="no way there"):
            revert_by_copy(driver, records, CONTEXT, volume, snapshot)
        assert list(records.volumes) == [volume.id]
        assert {path.name for path in driver.folder.iterdir()} == {volume.name, snapshot.name}

    @pytest.mark.parametrize(
        ("status", "by_snapshot", "of", "kind"),
        [
            ("available", "False", None, "the volume"),
            ("available", "True", None, "the volume"),
            ("in-use", "False", None, "temporary volume"),
            ("in-use", "True", None, "temporary snapshot"),
            ("available", "False", "snapshot", "temporary volume"),
            ("in-use", "True", "snapshot", "the snapshot"),
        ],
    )
    def test_what_a_backup_reads(
        self,
        tmp_path: Path,
        records: MemoryRecords,
        volume: VolumeModel,
        status: str,
        by_snapshot: str,
        of: str | None,
        kind: str,
    ) -> None:
        driver = a_driver(tmp_path, text=f"backup_use_temp_snapshot = {by_snapshot}")
        driver.db = records
        volume = records.update_volume(volume.id, {"status": "backing-up", "previous_status": status})
        snapshot = self.taken(driver, volume)
        backup = BackupModel(
            id="b",
            volume_id=volume.id,
            status="creating",
            size=1,
            project_id="p",
            user_id="u",
            snapshot_id=snapshot.id if of else None,
        )
        device, is_snapshot = driver.get_backup_device(CONTEXT, backup)
        again, _ = driver.get_backup_device(CONTEXT, backup)
        assert (device.id, is_snapshot) == (again.id, "snapshot" in kind)
        assert {volume.id: "the volume", snapshot.id: "the snapshot"}.get(
            device.id, "temporary snapshot" if is_snapshot else "temporary volume"
        ) == kind
        assert (driver.folder / device.name).exists()

    def test_a_temporary_volume_that_could_not_be_made_is_forgotten(
        self, tmp_path: Path, records: MemoryRecords, volume: VolumeModel
    ) -> None:
        class NoClones(LocalFiles):
            def create_cloned_volume(self, volume: Any, src_vref: Any) -> dict[str, str]:
                self.create_volume(volume)
                raise Unavailable("in the middle of it")

        driver = a_driver(tmp_path, NoClones)
        driver.db = records
        records.update_volume(volume.id, {"previous_status": "in-use"})
        backup = BackupModel(id="b", volume_id=volume.id, status="creating", size=1, project_id="p", user_id="u")
        with pytest.raises(Unavailable):
            driver.get_backup_device(CONTEXT, backup)
        assert list(records.volumes) == [volume.id]
        assert [path.name for path in driver.folder.iterdir()] == [volume.name]

    def test_a_failed_attachment_is_undone(self, tmp_path: Path, volume: VolumeModel) -> None:
        undone: list[str] = []

        class Closed(LocalFiles):
            def initialize_connection(self, volume: Any, connector: Any, **kwargs: Any) -> dict[str, Any]:
                raise Conflict("closed today")

            def remove_export(self, context: Any, volume: Any) -> None:
                undone.append(volume.id)

        with pytest.raises(VolumeBackendAPIException, match="closed today"):
            a_driver(tmp_path, Closed).attach_here(CONTEXT, volume, {})
        assert undone == [volume.id]

    def test_a_device_that_is_not_there_is_detached(self, driver: LocalFiles, volume: VolumeModel) -> None:
        class Elsewhere(LocalFiles):
            terminated: Sequence[str] = ()

            def initialize_connection(self, volume: Any, connector: Any, **kwargs: Any) -> dict[str, Any]:
                return {"driver_volume_type": "local", "data": {"device_path": "/no/such/device"}}

            def terminate_connection(self, volume: Any, connector: Any, **kwargs: Any) -> None:
                self.terminated = [*self.terminated, volume.id]

        elsewhere = Elsewhere(configuration=driver.configuration, db=driver.db)
        with pytest.raises(Unavailable, match="/no/such/device"):
            elsewhere.attach_here(CONTEXT, volume, {})
        assert elsewhere.terminated == [volume.id]

    def test_detaching_goes_on_after_a_step_that_failed(self, tmp_path: Path, volume: VolumeModel) -> None:
        class Sticky(LocalFiles):
            removed = False

            def terminate_connection(self, volume: Any, connector: Any, **kwargs: Any) -> None:
                raise Unavailable("stuck")

            def remove_export(self, context: Any, volume: Any) -> None:
                self.removed = True

        driver = a_driver(tmp_path, Sticky)
        with pytest.raises(VolumeBackendAPIException, match="stuck"):
            driver.detach_here(CONTEXT, {}, volume, {})
        assert isinstance(driver, Sticky)
        assert driver.removed

    @pytest.mark.parametrize(
        ("attached", "expected"),
        [
            ({"connector": {"initiator": "iqn.other", "ip": "10.0.0.2"}}, ["terminate"]),
            ({"connector": {"initiator": "iqn.here", "ip": "10.0.0.2"}}, []),
            ({"connector": {"initiator": "iqn.other", "ip": "10.0.0.1"}}, []),
            (
                {
                    "connector": {"initiator": "iqn.other", "ip": "10.0.0.1"},
                    "connection_info": {"driver_volume_type": "iscsi"},
                },
                ["terminate"],
            ),
            ({}, ["terminate", "remove export"]),
        ],
    )
    def test_who_is_attached_keeps_export_and_connection(
        self, tmp_path: Path, volume: VolumeModel, attached: dict[str, Any], expected: list[str]
    ) -> None:
        done: list[str] = []

        class Noting(LocalFiles):
            fails = False

            def initialize_connection(self, volume: Any, connector: Any, **kwargs: Any) -> dict[str, Any]:
                if self.fails:
                    raise Conflict("closed today")
                return super().initialize_connection(volume, connector, **kwargs)

            def terminate_connection(self, volume: Any, connector: Any, **kwargs: Any) -> None:
                done.append("terminate")

            def remove_export(self, context: Any, volume: Any) -> None:
                done.append("remove export")

        driver = a_driver(tmp_path, Noting)
        driver.create_volume(volume)
        me = {"initiator": "iqn.here", "ip": "10.0.0.1"}
        used = dataclasses.replace(volume, volume_attachment=(AttachmentModel("a", volume.id, **attached),))
        attach_info, used = driver.attach_here(CONTEXT, used, me)
        driver.detach_here(CONTEXT, attach_info, used, me)
        assert done == expected
        done.clear()
        driver.fails = True  # type: ignore[attr-defined]
        with pytest.raises(VolumeBackendAPIException, match="closed today"):
            driver.attach_here(CONTEXT, used, me)
        assert done == expected

    def test_an_export_that_the_driver_says_is_shared_stays(self, tmp_path: Path, volume: VolumeModel) -> None:
        class Shared(LocalFiles):
            def terminate_connection(self, volume: Any, connector: Any, **kwargs: Any) -> bool:
                return True

            def remove_export(self, context: Any, volume: Any) -> None:
                raise Conflict("others are on it")

        driver = a_driver(tmp_path, Shared)
        driver.detach_here(CONTEXT, {}, volume, {})


class TestGroups(VolumeSteps):
    """Groups, volume by volume."""

    @pytest.fixture
    def group(self) -> GroupModel:
        return GroupModel("g", "group", "available", HOST, "p", "u")

    def test_a_group_is_copied_by_way_of_its_snapshot(
        self, driver: LocalFiles, data: VolumeData, group: GroupModel
    ) -> None:
        calls = grouping(driver, group)
        assert isinstance(calls, VolumeByVolume)
        volumes = [self.made(driver, self.new(HOST, group_id="g")) for _ in range(2)]
        for number, volume in enumerate(volumes):
            data.write(volume, 0x61 + number, 0, MIB)
        snapshots = [a_snapshot(f"s{number}", volume) for number, volume in enumerate(volumes)]
        moment = GroupSnapshotModel("gs", None, "creating", "g", "p", "u")
        whole, updates = calls.create_group_snapshot(CONTEXT, moment, snapshots)
        assert whole == {"status": "available"}
        assert [(u["id"], u["status"]) for u in updates or ()] == [("s0", "available"), ("s1", "available")]
        copies = [self.new(HOST, snapshot_id=snapshot.id) for snapshot in snapshots]
        whole, updates = calls.create_group_from_src(CONTEXT, group, copies, moment, snapshots)
        assert whole == {"status": "available"}
        for number, copy in enumerate(copies):
            assert data.holds(self.known(driver, copy, None), 0x61 + number, 0, MIB)
        assert calls.delete_group_snapshot(CONTEXT, moment, snapshots)[0] == {"status": "deleted"}
        assert calls.delete_group(CONTEXT, group, [*volumes, *copies])[0] == {"status": "deleted"}
        assert list(driver.folder.iterdir()) == []

    def test_one_member_that_fails_makes_the_group_so(self, driver: LocalFiles, group: GroupModel) -> None:
        volumes = [self.made(driver, self.new(HOST)), self.new(HOST, snapshot_id="unknown")]
        clone = self.new(HOST, source_volid=volumes[0].id)
        whole, updates = grouping(driver, group).create_group_from_src(
            CONTEXT, group, [clone, volumes[1]], source_group=group, source_vols=volumes[:1]
        )
        assert whole == {"status": "error"}
        assert [update["status"] for update in updates or ()] == ["available", "error"]

    def test_snapshots_of_one_moment_are_not_promised(self, driver: LocalFiles, group: GroupModel) -> None:
        kind = GroupTypeModel("t", "strict", group_specs={"consistent_group_snapshot_enabled": "<is> True"})
        with pytest.raises(Unsupported, match="same moment"):
            grouping(driver, group.updated({"group_type": kind}))
