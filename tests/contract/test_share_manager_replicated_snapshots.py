"""Snapshots of replicated shares through the share manager: taken, carried, deleted, lost, reverted to."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageDetail
from penstock.domain.shares import ReplicaState, Share
from penstock.domain.snapshots import SnapshotStatus
from penstock.errors import BackendFault
from penstock.store import shares, snapshots
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


def taken(bench: ReplicaBench, share: Share) -> str:
    snapshot = bench.begin_snapshot(share)
    bench.managers["east"].create_replicated_snapshot(CONTEXT, snapshot.id, share.id)
    return snapshot.id


def snapshot_states(bench: ReplicaBench, snapshot_id: str) -> list[str]:
    with bench.database.read() as tx:
        return sorted(one.status.value for one in snapshots.instances_of(tx, snapshot_id))


def test_a_snapshot_reaches_the_replicas_with_their_next_syncs(bench: ReplicaBench, share: Share) -> None:
    snapshot_id = taken(bench, share)
    assert snapshot_states(bench, snapshot_id) == ["available", "creating", "creating"]
    bench.clock.advance(60)
    bench.look()
    bench.look()
    assert snapshot_states(bench, snapshot_id) == ["available"] * 3


def begin_deletion(bench: ReplicaBench, snapshot_id: str) -> None:
    with bench.database.begin() as tx:
        for instance in snapshots.instances_of(tx, snapshot_id):
            snapshots.move(tx, instance, Event.DELETE, now=bench.clock.utc())


def test_a_deleted_snapshot_is_gone_everywhere_at_last(bench: ReplicaBench, share: Share) -> None:
    snapshot_id = taken(bench, share)
    bench.clock.advance(60)
    bench.look()
    bench.look()
    begin_deletion(bench, snapshot_id)
    bench.away = {"north"}
    bench.enqueue(share, "east", "delete_replicated_snapshot", snapshot_id=snapshot_id, share_id=share.id)
    bench.work()
    assert snapshot_states(bench, snapshot_id) == ["deleting", "deleting"], "north may still have it"
    bench.away = set()
    bench.look()
    bench.work()
    assert snapshot_states(bench, snapshot_id) == []
    assert not bench.record(share, "north").snapshots


def test_a_deletion_that_fails_on_one_replica_can_be_asked_for_again(bench: ReplicaBench, share: Share) -> None:
    snapshot_id = taken(bench, share)
    bench.clock.advance(60)
    bench.look()
    bench.look()
    begin_deletion(bench, snapshot_id)
    bench.away = {"north"}
    bench.enqueue(share, "east", "delete_replicated_snapshot", snapshot_id=snapshot_id, share_id=share.id)
    bench.work()
    bench.away = set()
    bench.interrupt = broken_on_north  # type: ignore[method-assign]
    bench.managers["north"].periodic_share_replica_snapshot_update(CONTEXT)
    bench.managers["east"].periodic_share_replica_snapshot_update(CONTEXT)
    assert snapshot_states(bench, snapshot_id) == ["error_deleting"] * 2, "nobody is at it any more"
    del bench.interrupt  # it is mended
    begin_deletion(bench, snapshot_id)
    bench.enqueue(share, "east", "delete_replicated_snapshot", snapshot_id=snapshot_id, share_id=share.id)
    bench.work()
    assert snapshot_states(bench, snapshot_id) == []
    assert not bench.record(share, "north").snapshots


def test_a_snapshot_that_arrives_after_it_was_given_up_belongs_to_the_replica(
    bench: ReplicaBench, share: Share
) -> None:
    snapshot_id = taken(bench, share)
    replica_id = bench.on(share, "north").id
    with bench.database.begin() as tx:
        mine = next(one for one in snapshots.instances_of(tx, snapshot_id) if one.share_instance_id == replica_id)
        snapshots.move(tx, mine, Event.FAILED, now=bench.clock.utc())
    bench.clock.advance(60)
    bench.look()
    record = bench.storage.find("north", replica_id)
    assert record is not None
    assert [item.owner for item in record.snapshots.values()] == [mine.id]
    assert bench.on(share, "north").replica_state is ReplicaState.IN_SYNC


def test_a_snapshot_deleted_while_another_is_looked_at_is_passed_over(bench: ReplicaBench, share: Share) -> None:
    ids = {taken(bench, share), taken(bench, share)}
    with bench.database.read() as tx:
        looked_at, other = (
            one.id for one in snapshots.of_backend(tx, "host@north", statuses=(SnapshotStatus.CREATING,))
        )
    assert {looked_at, other} == ids

    def delete_the_other(section: str, what: str) -> None:
        with bench.database.begin() as tx:
            snapshots.delete_snapshot(tx, other)

    bench.interrupt = delete_the_other  # type: ignore[method-assign]
    bench.managers["north"].periodic_share_replica_snapshot_update(CONTEXT)
    with bench.database.read() as tx:
        assert snapshots.get(tx, other) is None


def broken_on_north(section: str, what: str) -> None:
    if section == "north":
        raise BackendFault("The disk says no.")


def test_a_snapshot_that_had_not_arrived_is_lost_with_the_old_active_one(bench: ReplicaBench, share: Share) -> None:
    snapshot_id = taken(bench, share)
    bench.away = {"east"}
    bench.promote(share, "west")
    bench.look("west")
    with bench.database.read() as tx:
        found = snapshots.get(tx, snapshot_id)
    assert found is not None
    assert found.status is SnapshotStatus.ERROR
    assert MessageDetail.SNAPSHOT_NOT_REPLICATED in [message.detail_id for message in bench.messages()]


def test_a_snapshot_that_the_active_one_lost_is_an_error_everywhere(bench: ReplicaBench, share: Share) -> None:
    """The one that had it followed one that had not, and was promoted before anybody looked (seed 905)."""
    snapshot_id = taken(bench, share)
    bench.record(share, "east").snapshots.clear()
    bench.look("west")
    with bench.database.read() as tx:
        assert {one.status for one in snapshots.instances_of(tx, snapshot_id)} == {SnapshotStatus.ERROR}
    assert MessageDetail.SNAPSHOT_NOT_REPLICATED in [message.detail_id for message in bench.messages()]


def test_a_snapshot_that_the_new_active_one_cannot_tell_of_is_an_error_everywhere(
    bench: ReplicaBench, share: Share
) -> None:
    """The old one, which has it, is to follow one that may not have it."""
    snapshot_id = taken(bench, share)
    bench.away = {"east"}
    bench.promote(share, "north")
    bench.interrupt = broken_on_north  # type: ignore[method-assign]
    bench.managers["north"].periodic_share_replica_snapshot_update(CONTEXT)
    assert snapshot_states(bench, snapshot_id) == ["error"] * 3


def test_a_snapshot_whose_creation_failed_before_a_replica_was_made_is_not_waited_for(
    bench: ReplicaBench, share: Share
) -> None:
    """The replica was asked for while the snapshot was being taken: its instance is of then."""
    snapshot_id = bench.begin_snapshot(share).id
    active_id = bench.on(share, "east").id
    with bench.database.begin() as tx:
        mine = next(one for one in snapshots.instances_of(tx, snapshot_id) if one.share_instance_id == active_id)
        snapshots.move(tx, mine, Event.FAILED, now=bench.clock.utc())
    bench.look()
    assert snapshot_states(bench, snapshot_id) == ["error"] * 3


def test_a_replicated_share_is_reverted_where_it_is_active(bench: ReplicaBench, share: Share) -> None:
    bench.write(share, "east", "one")
    snapshot_id = taken(bench, share)
    bench.write(share, "east", "two")
    active = bench.active(share)
    with bench.database.begin() as tx:
        snapshot = snapshots.get(tx, snapshot_id)
        assert snapshot is not None
        shares.move(tx, active, Event.REVERT, now=bench.clock.utc())
        snapshots.move(tx, snapshot.instance, Event.REVERT, now=bench.clock.utc())
    bench.managers["east"].revert_to_snapshot(CONTEXT, snapshot_id)
    assert bench.record(share, "east").written == ["one"]
    bench.clock.advance(60)
    bench.look()
    assert bench.record(share, "west").written == ["one"]


def test_a_snapshot_is_carried_to_the_replicas_by_the_next_look(bench: ReplicaBench, share: Share) -> None:
    snapshot = bench.begin_snapshot(share)
    bench.managers["east"].create_replicated_snapshot(CONTEXT, snapshot_id=snapshot.id, share_id=share.id)
    assert bench.queue.look_wanted("host@west").is_set()
    bench.look()
    bench.look()
    with bench.database.read() as tx:
        found = snapshots.get(tx, snapshot.id)
    assert found is not None
    assert found.aggregate_status is SnapshotStatus.AVAILABLE
