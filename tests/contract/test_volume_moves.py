"""Volumes that get another type, another pool, another manager: manage, unmanage, retype, migrate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.domain.volumes import MigrationStatus, Volume, VolumeStatus
from penstock.errors import BackendFault, Invalid, NotFound, Unavailable
from penstock.operations.outcome import RetryPolicy
from penstock.services import messages
from penstock.services.volumes import creation, lifecycle, manage, retyping, snapshots, volumes
from penstock.services.volumes.creation import NewVolume
from penstock.services.volumes.manage import ExistingSnapshot, ExistingVolume, ManageablePage
from penstock.services.volumes.snapshots import NewVolumeSnapshot
from penstock.store import volume_snapshots as snapshot_rows
from penstock.store import volumes as volume_rows
from penstock.store.database import Database
from penstock.store.keyset import KeysetPage
from penstock.store.volumes import VolumeFilter
from penstock.volume.drivers.dummy_records import SnapshotRecord, VolumeRecord
from penstock.volume.manager.temporary import migration_target
from tests.databases import in_memory
from tests.local_files import GIB, LocalFiles
from tests.simulation.trouble import Died, MortalDatabase
from tests.simulation.volumes.test_every_step import OnceAt
from tests.volume_plane import ADMIN, CONFIG, OWNER, VolumePlane

TWO_POOLS = CONFIG + "dummy_pools = a,b\n"


@pytest.fixture
def site(tmp_path: Path) -> VolumePlane:
    return VolumePlane(tmp_path, config=TWO_POOLS, retry=RetryPolicy(give_up_after_s=60))


def made(site: VolumePlane, **wanted: Any) -> Volume:
    volume = creation.create(site.plane, OWNER, NewVolume(**{"size_gib": 2, **wanted}))
    site.work()
    return volumes.get(site.plane, OWNER, volume.id)


def shown(site: VolumePlane, volume_id: str) -> Volume:
    return volumes.get(site.plane, OWNER, volume_id)


def rows(site: VolumePlane) -> list[Volume]:
    with site.database.read() as tx:
        return volume_rows.list_volumes(tx, VolumeFilter())


def other_pool(volume: Volume) -> str:
    return "host@dummy#b" if volume.host == "host@dummy#a" else "host@dummy#a"


def test_what_exists_is_listed_taken_over_and_let_go(site: VolumePlane) -> None:
    site.storage.volumes["old"] = VolumeRecord(None, "a", 7, ["x"], {"s": SnapshotRecord(None, 7, [])})
    found = manage.list_manageable_volumes(site.plane, ADMIN, "host@dummy", ManageablePage())
    assert [(item["reference"], item["size"], item["safe_to_manage"]) for item in found] == [
        ({"source-name": "old"}, 7, True)
    ]
    wanted = ExistingVolume("host@dummy#a", {"source-name": "old"}, name="mine")
    volume = manage.manage_volume(site.plane, OWNER, wanted)
    assert volume.status is VolumeStatus.MANAGING
    site.work()
    assert (shown(site, volume.id).status, shown(site, volume.id).size_gib) == (VolumeStatus.AVAILABLE, 7)
    snapshot = manage.manage_snapshot(site.plane, OWNER, ExistingSnapshot(volume.id, {"source-name": "s"}))
    site.work()
    assert snapshots.get(site.plane, OWNER, snapshot.id).status is VolumeSnapshotStatus.AVAILABLE
    manage.unmanage_snapshot(site.plane, OWNER, snapshot.id)
    site.work()
    manage.unmanage_volume(site.plane, OWNER, volume.id)
    site.work()
    with pytest.raises(NotFound):
        shown(site, volume.id)
    record = site.storage.volumes[f"volume-{volume.id}"]
    assert (record.owner, record.written, record.snapshots["s"].owner) == (None, ["x"], None)


def test_what_is_not_there_is_an_error_to_be_unmanaged(site: VolumePlane) -> None:
    volume = manage.manage_volume(site.plane, OWNER, ExistingVolume("host@dummy#a", {"source-name": "none"}))
    site.work()
    assert shown(site, volume.id).status is VolumeStatus.ERROR_MANAGING
    manage.unmanage_volume(site.plane, OWNER, volume.id)
    site.work()
    assert rows(site) == []


def test_what_is_taken_over_counts_and_has_to_fit(site: VolumePlane) -> None:
    site.conf.set_override("quota_gigabytes", 9)
    site.storage.volumes["large"] = VolumeRecord(None, "a", 7, ["x"], {"s": SnapshotRecord(None, 2, [])})
    site.storage.volumes["more"] = VolumeRecord(None, "a", 7, ["x"], {})
    site.storage.volumes["small"] = VolumeRecord(None, "a", 2, ["x"], {"s": SnapshotRecord(None, 2, [])})
    small = manage.manage_volume(site.plane, OWNER, ExistingVolume("host@dummy#a", {"source-name": "small"}))
    large = manage.manage_volume(site.plane, OWNER, ExistingVolume("host@dummy#a", {"source-name": "large"}))
    more = manage.manage_volume(site.plane, OWNER, ExistingVolume("host@dummy#a", {"source-name": "more"}))
    site.work()
    assert [shown(site, one.id).size_gib for one in (small, large)] == [2, 7]
    assert shown(site, more.id).status is VolumeStatus.ERROR_MANAGING
    assert "more" in site.storage.volumes  # it was left alone
    assert len(messages.list_about_volumes(site.plane, OWNER, KeysetPage(), {}, {})) == 1
    site.conf.set_override("quota_gigabytes", 100)
    site.conf.set_override("per_volume_size_limit", 6)
    too_large = manage.manage_volume(site.plane, OWNER, ExistingVolume("host@dummy#a", {"source-name": "more"}))
    site.work()
    assert shown(site, too_large.id).status is VolumeStatus.ERROR_MANAGING


def test_a_snapshot_that_is_taken_over_has_to_fit_by_its_own_size(site: VolumePlane) -> None:
    site.conf.set_override("quota_gigabytes", 10)
    site.storage.volumes["old"] = VolumeRecord(None, "a", 2, ["x"], {"s": SnapshotRecord(None, 9, [])})
    volume = manage.manage_volume(site.plane, OWNER, ExistingVolume("host@dummy#a", {"source-name": "old"}))
    site.work()
    snapshot = manage.manage_snapshot(site.plane, OWNER, ExistingSnapshot(volume.id, {"source-name": "s"}))
    site.work()
    assert snapshots.get(site.plane, OWNER, snapshot.id).status is VolumeSnapshotStatus.ERROR_MANAGING


def test_a_service_that_is_not_there_is_told(site: VolumePlane) -> None:
    with pytest.raises(NotFound, match="no enabled volume service"):
        manage.list_manageable_volumes(site.plane, ADMIN, "host@other", ManageablePage())


def test_another_type_where_it_lies(site: VolumePlane) -> None:
    wanted = site.add_type("shared", {"multiattach": "<is> True"})
    volume = made(site)
    snapshot = snapshots.create(site.plane, OWNER, NewVolumeSnapshot(volume.id))
    site.work()
    retyping.retype(site.plane, OWNER, volume.id, "shared")
    site.work()
    seen = shown(site, volume.id)
    assert (seen.status, seen.volume_type_id, seen.is_multiattach) == (VolumeStatus.AVAILABLE, wanted.id, True)
    assert snapshots.get(site.plane, OWNER, snapshot.id).volume_type_id == wanted.id


def test_a_type_that_nobody_has_leaves_the_volume_and_tells_its_owner(site: VolumePlane) -> None:
    site.add_type("ssd", {"volume_backend_name": "ssd"})
    volume = made(site)
    retyping.retype(site.plane, OWNER, volume.id, "ssd", migration_policy="on-demand")
    site.work()
    seen = shown(site, volume.id)
    assert (seen.status, seen.volume_type_id) == (VolumeStatus.AVAILABLE, volume.volume_type_id)
    told = messages.list_about_volumes(site.plane, OWNER, KeysetPage(), {}, {})
    assert "volume_backend_name" in told[0].text


def test_a_driver_moves_a_volume(site: VolumePlane) -> None:
    volume = made(site)
    retyping.migrate(site.plane, ADMIN, volume.id, other_pool(volume), lock_volume=True)
    assert shown(site, volume.id).status is VolumeStatus.MAINTENANCE
    with pytest.raises(Invalid):
        lifecycle.delete(site.plane, OWNER, volume.id)
    site.work()
    seen = shown(site, volume.id)
    assert (seen.status, seen.host, seen.migration_status) == (
        VolumeStatus.AVAILABLE,
        other_pool(volume),
        MigrationStatus.SUCCESS,
    )
    assert f"host@dummy#{site.storage.volumes[f'volume-{volume.id}'].pool}" == seen.host


def test_a_volume_with_snapshots_or_attached_does_not_move(site: VolumePlane) -> None:
    volume = made(site)
    snapshots.create(site.plane, OWNER, NewVolumeSnapshot(volume.id))
    with pytest.raises(Invalid, match="snapshots"):
        retyping.migrate(site.plane, ADMIN, volume.id, other_pool(volume))


class TwoFolders(LocalFiles):
    """Two pools; copies only through this machine."""

    failing: str | None = None
    supported_types = True
    after_copy: Callable[[], None] | None = None

    def _update_volume_stats(self) -> None:
        super()._update_volume_stats()
        pool = self._stats["pools"][0]
        self._stats["pools"] = [
            {**pool, "pool_name": name, "color": "red" if name == "a" else "blue"} for name in ("a", "b")
        ]

    def after_volume_copy(self, context: Any, src_vol: Any, dest_vol: Any, remote: str | None = None) -> None:
        if self.after_copy is not None:
            self.after_copy()
        if self.failing == "away":
            raise Unavailable("away")
        if self.failing == "broken":
            raise BackendFault("broken")


class FilesPlane(VolumePlane):
    def make_driver(self, section: Any) -> Any:
        section.conf.set_override("volumes_dir", str(self.folder), group="dummy")
        return TwoFolders(configuration=section, host="host@dummy")

    def __init__(self, folder: Path, database: Database | None = None) -> None:
        self.folder = folder / "volumes"
        super().__init__(folder, database=database, retry=RetryPolicy(give_up_after_s=60))


@pytest.fixture
def files(tmp_path: Path) -> FilesPlane:
    return FilesPlane(tmp_path)


def written(files: FilesPlane, volume: Volume) -> Path:
    path = files.folder / f"volume-{volume.name_id or volume.id}"
    with path.open("r+b") as file:
        file.seek(GIB - 4096)
        file.write(b"data of the volume")
    return path


def settle(files: FilesPlane) -> None:
    for _ in range(8):
        files.work()
        files.clock.sleep(10)
        files.manager.heartbeat()


def test_a_copy_takes_the_place_of_the_volume(files: FilesPlane) -> None:
    volume = made(files, size_gib=1)
    old = written(files, volume)
    retyping.migrate(files.plane, ADMIN, volume.id, other_pool(volume))
    settle(files)
    seen = shown(files, volume.id)
    assert (seen.host, seen.migration_status) == (other_pool(volume), MigrationStatus.SUCCESS)
    assert (seen.id, seen.name_id) != (volume.id, None)
    new = files.folder / f"volume-{seen.name_id}"
    with new.open("rb") as file:
        file.seek(GIB - 4096)
        assert file.read(18) == b"data of the volume"
    assert not old.exists()
    assert [row.id for row in rows(files)] == [volume.id]
    lifecycle.delete(files.plane, OWNER, volume.id)
    settle(files)
    assert list(files.folder.iterdir()) == []


@pytest.mark.parametrize("failing", ["broken", "away"])
def test_a_copy_that_fails_leaves_the_volume_where_it_is(files: FilesPlane, failing: str) -> None:
    volume = made(files, size_gib=1)
    old = written(files, volume)
    files.driver.failing = failing  # type: ignore[attr-defined]
    retyping.migrate(files.plane, ADMIN, volume.id, other_pool(volume))
    files.work()
    if failing == "away":
        files.driver.failing = None  # type: ignore[attr-defined]
    settle(files)
    seen = shown(files, volume.id)
    if failing == "away":
        assert seen.migration_status is MigrationStatus.SUCCESS
        return
    assert (seen.host, seen.status, seen.migration_status) == (
        volume.host,
        VolumeStatus.AVAILABLE,
        MigrationStatus.ERROR,
    )
    assert list(files.folder.iterdir()) == [old]
    assert [row.id for row in rows(files)] == [volume.id]


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_copy_that_is_being_deleted_does_not_take_the_place(files: FilesPlane, is_gone: bool) -> None:
    volume = made(files, size_gib=1)
    old = written(files, volume)

    def delete_the_copy() -> None:
        with files.database.begin() as tx:
            target = migration_target(tx, volume.id)
            assert target is not None
            if is_gone:
                volume_rows.delete_volume(tx, target.id)
            else:
                volume_rows.move(tx, target, VolumeEvent.FORCE_DELETE, now=files.clock.utc())

    files.driver.after_copy = delete_the_copy  # type: ignore[attr-defined]
    retyping.migrate(files.plane, ADMIN, volume.id, other_pool(volume))
    files.work()
    seen = shown(files, volume.id)
    assert (seen.host, seen.name_id, seen.migration_status) == (volume.host, None, MigrationStatus.ERROR)
    assert seen.status is VolumeStatus.AVAILABLE
    assert old.exists()


def test_another_type_elsewhere_when_the_policy_allows_it(files: FilesPlane) -> None:
    files.add_type("red", {"color": "red"})
    blue = files.add_type("blue", {"color": "blue"})
    volume = made(files, size_gib=1, volume_type="red")
    written(files, volume)
    retyping.retype(files.plane, OWNER, volume.id, "blue")
    settle(files)
    assert shown(files, volume.id).volume_type_id == volume.volume_type_id
    retyping.retype(files.plane, OWNER, volume.id, "blue", migration_policy="on-demand")
    settle(files)
    seen = shown(files, volume.id)
    assert (seen.host, seen.volume_type_id, seen.status) == ("host@dummy#b", blue.id, VolumeStatus.AVAILABLE)
    assert len(list(files.folder.iterdir())) == 1


def test_a_revert_by_copying_leaves_nothing_behind(files: FilesPlane) -> None:
    volume = made(files, size_gib=1)
    path = written(files, volume)
    snapshot = snapshots.create(files.plane, OWNER, NewVolumeSnapshot(volume.id))
    settle(files)
    with path.open("r+b") as file:
        file.write(b"newer")
    lifecycle.revert(files.plane, OWNER, volume.id, snapshot.id)
    settle(files)
    assert shown(files, volume.id).status is VolumeStatus.AVAILABLE
    with path.open("rb") as file:
        assert file.read(5) == bytes(5)
    assert [row.id for row in rows(files)] == [volume.id]


class SometimesReverting(TwoFolders):
    """Can revert, but not this volume; is let at no copy while `failing`."""

    def revert_to_snapshot(self, context: Any, volume: Any, snapshot: Any) -> None:
        raise NotImplementedError("a clone lives on something newer")

    def initialize_connection(self, volume: Any, connector: Any, **kwargs: Any) -> dict[str, Any]:
        if self.failing == "broken":
            raise BackendFault("broken")
        return super().initialize_connection(volume, connector, **kwargs)


class SometimesRevertingPlane(FilesPlane):
    def make_driver(self, section: Any) -> Any:
        section.conf.set_override("volumes_dir", str(self.folder), group="dummy")
        return SometimesReverting(configuration=section, host="host@dummy")


@pytest.mark.parametrize("failing", [None, "broken"])
def test_a_revert_that_the_driver_cannot_do_is_a_copy(tmp_path: Path, failing: str | None) -> None:
    """Should the copy break, the owner has what was there before, under a name that says so."""
    files = SometimesRevertingPlane(tmp_path)
    volume = made(files, size_gib=1)
    path = written(files, volume)
    snapshot = snapshots.create(files.plane, OWNER, NewVolumeSnapshot(volume.id))
    settle(files)
    with path.open("r+b") as file:
        file.write(b"newer")
    files.driver.failing = failing  # type: ignore[attr-defined]
    lifecycle.revert(files.plane, OWNER, volume.id, snapshot.id)
    settle(files)
    with files.database.read() as tx:
        first, *kept = snapshot_rows.of_volume(tx, volume.id)
    assert (first.id, first.status) == (snapshot.id, VolumeSnapshotStatus.AVAILABLE)
    assert [row.id for row in rows(files)] == [volume.id]
    if failing is None:
        assert shown(files, volume.id).status is VolumeStatus.AVAILABLE
        assert path.open("rb").read(5) == bytes(5)
        assert kept == []
        return
    assert shown(files, volume.id).status is VolumeStatus.ERROR
    assert [(row.name, row.status, row.uses_quota) for row in kept] == [
        (f"before the revert to {snapshot.id}", VolumeSnapshotStatus.AVAILABLE, False)
    ]
    assert (files.folder / f"snapshot-{kept[0].id}").open("rb").read(5) == b"newer"


def test_a_migration_that_nobody_carries_on_is_given_up_at_start(files: FilesPlane) -> None:
    volume = made(files, size_gib=1)
    with files.database.begin() as tx:
        volume_rows.update_volume(tx, volume.id, now=files.clock.utc(), migration_status=MigrationStatus.MIGRATING)
        current = volume_rows.get(tx, volume.id)
        assert current is not None
        volume_rows.move(tx, current, VolumeEvent.MAINTAIN, now=files.clock.utc())
    files.restart()
    seen = shown(files, volume.id)
    assert (seen.status, seen.migration_status) == (VolumeStatus.AVAILABLE, MigrationStatus.ERROR)


@pytest.mark.parametrize("work", ["migrate", "retype", "revert"])
def test_killed_at_any_commit_it_ends_as_if_nobody_had_died(tmp_path: Path, work: str) -> None:
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        database = in_memory(MortalDatabase)
        files = FilesPlane(folder, database)
        files.add_type("red", {"color": "red"})
        files.add_type("blue", {"color": "blue"})
        volume = made(files, size_gib=1, volume_type="red" if work == "retype" else "default")
        written(files, volume)
        snapshot = snapshots.create(files.plane, OWNER, NewVolumeSnapshot(volume.id)) if work == "revert" else None
        settle(files)
        trouble = OnceAt(Random(0))
        database.trouble, trouble.left = trouble, number
        has_died = False
        for act in (lambda: _begin(files, volume, work, snapshot), files.work, files.work):  # noqa: B023
            try:
                act()
            except Died:
                has_died = True
                files.restart()
        trouble.left = None
        settle(files)
        seen = shown(files, volume.id)
        assert (seen.status, seen.is_migrating) == (VolumeStatus.AVAILABLE, False), number
        assert [row.id for row in rows(files)] == [volume.id], number
        kept = {f"volume-{seen.name_id or seen.id}"} | ({f"snapshot-{snapshot.id}"} if snapshot else set())
        assert {path.name for path in files.folder.iterdir()} == kept, number
        with (files.folder / f"volume-{seen.name_id or seen.id}").open("rb") as file:
            file.seek(GIB - 4096)
            assert file.read(18) == b"data of the volume", number
        if not has_died:
            assert number > 4
            return
    raise AssertionError("it has no end")


def _begin(files: FilesPlane, volume: Volume, work: str, snapshot: Any) -> None:
    if work == "migrate":
        retyping.migrate(files.plane, ADMIN, volume.id, other_pool(volume), lock_volume=True)
    elif work == "retype":
        retyping.retype(files.plane, OWNER, volume.id, "blue", migration_policy="on-demand")
    else:
        lifecycle.revert(files.plane, OWNER, volume.id, snapshot.id)
