"""Rows of replicas on every database: one active replica, and it speaks for the share and its snapshots."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.shares import AccessRulesStatus, ReplicaState, Share, ShareInstance, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.errors import Conflict, InvalidShare
from penstock.ids import InstanceId, SnapshotInstanceId, new_id
from penstock.store import access, instances, replicas, share_lines, shares, snapshots
from penstock.store.database import Database
from penstock.store.lists import Page
from penstock.store.share_filter import ShareFilter
from penstock.store.snapshots import SnapshotFilter
from tests.factories import NOW, a_rule, a_share, a_snapshot

OTHER_POOL = "host@other#tank"
BOTH: dict[str, Any] = {"has_replicas": True, "replicas_rules_status": AccessRulesStatus.ACTIVE}


def a_replicated_share(database: Database) -> tuple[Share, ShareInstance]:
    """A share with its active replica and a replica in sync on another backend, stored."""
    plain = a_share(replication_type="readable")
    share = replace(plain, instance=replace(plain.instance, replica_state=ReplicaState.ACTIVE))
    later = NOW + timedelta(seconds=1)
    replica = replace(
        share.instance,
        id=InstanceId(new_id()),
        host=OTHER_POOL,
        replica_state=ReplicaState.IN_SYNC,
        created_at=later,
        cast_rules_to_readonly=True,
        synced_at=later,
    )
    with database.begin() as tx:
        shares.insert_share(tx, share)
        instances.insert_instance(tx, replica)
    return share, replica


def a_replicated_snapshot(database: Database, share: Share, replica: ShareInstance) -> Snapshot:
    snapshot = a_snapshot(share)
    second = replace(snapshot.instance, id=SnapshotInstanceId(new_id()), share_instance_id=replica.id)
    with database.begin() as tx:
        snapshots.insert_snapshot(tx, snapshot)
        snapshots.insert_instance(tx, second)
    return snapshot


def test_a_replica_comes_back_as_it_went_in(database: Database) -> None:
    share, replica = a_replicated_share(database)
    with database.read() as tx:
        assert [one.instance for one in replicas.of_share(tx, share.id)] == [share.instance, replica]
        assert replicas.active_of(tx, share.id) == replace(share, **BOTH)
        assert replicas.on(tx, "host@other") == [replica]
        assert replicas.siblings(tx, [share.id]) == {share.id: [share.instance, replica]}
        assert replicas.count(tx, share.id) == 2


def test_a_share_that_is_not_replicated_has_no_replicas(database: Database) -> None:
    share = a_share()
    with database.begin() as tx:
        shares.insert_share(tx, share)
        assert replicas.of_share(tx, share.id) == []
        assert replicas.active_of(tx, share.id) is None
        assert replicas.siblings(tx, [share.id]) == {}
        assert replicas.count(tx, share.id) == 0


def test_the_database_refuses_two_active_replicas(database: Database) -> None:
    _, replica = a_replicated_share(database)
    with pytest.raises(Conflict), database.begin() as tx:
        replicas.set_state(tx, replica.id, ReplicaState.ACTIVE, now=NOW)
    with database.read() as tx:
        assert instances.get(tx, replica.id) == replica


def test_the_new_active_replica_speaks_for_the_share_and_its_snapshots(database: Database) -> None:
    share, replica = a_replicated_share(database)
    snapshot = a_replicated_snapshot(database, share, replica)
    only_old = a_snapshot(share)
    with database.begin() as tx:
        snapshots.insert_snapshot(tx, only_old)
        replicas.switch_active(tx, share.id, share.instance.id, replica.id, now=NOW, epoch=2)
    with database.read() as tx:
        after = shares.get(tx, share.id)
        spoken = snapshots.get(tx, snapshot.id)
        kept = snapshots.get(tx, only_old.id)
        old = instances.get(tx, share.instance.id)
    assert after
    assert spoken
    assert kept
    assert old
    assert (after.instance.id, after.instance.epoch) == (replica.id, 2)
    assert after.instance.replica_state is ReplicaState.ACTIVE
    assert not after.instance.cast_rules_to_readonly
    assert (old.replica_state, old.epoch, old.cast_rules_to_readonly) == (ReplicaState.OUT_OF_SYNC, 1, True)
    assert spoken.instance.share_instance_id == replica.id
    assert kept.instance.share_instance_id == share.instance.id


def test_of_two_promotions_the_second_finds_that_it_is_late(database: Database) -> None:
    share, replica = a_replicated_share(database)
    with database.begin() as tx:
        replicas.switch_active(tx, share.id, share.instance.id, replica.id, now=NOW, epoch=2)
    with pytest.raises(Conflict), database.begin() as tx:
        replicas.switch_active(tx, share.id, share.instance.id, replica.id, now=NOW, epoch=2)


def test_a_forgotten_replica_takes_its_rules_and_snapshot_instances_along(database: Database) -> None:
    share, replica = a_replicated_share(database)
    snapshot = a_replicated_snapshot(database, share, replica)
    with database.begin() as tx:
        access.insert_rule(tx, a_rule(share), [share.instance.id, replica.id])
        assert len(replicas.snapshot_instances_on(tx, replica.id)) == 1
        assert set(replicas.snapshot_instances_by_replica(tx, snapshot.id)) == {share.instance.id, replica.id}
        replicas.delete_replica(tx, replica.id)
    with database.read() as tx:
        assert instances.get(tx, replica.id) is None
        assert set(replicas.snapshot_instances_by_replica(tx, snapshot.id)) == {share.instance.id}
        assert len(access.of_share(tx, share.id)) == 1
        assert replicas.snapshot_instances_on(tx, share.instance.id, statuses=[SnapshotStatus.ERROR]) == []


def test_the_active_replica_is_not_forgotten_nor_one_that_alone_has_a_snapshot(database: Database) -> None:
    share, replica = a_replicated_share(database)
    alone = a_snapshot(replace(share, instance=replica))
    with database.begin() as tx:
        snapshots.insert_snapshot(tx, alone)
    with pytest.raises(Conflict, match="active"), database.begin() as tx:
        replicas.delete_replica(tx, share.instance.id)
    with pytest.raises(Conflict, match="nowhere else"), database.begin() as tx:
        replicas.delete_replica(tx, replica.id)


def test_a_snapshot_has_one_instance_on_each_replica(database: Database) -> None:
    share, replica = a_replicated_share(database)
    snapshot = a_replicated_snapshot(database, share, replica)
    twin = replace(snapshot.instance, id=SnapshotInstanceId(new_id()))
    with pytest.raises(Conflict), database.begin() as tx:
        snapshots.insert_instance(tx, twin)


@pytest.mark.parametrize("status", [ShareStatus.AVAILABLE, ShareStatus.ERROR, ShareStatus.EXTENDING])
def test_a_promotion_begins_and_ends(database: Database, status: ShareStatus) -> None:
    share = a_share(status=status)
    with database.begin() as tx:
        shares.insert_share(tx, share)
        assert shares.move(tx, share.instance, Event.PROMOTE, now=NOW) is ShareStatus.REPLICATION_CHANGE
        moving = shares.get(tx, share.id)
        assert moving is not None
        with pytest.raises(InvalidShare):
            shares.move(tx, moving.instance, Event.PROMOTE, now=NOW)
        assert shares.move(tx, moving.instance, Event.DONE, now=NOW) is ShareStatus.AVAILABLE


def test_a_share_shows_that_it_has_replicas_and_the_worst_of_their_rules(database: Database) -> None:
    share, replica = a_replicated_share(database)
    alone = a_share(replication_type="readable")
    with database.begin() as tx:
        shares.insert_share(tx, alone)
        instances.update_instance(tx, replica.id, now=NOW, access_rules_status=AccessRulesStatus.ERROR)
        shown, other = shares.get(tx, share.id), shares.get(tx, alone.id)
        lines = {line[share_lines.ID]: line for line in share_lines.list_lines(tx, ShareFilter(), Page())}
    assert shown
    assert other
    assert (shown.has_replicas, shown.access_rules_status) == (True, AccessRulesStatus.ERROR)
    assert (other.has_replicas, other.access_rules_status) == (False, AccessRulesStatus.ACTIVE)
    for one in (shown, other):
        line = dict(zip(share_lines.COLUMNS, lines[one.id], strict=True))
        assert (line["has_replicas"], line["access_rules_status"]) == (one.has_replicas, one.access_rules_status)
        assert isinstance(line["has_replicas"], bool)
        assert share_lines.line_of(one)[:-1] == tuple(lines[one.id])[:-1]


def test_rules_of_a_replica_that_is_not_available_do_not_count(database: Database) -> None:
    share, replica = a_replicated_share(database)
    with database.begin() as tx:
        instances.update_instance(tx, replica.id, now=NOW, access_rules_status=AccessRulesStatus.SYNCING)
        shares.reset_status(tx, replica.id, ShareStatus.CREATING, now=NOW)
        shown = shares.get(tx, share.id)
    assert shown
    assert shown.access_rules_status is AccessRulesStatus.ACTIVE


def test_a_rule_shows_the_worst_of_its_states(database: Database) -> None:
    share, replica = a_replicated_share(database)
    rule = a_rule(share, state=AccessState.ACTIVE)
    with database.begin() as tx:
        access.insert_rule(tx, rule, [share.instance.id])
        assert [one.state for one in access.of_share(tx, share.id)] == [AccessState.ACTIVE]
        assert access.add_instance(tx, share.id, replica.id, now=NOW) == [rule.id]
        assert [one.state for one in access.of_share(tx, share.id)] == [AccessState.QUEUED_TO_APPLY]
        shares.reset_status(tx, replica.id, ShareStatus.CREATING, now=NOW)
        assert [one.state for one in access.of_share(tx, share.id)] == [AccessState.ACTIVE]


def test_a_rule_is_there_until_the_last_replica_has_let_go_of_it(database: Database) -> None:
    share, replica = a_replicated_share(database)
    rule = a_rule(share, state=AccessState.DENYING)
    with database.begin() as tx:
        access.insert_rule(tx, rule, [share.instance.id, replica.id])
        access.forget_on_instance(tx, share.instance.id, [rule.id])
        assert [one.state for one in access.of_share(tx, share.id)] == [AccessState.DENYING]
        assert access.add_instance(tx, share.id, share.instance.id, now=NOW) == []
        access.forget_on_instance(tx, replica.id, [rule.id])
        assert access.of_share(tx, share.id) == []


@pytest.mark.parametrize(
    ("state", "shown"),
    [(ReplicaState.IN_SYNC, SnapshotStatus.CREATING), (ReplicaState.ERROR, SnapshotStatus.AVAILABLE)],
)
def test_a_snapshot_is_available_when_all_in_sync_have_it(
    database: Database, state: ReplicaState, shown: SnapshotStatus
) -> None:
    share, replica = a_replicated_share(database)
    snapshot = a_replicated_snapshot(database, share, replica)
    with database.begin() as tx:
        copy = replicas.snapshot_instances_by_replica(tx, snapshot.id)[replica.id]
        snapshots.reset_status(tx, copy.id, SnapshotStatus.CREATING, now=NOW)
        replicas.set_state(tx, replica.id, state, now=NOW)
        found = snapshots.get(tx, snapshot.id)
        assert found
        assert (found.status, found.aggregate_status) == (SnapshotStatus.AVAILABLE, shown)
        listed = snapshots.list_snapshots(tx, SnapshotFilter(share_id=share.id, status=shown), Page(sort_key="status"))
        assert [one.id for one in listed] == [snapshot.id]


def test_replicas_that_wait_for_a_snapshot_are_those_that_can_get_it(database: Database) -> None:
    share, replica = a_replicated_share(database)
    snapshot = a_replicated_snapshot(database, share, replica)
    ids = [share.instance.id, replica.id]
    with database.begin() as tx:
        assert replicas.awaiting_snapshots(tx, ids) == frozenset()
        copy = replicas.snapshot_instances_by_replica(tx, snapshot.id)[replica.id]
        snapshots.reset_status(tx, copy.id, SnapshotStatus.CREATING, now=NOW)
        assert replicas.awaiting_snapshots(tx, ids) == {replica.id}
        assert replicas.awaiting_snapshots(tx, [share.instance.id]) == frozenset()
        snapshots.reset_status(tx, snapshot.instance.id, SnapshotStatus.CREATING, now=NOW)
        assert replicas.awaiting_snapshots(tx, ids) == frozenset()  # it is not there yet to be copied
