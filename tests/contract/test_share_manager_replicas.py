"""Replicas through the share manager: three backends, one share, and what goes wrong between them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageDetail
from penstock.domain.operations import Call
from penstock.domain.shares import AccessRulesStatus, ReplicaState, Share, ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.errors import BackendFault, Cancelled, InsufficientCapacity, Unavailable
from penstock.share.replication import Role
from penstock.store import access, instances, operations, replicas, shares, snapshots
from tests.contract.replica_bench import CONTEXT, ReplicaBench
from tests.databases import in_memory


@pytest.fixture
def bench(tmp_path: Path) -> ReplicaBench:
    return ReplicaBench(in_memory(), tmp_path)


@pytest.fixture
def share(bench: ReplicaBench) -> Share:
    """With replicas on `west` and `north`, in sync."""
    share = bench.share("west", "north")
    bench.look()
    return share


def states(bench: ReplicaBench, share: Share) -> dict[str, tuple[str, str]]:
    """Status and replica state by backend."""
    return {
        str(one.host).partition("@")[2].partition("#")[0]: (str(one.status), str(one.replica_state))
        for one in bench.of(share)
    }


def test_a_replica_is_made_at_once_and_synced_by_the_next_look(bench: ReplicaBench) -> None:
    share = bench.share("west")
    assert states(bench, share)["west"] == ("available", "out_of_sync")
    west = bench.on(share, "west")
    with bench.database.read() as tx:
        assert [rule.state for rule in access.of_instance(tx, west.id)] == [AccessState.ACTIVE]
    bench.write(share, "east", "one")
    bench.look("west")
    assert states(bench, share)["west"] == ("available", "in_sync")
    assert bench.record(share, "west").written == ["one"]
    assert bench.on(share, "west").synced_at == bench.clock.utc()


def test_a_creation_that_fails_for_good_is_an_error_with_a_message(bench: ReplicaBench, share: Share) -> None:
    replica_id = bench.replica(share, "north", make=False)

    def full(section: str, what: str) -> None:
        raise InsufficientCapacity("The pool is full.")

    bench.interrupt = full  # type: ignore[method-assign]
    with pytest.raises(InsufficientCapacity):
        bench.managers["north"].create_share_replica(CONTEXT, replica_id, share.id)
    failed = next(one for one in bench.of(share) if one.id == replica_id)
    assert (failed.status, failed.replica_state) == (ShareStatus.ERROR, ReplicaState.ERROR)
    assert [message.resource_id for message in bench.messages()] == [replica_id]


def test_a_replica_that_is_there_though_its_creation_failed_gets_its_rules(bench: ReplicaBench) -> None:
    share = bench.share()
    replica_id = bench.replica(share, "west", make=False)
    with bench.database.begin() as tx:
        access.add_instance(tx, share.id, replica_id, now=bench.clock.utc())
        syncing = AccessRulesStatus.SYNCING
        instances.update_instance(tx, replica_id, now=bench.clock.utc(), access_rules_status=syncing)

    def broken(section: str, what: str) -> None:
        if what == "changed":
            raise BackendFault("The disk says no.")

    bench.interrupt = broken  # type: ignore[method-assign]
    with pytest.raises(BackendFault):
        bench.managers["west"].create_share_replica(CONTEXT, replica_id, share.id)
    del bench.interrupt
    bench.look()
    bench.work()
    bench.look()
    assert states(bench, share)["west"] == ("available", "in_sync")
    assert bench.on(share, "west").access_rules_status is AccessRulesStatus.ACTIVE
    with bench.database.read() as tx:
        assert [rule.state for rule in access.of_instance(tx, replica_id)] == [AccessState.ACTIVE]


def test_a_deleted_replica_is_gone_and_the_share_stays(bench: ReplicaBench, share: Share) -> None:
    replica = bench.on(share, "west")
    with bench.database.begin() as tx:
        shares.move(tx, replica, Event.DELETE, now=bench.clock.utc())
    for _ in range(2):
        bench.managers["west"].delete_share_replica(CONTEXT, replica.id, share.id)
    assert set(states(bench, share)) == {"east", "north"}
    assert bench.storage.find("west", replica.id) is None


def test_a_deletion_that_fails_for_good_says_so_and_force_forgets(bench: ReplicaBench, share: Share) -> None:
    replica = bench.on(share, "west")
    with bench.database.begin() as tx:
        shares.move(tx, replica, Event.DELETE, now=bench.clock.utc())
    bench.away = {"west"}
    with pytest.raises(Unavailable):
        bench.managers["west"].delete_share_replica(CONTEXT, replica.id, share.id)
    assert states(bench, share)["west"] == ("error_deleting", "error")
    failed = bench.on(share, "west")
    with bench.database.begin() as tx:
        shares.move(tx, failed, Event.FORCE_DELETE, now=bench.clock.utc())
    bench.managers["west"].delete_share_replica(CONTEXT, replica.id, share.id, force=True)
    assert "west" not in states(bench, share)


def test_a_replica_is_not_deleted_while_its_sync_cannot_be_ended(bench: ReplicaBench, share: Share) -> None:
    """What a command that hangs makes after the deletion would be nobody's."""
    replica = bench.on(share, "west")
    manager = bench.managers["west"]
    with bench.database.begin() as tx:
        shares.move(tx, replica, Event.DELETE, now=bench.clock.utc())
    bench.enqueue(share, "west", "delete_share_replica", share_replica_id=replica.id, share_id=share.id)
    with manager.syncs.running(replica.id, share.id) as stop:
        bench.work()
        assert stop is not None
        assert stop.is_set()
        assert bench.storage.find("west", replica.id) is not None
        assert states(bench, share)["west"][0] == "deleting"
    bench.clock.advance(600)
    bench.work()
    assert "west" not in states(bench, share)


def test_a_planned_promotion_loses_nothing_and_the_old_one_follows(bench: ReplicaBench, share: Share) -> None:
    bench.write(share, "east", "late")
    bench.promote(share, "west")
    assert states(bench, share)["west"] == ("available", "active")
    assert states(bench, share)["east"] == ("available", "out_of_sync")
    assert (bench.active(share).epoch, bench.record(share, "west").epoch) == (3, 3)
    assert bench.record(share, "west").written == ["late"]
    assert [rule[2] for rule in bench.record(share, "west").rules] == ["rw"]
    with pytest.raises(OSError, match="read-only"):
        bench.write(share, "east", "no")
    bench.look()
    assert set(states(bench, share).values()) == {("available", "active"), ("available", "in_sync")}
    assert bench.record(share, "east").role == Role.REPLICA
    assert [rule[2] for rule in bench.record(share, "east").rules] == ["ro"]


def test_an_unplanned_promotion_tells_the_loss_and_fences_what_returns(bench: ReplicaBench, share: Share) -> None:
    bench.clock.advance(10)
    bench.write(share, "east", "lost")
    bench.away = {"east"}
    bench.promote(share, "west")
    (message,) = bench.messages()
    assert message.detail_id == MessageDetail.PROMOTED_WITHOUT_OLD_ACTIVE
    assert "in the 10 seconds" in message.text
    bench.away = set()
    bench.look()
    assert bench.record(share, "east").role == Role.REPLICA
    assert bench.record(share, "east").set_aside == ["diverged_1: lost"]
    assert states(bench, share)["east"] == ("available", "in_sync")


@pytest.mark.parametrize("step", range(1, 12))
def test_a_promotion_that_dies_anywhere_is_ended_by_the_same_call(bench: ReplicaBench, share: Share, step: int) -> None:
    bench.write(share, "east", "late")
    replica_id = bench.begin_promotion(share, "west")
    bench.steps.clear()

    class Died(BaseException):
        pass

    def die(section: str, what: str) -> None:
        if len(bench.steps) == step:
            raise Died

    bench.interrupt = die  # type: ignore[method-assign]
    try:
        bench.managers["west"].promote_share_replica(CONTEXT, replica_id, share.id)
    except Died:
        writable = [name for name in ("east", "west") if bench.record(share, name).role == Role.ACTIVE]
        assert len(writable) <= 1
    bench.managers["west"].promote_share_replica(CONTEXT, replica_id, share.id)
    assert bench.record(share, "west").written == ["late"]
    assert bench.record(share, "east").role == Role.DEMOTED
    assert states(bench, share)["west"] == ("available", "active")


def test_after_a_promotion_that_failed_a_look_puts_the_old_one_back(bench: ReplicaBench, share: Share) -> None:
    bench.write(share, "east", "kept")

    def full(section: str, what: str) -> None:
        if what == "copy from east":
            raise InsufficientCapacity("The pool is full.")

    bench.interrupt = full  # type: ignore[method-assign]
    wanted = bench.queue.look_wanted("host@east")
    wanted.clear()
    bench.promote(share, "west")
    assert states(bench, share)["west"] == ("error", "error")
    assert states(bench, share)["east"] == ("error", "active")
    assert bench.record(share, "east").role == Role.DEMOTED
    del bench.interrupt
    assert wanted.is_set(), "nobody serves the share, and the next look may be a minute away"
    bench.look()
    bench.work()
    bench.look()
    bench.look()
    assert bench.record(share, "east").role == Role.ACTIVE
    assert bench.record(share, "east").written == ["kept"]
    assert states(bench, share) == {
        "east": ("available", "active"),
        "west": ("available", "in_sync"),
        "north": ("available", "in_sync"),
    }
    assert bench.active(share).epoch == 5, "the number of the reign that never was is not used again"


def test_what_an_operation_keeps_from_being_mended_is_looked_at_again_soon(bench: ReplicaBench, share: Share) -> None:
    """So is what the very promotion left whose fault is to be mended, when the look came before its operation ended."""
    active = bench.active(share).id
    with bench.database.begin() as tx:
        shares.reset_status(tx, active, ShareStatus.ERROR, now=bench.clock.utc())
    bench.enqueue(share, "east", "update_access", share_instance_id=active)
    east = bench.managers["east"]
    soon_s = east.look_at_replicas(CONTEXT, lambda sync: sync())
    assert states(bench, share)["east"] == ("error", "active")
    bench.work()
    bench.clock.advance(soon_s)
    assert soon_s < 5 < east.look_at_replicas(CONTEXT, lambda sync: sync())
    assert states(bench, share)["east"] == ("available", "active")


def test_a_promotion_that_broke_off_and_was_overtaken_is_brought_back(bench: ReplicaBench, share: Share) -> None:
    """It is in error, and active on its storage under a number that is over: the next sync fences it (seed 890)."""
    west = bench.on(share, "west").id
    bench.record(share, "west").role, bench.record(share, "east").epoch = Role.ACTIVE, 9
    bench.look()
    with bench.database.begin() as tx:
        shares.reset_status(tx, west, ShareStatus.ERROR, now=bench.clock.utc())
    bench.look("west")
    bench.look("west")
    assert states(bench, share)["west"] == ("available", "in_sync")
    assert bench.record(share, "west").role == Role.REPLICA


def test_a_fence_that_was_lifted_needs_no_promotion(bench: ReplicaBench, share: Share) -> None:
    """The active one goes on under a later number than its row has: the row follows, and nobody is promoted."""
    bench.record(share, "east").epoch = 9
    bench.look("east")
    assert bench.active(share).epoch == 9
    with bench.database.read() as tx:
        assert operations.pending(tx, resource_key=f"share:{share.id}") == []


@pytest.mark.parametrize("step", range(1, 8))
def test_an_unplanned_promotion_that_dies_is_ended_under_its_next_number(
    bench: ReplicaBench, share: Share, step: int
) -> None:
    """Each attempt keeps a number of its own: what the one before activated is no old active that came back."""
    bench.away = {"east"}
    replica_id = bench.begin_promotion(share, "west")
    bench.steps.clear()

    class Died(BaseException):
        pass

    def die(section: str, what: str) -> None:
        if len(bench.steps) == step:
            raise Died

    bench.interrupt = die  # type: ignore[method-assign]
    with suppress(Died):
        bench.managers["west"].promote_share_replica(CONTEXT, replica_id, share.id)
    bench.managers["west"].promote_share_replica(CONTEXT, replica_id, share.id)
    assert bench.record(share, "west").role == Role.ACTIVE
    assert states(bench, share)["west"] == ("available", "active")


def test_rows_follow_a_promotion_that_reached_the_storage(bench: ReplicaBench, share: Share) -> None:
    def gone(section: str, what: str) -> None:
        if bench.record(share, "west").role == Role.ACTIVE:
            raise BackendFault("It went away just then.")

    bench.interrupt = gone  # type: ignore[method-assign]
    bench.promote(share, "west")
    assert states(bench, share)["west"] == ("error", "error")
    del bench.interrupt
    bench.look("west")
    bench.work()
    bench.look("west")
    assert states(bench, share)["west"] == ("available", "active")


def test_a_promotion_does_not_wait_for_what_is_queued_at_the_dead_one(bench: ReplicaBench, share: Share) -> None:
    bench.away = {"east"}
    taken = bench.begin_snapshot(share)
    bench.enqueue(share, "east", "create_replicated_snapshot", snapshot_id=taken.id, share_id=share.id)
    bench.work("east")
    assert bench.pending() == [("host@east", "create_replicated_snapshot")], "tried in vain, and again later"
    bench.promote(share, "west")
    assert states(bench, share)["west"] == ("available", "active")
    bench.work()
    assert bench.pending() == [], "done at the new active one"
    with bench.database.read() as tx:
        found = snapshots.get(tx, taken.id)
    assert found is not None
    assert found.status is SnapshotStatus.AVAILABLE
    assert found.instance.share_instance_id == bench.on(share, "west").id


def test_of_two_promotions_at_once_both_happen_one_after_the_other(bench: ReplicaBench, share: Share) -> None:
    first = bench.begin_promotion(share, "west")

    def other(section: str, what: str) -> None:
        bench.workers["north"].run_pending()
        assert bench.record(share, "north").role == Role.REPLICA

    second = bench.on(share, "north").id
    bench.enqueue(share, "north", "promote_share_replica", share_replica_id=second, share_id=share.id)
    bench.interrupt = other  # type: ignore[method-assign]
    bench.work("west")
    del bench.interrupt
    bench.work()
    assert bench.active(share).id == first, "the second finds that no change is wanted any more"


def test_a_sync_that_runs_is_ended_by_a_promotion(bench: ReplicaBench, share: Share) -> None:
    bench.write(share, "east", "one")
    bench.clock.advance(50)
    stopped: list[bool] = []

    def promote(section: str, what: str) -> None:
        if what == "look" and section == "east" and not stopped:
            stopped.append(True)
            bench.begin_promotion(share, "west")
            bench.clock.advance(2)

    bench.interrupt = promote  # type: ignore[method-assign]
    with pytest.raises(Cancelled):
        bench.managers["west"].update_share_replica(CONTEXT, bench.on(share, "west").id, share.id)
    bench.work()
    assert states(bench, share)["west"] == ("available", "active")
    assert bench.record(share, "west").written == ["one"]


def test_a_sync_that_a_whole_promotion_overtook_says_nothing(bench: ReplicaBench, share: Share) -> None:
    """What it brought is of a reign that has ended, although the replica's row looks as it did before."""
    north = bench.on(share, "north")
    with bench.database.begin() as tx:
        replicas.set_state(tx, north.id, ReplicaState.OUT_OF_SYNC, now=bench.clock.utc())
    overtaken: list[bool] = []

    def promote(section: str, what: str) -> None:
        if section == "north" and what == "copy from east" and not overtaken:
            overtaken.append(True)
            bench.promote(share, "west")

    bench.interrupt = promote  # type: ignore[method-assign]
    bench.managers["north"].update_share_replica(CONTEXT, north.id, share.id)
    assert overtaken
    assert states(bench, share)["west"] == ("available", "active")
    assert states(bench, share)["north"] == ("available", "out_of_sync")
    assert bench.on(share, "north").synced_at == north.synced_at
    bench.look("east", "north")
    assert states(bench, share)["north"] == ("available", "in_sync")


def test_a_broken_objective_is_said_once_and_taken_back(bench: ReplicaBench, share: Share) -> None:
    bench.away = {"east"}
    for _ in range(3):
        bench.clock.advance(61)
        bench.look("west")
    west = bench.on(share, "west")
    assert (west.replica_state, west.lag_alarm) == (ReplicaState.OUT_OF_SYNC, True)
    assert [m.detail_id for m in bench.messages() if m.resource_id == west.id] == [MessageDetail.REPLICA_BEHIND]
    bench.away = set()
    bench.clock.advance(61)
    bench.look("west")
    bench.look("west")
    west = bench.on(share, "west")
    assert (west.replica_state, west.lag_alarm) == (ReplicaState.IN_SYNC, False)


def test_a_source_that_nobody_writes_is_looked_at_and_not_copied(bench: ReplicaBench, share: Share) -> None:
    bench.steps.clear()
    for _ in range(10):
        bench.clock.advance(15)
        bench.look("west")
    assert not [step for step in bench.steps if step[1].startswith("copy")]
    assert bench.on(share, "west").synced_at == bench.clock.utc()


def test_a_changed_source_is_copied_in_time_and_not_at_once(bench: ReplicaBench, share: Share) -> None:
    bench.write(share, "east", "one")
    ages = []
    for _ in range(8):
        bench.clock.advance(10)
        bench.look("west")
        synced_at = bench.on(share, "west").synced_at
        assert synced_at is not None
        ages.append((bench.clock.utc() - synced_at).total_seconds())
    assert bench.record(share, "west").written == ["one"]
    assert max(ages) <= 60
    assert ages[0] > 0, "an objective of a minute is no reason to copy at once"


def test_a_resync_says_how_far_it_is_and_can_be_cancelled(bench: ReplicaBench, share: Share) -> None:
    bench.write(share, "east", "one")
    replica_id = bench.on(share, "west").id
    with bench.database.begin() as tx:
        call = Call("host@west", f"replica:{replica_id}", "update_share_replica", {"share_replica_id": replica_id})
        operation_id = bench.queue.enqueue(tx, CONTEXT, call)

    def cancel(section: str, what: str) -> None:
        if what == "look":
            bench.clock.advance(6)
            with bench.database.begin() as tx:
                operations.request_cancel(tx, operation_id)

    bench.interrupt = cancel  # type: ignore[method-assign]
    bench.work("west")
    with bench.database.read() as tx:
        found = operations.get(tx, operation_id)
    assert found is not None
    assert found.state.value == "cancelled"


def test_epochs_never_repeat(bench: ReplicaBench, share: Share) -> None:
    west, north = bench.on(share, "west").id, bench.on(share, "north").id
    with bench.database.begin() as tx:
        kept = [replicas.keep_epoch(tx, share.id, one, now=bench.clock.utc()) for one in (west, west, north)]
        replicas.delete_replica(tx, north)
        kept.append(replicas.keep_epoch(tx, share.id, west, now=bench.clock.utc()))
    assert kept == [3, 5, 7, 9], "and the numbers between are for promotions that are given up"
