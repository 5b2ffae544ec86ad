"""The store on every database: what goes in comes out, narrowing and paging are exact, nothing concurrent is lost."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.messages import Message
from penstock.domain.pools import PoolRef, PoolReport
from penstock.domain.quotas import QuotaResource as Q
from penstock.domain.shares import ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.domain.types import ShareType
from penstock.errors import Conflict, InvalidShare, Unavailable
from penstock.ids import MessageId, ProjectId, ShareTypeId, new_id
from penstock.store import access, backends, instances, messages, quotas, share_lines, shares, snapshots, types
from penstock.store.database import Database, after_commit, hold
from penstock.store.lists import Page
from penstock.store.quotas import QuotaScope
from penstock.store.share_filter import ShareFilter
from penstock.store.snapshots import SnapshotFilter
from penstock.store.upgrade import check, head, upgrade
from tests.databases import in_file
from tests.factories import NOW, POOL, a_rule, a_share, a_snapshot


def test_the_schema_is_there_and_upgrading_again_changes_nothing(database: Database) -> None:
    check(database)
    before, after = upgrade(database)
    assert before == after


def test_a_database_of_a_later_version_is_refused_and_left_alone(database: Database) -> None:
    with database.begin() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    try:
        with pytest.raises(Conflict, match="later"):
            upgrade(database)
        with pytest.raises(Conflict, match="9999"):
            check(database)
    finally:
        with database.begin() as tx:
            tx.execute(text("UPDATE alembic_version SET version_num = :now"), {"now": head()})


def test_an_empty_database_says_what_to_run() -> None:
    with pytest.raises(Conflict, match="penstock db upgrade"):
        check(Database("sqlite://"))


def test_a_share_comes_back_as_it_went_in(database: Database) -> None:
    share = a_share(metadata={"a": "1", "b": "ü\n"}, is_public=True, used_bytes=2**40)
    with database.begin() as tx:
        shares.insert_share(tx, share)
    with database.read() as tx:
        assert shares.get(tx, share.id) == share
        assert shares.get_by_instance(tx, share.instance.id) == share
        assert instances.get(tx, share.instance.id) == share.instance
        assert shares.get(tx, new_id()) is None


def test_a_failed_transaction_leaves_nothing_and_runs_no_callback(database: Database) -> None:
    share, ran = a_share(), []
    with pytest.raises(RuntimeError), database.begin() as tx:
        shares.insert_share(tx, share)
        after_commit(tx, lambda: ran.append(1))
        raise RuntimeError
    with database.read() as tx:
        assert shares.get(tx, share.id) is None
    assert ran == []


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (ShareFilter(), {"a", "b", "c%"}),
        (ShareFilter(project_id="p1"), {"a", "b"}),
        (ShareFilter(project_id="p1", or_public=True), {"a", "b", "c%"}),
        (ShareFilter(name="a"), {"a"}),
        (ShareFilter(name_like="%"), {"c%"}),
        (ShareFilter(name_like="C"), {"c%"}),
        (ShareFilter(status="error"), {"b"}),
        (ShareFilter(metadata={"k": "v"}), {"a"}),
        (ShareFilter(host=POOL), {"a", "b", "c%"}),
        (ShareFilter(export_location_path="10.0.0.5:/tank/a"), {"a"}),
        (ShareFilter(export_location_path="10.0.0.5:/nope"), set()),
    ],
)
def test_lists_are_narrowed_exactly(database: Database, wanted: ShareFilter, names: set[str]) -> None:
    first = a_share(name="a", metadata={"k": "v"})
    second = a_share(name="b", status=ShareStatus.ERROR)
    third = a_share(name="c%", project_id="p2", is_public=True)
    with database.begin() as tx:
        for share in (first, second, third):
            shares.insert_share(tx, share)
        instances.put_export_locations(tx, first.instance.id, [{"path": "10.0.0.5:/tank/a"}], now=NOW)
    with database.read() as tx:
        assert {s.name for s in shares.list_shares(tx, wanted)} == names
        assert shares.count_shares(tx, wanted) == len(names)


def test_pages_cover_everything_once_in_order(database: Database) -> None:
    with database.begin() as tx:
        for n in range(7):
            shares.insert_share(tx, a_share(name=f"s{n}", created_at=NOW + timedelta(seconds=n // 2)))
    with database.read() as tx:
        whole = [s.id for s in shares.list_shares(tx, ShareFilter())]
        parts = [s.id for o in range(0, 9, 3) for s in shares.list_shares(tx, ShareFilter(), Page(limit=3, offset=o))]
        by_name = shares.list_shares(tx, ShareFilter(), Page(sort_key="name", descending=False))
    assert parts == whole
    assert [s.name for s in by_name] == [f"s{n}" for n in range(7)]


def test_a_move_is_refused_when_the_state_changed_or_does_not_take_it(database: Database) -> None:
    share = a_share()
    with database.begin() as tx:
        shares.insert_share(tx, share)
        assert shares.move(tx, share.instance, Event.EXTEND, now=NOW, progress="0%") is ShareStatus.EXTENDING
    with database.begin() as tx, pytest.raises(Conflict, match="no longer"):
        shares.move(tx, share.instance, Event.DELETE, now=NOW)
    with database.begin() as tx, pytest.raises(InvalidShare, match="cannot be shrunk"):
        shares.move(tx, replace(share.instance, status=ShareStatus.EXTENDING), Event.SHRINK, now=NOW)


def test_deleting_a_share_takes_everything_of_it(database: Database) -> None:
    share = a_share(metadata={"a": "1"})
    with database.begin() as tx:
        shares.insert_share(tx, share)
        instances.put_export_locations(tx, share.instance.id, [{"path": "x:/y", "metadata": {"k": "v"}}], now=NOW)
        access.insert_rule(tx, a_rule(share), [share.instance.id])
    with database.begin() as tx:
        shares.delete_share(tx, share.id)
    with database.read() as tx:
        assert instances.list_all(tx) == []
        assert instances.export_locations_of(tx, share.instance.id) == []
        assert access.of_share(tx, share.id) == []


def test_export_locations_keep_their_id_while_their_path_stays(database: Database) -> None:
    share = a_share()
    with database.begin() as tx:
        shares.insert_share(tx, share)
        instances.put_export_locations(tx, share.instance.id, [{"path": "a:/1"}, {"path": "b:/1"}], now=NOW)
    with database.begin() as tx:
        before = instances.export_locations_of(tx, share.instance.id)
        wanted = [{"path": "b:/1", "preferred": True}, {"path": "c:/1", "is_admin_only": True}]
        instances.put_export_locations(tx, share.instance.id, wanted, now=NOW)
    with database.read() as tx:
        after = instances.export_locations_of(tx, share.instance.id)
    assert [location.path for location in after] == ["b:/1", "c:/1"]
    assert after[0].id == before[1].id
    assert (after[0].preferred, after[1].is_admin_only) == (True, True)


def test_snapshots_come_back_list_and_move(database: Database) -> None:
    share = a_share()
    snapshot = a_snapshot(share, metadata={"m": "1"})
    with database.begin() as tx:
        shares.insert_share(tx, share)
        assert not shares.has_snapshots(tx, share.id)
        snapshots.insert_snapshot(tx, snapshot)
        assert shares.has_snapshots(tx, share.id)
    with database.begin() as tx:
        assert snapshots.get(tx, snapshot.id) == snapshot
        assert snapshots.list_snapshots(tx, SnapshotFilter(share_id=share.id, metadata={"m": "1"})) == [snapshot]
        assert snapshots.count_snapshots(tx, SnapshotFilter(status="error")) == 0
        assert snapshots.of_backend(tx, "host@zfs", statuses=[SnapshotStatus.AVAILABLE]) == [snapshot]
        assert snapshots.move(tx, snapshot.instance, Event.DELETE, now=NOW) is SnapshotStatus.DELETING
        with pytest.raises(Conflict):
            snapshots.move(tx, snapshot.instance, Event.DELETE, now=NOW)


def test_access_rules_move_between_states_and_vanish_with_their_last_instance(database: Database) -> None:
    share = a_share()
    first, second = a_rule(share, "10.0.0.1", metadata={"k": "v"}), a_rule(share, "10.0.0.2")
    with database.begin() as tx:
        shares.insert_share(tx, share)
        for rule in (first, second):
            access.insert_rule(tx, rule, [share.instance.id])
    with database.begin() as tx:
        moved = access.set_states(
            tx,
            share.instance.id,
            now=NOW,
            source=[AccessState.QUEUED_TO_APPLY],
            target=AccessState.ACTIVE,
            rule_ids=[first.id],
        )
        assert moved == [first.id]
        states = {rule.access_to: rule.state for rule in access.of_instance(tx, share.instance.id)}
        assert states == {"10.0.0.1": AccessState.ACTIVE, "10.0.0.2": AccessState.QUEUED_TO_APPLY}
        assert access.find(tx, share.id, first.access_type, "10.0.0.1") == replace(first, state=AccessState.ACTIVE)
        assert [r.id for r in access.of_share(tx, share.id, metadata={"k": "v"})] == [first.id]
        access.forget_on_instance(tx, share.instance.id, [first.id])
        assert access.get(tx, first.id) is None
        assert access.get(tx, second.id) is not None


def test_usage_is_what_the_rows_say(database: Database) -> None:
    share = a_share(size_gib=3)
    with database.begin() as tx:
        shares.insert_share(tx, share)
        shares.insert_share(tx, a_share(size_gib=5, status=ShareStatus.CREATING))
        shares.insert_share(tx, a_share(size_gib=2, size_target_gib=7, status=ShareStatus.EXTENDING))
        shares.insert_share(tx, a_share(size_gib=9, size_target_gib=1, status=ShareStatus.SHRINKING))
        shares.insert_share(tx, a_share(project_id="p2"))
        snapshots.insert_snapshot(tx, a_snapshot(share))
    with database.read() as tx:
        used = quotas.usage(tx, "p1")
        nobody = quotas.usage(tx, "p1", user_id="nobody")
    assert (used[Q.SHARES].in_use, used[Q.SHARES].reserved) == (3, 1)
    assert (used[Q.GIGABYTES].in_use, used[Q.GIGABYTES].reserved) == (3 + 2 + 9, 5 + 5)
    assert (used[Q.SNAPSHOTS].in_use, used[Q.SNAPSHOT_GIGABYTES].in_use) == (1, 3)
    assert nobody[Q.SHARES].in_use == 0


def test_limits_are_kept_per_scope(database: Database) -> None:
    with database.begin() as tx:
        quotas.set_limits(tx, QuotaScope.PROJECT, {Q.SHARES: 5}, now=NOW, project_id="p1")
        quotas.set_limits(tx, QuotaScope.PROJECT, {Q.SHARES: 6, Q.SNAPSHOTS: 1}, now=NOW, project_id="p1")
        quotas.set_limits(tx, QuotaScope.USER, {Q.SHARES: 2}, now=NOW, project_id="p1", subject="u1")
        assert quotas.limits(tx, QuotaScope.PROJECT, project_id="p1") == {Q.SHARES: 6, Q.SNAPSHOTS: 1}
        quotas.delete_limits(tx, QuotaScope.PROJECT, project_id="p1")
        assert quotas.limits(tx, QuotaScope.PROJECT, project_id="p1") == {}
        assert quotas.limits(tx, QuotaScope.USER, project_id="p1", subject="u1") == {Q.SHARES: 2}


def test_what_is_placed_counts_promises_the_report_cannot_know(database: Database) -> None:
    report = PoolReport(PoolRef.parse(POOL), {"total_capacity_gb": 10.0}, NOW)
    with database.begin() as tx:
        backends.put_pools(tx, "host@zfs", [report])
        shares.insert_share(tx, a_share(size_gib=1, launched_at=NOW - timedelta(seconds=9)))
        shares.insert_share(tx, a_share(size_gib=2, launched_at=None, status=ShareStatus.CREATING))
        shares.insert_share(tx, a_share(size_gib=4, size_target_gib=6, launched_at=NOW - timedelta(seconds=9)))
        shares.insert_share(tx, a_share(size_gib=50, status=ShareStatus.ERROR))
    with database.read() as tx:
        assert backends.placed(tx)[POOL] == backends.Placed(provisioned_gib=9, unreported_gib=4)
        assert backends.list_pools(tx) == [report]


def test_heartbeats_register_once_and_keep_the_operators_choice(database: Database) -> None:
    with database.begin() as tx:
        service = backends.heartbeat(tx, binary="manila-share", host="h@b", zone="nova", ready=False, now=NOW)
        backends.update_service(tx, service.id, disabled=True, disabled_reason="moving")
        later = NOW + timedelta(seconds=60)
        again = backends.heartbeat(tx, binary="manila-share", host="h@b", zone="nova", ready=True, now=later)
        assert (again.id, again.disabled, again.ready, again.updated_at) == (service.id, True, True, later)
        assert [zone.name for zone in backends.list_zones(tx)] == ["nova"]


def test_types_are_open_to_everybody_or_to_some(database: Database) -> None:
    public = ShareType(ShareTypeId(new_id()), "public", None, True, NOW, None, {"a": "1"})
    private = ShareType(ShareTypeId(new_id()), "private", "d", False, NOW + timedelta(seconds=1), None)
    with database.begin() as tx:
        types.insert_type(tx, public)
        types.insert_type(tx, private)
        assert types.list_types(tx, project_id="p1") == [public]
        types.ROWS.add_project(tx, private.id, "p1")
        assert types.list_types(tx, project_id="p1") == [public, private]
        assert types.ROWS.remove_project(tx, private.id, "p1")
        assert not types.ROWS.remove_project(tx, private.id, "p1")
        assert types.delete_extra_spec(tx, public.id, "a")
        assert types.get_by_name(tx, "public") == replace(public, extra_specs={})


def test_messages_are_listed_by_project_and_expire(database: Database) -> None:
    def message(n: int) -> Message:
        created = NOW + timedelta(seconds=n)
        return Message(
            MessageId(new_id()),
            ProjectId("p1"),
            "req-1",
            "SHARE",
            new_id(),
            "001",
            "002",
            "ERROR",
            "no",
            created,
            created,
        )

    stored = [message(n) for n in range(3)]
    with database.begin() as tx:
        for one in stored:
            messages.insert_message(tx, one)
        assert messages.list_messages(tx, project_id="p1", filters={"action_id": "001"}, page=Page()) == stored[::-1]
        assert messages.list_messages(tx, project_id="p2", filters={}, page=Page()) == []
        assert messages.prune(tx, expired_before=NOW + timedelta(seconds=1)) == 1
        assert messages.count_messages(tx, None) == 2


def test_concurrent_read_modify_writes_lose_nothing(database: Database) -> None:
    share = a_share(size_gib=0)
    with database.begin() as tx:
        shares.insert_share(tx, share)

    def add_one_each_time() -> None:
        for _ in range(20):
            with database.begin() as tx:
                hold(tx, "count")
                found = shares.get(tx, share.id)
                assert found is not None
                shares.update_share(tx, share.id, now=NOW, size_gib=found.size_gib + 1)

    threads = [threading.Thread(target=add_one_each_time) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as tx:
        found = shares.get(tx, share.id)
    assert found is not None
    assert found.size_gib == 80


def test_what_is_read_in_one_transaction_is_of_one_moment(database: Database) -> None:
    """A share stored with its operation between two looks must be in neither: it would seem to have none."""
    if database.url == "sqlite://":
        pytest.skip("its one connection lets nobody write meanwhile")
    with database.read() as reading:
        before = shares.count_shares(reading, ShareFilter())
        with database.begin() as tx:
            shares.insert_share(tx, a_share())
        assert shares.count_shares(reading, ShareFilter()) == before
    with database.read() as reading:
        assert shares.count_shares(reading, ShareFilter()) == before + 1


def test_backends_whose_names_differ_in_case_are_two(database: Database) -> None:
    mine = a_share(host="host@zfs#tank")
    snapshot = a_snapshot(mine)
    with database.begin() as tx:
        shares.insert_share(tx, mine)
        snapshots.insert_snapshot(tx, snapshot)
        for pattern in ("host@ZFS#tank", "host@zfs2#tank", "host@z_s#tank"):
            shares.insert_share(tx, a_share(host=pattern))
        shares.insert_share(tx, a_share(host=None))
    with database.read() as tx:
        assert [share.id for share in shares.of_backend(tx, "host@zfs", statuses=list(ShareStatus))] == [mine.id]
        assert [instance.id for instance in instances.of_backend(tx, "host@zfs")] == [mine.instance.id]
        assert snapshots.of_backend(tx, "host@ZFS", statuses=list(SnapshotStatus)) == []
        assert len(snapshots.of_backend(tx, "host@zfs", statuses=list(SnapshotStatus))) == 1


def test_a_line_says_the_same_of_a_share_in_a_list_and_alone(database: Database) -> None:
    first = a_share(name="a", metadata={"k": "v", "ü\"'": "\\ \n"}, is_public=True)
    second = a_share(name="b")
    with database.begin() as tx:
        shares.insert_share(tx, first)
        shares.insert_share(tx, second)
    with database.read() as tx:
        lines = share_lines.list_lines(tx, ShareFilter(), Page(sort_key="name", descending=False))
        (last,) = share_lines.list_lines(tx, ShareFilter(), Page(limit=1, offset=1, sort_key="name", descending=False))
        assert [as_fields(line) for line in lines] == [as_fields(share_lines.line_of(one)) for one in (first, second)]
    assert last[share_lines.ID] == second.id


def test_soft_deleted_shares_are_told_apart_and_due_in_time(database: Database) -> None:
    kept = a_share(name="kept")
    first, last = (
        a_share(name=name, is_soft_deleted=True, scheduled_to_be_deleted_at=NOW + timedelta(seconds=seconds))
        for name, seconds in (("first", 0), ("last", 10))
    )
    with database.begin() as tx:
        for share in (kept, last, first):
            shares.insert_share(tx, share)
    with database.read() as tx:
        assert shares.get(tx, first.id) == first
        assert [share.id for share in shares.list_shares(tx, ShareFilter(is_soft_deleted=False))] == [kept.id]
        assert shares.count_shares(tx, ShareFilter(is_soft_deleted=True)) == 2
        assert [found.id for found in instances.list_all(tx, is_soft_deleted=False)] == [kept.instance.id]
        assert len(instances.list_all(tx)) == 3
        assert shares.ids_due(tx, NOW - timedelta(seconds=1)) == []
        assert shares.ids_due(tx, NOW) == [first.id]
        assert shares.ids_due(tx, NOW + timedelta(seconds=10)) == [first.id, last.id]


def as_fields(line: share_lines.ShareLine) -> dict[str, object]:
    fields = dict(zip(share_lines.COLUMNS, line, strict=True))
    return {**fields, "metadata": json.loads(fields["metadata"] or "{}")}


@pytest.mark.postgres
def test_a_pool_of_connections_in_use_is_a_fault_that_may_pass(postgres_url: str) -> None:
    database = Database(postgres_url)
    database.engine.pool._timeout = 0.01
    with ExitStack() as held:
        for _ in range(30):
            held.enter_context(database.read())
        with pytest.raises(Unavailable, match="in use"):
            held.enter_context(database.read())
    database.close()


def test_many_read_at_once_on_sqlite(tmp_path: Path) -> None:
    database = in_file(tmp_path / "penstock.db")
    with ExitStack() as held:
        readers = [held.enter_context(database.read()) for _ in range(64)]
        assert [list(shares.list_shares(tx, ShareFilter())) for tx in readers] == [[]] * 64
        with database.begin() as tx:
            types.insert_type(tx, ShareType(ShareTypeId("1"), "gold", None, True, NOW, None, {}))
        assert types.get(readers[0], "1") is None
    database.close()
