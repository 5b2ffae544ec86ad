"""One backend in one process, from a request to its end, on every database; and its way up and down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from penstock import backend_service
from penstock.backend_service import BackendService
from penstock.clock import SystemClock
from penstock.config.loading import load
from penstock.context import RequestContext, admin_context
from penstock.domain.access import AccessLevel, AccessState, AccessType
from penstock.domain.lifecycle import Event
from penstock.domain.operations import Call, OperationState
from penstock.domain.quotas import QuotaResource
from penstock.domain.shares import Share, ShareStatus
from penstock.errors import Fault, QuotaExceeded
from penstock.first_start import PASSWORD_FILE, first_start
from penstock.ids import OperationId
from penstock.operations.queue import OperationQueue
from penstock.services import access, manage, share_creation, share_lifecycle, share_metadata, share_sizes, snapshots
from penstock.services.access import NewRule
from penstock.services.control_plane import ControlPlane
from penstock.services.hints import Hints
from penstock.services.manage import ExistingShare
from penstock.services.share_creation import NewShare
from penstock.services.snapshots import NewSnapshot
from penstock.services.visibility import share_to_change
from penstock.share.drivers.dummy import DummyDriver
from penstock.store import backends, operations, quotas, shares
from penstock.store.database import Database
from penstock.store.quotas import QuotaScope
from tests.databases import in_file
from tests.waiting import until

OWNER = RequestContext("u1", "p1", ("member",))


class Slow(DummyDriver):
    """A dummy driver that is set up when `may_go_on` says so."""

    may_go_on = threading.Event()

    def do_setup(self, context: Any) -> None:
        super().do_setup(context)
        assert self.may_go_on.wait(20)


class Site:
    """A control plane and its one backend, with the dummy driver."""

    def __init__(
        self, database: Database, folder: Path, driver: str = "penstock.share.drivers.dummy.DummyDriver"
    ) -> None:
        path = folder / "penstock.conf"
        path.write_text(
            f"[DEFAULT]\nstate_path = {folder}\nhost = host\nenabled_share_backends = dummy\n"
            "enabled_share_protocols = NFS\n[identity]\nadmin_password = secret\n[dummy]\n"
            f"share_driver = {driver}\ndriver_handles_share_servers = False\n"
        )
        self.database = database
        clock = SystemClock()
        self.plane = ControlPlane(database, OperationQueue(clock), clock, load([path]))
        first_start(self.plane)
        self.service = BackendService(self.plane.conf, "dummy", database, self.plane.operations, clock)

    def share(self, share_id: str) -> Share | None:
        with self.database.read() as tx:
            return shares.get(tx, share_id)

    def is_up(self) -> bool:
        with self.database.read() as tx:
            return any(service.ready for service in backends.list_services(tx)) and bool(backends.list_pools(tx))

    def available(self, share_id: str) -> Callable[[], bool]:
        def look() -> bool:
            found = self.share(share_id)
            return found is not None and found.status is ShareStatus.AVAILABLE

        return look


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Iterator[Site]:
    found = Site(database, tmp_path)
    yield found
    found.service.stop()


def test_the_life_of_a_share(site: Site) -> None:
    site.service.start()
    until(site.is_up)
    plane = site.plane
    share = share_creation.create(plane, OWNER, NewShare("NFS", 1, name="docs"))
    until(site.available(share.id))
    access.allow(plane, OWNER, share.id, NewRule(AccessType.IP, "10.0.0.5", AccessLevel.RW))
    until(lambda: [rule.state for rule in access.list_rules(plane, OWNER, share.id).items] == [AccessState.ACTIVE])
    share_sizes.extend(plane, OWNER, share.id, 3, force=False)
    until(lambda: (found := site.share(share.id)) is not None and found.size_gib == 3)
    snapshot = snapshots.create(plane, OWNER, NewSnapshot(share.id, name="monday"))
    until(lambda: snapshots.get(plane, OWNER, snapshot.id).status == "available")
    second = share_creation.create(plane, OWNER, NewShare("NFS", snapshot_id=snapshot.id))
    until(site.available(second.id))
    share_lifecycle.delete(plane, OWNER, second.id)
    until(lambda: site.share(second.id) is None)


def test_requests_at_once_take_no_more_than_the_quota(site: Site) -> None:
    site.service.start()
    until(site.is_up)
    with site.database.begin() as tx:
        limits = {QuotaResource.SHARES: 3}
        quotas.set_limits(tx, QuotaScope.PROJECT, limits, project_id="p1", now=site.plane.clock.utc())
    outcomes: list[str] = []

    def ask() -> None:
        for _ in range(3):
            try:
                share_creation.create(site.plane, OWNER, NewShare("NFS", 1))
                outcomes.append("made")
            except QuotaExceeded:
                outcomes.append("refused")

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert sorted(outcomes) == ["made"] * 3 + ["refused"] * 9


def accepted(*requests: Callable[[], object]) -> int:
    """How many of the requests, all made at once, were accepted."""
    ready = threading.Barrier(len(requests))
    taken: list[bool] = []

    def ask(request: Callable[[], object]) -> None:
        ready.wait(20)
        try:
            request()
            taken.append(True)
        except Fault:
            taken.append(False)

    askers = [threading.Thread(target=ask, args=(request,)) for request in requests]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(taken) == len(requests)
    return sum(taken)


def test_a_share_is_deleted_or_snapshotted_but_not_both(site: Site) -> None:
    site.service.start()
    until(site.is_up)
    plane = site.plane
    for _ in range(8):
        share = share_creation.create(plane, OWNER, NewShare("NFS", 1))
        until(site.available(share.id))
        delete = partial(share_lifecycle.delete, plane, OWNER, share.id)
        assert accepted(delete, partial(snapshots.create, plane, OWNER, NewSnapshot(share.id))) == 1


def test_one_client_asked_for_at_once_gets_one_rule(site: Site) -> None:
    site.service.start()
    until(site.is_up)
    share = share_creation.create(site.plane, OWNER, NewShare("NFS", 1))
    until(site.available(share.id))
    for number in range(4):
        rule = NewRule(AccessType.IP, f"10.0.0.{number}", AccessLevel.RW)
        allow = partial(access.allow, site.plane, OWNER, share.id, rule)
        assert accepted(allow, allow, allow) == 1


def test_who_changes_a_share_waits_for_who_changes_it_already(site: Site) -> None:
    site.service.start()
    until(site.is_up)
    share = share_creation.create(site.plane, OWNER, NewShare("NFS", 1))
    until(site.available(share.id))
    rule = NewRule(AccessType.IP, "10.0.0.5", AccessLevel.RW)
    allow = partial(access.allow, site.plane, OWNER, share.id, rule)
    outcomes: list[int] = []
    second = threading.Thread(target=lambda: outcomes.append(accepted(allow)))
    with site.database.begin() as tx:
        found = share_to_change(tx, OWNER, share.id)
        second.start()
        second.join(0.3)  # on PostgreSQL, without the lock, it reads the share as available here
        share_lifecycle.remove(tx, site.plane, OWNER, found, Event.DELETE)
    second.join(20)
    assert outcomes == [0]


def test_shares_related_to_one_share_at_once_are_all_remembered(site: Site) -> None:
    site.service.start()
    until(site.is_up)
    plane = site.plane
    first, second = (share_creation.create(plane, OWNER, NewShare("NFS", 1)) for _ in range(2))
    until(site.available(first.id))
    until(site.available(second.id))
    both = (
        NewShare("NFS", 1, hints=Hints(same_host=ids)) for ids in ((first.id, second.id), (second.id, first.id)) * 3
    )
    made: list[Share] = []
    requests = [partial(lambda wanted: made.append(share_creation.create(plane, OWNER, wanted)), one) for one in both]
    assert accepted(*requests) == 6
    related = {share.id for share in made}
    assert affinities(site, first) == affinities(site, second) == related
    for share in made:
        until(site.available(share.id))
    gone = {share.id for share in made[:4]}
    wanted = NewShare("NFS", 1, hints=Hints(same_host=(second.id, first.id)))
    deletions = [partial(share_lifecycle.delete, plane, OWNER, share_id) for share_id in gone]
    notes = partial(share_metadata.put, plane, OWNER, first.id, {"a": "b"}, replace=True, may_set_reserved=False)
    last: list[Share] = []
    assert accepted(*deletions, notes, lambda: last.append(share_creation.create(plane, OWNER, wanted))) == 6
    assert affinities(site, first) == affinities(site, second) == {*related - gone, last[0].id}


def affinities(site: Site, share: Share) -> set[str]:
    found = site.share(share.id)
    assert found is not None
    return set(found.metadata["__affinity_same_host"].split(","))


def test_one_export_asked_for_at_once_becomes_one_share(site: Site) -> None:
    site.service.start()
    until(site.is_up)
    with site.database.read() as tx:
        pool = str(backends.list_pools(tx)[0].ref)
    site.service.stop()  # what cannot be taken over would be free to be asked for again
    for number in range(6):
        ask = partial(manage.manage_share, site.plane, OWNER, ExistingShare(pool, f"10.0.0.1:/{number}", "NFS"))
        assert accepted(ask, ask, ask) == 1


def interrupted(site: Site) -> OperationId:
    """An operation that a process began: this one's predecessor, or, once this one has stopped, its successor."""
    now = site.plane.clock.utc()
    with site.database.begin() as tx:
        call = Call("host@dummy", "backend", "ensure_driver_resources", {})
        operation_id = site.plane.operations.enqueue(tx, admin_context(), call)
        operations.claim(tx, "host@dummy", limit=1, busy_keys=(), now=now)
    return operation_id


def state_of(site: Site, operation_id: OperationId) -> OperationState:
    with site.database.read() as tx:
        found = operations.get(tx, operation_id)
    assert found is not None
    return found.state


def test_a_backend_stopped_while_it_comes_up_leaves_the_work_of_others_alone(tmp_path: Path) -> None:
    database = in_file(tmp_path / "penstock.db")
    Slow.may_go_on.clear()
    site = Site(database, tmp_path, f"{__name__}.Slow")
    site.service.start()
    site.service.stop()
    operation_id = interrupted(site)
    Slow.may_go_on.set()
    until(lambda: not any(thread.name == "start-dummy" for thread in threading.enumerate()))
    assert state_of(site, operation_id) is OperationState.RUNNING
    database.close()


def test_a_database_that_refuses_at_the_start_of_work_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_service, "RETRY_START_S", 0.05)
    database = in_file(tmp_path / "penstock.db")
    site = Site(database, tmp_path)
    operation_id = interrupted(site)
    with database.begin() as tx:
        tx.execute(text("CREATE TRIGGER no BEFORE UPDATE ON operations BEGIN SELECT RAISE(ABORT, 'no'); END"))
    site.service.start()
    until(site.is_up)
    with database.begin() as tx:
        tx.execute(text("DROP TRIGGER no"))
    until(lambda: state_of(site, operation_id) is OperationState.DONE)
    site.service.stop()
    database.close()


def test_a_password_file_that_a_crash_left_empty_is_no_password(database: Database, tmp_path: Path) -> None:
    conf = load()
    conf.set_override("state_path", str(tmp_path))
    clock = SystemClock()
    path = tmp_path / PASSWORD_FILE
    path.touch(mode=0o600)
    first_start(ControlPlane(database, OperationQueue(clock), clock, conf))
    written = path.read_text()
    assert len(written.strip()) >= 24
    assert path.stat().st_mode & 0o777 == 0o600
    first_start(ControlPlane(database, OperationQueue(clock), clock, conf))
    assert path.read_text() == written
