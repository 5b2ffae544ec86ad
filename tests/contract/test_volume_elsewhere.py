"""A creation that one backend refuses is tried at another: never two copies, the quota right, the owner told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.config.backend import volume_backend
from penstock.config.loading import load
from penstock.domain.quotas import Usage
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import BackendFault, Fault, InsufficientCapacity, Invalid, NotFound, Unavailable, Unsupported
from penstock.operations.outcome import RetryPolicy
from penstock.operations.worker import Worker
from penstock.scheduler.requirements import Requirements
from penstock.services.control_plane import ControlPlane
from penstock.services.rescheduling import asked
from penstock.services.volumes import creation, lifecycle, quotas, retyping, snapshots
from penstock.services.volumes.creation import NewVolume, VolumeHints
from penstock.services.volumes.rescheduling import Rescheduler
from penstock.services.volumes.snapshots import NewVolumeSnapshot
from penstock.store import messages, operations, volume_placement, volumes
from penstock.store.keyset import FIRST_PAGE
from penstock.volume.drivers.dummy import DummyVolumeDriver
from penstock.volume.drivers.dummy_records import DummyVolumes
from penstock.volume.manager import VolumeManager
from penstock.volume_backend import Dispatch
from tests.volume_plane import OWNER, VolumePlane, WorkingQueue

NAMES = ("dummy", "b", "c", "d")
CONFIG = """
[DEFAULT]
host = host
enabled_backends = dummy,b,c,d
default_volume_type = default
""" + "".join(
    f"[{name}]\nvolume_driver = penstock.volume.drivers.dummy.DummyVolumeDriver\nvolume_backend_name = {name}\n"
    f"dummy_pool_size = {size}\n"
    for name, size in zip(NAMES, (400, 300, 200, 100), strict=True)
)
FULL = InsufficientCapacity("zfs create tank/secret: exit 1: out of space")
NO_PARENT = NotFound("zfs create tank/secret: exit 1: parent does not exist")
BROKEN = BackendFault("zfs create tank/secret: exit 1")
SILENT = Unavailable("ssh: connection refused")


class Four(VolumePlane):
    """Four backends in one process, the emptiest first: dummy, b, c, d."""

    names: tuple[str, ...] = NAMES
    config = CONFIG

    def __init__(self, folder: Path) -> None:
        self.storages = {name: DummyVolumes() for name in self.names}
        self.managers: dict[str, VolumeManager] = {}
        self.faults: dict[str, Fault] = {}
        self.is_after = False
        super().__init__(folder, config=self.config, retry=RetryPolicy(give_up_after_s=600))

    def restart(self) -> None:
        self.queue = WorkingQueue(self.clock)
        self.plane = ControlPlane(self.database, self.queue, self.clock, self.conf, None)
        self.workers = {name: self._worker(name) for name in self.names}
        self.manager = self.managers[self.names[0]]

    def _worker(self, name: str) -> Worker:
        section = volume_backend(self.conf, name)
        self.managers[name] = manager = VolumeManager(
            self.driver_of(name, section),
            name,
            configuration=section,
            database=self.database,
            clock=self.clock,
            conf=self.conf,
            queue=self.queue,
            placer=Rescheduler(self.plane),
        )
        worker = Worker(self.database, self.queue, self.clock, manager.host, Dispatch(manager), retry=self.retry)
        manager.init_host()
        worker.resume_interrupted()
        return worker

    def driver_of(self, name: str, section: Any) -> Any:
        """The driver of that backend."""
        storage = self.storages[name]
        storage.before = lambda step: self._step(name, step)
        return DummyVolumeDriver(configuration=section, storage=storage, host=f"host@{name}")

    def _step(self, name: str, step: str) -> None:
        """A refusal comes before the step, or where `is_after` after what the storage had begun."""
        fault = self.faults.get(name)
        if fault is None or step in ("setup",):
            return
        is_begun = step.startswith("create") and any(self.storages[name].volumes)
        if isinstance(fault, Unavailable) and not (self.is_after and step == "create" and not is_begun):
            raise fault
        if step.startswith("create") and (is_begun or not self.is_after):
            raise fault

    def work(self) -> None:
        """Every backend does what is due, until nothing is."""
        while sum(worker.run_pending() for worker in self.workers.values()):
            pass

    def later(self) -> None:
        """The same, after a while; the backends report themselves meanwhile."""
        self.clock.advance(61)  # type: ignore[attr-defined]
        for manager in self.managers.values():
            manager.heartbeat()
        self.work()

    def row(self, volume: Volume) -> Volume:
        with self.database.read() as tx:
            found = volumes.get(tx, volume.id)
        assert found is not None
        return found

    def copies(self) -> dict[str, int]:
        return {name: len(storage.volumes) for name, storage in self.storages.items() if storage.volumes}

    def told(self) -> list[str]:
        with self.database.read() as tx:
            found = messages.list_about_volumes(tx, project_id="p1", filters={}, like_filters={}, page=FIRST_PAGE)
        return [message.text for message in found]

    @property
    def pending(self) -> list[str]:
        with self.database.read() as tx:
            return [operation.call.method for operation in operations.pending(tx)]


@pytest.fixture
def four(tmp_path: Path) -> Four:
    return Four(tmp_path)


def made(four: Four, **wanted: Any) -> Volume:
    return creation.create(four.plane, OWNER, NewVolume(**{"size_gib": 10, **wanted}))


@pytest.mark.parametrize("fault", [FULL, BROKEN, NO_PARENT], ids=["full", "broken", "no parent"])
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_it_is_made_where_it_is_not_refused(four: Four, fault: Fault, is_after: bool) -> None:
    four.faults, four.is_after = {"dummy": fault, "b": fault}, is_after
    volume = made(four)
    assert volume.host == "host@dummy#pool"
    four.work()
    found = four.row(volume)
    assert (found.status, found.host) == (VolumeStatus.AVAILABLE, "host@c#pool")
    assert four.copies() == {"c": 1}
    assert quotas.show(four.plane, "p1")["gigabytes"].usage == Usage(10)
    with four.database.read() as tx:
        assert {host: placed.provisioned_gib for host, placed in volume_placement.placed(tx).items()} == {
            "host@c#pool": 10
        }
    assert (four.told(), four.pending) == ([], [])


def test_after_three_the_owner_is_told_of_all_and_nothing_of_the_hosts(four: Four) -> None:
    four.faults = {"dummy": FULL, "b": BROKEN, "c": FULL}
    volume = made(four)
    four.work()
    assert four.row(volume).status is VolumeStatus.ERROR
    (sentence,) = four.told()
    for backend in (
        "host@dummy#pool: The storage has no room",
        "host@b#pool: it failed",
        "host@c#pool: The storage has no room",
    ):
        assert backend in sentence
    assert "tank/secret" not in sentence
    assert four.copies() == {}
    lifecycle.delete(four.plane, OWNER, volume.id)
    four.work()
    assert quotas.show(four.plane, "p1")["gigabytes"].usage == Usage(0)


@pytest.mark.parametrize("kind", [InsufficientCapacity, Unsupported, NotFound, BackendFault])
def test_the_words_of_the_only_one_are_not_for_the_owner_either(four: Four, kind: type[Fault]) -> None:
    four.conf.set_override("scheduler_max_attempts", 1)
    four.faults = {"dummy": kind("zfs create tank/secret: exit 1")}
    made(four)
    four.work()
    (sentence,) = four.told()
    assert "tank/secret" not in sentence


def test_the_last_that_may_be_tried_has_as_much_patience_as_the_first(four: Four) -> None:
    four.conf.set_override("scheduler_max_attempts", 2)
    four.faults = {"dummy": FULL, "b": SILENT}
    volume = made(four)
    for _ in range(4):
        four.later()
    assert (four.row(volume).status, four.row(volume).host) == (VolumeStatus.CREATING, "host@b#pool")
    four.faults = {}
    four.later()
    assert (four.row(volume).status, four.copies()) == (VolumeStatus.AVAILABLE, {"b": 1})


def test_a_pool_that_is_away_is_waited_for_before_nothing_is_left_on_it(four: Four) -> None:
    four.faults, four.is_after = {"dummy": SILENT}, True
    volume = made(four)
    for _ in range(3):
        four.later()
    assert four.row(volume).host == "host@b#pool"
    four.faults = {}
    begun, four.storages["dummy"].volumes = four.storages["dummy"].volumes, {}
    four.conf.set_override("dummy_pools", ["other"], group="dummy")
    four.later()
    assert four.pending == ["forget_refused"]
    four.conf.clear_override("dummy_pools", group="dummy")
    four.storages["dummy"].volumes = begun
    four.later()
    assert (four.copies(), four.pending) == ({"b": 1}, [])


def test_it_cannot_come_back_while_what_was_begun_is_to_be_taken_away(four: Four) -> None:
    four.faults, four.is_after = {"dummy": SILENT}, True
    volume = made(four)
    for _ in range(3):
        four.later()
    assert four.row(volume).status is VolumeStatus.AVAILABLE
    with pytest.raises(Invalid, match="taken away"):
        retyping.migrate(four.plane, OWNER.elevated(), volume.id, "host@dummy#pool")
    four.add_type("there", {"volume_backend_name": "dummy"})
    retyping.retype(four.plane, OWNER, volume.id, "there", migration_policy="on-demand")
    assert (four.row(volume).status, four.pending) == (VolumeStatus.AVAILABLE, ["forget_refused"])
    four.faults = {}
    four.later()
    retyping.migrate(four.plane, OWNER.elevated(), volume.id, "host@dummy#pool")
    assert four.pending == ["migrate_volume"]


def test_a_death_after_it_was_placed_elsewhere_leaves_one_creation_that_knows_of_the_refusal(
    four: Four, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    four.faults = {"dummy": FULL, "b": FULL}
    volume = made(four)
    begin = four.database.begin

    def dying(*args: Any, **kwargs: Any) -> Any:
        if four.row(volume).host != "host@dummy#pool":
            raise Died
        return begin(*args, **kwargs)

    monkeypatch.setattr(four.database, "begin", dying)
    with pytest.raises(Died):
        four.workers["dummy"].run_pending()
    monkeypatch.undo()
    four.restart()
    with four.database.read() as tx:
        (left,) = operations.pending(tx)
    assert (left.call.backend, list(left.call.arguments["refused"])) == ("host@b", ["host@dummy#pool"])
    four.work()
    assert four.row(volume).host == "host@c#pool"


def test_as_often_as_configured(four: Four) -> None:
    four.conf.set_override("scheduler_max_attempts", 1)
    four.faults = {"dummy": FULL}
    volume = made(four)
    four.work()
    assert four.row(volume).status is VolumeStatus.ERROR
    four.conf.set_override("scheduler_max_attempts", 4)
    four.faults = dict.fromkeys(("dummy", "b", "c"), FULL)
    volume = made(four)
    four.work()
    assert four.row(volume).host == "host@d#pool"


def test_one_that_does_not_answer_is_left_after_a_moment_and_cleaned_up_when_it_does(four: Four) -> None:
    four.faults, four.is_after = {"dummy": SILENT}, True
    volume = made(four)
    four.work()
    assert four.row(volume).host == "host@dummy#pool"  # it may be a moment
    four.later()
    four.later()
    found = four.row(volume)
    assert (found.status, found.host) == (VolumeStatus.AVAILABLE, "host@b#pool")
    assert four.copies() == {"dummy": 1, "b": 1}
    for _ in range(20):  # longer than any operation is tried
        four.later()
    assert "forget_refused" in four.pending
    four.faults = {}
    four.later()
    assert four.copies() == {"b": 1}
    assert four.pending == []


def test_one_that_does_not_answer_is_waited_for_when_nobody_else_can(four: Four) -> None:
    four.faults = {"dummy": SILENT}
    volume = made(four, hints=VolumeHints(same_host=(_there(four),)))
    for _ in range(4):
        four.later()
    assert (four.row(volume).status, four.row(volume).host) == (VolumeStatus.CREATING, "host@dummy#pool")
    four.faults = {}
    four.later()
    assert four.row(volume).status is VolumeStatus.AVAILABLE


def _there(four: Four) -> str:
    """A volume on the first backend, which answered then."""
    faults, four.faults = four.faults, {}
    volume = made(four)
    four.work()
    four.faults = faults
    return volume.id


def test_what_must_be_where_its_source_is_stays(four: Four) -> None:
    source = made(four)
    four.work()
    snapshot = snapshots.create(four.plane, OWNER, NewVolumeSnapshot(source.id))
    four.work()
    four.faults = {"dummy": FULL}
    of_snapshot = made(four, snapshot_id=snapshot.id)
    four.work()
    found = four.row(of_snapshot)
    assert (found.status, found.host) == (VolumeStatus.ERROR, "host@dummy#pool")


def test_a_volume_that_is_deleted_by_force_meanwhile_is_not_made_elsewhere(four: Four) -> None:
    four.faults = {"dummy": SILENT}
    volume = made(four)
    four.work()
    lifecycle.delete(four.plane, OWNER.elevated(), volume.id, force=True)
    for _ in range(3):
        four.later()
    four.faults = {}
    four.later()
    assert (four.copies(), four.pending) == ({}, [])


@pytest.mark.parametrize("step", range(1, 12))
def test_a_death_at_any_step_leaves_one_copy(four: Four, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies at the given write of the database, and another goes on."""
    four.faults, four.is_after = {"dummy": FULL}, True

    class Died(BaseException):
        pass

    volume = made(four)
    count = 0
    begin = four.database.begin

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == step:
            raise Died
        return begin(*args, **kwargs)

    monkeypatch.setattr(four.database, "begin", dying)
    try:
        four.work()
    except Died:
        monkeypatch.undo()
        four.restart()
    monkeypatch.undo()
    for _ in range(3):
        four.later()
    found = four.row(volume)
    assert (found.status, found.host) == (VolumeStatus.AVAILABLE, "host@b#pool")
    assert (four.copies(), four.pending) == ({"b": 1}, [])


def test_what_was_asked_of_a_place_is_asked_again() -> None:
    wanted = Requirements(1, None, availability_zone="nova", different_hosts=frozenset({"host@b#pool"}))
    assert asked(wanted) == {"asked": {"availability_zone": "nova", "different_hosts": ["host@b#pool"]}}
    assert asked(Requirements(1, None, only_pool="host@b#pool")) == {}


def test_the_option_is_the_published_one(tmp_path: Path) -> None:
    path = tmp_path / "penstock.conf"
    path.write_text("[DEFAULT]\nhost = h\n")
    assert load([path]).scheduler_max_attempts == 3
