"""What recovery makes of an inventory, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace

from penstock.domain.types import ShareType
from penstock.ids import ShareTypeId, SnapshotId, SnapshotInstanceId, new_id
from penstock.recovery.rebuilding import Known, rebuild
from penstock.recovery.rows import Place
from penstock.share.inventory import FoundSnapshot, Inventory, Tombstone
from penstock.share.replication import Role
from tests.factories import NOW, a_share
from tests.unit.test_drift import found_of

NOTHING = Known(frozenset(), (), frozenset(), frozenset())
PLACE = Place("host@zfs", "nova", NOW)


def a_type(name: str) -> ShareType:
    return ShareType(ShareTypeId(new_id()), name, None, True, NOW, None, {})


def test_a_share_without_any_size_gets_the_smallest() -> None:
    found = found_of(a_share(), size_gib=0, limit_bytes=0)
    (rebuilt,) = rebuild(Inventory(("tank",), (found,), (), (), ()), NOTHING, PLACE).shares
    assert rebuilt.share.size_gib == 1


def test_types_are_found_by_id_then_by_name_then_made() -> None:
    gold, silver = a_type("gold"), a_type("silver")
    by_id = found_of(a_share(), type_id=gold.id, type_name="renamed")
    by_name = found_of(a_share(), type_id=ShareTypeId(new_id()), type_name="silver")
    made = [found_of(a_share(), type_id=ShareTypeId("5f" * 18), type_name=None) for _ in range(2)]
    inventory = Inventory(("tank",), (by_id, by_name, *made), (), (), ())
    rebuilt = rebuild(inventory, replace(NOTHING, types=(gold, silver)), PLACE)
    assert [share_type.name for share_type in rebuilt.types] == ["recovered-5f5f5f5f"]
    used = [item.share.share_type_id for item in rebuilt.shares]
    assert used == [gold.id, silver.id, "5f" * 18, "5f" * 18]


def test_two_copies_of_one_share_are_for_a_person_to_judge() -> None:
    share = a_share()
    one = found_of(share)
    other = replace(one, id=a_share().instance.id, location="tank/other")
    rebuilt = rebuild(Inventory(("tank",), (one, other), (), (), ()), NOTHING, PLACE)
    assert len(rebuilt.shares) == 1
    assert rebuilt.left_out == (f"tank/other is another copy of share {share.id} at {one.location}",)


def test_snapshots_need_their_share() -> None:
    share = a_share()
    snapshot = FoundSnapshot(
        id=SnapshotInstanceId(new_id()),
        snapshot_id=SnapshotId(new_id()),
        instance_id=share.instance.id,
        share_id=share.id,
        location="tank/x@one",
        pool="tank",
        project_id=share.project_id,
        user_id=share.user_id,
        name=None,
        size_gib=1,
        created_at=None,
    )
    rebuilt = rebuild(Inventory(("tank",), (), (snapshot,), (), ()), NOTHING, PLACE)
    assert (rebuilt.snapshots, len(rebuilt.left_out)) == ((), 1)
    rebuilt = rebuild(Inventory(("tank",), (found_of(share),), (snapshot,), (), ()), NOTHING, PLACE)
    assert [item.instance.provider_location for item in rebuilt.snapshots] == ["tank/x@one"]
    known = replace(NOTHING, ids=frozenset([share.id, share.instance.id]))
    added = rebuild(Inventory(("tank",), (found_of(share),), (snapshot,), (), ()), known, PLACE)
    assert (added.shares, len(added.snapshots)) == ((), 1)


def test_unreadable_rules_let_nobody_in_and_are_told() -> None:
    found = found_of(a_share(), rules=None)
    rebuilt = rebuild(Inventory(("tank",), (found,), (), (), ()), NOTHING, PLACE)
    assert rebuilt.shares[0].rules == ()
    assert "nobody is let in" in rebuilt.left_out[0]


def test_the_source_may_be_a_tombstone() -> None:
    found = found_of(a_share(), source_snapshot="tank/gone@s")
    tomb = Tombstone("tank/gone@s", "tank", True, SnapshotId("s1"))
    rebuilt = rebuild(Inventory(("tank",), (found,), (), (tomb,), ()), NOTHING, PLACE)
    assert rebuilt.shares[0].share.snapshot_id == "s1"


def test_owners_are_named_once() -> None:
    shares = tuple(found_of(a_share()) for _ in range(2))
    rebuilt = rebuild(Inventory(("tank",), shares, (), (), ()), NOTHING, PLACE)
    assert (rebuilt.project_ids, rebuilt.user_ids) == (("p1",), ("u1",))


def test_a_replica_is_never_taken_for_its_share() -> None:
    share = a_share()
    for copy in (
        replace(found_of(share), role=Role.REPLICA, epoch=2),
        replace(found_of(share), role=Role.DEMOTED, epoch=2),
        replace(found_of(share), role=Role.ACTIVE, epoch=1),  # and became it again elsewhere
    ):
        known = replace(NOTHING, reigns={share.id: 2})
        rebuilt = rebuild(Inventory(("tank",), (copy,), (), (), ()), known, PLACE)
        assert (rebuilt.shares, rebuilt.replicas) == ((), ())
        assert "is a replica of share" in rebuilt.left_out[0]


def test_the_active_copy_is_the_share_and_others_become_its_replicas() -> None:
    share = a_share()
    found = replace(found_of(share), role=Role.ACTIVE, epoch=2)
    (rebuilt,) = rebuild(Inventory(("tank",), (found,), (), (), ()), NOTHING, PLACE).shares
    active = rebuilt.share.instance
    assert (rebuilt.share.replication_type, active.replica_state, active.epoch) == ("readable", "active", 2)
    known = replace(NOTHING, ids=frozenset({share.id, active.id}), active={share.id: active}, reigns={share.id: 2})
    old = replace(found, id=a_share().instance.id, role=Role.ACTIVE, epoch=1, synced_at=NOW)
    other = Place("host@other", "east", NOW)
    again = rebuild(Inventory(("tank",), (old,), (), (), ()), known, other)
    (replica,) = again.replicas
    assert again.shares == ()
    assert (replica.id, replica.share_id, replica.host) == (old.id, share.id, "host@other#tank")
    assert (replica.replica_state, replica.epoch, replica.synced_at) == ("out_of_sync", 1, NOW)
    assert replica.cast_rules_to_readonly
    assert rebuild(Inventory(("tank",), (old,), (), (), ()), replace(known, ids=known.ids | {old.id}), other).is_empty


def test_two_copies_that_were_active_in_one_reign_are_for_a_person_to_judge() -> None:
    share = a_share()
    found = replace(found_of(share), role=Role.ACTIVE, epoch=2)
    (rebuilt,) = rebuild(Inventory(("tank",), (found,), (), (), ()), NOTHING, PLACE).shares
    active = rebuilt.share.instance
    known = replace(NOTHING, ids=frozenset({share.id, active.id}), active={share.id: active}, reigns={share.id: 2})
    twin = replace(found, id=a_share().instance.id)
    again = rebuild(Inventory(("tank",), (twin,), (), (), ()), known, PLACE)
    assert (again.shares, again.replicas) == ((), ())
    assert "was active in reign 2" in again.left_out[0]
