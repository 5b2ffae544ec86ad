"""A volume moves to another backend, whose worker makes the destination and lets the copier in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.config.backend import volume_backend
from penstock.domain.operations import Call, Operation, OperationState
from penstock.domain.volumes import MigrationStatus, Volume, VolumeStatus
from penstock.errors import BackendFault
from penstock.ids import OperationId
from penstock.operations.outcome import RetryPolicy
from penstock.operations.worker import Worker
from penstock.services.volumes import creation, lifecycle, retyping, volumes
from penstock.services.volumes.creation import NewVolume
from penstock.store import attachments as attachment_rows
from penstock.store import operations
from penstock.store import volumes as volume_rows
from penstock.store.attachments import AttachmentFilter
from penstock.store.database import Database
from penstock.store.volumes import VolumeFilter
from penstock.volume.manager import VolumeManager
from penstock.volume_backend import Dispatch
from tests.local_files import GIB, LocalFiles
from tests.volume_plane import ADMIN, CONFIG, OWNER, VolumePlane, WorkingQueue

OTHER = "[other]\nvolume_driver = tests.local_files.LocalFiles\nvolume_backend_name = other\n"
RETRY = RetryPolicy(give_up_after_s=60)


class Failing(LocalFiles):
    """May refuse to make anything."""

    broken = False

    def create_volume(self, volume: Any) -> dict[str, str]:
        if self.broken:
            raise BackendFault("no")
        return super().create_volume(volume)


class BothQueue(WorkingQueue):
    """Whoever waits does both backends' work meanwhile."""

    other: Worker | None = None

    def wait(self, database: Database, operation_id: OperationId, *, timeout_s: float) -> Operation | None:
        if self.other is not None:
            self.other.run_pending()
        return super().wait(database, operation_id, timeout_s=timeout_s)


class TwoBackends(VolumePlane):
    """The section ``dummy`` and the section ``other``, each with a folder of its own."""

    queue_class = BothQueue

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config = CONFIG.replace("enabled_backends = dummy", "enabled_backends = dummy,other") + OTHER
        super().__init__(folder, config=config, retry=RETRY)

    def make_driver(self, section: Any) -> Any:
        section.conf.set_override("volumes_dir", str(self.folder / "here"), group="dummy")
        return LocalFiles(configuration=section, host="host@dummy")

    def restart(self) -> None:
        super().restart()
        section = volume_backend(self.conf, "other")
        section.conf.set_override("volumes_dir", str(self.folder / "there"), group="other")
        self.there = VolumeManager(
            Failing(configuration=section, host="host@other"),
            "other",
            configuration=section,
            database=self.database,
            clock=self.clock,
            conf=self.conf,
            queue=self.queue,
        )
        self.there.init_host()
        there = Worker(self.database, self.queue, self.clock, self.there.host, Dispatch(self.there), retry=RETRY)
        there.resume_interrupted()
        self.there_worker = there
        assert isinstance(self.queue, BothQueue)
        self.queue.other = there

    def settle(self) -> None:
        for _ in range(12):
            self.work()
            self.there_worker.run_pending()
            self.clock.sleep(10)
            self.manager.heartbeat()
            self.there.heartbeat()


@pytest.fixture
def site(tmp_path: Path) -> TwoBackends:
    return TwoBackends(tmp_path)


def made(site: TwoBackends) -> Volume:
    volume = creation.create(site.plane, OWNER, NewVolume(size_gib=1))
    site.settle()
    found = volumes.get(site.plane, OWNER, volume.id)
    if found.host != "host@dummy#pool":  # the scheduler may like either
        retyping.migrate(site.plane, ADMIN, volume.id, "host@dummy#pool")
        site.settle()
    return volumes.get(site.plane, OWNER, volume.id)


def file_of(site: TwoBackends, volume: Volume, where: str) -> Path:
    return site.folder / where / f"volume-{volume.name_id or volume.id}"


def test_its_bytes_go_to_the_other_backend_and_nothing_stays(site: TwoBackends) -> None:
    volume = made(site)
    with file_of(site, volume, "here").open("r+b") as file:
        file.seek(GIB // 2)
        file.write(b"the data")
    retyping.migrate(site.plane, ADMIN, volume.id, "host@other#pool")
    site.settle()
    seen = volumes.get(site.plane, OWNER, volume.id)
    assert (seen.host, seen.migration_status, seen.status) == (
        "host@other#pool",
        MigrationStatus.SUCCESS,
        VolumeStatus.AVAILABLE,
    )
    with file_of(site, seen, "there").open("rb") as file:
        file.seek(GIB // 2)
        assert file.read(8) == b"the data"
    assert list((site.folder / "here").iterdir()) == []
    with site.database.read() as tx:
        assert attachment_rows.list_attachments(tx, AttachmentFilter()) == []
        assert [one.id for one in volume_rows.list_volumes(tx, VolumeFilter())] == [volume.id]
    lifecycle.delete(site.plane, OWNER, volume.id)
    site.settle()
    assert list((site.folder / "there").iterdir()) == []


def test_a_destination_that_cannot_be_made_is_given_up(site: TwoBackends) -> None:
    volume = made(site)
    site.there.driver.broken = True  # type: ignore[attr-defined]
    retyping.migrate(site.plane, ADMIN, volume.id, "host@other#pool", lock_volume=True)
    site.settle()
    seen = volumes.get(site.plane, OWNER, volume.id)
    assert (seen.host, seen.migration_status, seen.status) == (
        "host@dummy#pool",
        MigrationStatus.ERROR,
        VolumeStatus.AVAILABLE,
    )
    with site.database.read() as tx:
        assert [one.id for one in volume_rows.list_volumes(tx, VolumeFilter())] == [volume.id]


def test_what_was_queued_before_it_moved_is_done_where_it_is(site: TwoBackends) -> None:
    volume = made(site)
    retyping.migrate(site.plane, ADMIN, volume.id, "host@other#pool")
    with site.database.begin() as tx:
        call = Call("host@dummy", f"volume:{volume.id}", "ensure_export", {"volume_id": volume.id})
        queued = site.queue.enqueue(tx, OWNER, call)
    site.settle()
    assert volumes.get(site.plane, OWNER, volume.id).host == "host@other#pool"
    with site.database.read() as tx:
        ended = operations.get(tx, queued)
    assert ended is not None
    assert (ended.call.backend, ended.state) == ("host@other", OperationState.DONE)
