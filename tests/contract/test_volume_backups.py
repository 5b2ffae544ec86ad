"""Backups: whole and incremental, of volumes in use and of snapshots, restored and damaged."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from penstock.backups.archive import BLOCK_BYTES, DATA, Archive
from penstock.domain.backups import BackupStatus
from penstock.domain.quotas import Usage
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import BackendFault, Invalid, NotFound, QuotaExceeded
from penstock.operations.outcome import RetryPolicy
from penstock.services.volumes import attachments, backups, connections, creation, lifecycle, quotas, snapshots, volumes
from penstock.services.volumes.attachments import NewAttachment
from penstock.services.volumes.backups import NewBackup
from penstock.services.volumes.creation import NewVolume
from penstock.services.volumes.snapshots import NewVolumeSnapshot
from penstock.store import volumes as volume_rows
from penstock.store.volumes import VolumeFilter
from tests.local_files import LocalFiles
from tests.volume_plane import CONFIG, CONNECTOR, OWNER, VolumePlane


class BackupPlane(VolumePlane):
    """The dummy section served by a driver of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "volumes"
        self.archive_folder = folder / "backup"
        told = f"[DEFAULT]\nimage_conversion_dir = {folder}/conversion\nbackup_posix_path = {folder}/backup"
        super().__init__(folder, config=CONFIG.replace("[DEFAULT]", told), retry=RetryPolicy(give_up_after_s=60))

    def make_driver(self, section: Any) -> Any:
        section.conf.set_override("volumes_dir", str(self.folder), group="dummy")
        return LocalFiles(configuration=section, host="host@dummy")


@pytest.fixture
def site(tmp_path: Path) -> BackupPlane:
    return BackupPlane(tmp_path)


def made(site: BackupPlane, **wanted: Any) -> Volume:
    volume = creation.create(site.plane, OWNER, NewVolume(**{"size_gib": 1, **wanted}))
    site.work()
    return volumes.get(site.plane, OWNER, volume.id)


def write(site: BackupPlane, volume: Volume, block: int, data: bytes) -> None:
    with (site.folder / f"volume-{volume.id}").open("r+b") as file:
        file.seek(block * BLOCK_BYTES)
        file.write(data)


def content(site: BackupPlane, volume_id: str) -> bytes:
    """The first blocks, which is all that anybody writes to here."""
    with (site.folder / f"volume-{volume_id}").open("rb") as file:
        return file.read(8 * BLOCK_BYTES)


def back_up(site: BackupPlane, volume: Volume, **wanted: Any) -> Any:
    backup = backups.create(site.plane, OWNER, NewBackup(volume.id, **wanted))
    site.work()
    return backups.get(site.plane, OWNER, backup.id)


def test_a_chain_of_backups_gives_every_state_back(site: BackupPlane) -> None:
    volume, noise = made(site), random.Random(1)
    states, taken = [], []
    for turn in range(3):
        write(site, volume, turn, noise.randbytes(2 * BLOCK_BYTES))
        states.append(content(site, volume.id))
        backup = back_up(site, volume, incremental=turn > 0)
        assert (backup.status, backup.is_incremental, backup.object_count) == (BackupStatus.AVAILABLE, turn > 0, 2)
        taken.append(backup)
        site.clock.sleep(1)
    for backup, state in zip(taken, states, strict=True):
        restored = backups.restore(site.plane, OWNER, backup.id)
        site.work()
        assert volumes.get(site.plane, OWNER, restored.id).status is VolumeStatus.AVAILABLE
        assert content(site, restored.id) == state
    with pytest.raises(Invalid, match="build on"):
        backups.delete(site.plane, OWNER, taken[0].id)
    for backup in reversed(taken):
        backups.delete(site.plane, OWNER, backup.id)
        site.work()
    assert [path for path in site.archive_folder.rglob("*") if path.is_file()] == []
    assert quotas.show(site.plane, "p1")["backups"].usage == Usage(0)


def test_a_backup_is_read_by_nobody_else(site: BackupPlane) -> None:
    volume = made(site)
    write(site, volume, 0, b"of the volume")
    back_up(site, volume)
    made_here = [site.archive_folder, *site.archive_folder.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in made_here if path.is_dir()} == {0o700}
    assert [path.stat().st_mode & 0o777 for path in made_here if path.is_file()] == [0o600] * 3


def test_a_restore_replaces_what_was_there(site: BackupPlane) -> None:
    volume = made(site)
    backup = back_up(site, volume)
    write(site, volume, 5, b"newer")
    backups.restore(site.plane, OWNER, backup.id, volume.id)
    assert volumes.get(site.plane, OWNER, volume.id).status is VolumeStatus.RESTORING_BACKUP
    site.work()
    assert volumes.get(site.plane, OWNER, volume.id).status is VolumeStatus.AVAILABLE
    assert not any(content(site, volume.id))
    assert backups.get(site.plane, OWNER, backup.id).status is BackupStatus.AVAILABLE


def test_a_volume_in_use_is_backed_up_from_a_clone_that_goes(site: BackupPlane) -> None:
    volume = made(site)
    write(site, volume, 0, b"in use")
    attachment = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", CONNECTOR))
    attachments.complete(site.plane, OWNER, attachment.id)
    with pytest.raises(Invalid, match="force"):
        back_up(site, volume)
    assert back_up(site, volume, force=True).status is BackupStatus.AVAILABLE
    assert volumes.get(site.plane, OWNER, volume.id).status is VolumeStatus.IN_USE
    assert [path.name for path in site.folder.iterdir()] == [f"volume-{volume.id}"]
    with site.database.read() as tx:
        assert volume_rows.count_volumes(tx, VolumeFilter()) == 1


def test_a_snapshot_is_backed_up_as_it_was(site: BackupPlane) -> None:
    volume = made(site)
    write(site, volume, 0, b"then")
    snapshot = snapshots.create(site.plane, OWNER, NewVolumeSnapshot(volume.id))
    site.work()
    write(site, volume, 0, b"now!")
    backup = back_up(site, volume, snapshot_id=snapshot.id)
    restored = backups.restore(site.plane, OWNER, backup.id)
    site.work()
    assert content(site, restored.id)[:4] == b"then"


def test_a_backup_is_not_written_under_a_machine_that_is_connected(site: BackupPlane) -> None:
    volume = made(site)
    backup = back_up(site, volume)
    connections.initialize_connection(site.plane, OWNER, volume.id, CONNECTOR)
    with pytest.raises(Invalid, match="connected"):
        backups.restore(site.plane, OWNER, backup.id, volume.id)
    connections.terminate_connection(site.plane, OWNER, volume.id, CONNECTOR)
    backups.restore(site.plane, OWNER, backup.id, volume.id)
    site.work()
    assert volumes.get(site.plane, OWNER, volume.id).status is VolumeStatus.AVAILABLE


def test_a_backup_outlives_its_volume(site: BackupPlane) -> None:
    volume = made(site)
    write(site, volume, 3, b"kept")
    backup = back_up(site, volume)
    lifecycle.delete(site.plane, OWNER, volume.id)
    site.work()
    again = made(site, size_gib=None, backup_id=backup.id)
    assert content(site, again.id)[3 * BLOCK_BYTES : 3 * BLOCK_BYTES + 4] == b"kept"


def test_what_is_damaged_is_never_restored(site: BackupPlane) -> None:
    volume = made(site)
    write(site, volume, 0, random.Random(2).randbytes(BLOCK_BYTES))
    backup = back_up(site, volume)
    data = next(site.archive_folder.rglob(DATA))
    held = bytearray(data.read_bytes())
    held[len(held) // 2] ^= 1
    data.write_bytes(held)
    with pytest.raises(BackendFault, match="damaged"):
        Archive(site.archive_folder).read(backup.id, site.folder.parent / "out")
    restored = backups.restore(site.plane, OWNER, backup.id)
    site.work()
    assert volumes.get(site.plane, OWNER, restored.id).status is VolumeStatus.ERROR


def test_an_incremental_one_needs_another(site: BackupPlane) -> None:
    with pytest.raises(Invalid, match="build on"):
        back_up(site, made(site), incremental=True)


def test_backups_count(site: BackupPlane) -> None:
    quotas.update(site.plane, "p1", {"backup_gigabytes": 1})
    volume = made(site)
    back_up(site, volume)
    with pytest.raises(QuotaExceeded):
        back_up(site, volume)


def test_a_backup_that_was_interrupted_is_made_again(site: BackupPlane) -> None:
    volume = made(site)
    write(site, volume, 0, b"data")

    class Death(BaseException):
        pass

    def die(*_args: Any, **_kwargs: Any) -> None:
        raise Death

    kept = site.driver.detach_here
    site.driver.detach_here = die  # type: ignore[method-assign]
    backup = backups.create(site.plane, OWNER, NewBackup(volume.id))
    with pytest.raises(Death):
        site.work()
    site.driver.detach_here = kept  # type: ignore[method-assign]
    site.restart()
    site.work()
    assert backups.get(site.plane, OWNER, backup.id).status is BackupStatus.AVAILABLE
    assert volumes.get(site.plane, OWNER, volume.id).status is VolumeStatus.AVAILABLE


def test_copies_leave_workers_for_others_and_wait_as_long_as_it_takes(site: BackupPlane) -> None:
    volume = made(site)
    with site.manager.backend.copying(), site.manager.backend.copying():
        backup = backups.create(site.plane, OWNER, NewBackup(volume.id))
        for _ in range(40):
            site.work()
            site.clock.sleep(61)
        assert backups.get(site.plane, OWNER, backup.id).status is BackupStatus.CREATING
    site.work()
    assert backups.get(site.plane, OWNER, backup.id).status is BackupStatus.AVAILABLE


def test_another_projects_backup_does_not_exist(site: BackupPlane) -> None:
    backup = back_up(site, made(site))
    stranger = OWNER.__class__("u2", "p2", ("member",))
    with pytest.raises(NotFound):
        backups.restore(site.plane, stranger, backup.id)
