"""A share that one backend refuses to make is tried at another: never two copies, the quota right, the owner told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from penstock.clock import ManualClock
from penstock.config.backend import BackendConfiguration
from penstock.config.loading import load
from penstock.context import RequestContext
from penstock.domain.quotas import QuotaResource, Usage
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.types import ShareType
from penstock.errors import BackendFault, Fault, InsufficientCapacity, NotFound, Unavailable, Unsupported
from penstock.exports.model import ClientRule, Export
from penstock.ids import ShareTypeId, new_id
from penstock.operations.outcome import RetryPolicy
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.scheduler.requirements import Requirements, SourceOf
from penstock.services import share_creation, share_lifecycle, snapshots
from penstock.services.control_plane import ControlPlane
from penstock.services.hints import Hints
from penstock.services.rescheduling import Rescheduler, asked
from penstock.services.share_creation import NewShare
from penstock.services.snapshots import NewSnapshot
from penstock.share.drivers.dummy import DummyDriver
from penstock.share.drivers.dummy_records import DummyStorage
from penstock.share.drivers.zfsonlinux.identity import ID, KIND, Kind
from penstock.share.manager import ShareManager
from penstock.share_backend import Dispatch
from penstock.store import messages, operations, quotas, shares, types
from penstock.store.shares import Page
from penstock.units import GIB
from tests.contract.share_backends import CONTEXT, make_backend
from tests.contract.zfs_machines import SimulatedMachine
from tests.databases import in_memory
from tests.driver_values import a_share
from tests.simulation.zfs_host import SimulatedHost

OWNER = RequestContext("u1", "p1", ("member",))
NAMES = ("a", "b", "c", "d")
CONFIG = """
[DEFAULT]
host = host
enabled_share_backends = a,b,c,d
enabled_share_protocols = NFS
default_share_type = default
""" + "".join(
    f"[{name}]\nshare_driver = penstock.share.drivers.dummy.DummyDriver\ndriver_handles_share_servers = False\n"
    f"share_backend_name = {name}\ndummy_pool_size = {size}\n"
    for name, size in zip(NAMES, (400, 300, 200, 100), strict=True)
)
FULL = InsufficientCapacity("zfs create tank/secret: exit 1: out of space")
NO_PARENT = NotFound("zfs create tank/secret: exit 1: parent does not exist")
BROKEN = BackendFault("zfs create tank/secret: exit 1")
SILENT = Unavailable("ssh: connection refused")


class Refusing(DummyDriver):
    """A dummy driver that the test makes refuse, before or after it began; silent, it answers nothing else either."""

    four: Four

    @property
    def fault(self) -> Fault | None:
        return self.four.faults.get(self.configuration.config_group)

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> Any:
        is_begun = bool(self._records)
        if self.fault is not None and not self.four.is_after:
            raise self.fault
        if self.fault is not None and isinstance(self.fault, Unavailable) and is_begun:
            raise self.fault
        answer = super().create_share(context, share, share_server)
        if self.fault is not None:
            raise self.fault
        return answer

    def create_share_from_snapshot(self, *args: Any, **kwargs: Any) -> Any:
        if self.fault is not None:
            raise self.fault
        return super().create_share_from_snapshot(*args, **kwargs)

    def delete_share(self, context: Any, share: Any, share_server: Any = None) -> None:
        if isinstance(self.fault, Unavailable):
            raise self.fault
        super().delete_share(context, share, share_server)


class Four:
    """Four backends in one process, the emptiest first."""

    def __init__(self, folder: Path) -> None:
        path = folder / "penstock.conf"
        path.write_text(CONFIG)
        self.conf = load([path])
        self.clock = ManualClock()
        self.database = in_memory()
        self.storages = {name: DummyStorage() for name in NAMES}
        self.faults: dict[str, Fault] = {}
        self.is_after = False
        specs = {"driver_handles_share_servers": "False", "snapshot_support": "True"}
        specs["create_share_from_snapshot_support"] = "True"
        with self.database.begin() as tx:
            kind = ShareType(ShareTypeId(new_id()), "default", None, True, self.clock.utc(), None, specs)
            types.insert_type(tx, kind)
        self.restart()

    def restart(self) -> None:
        self.queue = OperationQueue(self.clock)
        self.plane = ControlPlane(self.database, self.queue, self.clock, self.conf)
        self.managers: dict[str, ShareManager] = {}
        self.workers = {name: self._worker(name) for name in NAMES}

    def _worker(self, name: str) -> Worker:
        section = BackendConfiguration(self.conf, name)
        driver = Refusing(configuration=section, storage=self.storages[name], clock=self.clock)
        driver.four = self
        self.managers[name] = manager = ShareManager(
            driver,
            name,
            configuration=section,
            database=self.database,
            clock=self.clock,
            conf=self.conf,
            queue=self.queue,
            placer=Rescheduler(self.plane),
        )
        retry = RetryPolicy(give_up_after_s=600)
        worker = Worker(self.database, self.queue, self.clock, manager.host, Dispatch(manager), retry=retry)
        manager.init_host()
        worker.resume_interrupted()
        return worker

    def made(self, **wanted: Any) -> Share:
        return share_creation.create(self.plane, OWNER, NewShare("NFS", 10, **wanted))

    def work(self) -> None:
        while sum(worker.run_pending() for worker in self.workers.values()):
            pass

    def later(self) -> None:
        self.clock.advance(61)
        for manager in self.managers.values():
            manager.heartbeat()
        self.work()

    def row(self, share: Share) -> Share:
        with self.database.read() as tx:
            found = shares.get(tx, share.id)
        assert found is not None
        return found

    def place(self, share: Share) -> tuple[ShareStatus, str | None]:
        found = self.row(share)
        return found.status, found.instance.host

    def copies(self) -> dict[str, int]:
        return {name: len(storage.of(name)) for name, storage in self.storages.items() if storage.of(name)}

    def told(self) -> list[str]:
        with self.database.read() as tx:
            return [one.text for one in messages.list_messages(tx, project_id="p1", filters={}, page=Page())]

    def gigabytes(self) -> Usage:
        with self.database.read() as tx:
            return quotas.usage(tx, "p1")[QuotaResource.GIGABYTES]

    @property
    def pending(self) -> list[str]:
        with self.database.read() as tx:
            return [operation.call.method for operation in operations.pending(tx)]


@pytest.fixture
def four(tmp_path: Path) -> Four:
    return Four(tmp_path)


@pytest.mark.parametrize("fault", [FULL, BROKEN, NO_PARENT], ids=["full", "broken", "no parent"])
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_it_is_made_where_it_is_not_refused(four: Four, fault: Fault, is_after: bool) -> None:
    four.faults, four.is_after = {"a": fault, "b": fault}, is_after
    share = four.made()
    assert share.instance.host == "host@a#pool"
    four.work()
    assert four.place(share) == (ShareStatus.AVAILABLE, "host@c#pool")
    assert four.copies() == {"c": 1}
    assert four.gigabytes() == Usage(10)
    assert (four.told(), four.pending) == ([], [])


def test_after_three_the_owner_is_told_of_all_and_nothing_of_the_hosts(four: Four) -> None:
    four.faults = {"a": FULL, "b": BROKEN, "c": FULL}
    share = four.made()
    four.work()
    assert four.row(share).status is ShareStatus.ERROR
    (sentence,) = four.told()
    for part in (
        "host@a#pool: The storage has no room",
        "host@b#pool: it failed",
        "host@c#pool: The storage has no room",
    ):
        assert part in sentence
    assert "tank/secret" not in sentence
    assert four.copies() == {}
    share_lifecycle.delete(four.plane, OWNER, share.id)
    four.work()
    assert four.gigabytes() == Usage(0)


@pytest.mark.parametrize("kind", [InsufficientCapacity, Unsupported, NotFound, BackendFault])
def test_the_words_of_the_only_one_are_not_for_the_owner_either(four: Four, kind: type[Fault]) -> None:
    four.conf.set_override("scheduler_max_attempts", 1)
    four.restart()
    four.faults = {"a": kind("zfs create tank/secret: exit 1")}
    four.made()
    four.work()
    (sentence,) = four.told()
    assert "tank/secret" not in sentence


def test_one_that_does_not_answer_is_left_after_a_moment_and_cleaned_up_when_it_does(four: Four) -> None:
    four.faults, four.is_after = {"a": SILENT}, True
    share = four.made()
    four.work()
    assert four.place(share) == (ShareStatus.CREATING, "host@a#pool")  # it may be a moment
    four.later()
    four.later()
    assert four.place(share) == (ShareStatus.AVAILABLE, "host@b#pool")
    assert four.copies() == {"a": 1, "b": 1}
    for _ in range(20):  # longer than any operation is tried
        four.later()
    assert four.pending == ["forget_refused"]
    four.faults = {}
    four.later()
    assert (four.copies(), four.pending) == ({"b": 1}, [])


def test_a_pool_that_is_away_is_waited_for_before_nothing_is_left_on_it(four: Four) -> None:
    four.faults, four.is_after = {"a": SILENT}, True
    four.made()
    for _ in range(3):
        four.later()
    four.faults = {}
    begun = dict(four.storages["a"].of("a"))
    four.storages["a"].of("a").clear()
    four.conf.set_override("dummy_pools", ["other"], group="a")
    four.later()
    assert four.pending == ["forget_refused"]
    four.conf.clear_override("dummy_pools", group="a")
    four.storages["a"].of("a").update(begun)
    four.later()
    assert (four.copies(), four.pending) == ({"b": 1}, [])


def test_what_must_be_where_it_is_stays(four: Four) -> None:
    source = four.made()
    four.work()
    snapshot = snapshots.create(four.plane, OWNER, NewSnapshot(source.id))
    four.work()
    four.faults = {"a": FULL}
    of_snapshot = four.made(snapshot_id=snapshot.id)
    there = share_creation.create(
        four.plane, OWNER.elevated(), NewShare("NFS", 10, hints=Hints(only_host="host@a#pool"))
    )
    four.work()
    for share in (of_snapshot, there):
        assert four.place(share) == (ShareStatus.ERROR, "host@a#pool")


def test_a_share_that_is_deleted_by_force_meanwhile_is_not_made_elsewhere(four: Four) -> None:
    four.faults = {"a": SILENT}
    share = four.made()
    four.work()
    share_lifecycle.force_delete(four.plane, OWNER.elevated(), share.id)
    for _ in range(3):
        four.later()
    four.faults = {}
    four.later()
    assert (four.copies(), four.pending) == ({}, [])


@pytest.mark.parametrize("step", range(1, 12))
def test_a_death_at_any_step_leaves_one_copy(four: Four, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies at the given write of the database, and another goes on."""
    four.faults, four.is_after = {"a": FULL}, True

    class Died(BaseException):
        pass

    share = four.made()
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
    assert four.place(share) == (ShareStatus.AVAILABLE, "host@b#pool")
    assert (four.copies(), four.pending) == ({"b": 1}, [])


def test_what_was_asked_of_a_place_is_asked_again() -> None:
    wanted = Requirements(1, "NFS", availability_zone="nova", same_hosts=frozenset({"host@b#pool"}))
    assert asked(wanted) == {"asked": {"availability_zone": "nova", "same_hosts": ["host@b#pool"]}}
    for bound in (
        replace(wanted, only_pool="host@b#pool"),
        replace(wanted, hinted_pool="host@b#pool"),
        replace(wanted, source=SourceOf("host@b#pool", "host@b", None)),
    ):
        assert asked(bound) == {}


def test_what_another_backend_of_the_same_host_serves_is_not_taken_away() -> None:
    """Its dataset is below another root; the id is the same, because it is the same share."""
    backend = make_backend(SimulatedMachine(SimulatedHost("both", pools={"tank": 8 * GIB})))
    share = a_share()
    theirs = Export("/tank/elsewhere/x", share.id, (ClientRule("10.0.0.1", True),))
    ours = Export(f"/{backend.root}/x", share.id, (ClientRule("10.0.0.1", True),))
    backend.nfs.put([theirs, ours])
    backend.driver.delete_share(CONTEXT, share)
    assert set(backend.nfs.all()) == {theirs.path}


def test_what_another_backend_made_below_our_root_is_not_taken_away() -> None:
    """What is cleaned up after a refusal is found in the place it would have had, never by a search."""
    backend = make_backend(SimulatedMachine(SimulatedHost("both", pools={"tank": 8 * GIB})))
    share = a_share()
    inner = backend.root.child("inner")
    theirs = inner.child(backend.dataset(share).name)
    backend.zfs.create(inner, {}, parents=False)
    backend.zfs.create(theirs, {ID: share.id, KIND: Kind.SHARE.value}, parents=False)
    export = Export(f"/{theirs}", share.id, (ClientRule("10.0.0.1", True),))
    backend.nfs.put([export])
    begun = replace(share, is_only_begun=True)
    backend.driver.delete_share(CONTEXT, begun)
    assert backend.zfs.exists(theirs)
    assert set(backend.nfs.all()) == {export.path}
    backend.zfs.create(backend.dataset(share), {ID: share.id, KIND: Kind.SHARE.value}, parents=False)
    backend.driver.delete_share(CONTEXT, begun)
    assert not backend.zfs.exists(backend.dataset(share))
    assert backend.zfs.exists(theirs)
    assert set(backend.nfs.all()) == {export.path}
