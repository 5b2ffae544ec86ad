"""Migrations by drivers: rows, operations and both backends together, interrupted and cancelled at each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.migration import MigrationFlags
from penstock.domain.quotas import QuotaResource
from penstock.domain.shares import ReplicaState, Share
from penstock.domain.snapshots import Snapshot
from penstock.errors import Conflict, Invalid, InvalidShare, NotFound, QuotaExceeded, Unavailable
from penstock.services import migration as service
from penstock.services import share_lifecycle
from penstock.store import messages, quotas, shares
from penstock.store.lists import Page
from penstock.store.quotas import QuotaScope
from tests.contract.migration_bench import ADMIN, DRIVER_CAN, HERE, THERE, Bench, nth_step
from tests.factories import a_share

STEPS = 27  # more than a migration has: the last ones find that nothing is left to interrupt


class Died(BaseException):
    """The process ends here, as kill -9 does it."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def whole(bench: Bench) -> tuple[Share, Snapshot]:
    """A share with data, a rule and a snapshot."""
    share = bench.a_share()
    bench.allow(share, "10.0.0.1")
    bench.write(share, "a")
    snapshot = bench.take(share)
    bench.write(share, "b")
    return share, snapshot


def test_a_share_moves_with_rules_and_snapshots(bench: Bench) -> None:
    share, snapshot = whole(bench)
    assert bench.start(share)
    assert bench.share(share).status == "migrating"
    assert bench.snapshot(snapshot).status == "migrating"
    assert bench.instances(share) == {HERE: "migrating", THERE: "migrating_to"}
    bench.run()
    assert bench.share(share).task_state == "migration_driver_phase1_done"
    bench.write(share, "c")  # still writable
    bench.complete(share)
    bench.run()
    moved = bench.share(share)
    assert (moved.status, moved.task_state) == ("available", "migration_success")
    assert bench.instances(share) == {THERE: "available"}
    assert bench.rules(share) == {"10.0.0.1": "active"}
    found = bench.snapshot(snapshot)
    assert (found.status, found.instance.share_instance_id) == ("available", moved.instance.id)
    assert found.instance.provider_location is not None
    assert bench.records("one") == []
    (there,) = bench.records("two")
    assert (there.written, there.rules) == (["a", "b", "c"], [["ip", "10.0.0.1", "rw"]])
    assert [item.owner for item in there.snapshots.values()] == [found.instance.id]
    bench.write(share, "d")


def test_cancel_leaves_the_source_as_it_was(bench: Bench) -> None:
    share, snapshot = whole(bench)
    bench.to_phase1(share)
    bench.cancel(share)
    bench.cancel(share)  # twice is once
    bench.run()
    back = bench.share(share)
    assert (back.status, back.task_state) == ("available", "migration_cancelled")
    assert bench.instances(share) == {HERE: "available"}
    assert bench.snapshot(snapshot).status == "available"
    assert bench.records("two") == []
    bench.write(share, "c")
    bench.to_phase1(share)
    bench.complete(share)
    bench.run()
    assert bench.records("two")[0].written == ["a", "b", "c"]


@pytest.mark.parametrize("step", range(1, STEPS))
def test_a_process_that_dies_at_any_step_goes_on(tmp_path: Path, step: int) -> None:
    bench = Bench(tmp_path)
    share, snapshot = whole(bench)

    def die() -> None:
        raise Died

    _drive(bench, share, nth_step(step, die))
    _moved(bench, share, snapshot)


@pytest.mark.parametrize("step", range(1, STEPS))
@pytest.mark.parametrize("is_last_attempt", [False, True])
def test_a_host_that_does_not_answer_at_any_step_is_waited_for(
    tmp_path: Path, step: int, is_last_attempt: bool
) -> None:
    bench = Bench(tmp_path)
    share, snapshot = whole(bench)

    def be_away() -> None:
        bench.clock.advance(3600 if is_last_attempt else 0)
        raise Unavailable("the host is away")

    _drive(bench, share, nth_step(step, be_away))
    _moved(bench, share, snapshot)


def test_what_a_migration_waits_for_is_seen(bench: Bench) -> None:
    share = bench.a_share()

    def before(section: str, _what: str) -> None:
        if section == "two":
            raise Unavailable("host two does not answer")

    bench.storage.before = before
    bench.start(share)
    bench.settle()
    assert bench.share(share).task_state == "migration_driver_starting"
    assert bench.migration(share).note == "Waiting: host two does not answer"
    bench.write(share, "a")
    bench.storage.before = lambda _section, _what: None
    bench.settle()
    assert bench.share(share).task_state == "migration_driver_phase1_done"


@pytest.mark.parametrize("step", range(1, STEPS))
def test_cancelled_at_any_step_it_is_there_or_here(tmp_path: Path, step: int) -> None:
    bench = Bench(tmp_path)
    share, snapshot = whole(bench)

    def cancel() -> None:
        try:
            bench.cancel(share)
        except InvalidShare:
            return  # it is over

    _drive(bench, share, nth_step(step, cancel))
    end = bench.share(share)
    assert end.status == "available"
    if end.task_state == "migration_success":
        _moved(bench, share, snapshot)
        return
    assert end.task_state == "migration_cancelled"
    assert bench.instances(share) == {HERE: "available"}
    assert bench.records("two") == []
    assert bench.snapshot(snapshot).status == "available"
    bench.write(share, "after")


def _drive(bench: Bench, share: Share, before: Callable[[str, str], None]) -> None:
    """A whole migration, with `before` at work; a death is followed by a restart."""
    bench.storage.before = before
    bench.start(share)
    for _ in range(8):
        try:
            bench.tick()
            if bench.share(share).task_state == "migration_driver_phase1_done":
                bench.complete(share)
            bench.tick()
        except Died:
            bench.restart()
    bench.storage.before = lambda _section, _what: None
    bench.settle()


def _moved(bench: Bench, share: Share, snapshot: Snapshot) -> None:
    end = bench.share(share)
    assert (end.status, end.task_state) == ("available", "migration_success"), bench.failures()
    assert bench.instances(share) == {THERE: "available"}
    assert bench.records("one") == []
    (there,) = bench.records("two")
    assert there.written == ["a", "b"]
    assert there.rules == [["ip", "10.0.0.1", "rw"]]
    assert bench.snapshot(snapshot).status == "available"
    bench.write(share, "after")


def test_what_the_driver_cannot_keep_is_refused_by_name(bench: Bench) -> None:
    share = bench.a_share()
    bench.start(share, MigrationFlags(nondisruptive=True))
    bench.run()
    end = bench.share(share)
    assert (end.status, end.task_state) == ("available", "migration_error")
    assert "cannot do it nondisruptive" in (bench.migration(share).note or "")
    assert bench.instances(share) == {HERE: "available"}


def test_a_pool_without_room_ends_it_with_the_reason(bench: Bench) -> None:
    first, second = bench.a_share(size_gib=6), bench.a_share(size_gib=3)
    bench.to_phase1(first)  # its space is promised from the start
    third = bench.a_share(size_gib=1)
    bench.to_phase1(second)
    with bench.database.begin() as tx:
        shares.update_share(tx, third.id, now=bench.clock.utc(), size_gib=5)
    assert bench.start(third)
    end = bench.share(third)
    assert (end.status, end.task_state) == ("available", "migration_error")
    assert bench.instances(third) == {HERE: "available"}
    with bench.database.read() as tx:
        (told,) = messages.list_messages(tx, project_id="p1", filters={}, page=Page())
    assert "host@two#pool: it has 1 GiB free" in told.text


def test_to_another_type_the_share_has_what_the_type_says(bench: Bench) -> None:
    share = bench.a_share()
    new = bench.a_type(driver_handles_share_servers="False", snapshot_support="True")
    bench.start(share, share_type=new.id)
    bench.run()
    assert bench.share(share).share_type_id is None
    bench.complete(share)
    bench.run()
    moved = bench.share(share)
    assert (moved.share_type_id, moved.instance.share_type_id) == (new.id, new.id)
    assert not moved.create_share_from_snapshot_support


def test_the_only_replica_of_a_share_moves_and_stays_active(tmp_path: Path) -> None:
    bench = Bench(tmp_path, own="replication_domain = d")
    kind = bench.a_type(driver_handles_share_servers="False", replication_type="readable")
    first = a_share()
    instance = replace(first.instance, replica_state=ReplicaState.ACTIVE, share_type_id=kind.id)
    share = bench.a_share(
        id=first.id, share_type_id=kind.id, replication_type="readable", instance=replace(instance, host=HERE)
    )
    bench.write(share, "a")
    bench.to_phase1(share)
    bench.complete(share)
    bench.run()
    moved = bench.share(share)
    assert (moved.task_state, moved.instance.replica_state) == ("migration_success", "active")
    assert bench.instances(share) == {THERE: "available"}


def test_the_quota_of_the_new_type_holds(bench: Bench) -> None:
    share = bench.a_share()
    new = bench.a_type(driver_handles_share_servers="False")
    with bench.database.begin() as tx:
        quotas.set_limits(
            tx,
            QuotaScope.TYPE,
            {QuotaResource.SHARES: 0},
            now=bench.clock.utc(),
            project_id=share.project_id,
            subject=new.id,
        )
    with pytest.raises(QuotaExceeded):
        bench.start(share, share_type=new.id)


def test_quota_counts_a_moving_share_once(bench: Bench) -> None:
    share = bench.a_share()
    bench.to_phase1(share)
    with bench.database.read() as tx:
        used = quotas.usage(tx, share.project_id)
    assert used[QuotaResource.SHARES].in_use == 1
    assert used[QuotaResource.GIGABYTES].in_use == 1
    assert used[QuotaResource.REPLICA_GIGABYTES].in_use == 0


def test_what_cannot_be_is_refused_at_once(bench: Bench) -> None:
    share = bench.a_share()
    bench.take(share)
    with pytest.raises(NotFound):
        bench.start(share, host="host@nowhere#pool")
    with pytest.raises(Invalid):
        bench.start(share, share_type="none")
    with pytest.raises(Invalid):
        bench.start(share, share_network="none")
    forced = MigrationFlags(True, False, False, False, False)
    with pytest.raises(Conflict, match="snapshots"):
        bench.start(share, forced)
    with pytest.raises(InvalidShare):
        bench.complete(share)
    with pytest.raises(InvalidShare):
        bench.cancel(share)
    with pytest.raises(InvalidShare):
        service.progress(bench.plane, ADMIN, share.id)
    assert not bench.start(share, host=HERE)
    bench.start(share)
    with pytest.raises(InvalidShare):
        bench.start(share)


def test_a_moving_share_is_not_deleted_even_by_force(bench: Bench) -> None:
    share = bench.a_share()
    bench.start(share)
    with pytest.raises(InvalidShare, match="cancel"):
        share_lifecycle.force_delete(bench.plane, ADMIN, share.id)


def test_an_offered_pool_that_is_down_is_named(bench: Bench) -> None:
    share = bench.a_share()
    bench.clock.advance(3600)
    with pytest.raises(Invalid, match="down"):
        bench.start(share, DRIVER_CAN)


def test_a_share_deleted_at_once_leaves_nothing_where_it_was(bench: Bench) -> None:
    share = bench.a_share()
    bench.to_phase1(share)
    bench.complete(share)

    def away(*_args: object, **_options: object) -> None:
        raise Unavailable("host one does not answer")

    driver: Any = bench.managers["one"].driver
    driver.delete_share = away
    bench.run()
    assert bench.instances(share) == {HERE: "deleting", THERE: "available"}
    share_lifecycle.delete(bench.plane, ADMIN, share.id)
    bench.settle(3)
    assert bench.share(share).status == "deleting"
    del driver.delete_share
    bench.settle()
    assert bench.records("one") == []
    assert bench.records("two") == []
    with bench.database.read() as tx:
        assert shares.get(tx, share.id) is None
