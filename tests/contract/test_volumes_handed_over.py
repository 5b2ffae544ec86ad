"""Operations on volumes that begin with their request: they read nothing again, and go by what they would have read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.clock import SystemClock
from penstock.domain.operations import Operation
from penstock.domain.volume_snapshots import VolumeSnapshot
from penstock.domain.volume_types import QosConsumer, QosSpecs
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Unavailable
from penstock.ids import OperationId, QosSpecsId, new_id
from penstock.operations.queue import OperationQueue
from penstock.services.volumes import attachments, connections, creation, lifecycle, retyping, snapshots, volumes
from penstock.services.volumes.attachments import NewAttachment
from penstock.services.volumes.connections import Use
from penstock.services.volumes.creation import NewVolume
from penstock.services.volumes.snapshots import NewVolumeSnapshot
from penstock.store import operations, volume_qos, volume_snapshots, volume_types
from penstock.store import volumes as volume_rows
from penstock.store.database import Database, Transaction
from penstock.volume.drivers.dummy import DummyVolumeDriver
from penstock.volume.interface.values import Updates
from penstock.volume.manager.models import snapshot_model, volume_model
from penstock.volume.models import SnapshotModel, VolumeModel
from tests.databases import in_file
from tests.volume_plane import CONNECTOR, OWNER, VolumePlane, WorkingQueue
from tests.waiting import until

WATCHED = {
    "create_volume",
    "create_volume_from_snapshot",
    "create_cloned_volume",
    "delete_volume",
    "extend_volume",
    "create_snapshot",
    "delete_snapshot",
    "create_export",
    "attach_volume",
    "terminate_connection",
}


class Counting(Database):
    """Counts the transactions that the threads of its backend's worker begin."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.counts: Counter[str] = Counter()

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[Transaction]:
        self._count("write")
        with super().begin(durable=durable) as tx:
            yield tx

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        self._count("read")
        with super().read() as tx:
            yield tx

    def _count(self, kind: str) -> None:
        if threading.current_thread().name.startswith("work-"):
            self.counts[kind] += 1


class Queue(WorkingQueue):
    """As the daemon's: whoever waits for an operation does no work."""

    def wait(self, database: Database, operation_id: OperationId, *, timeout_s: float) -> Operation | None:
        return OperationQueue.wait(self, database, operation_id, timeout_s=timeout_s)


class Site(VolumePlane):
    """A backend whose worker begins operations with the requests that ask for them, in threads of its own."""

    queue_class = Queue

    def __init__(self, folder: Path) -> None:
        self.called: list[tuple[str, bool]] = []  # of the driver: does it go by what is in the database?
        self.beside = Database(f"sqlite:///{folder / 'volumes.db'}")
        super().__init__(folder, database=in_file(folder / "volumes.db", Counting), clock=SystemClock())

    def make_driver(self, section: Any) -> DummyVolumeDriver:
        return Watched(self, configuration=section, storage=self.storage, host="host@dummy")

    @property
    def counts(self) -> Counter[str]:
        """Transactions of the worker."""
        assert isinstance(self.database, Counting)
        return self.database.counts

    def is_as_read(self, model: object) -> bool:
        """Would somebody who reads the rows now hold the same?"""
        with self.beside.read() as tx:
            if isinstance(model, SnapshotModel):
                snapshot = volume_snapshots.get(tx, model.id)
                return snapshot is not None and snapshot_model(tx, self.manager.backend, snapshot) == model
            if isinstance(model, VolumeModel):
                volume = volume_rows.get(tx, model.id)
                return volume is not None and volume_model(tx, self.manager.backend, volume) == model
        return True

    def settle(self) -> None:
        """Wait until nothing is under way, and nobody is at it any more."""

        def pending() -> list[Any]:
            with self.beside.read() as tx:
                return list(operations.pending(tx))

        until(lambda: not pending() and not self.worker._busy)

    def worked(self, ask: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
        """What `ask` answers, and the transactions of the operation that it asked for."""
        self.settle()
        self.counts.clear()
        self.called.clear()
        answer = ask()
        self.settle()
        return answer, dict(self.counts)


class Looking(DummyVolumeDriver):
    """Looks at sources before it is called, and is told what it found."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seen: list[tuple[object, SnapshotModel]] = []

    def look_ahead(self, volume: VolumeModel) -> None:
        """Nothing."""

    def look_at_source(self, snapshot: SnapshotModel) -> SnapshotModel:
        return snapshot

    def create_volume_from_snapshot(
        self, volume: VolumeModel, snapshot: SnapshotModel, looked: Future[SnapshotModel] | None = None
    ) -> Updates | None:
        self.seen.append((None if looked is None else looked.result(20), snapshot))
        return super().create_volume_from_snapshot(volume, snapshot)


class Watched(DummyVolumeDriver):
    """Notes what it is called for, and whether what it is handed is what is in the database."""

    def __init__(self, site: Site, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._site = site

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in WATCHED:
            return found
        site = self._site

        def call(*args: Any, **kwargs: Any) -> Any:
            site.called.append((name, all(site.is_as_read(one) for one in args)))
            return found(*args, **kwargs)

        return call


@contextmanager
def at_work(made: Site) -> Iterator[Site]:
    """With a type of volumes that have limits of their speed, and the worker at work."""
    now = made.clock.utc()
    limits = QosSpecs(QosSpecsId(new_id()), "limits", QosConsumer.BOTH, now, None, {"total_iops_sec": "500"})
    quick = made.add_type("quick", {"multiattach": "<is> True"})
    with made.database.begin() as tx:
        volume_qos.insert_specs(tx, limits)
        volume_types.update_type(tx, quick.id, now=now, qos_specs_id=limits.id)
    made.worker.start()
    try:
        yield made
    finally:
        made.worker.stop()
        made.beside.close()
        made.database.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with at_work(Site(tmp_path)) as made:
        yield made


def a_volume(site: Site, **wanted: Any) -> Volume:
    """A new volume, made."""
    wanted = {"size_gib": 2, "volume_type": "quick", "metadata": {"a": "b"}, **wanted}
    made, _ = site.worked(lambda: creation.create(site.plane, OWNER, NewVolume(**wanted)))
    return volumes.get(site.plane, OWNER, made.id)


def a_snapshot(site: Site, volume: Volume) -> VolumeSnapshot:
    """A snapshot of it, taken."""
    wanted = NewVolumeSnapshot(volume.id, metadata={"c": "d"})
    made, _ = site.worked(lambda: snapshots.create(site.plane, OWNER, wanted))
    return snapshots.get(site.plane, OWNER, made.id)


def test_an_empty_volume(site: Site) -> None:
    wanted = NewVolume(size_gib=2, volume_type="quick", metadata={"a": "b"})
    made, counts = site.worked(lambda: creation.create(site.plane, OWNER, wanted))
    assert volumes.get(site.plane, OWNER, made.id).status is VolumeStatus.AVAILABLE
    assert site.called == [("create_volume", True)]
    assert counts == {"write": 1}


@pytest.mark.parametrize("retyped", [False, True])
def test_a_volume_from_a_snapshot(site: Site, retyped: bool) -> None:
    """Also of one whose volume has another type by now, and with a third for what is made."""
    home = a_volume(site)
    taken = a_snapshot(site, home)
    wanted = NewVolume(snapshot_id=taken.id)
    if retyped:
        site.worked(lambda: retyping.retype(site.plane, OWNER, home.id, "default"))
        site.add_type("other", {"acme:color": "red"})
        wanted = NewVolume(snapshot_id=taken.id, volume_type="other", size_gib=3)
    made, counts = site.worked(lambda: creation.create(site.plane, OWNER, wanted))
    assert volumes.get(site.plane, OWNER, made.id).status is VolumeStatus.AVAILABLE
    assert site.called == [("create_volume_from_snapshot", True)]
    assert counts == {"write": 1}


def test_a_volume_from_a_volume(site: Site) -> None:
    home = a_volume(site)
    wanted = NewVolume(source_volid=home.id, volume_type="default")
    made, counts = site.worked(lambda: creation.create(site.plane, OWNER, wanted))
    assert volumes.get(site.plane, OWNER, made.id).status is VolumeStatus.AVAILABLE
    assert site.called == [("create_cloned_volume", True)]
    assert counts == {"write": 1}


def test_a_snapshot_s_life(site: Site) -> None:
    home = a_volume(site)
    wanted = NewVolumeSnapshot(home.id, metadata={"c": "d"})
    taken, counts = site.worked(lambda: snapshots.create(site.plane, OWNER, wanted))
    assert (site.called, counts) == ([("create_snapshot", True)], {"write": 1})
    _, counts = site.worked(lambda: snapshots.delete(site.plane, OWNER, taken.id))
    assert (site.called, counts) == ([("delete_snapshot", True)], {"write": 1})


def test_a_larger_volume(site: Site) -> None:
    volume = a_volume(site)
    _, counts = site.worked(lambda: lifecycle.extend(site.plane, OWNER, volume.id, 5, attached=False))
    assert volumes.get(site.plane, OWNER, volume.id).size_gib == 5
    assert site.called == [("extend_volume", True)]
    assert counts == {"write": 2}  # the second publishes what room is left


def test_a_deletion(site: Site) -> None:
    volume = a_volume(site)
    _, counts = site.worked(lambda: lifecycle.delete(site.plane, OWNER, volume.id))
    assert (site.called, counts) == ([("delete_volume", True)], {"write": 1})
    assert site.storage.volumes == {}


def test_a_deletion_with_snapshots_reads_each_of_them_in_its_turn(site: Site) -> None:
    volume = a_volume(site)
    for _ in range(2):
        a_snapshot(site, volume)
    _, counts = site.worked(lambda: lifecycle.delete(site.plane, OWNER, volume.id, cascade=True))
    assert site.called == [("delete_snapshot", True), ("delete_snapshot", True), ("delete_volume", True)]
    assert counts == {"read": 2, "write": 3}
    assert site.storage.volumes == {}


def test_an_attachment_s_life(site: Site) -> None:
    volume = a_volume(site)
    first = attachments.create(site.plane, OWNER, NewAttachment(volume.id, instance_uuid="vm"))
    made, counts = site.worked(lambda: attachments.update(site.plane, OWNER, first.id, CONNECTOR))
    assert made.connection_info["qos_specs"] == {"total_iops_sec": "500"}
    assert site.called == [("create_export", True)]
    assert counts == {"write": 2}  # what the driver says of the export is on the disk before anybody is let in
    elsewhere = {**CONNECTOR, "initiator": "iqn.1994-05.com.redhat:two", "host": "two"}
    wanted = NewAttachment(volume.id, "other", elsewhere)
    second, counts = site.worked(lambda: attachments.create(site.plane, OWNER, wanted))
    assert (site.called, counts) == ([("create_export", True)], {"write": 1})
    for one, others in ((first, [second.id]), (second, [])):
        left, counts = site.worked(lambda one=one: attachments.delete(site.plane, OWNER, one.id))  # type: ignore[misc]
        assert [other.id for other in left] == others
        assert (site.called, counts) == ([("terminate_connection", True)], {"write": 1})
    assert volumes.get(site.plane, OWNER, volume.id).status is VolumeStatus.AVAILABLE


def test_the_older_actions(site: Site) -> None:
    volume = a_volume(site)
    _, counts = site.worked(lambda: connections.initialize_connection(site.plane, OWNER, volume.id, CONNECTOR))
    assert (site.called, counts) == ([("create_export", True)], {"write": 3})
    use = Use(instance_uuid="vm")
    _, counts = site.worked(lambda: connections.attach(site.plane, OWNER, volume.id, use))
    assert (site.called, counts) == ([("attach_volume", True)], {"write": 1})
    _, counts = site.worked(lambda: connections.terminate_connection(site.plane, OWNER, volume.id, CONNECTOR))
    assert (site.called, counts) == ([("terminate_connection", True)], {"write": 2})


def test_an_attempt_that_is_repeated_reads_what_is_there_then(site: Site) -> None:
    home = a_volume(site)
    taken = a_snapshot(site, home)

    def away(step: str) -> None:
        if step == "create from snapshot":
            with site.beside.begin() as tx:
                volume_snapshots.update_snapshot(tx, taken.id, now=site.clock.utc(), provider_id="changed")
            site.storage.before = lambda _step: None
            raise Unavailable("not now")

    site.storage.before = away
    made, counts = site.worked(lambda: creation.create(site.plane, OWNER, NewVolume(snapshot_id=taken.id)))
    assert volumes.get(site.plane, OWNER, made.id).status is VolumeStatus.AVAILABLE
    assert site.called == [("create_volume_from_snapshot", True)] * 2
    assert counts["read"] >= 2


def test_what_waits_for_its_turn_reads_what_is_there_then(site: Site) -> None:
    volume = a_volume(site)
    goes_on = threading.Event()
    site.storage.before = lambda step: step == "snapshot" and not goes_on.wait(20) and pytest.fail("it hangs")

    def both() -> None:
        wanted = NewVolumeSnapshot(volume.id)
        snapshots.create(site.plane, OWNER, wanted)
        lifecycle.extend(site.plane, OWNER, volume.id, 5, attached=False)
        with site.beside.begin() as tx:
            volume_rows.METADATA.put(tx, volume.id, {"put": "later"})
        goes_on.set()

    _, counts = site.worked(both)
    assert [name for name, _ in site.called] == ["create_snapshot", "extend_volume"]
    assert site.called[1] == ("extend_volume", True)
    assert counts["read"] >= 1


class LookingSite(Site):
    """Its driver looks ahead."""

    def make_driver(self, section: Any) -> DummyVolumeDriver:
        return Looking(configuration=section, storage=self.storage, host="host@dummy")


def test_a_source_is_looked_at_while_the_volume_is_asked_for(tmp_path: Path) -> None:
    with at_work(LookingSite(tmp_path)) as site:
        assert isinstance(site.driver, Looking)
        home = a_volume(site)
        taken = a_snapshot(site, home)
        steps = iter(["not now"])

        def away(step: str) -> None:
            if step == "create from snapshot" and next(steps, None) is not None:
                raise Unavailable("not now")

        site.storage.before = away
        site.worked(lambda: creation.create(site.plane, OWNER, NewVolume(snapshot_id=taken.id)))
        (first, source), (second, _) = site.driver.seen
        assert first == source  # what the look was told is what the driver is told then
        assert second is None  # another attempt looks for itself
