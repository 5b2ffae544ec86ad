"""What is special to single operations of the share manager, and to access rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageDetail
from penstock.domain.shares import AccessRulesStatus, ShareStatus
from penstock.errors import (
    BackendFault,
    Fault,
    InsufficientCapacity,
    Invalid,
    ShareShrinkingPossibleDataLoss,
    Unavailable,
)
from penstock.ids import SnapshotId, new_id
from penstock.operations.attempt import attempt
from penstock.store import access, instances, shares, snapshots
from penstock.store.database import Database
from tests.contract.manager_bench import (
    CONTEXT,
    Bench,
    OneByOne,
    a_managed_share,
    a_reverting_snapshot,
    a_share_with_rule,
)
from tests.databases import in_memory


@pytest.fixture
def database() -> Database:
    """In memory: what differs between databases is the store's contract."""
    return in_memory()


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    return Bench(database, tmp_path)


def test_a_created_share_has_its_locations_and_time(bench: Bench) -> None:
    share = bench.created()
    assert share.instance.launched_at == bench.clock.utc()
    assert share.instance.progress == "100%"
    with bench.database.read() as tx:
        (location,) = instances.export_locations_of(tx, share.instance.id)
    assert location.path == f"192.0.2.1:/pool/share-{share.instance.id}"


def test_creation_from_a_snapshot_that_is_gone_fails(bench: Bench) -> None:
    share = bench.put(snapshot_id=SnapshotId(new_id()))
    with pytest.raises(Fault, match="does not exist any more"):
        bench.manager.create_share_instance(CONTEXT, share.instance.id)
    assert bench.share(share).status is ShareStatus.ERROR
    assert bench.messages()[0].detail_id == MessageDetail.DRIVER_FAILED_CREATING_FROM_SNAPSHOT


def test_sizes_follow_what_the_backend_holds(bench: Bench) -> None:
    share = bench.move(bench.created(), Event.EXTEND, size_target_gib=4)
    bench.manager.extend_share(CONTEXT, share.id, 4, None)
    share = bench.share(share)
    assert (share.size_gib, share.size_target_gib) == (4, None)
    share = bench.move(share, Event.EXTEND, size_target_gib=100)
    with pytest.raises(InsufficientCapacity):
        bench.manager.extend_share(CONTEXT, share.id, 100, None)
    share = bench.share(share)
    assert (share.size_gib, share.size_target_gib) == (4, None)
    assert bench.messages()[0].detail_id == MessageDetail.DRIVER_FAILED_EXTEND


def test_shrinking_that_would_lose_data_is_refused(bench: Bench) -> None:
    share = bench.created(size_gib=3)
    bench.driver._records[f"/pool/share-{share.instance.id}"].used_gib = 2.5
    share = bench.move(share, Event.SHRINK, size_target_gib=2)
    with pytest.raises(ShareShrinkingPossibleDataLoss):
        bench.manager.shrink_share(CONTEXT, share.id, 2)
    share = bench.share(share)
    assert (share.size_gib, share.size_target_gib) == (3, None)
    assert share.status not in (ShareStatus.SHRINKING, ShareStatus.SHRINKING_ERROR)
    refusal = bench.messages()[0]
    assert refusal.detail_id == MessageDetail.DRIVER_REFUSED_SHRINK
    assert refusal.text.endswith("it was left as it was. Without its snapshots it needs 3 GiB.")


def test_a_share_with_snapshots_is_not_deleted(bench: Bench) -> None:
    share = bench.created()
    bench.taken(share)
    share = bench.move(share, Event.DELETE)
    with pytest.raises(Invalid, match="snapshots"):
        bench.manager.delete_share_instance(CONTEXT, share.instance.id, force=True)
    assert bench.share(share).status is ShareStatus.ERROR_DELETING


def test_force_forgets_what_the_backend_cannot_delete(bench: Bench) -> None:
    share = bench.created()
    snapshot = bench.taken(share)
    bench.move_snapshot(snapshot, Event.FORCE_DELETE)
    with bench.failing("delete_snapshot", BackendFault("broken")):
        bench.manager.delete_snapshot(CONTEXT, snapshot.id, force=True)
    share = bench.move(share, Event.FORCE_DELETE)
    with bench.failing("delete_share", BackendFault("broken")):
        bench.manager.delete_share_instance(CONTEXT, share.instance.id, force=True)
    assert bench.is_gone(share)


def test_deletion_takes_the_rules_off_first(bench: Bench) -> None:
    share = a_share_with_rule(bench)
    bench.manager.update_access(CONTEXT, share.instance.id)
    share = bench.move(bench.share(share), Event.DELETE)
    with bench.failing("delete_share", Unavailable("away")), attempt(last=False), pytest.raises(Unavailable):
        bench.manager.delete_share_instance(CONTEXT, share.instance.id)
    assert bench.served(share) == []


def test_deletion_goes_on_when_the_share_is_gone_already(bench: Bench) -> None:
    share = a_share_with_rule(bench)
    bench.manager.update_access(CONTEXT, share.instance.id)
    share = bench.move(bench.share(share), Event.DELETE)
    bench.driver._records.clear()
    bench.manager.delete_share_instance(CONTEXT, share.instance.id)
    assert bench.is_gone(share)


def test_adoption_learns_the_size(bench: Bench) -> None:
    share = a_managed_share(bench)
    bench.manager.manage_share(CONTEXT, share.id, {})
    assert bench.share(share).size_gib == 1


def test_revert_brings_both_back(bench: Bench) -> None:
    snapshot = a_reverting_snapshot(bench)
    with bench.failing("revert_to_snapshot", BackendFault("no")), pytest.raises(BackendFault):
        bench.manager.revert_to_snapshot(CONTEXT, snapshot.id, None)
    with bench.database.read() as tx:
        share = shares.get(tx, snapshot.share_id)
    assert share is not None
    assert share.status is ShareStatus.REVERTING_ERROR


def test_all_queued_rules_are_applied_at_once(bench: Bench) -> None:
    share = bench.created()
    leaving = bench.allow(share, "10.0.0.9")
    bench.manager.update_access(CONTEXT, share.instance.id)
    bench.queue(share, leaving, AccessState.ACTIVE, AccessState.QUEUED_TO_DENY)
    for last in range(1, 4):
        bench.allow(share, f"10.0.0.{last}")
    bench.manager.update_access(CONTEXT, share.instance.id)
    assert sorted(client for _, client, _ in bench.served(share)) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert set(bench.rules(share).values()) == {AccessState.ACTIVE}
    assert bench.share(share).instance.access_rules_status is AccessRulesStatus.ACTIVE
    with bench.failing("update_access", RuntimeError("must not be called")):
        bench.manager.update_access(CONTEXT, share.instance.id)


def test_one_refused_rule_does_not_hold_up_the_others(bench: Bench) -> None:
    share = bench.created()
    bench.allow(share, "10.0.0.1")
    refused = bench.allow(share, "somebody", access_type="user")
    bench.manager.update_access(CONTEXT, share.instance.id)
    assert bench.rules(share) == {"10.0.0.1": AccessState.ACTIVE, "somebody": AccessState.ERROR}
    assert bench.share(share).instance.access_rules_status is AccessRulesStatus.ERROR
    bench.queue(share, refused, AccessState.ERROR, AccessState.QUEUED_TO_DENY)
    bench.manager.update_access(CONTEXT, share.instance.id)
    assert bench.rules(share) == {"10.0.0.1": AccessState.ACTIVE}
    assert bench.share(share).instance.access_rules_status is AccessRulesStatus.ACTIVE


def test_several_instances(bench: Bench) -> None:
    found = [a_share_with_rule(bench) for _ in range(2)]
    bench.manager.update_access_for_instances(CONTEXT, [share.instance.id for share in found])
    assert [bench.served(share) for share in found] == [[["ip", "10.0.0.1", "rw"]]] * 2


def test_read_only_copies_get_read_only_rules(bench: Bench) -> None:
    share = a_share_with_rule(bench)
    with bench.database.begin() as tx:
        instances.update_instance(tx, share.instance.id, now=bench.clock.utc(), cast_rules_to_readonly=True)
    bench.manager.update_access(CONTEXT, share.instance.id)
    assert bench.served(share) == [["ip", "10.0.0.1", "ro"]]


def test_drivers_without_update_access(database: Database, tmp_path: Path) -> None:
    bench = Bench(database, tmp_path, OneByOne)
    share = bench.created()
    one = bench.allow(share, "one", access_type="cephx")
    bench.manager.update_access(CONTEXT, share.instance.id)
    with database.read() as tx:
        assert [rule.access_key for rule in access.of_instance(tx, share.instance.id)] == ["key of one"]
    bench.queue(share, one, AccessState.ACTIVE, AccessState.QUEUED_TO_DENY)
    bench.allow(share, "two")
    bench.manager.update_access(CONTEXT, share.instance.id)
    assert bench.driver.done == [("allow", "one"), ("deny", "one"), ("allow", "two")]
    assert bench.rules(share) == {"two": AccessState.ACTIVE}


def test_a_snapshot_force_deleted_while_it_is_reverted_to(bench: Bench) -> None:
    snapshot = a_reverting_snapshot(bench)
    with bench.database.read() as tx:
        present = snapshots.get(tx, snapshot.id)
    assert present is not None
    bench.move_snapshot(present, Event.FORCE_DELETE)
    bench.manager.revert_to_snapshot(CONTEXT, snapshot.id, None)
    with bench.database.read() as tx:
        share = shares.get(tx, snapshot.share_id)
    assert share is not None
    assert share.status is ShareStatus.AVAILABLE
    bench.manager.delete_snapshot(CONTEXT, snapshot.id)
    assert bench.snapshot(snapshot) is None
