"""Drift is a pure function: what disagrees, what is in work, and what nobody can know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from penstock.doctor.books import Books, settled
from penstock.doctor.drift import drift
from penstock.doctor.findings import REPAIRS, Finding, Kind
from penstock.doctor.repairs import plan
from penstock.domain.access import AccessRule, AccessState
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.ids import InstanceId
from penstock.share.inventory import Client, FoundExport, FoundShare, Inventory, SetAside
from penstock.units import GIB, MIB
from tests.factories import a_rule, a_share, a_snapshot

SOMEBODY = (Client("10.0.0.1", "rw,root_squash"),)


def found_of(share: Share, **changes: Any) -> FoundShare:
    """The share on the storage as the rows say."""
    found = FoundShare(
        id=share.instance.id,
        share_id=share.id,
        location=f"tank/{share.id}",
        pool="tank",
        project_id=share.project_id,
        user_id=share.user_id,
        protocol=share.protocol,
        name=share.name,
        type_id=share.share_type_id,
        type_name=None,
        size_gib=share.size_gib,
        limit_bytes=share.size_gib * GIB,
        path=f"/tank/{share.id}",
        provider_location=None,
        source_snapshot=None,
        created_at=share.created_at,
        rules=(),
        export_locations=(),
    )
    return replace(found, **changes)


def books_of(
    *shares: Share, snapshots: tuple[Snapshot, ...] = (), rules: tuple[AccessRule, ...] = (), **changes: Any
) -> Books:
    by_id = {share.instance.id: share for share in shares}
    taken = {snapshot.instance.id: snapshot for snapshot in snapshots}
    books = Books(
        shares=by_id,
        snapshots=taken,
        rules={key: tuple(rule for rule in rules if rule.share_id == share.id) for key, share in by_id.items()},
        clients=dict.fromkeys(by_id, ()),
        busy=frozenset(),
        known=frozenset([*by_id, *taken]),
    )
    return replace(books, **changes)


def inventory_of(*shares: FoundShare, exports: tuple[FoundExport, ...] = ()) -> Inventory:
    return Inventory(("tank",), shares, (), (), exports)


def kinds(findings: tuple[Finding, ...]) -> list[Kind]:
    return [finding.kind for finding in findings]


def test_agreement_is_empty() -> None:
    share = a_share()
    assert drift(books_of(share), inventory_of(found_of(share))) == ()


@pytest.mark.parametrize(
    "status", [ShareStatus.ERROR, ShareStatus.CREATING_FROM_SNAPSHOT, ShareStatus.ERROR_DELETING, ShareStatus.INACTIVE]
)
def test_shares_that_need_not_be_there(status: ShareStatus) -> None:
    assert drift(books_of(a_share(status=status)), inventory_of()) == ()


def test_what_was_set_aside_is_told_and_left_alone() -> None:
    kept = SetAside("tank/share_diverged_2", "tank", InstanceId("r1"), 3 * MIB)
    (finding,) = drift(books_of(), replace(inventory_of(), set_aside=(kept,)))
    assert (finding.kind, finding.can_repair, finding.is_drift) == (Kind.SET_ASIDE, False, False)
    assert "replica r1" in finding.sentence
    assert "(3.0 MiB)" in finding.sentence


def test_a_pool_that_is_not_ours_is_not_a_loss() -> None:
    share = a_share(host="host@zfs#other")
    (finding,) = drift(books_of(share, snapshots=(a_snapshot(share),)), inventory_of())
    assert (finding.kind, finding.can_repair) == (Kind.PLACEMENT, False)


def test_only_an_available_share_can_be_declared_lost() -> None:
    (finding,) = drift(books_of(a_share(status=ShareStatus.EXTENDING_ERROR)), inventory_of())
    assert (finding.kind, finding.can_repair) == (Kind.DATASET_MISSING, False)


def test_a_limit_matters_only_when_the_share_is_available() -> None:
    share = a_share(status=ShareStatus.SHRINKING_ERROR)
    assert drift(books_of(share), inventory_of(found_of(share, limit_bytes=9 * GIB))) == ()


def test_a_type_the_row_does_not_have_is_no_difference() -> None:
    share = a_share()
    assert share.share_type_id is None
    assert drift(books_of(share), inventory_of(found_of(share, type_id="old"))) == ()


@pytest.mark.parametrize(
    ("clients", "export", "kind"),
    [
        pytest.param(SOMEBODY, None, Kind.EXPORT_MISSING, id="missing"),
        pytest.param(SOMEBODY, (SOMEBODY, False), Kind.EXPORT_MISSING, id="not-in-force"),
        pytest.param(SOMEBODY, ((), True), Kind.EXPORT_DIFFERS, id="other"),
        pytest.param((), (SOMEBODY, True), Kind.EXPORT_DIFFERS, id="too-open"),
    ],
)
def test_exports(clients: tuple[Client, ...], export: tuple[tuple[Client, ...], bool] | None, kind: Kind) -> None:
    share = a_share()
    found = found_of(share)
    assert found.path is not None
    exports = () if export is None else (FoundExport(found.path, share.instance.id, *export),)
    books = books_of(share, clients={share.instance.id: clients})
    assert kinds(drift(books, inventory_of(found, exports=exports))) == [kind]


def test_an_export_of_a_share_in_work_is_not_an_orphan() -> None:
    share = a_share()
    export = FoundExport("/tank/x", share.instance.id, SOMEBODY, True)
    books = books_of(known=frozenset([share.instance.id]))
    assert drift(books, inventory_of(exports=(export,))) == ()


def test_what_changed_between_two_readings_is_not_compared() -> None:
    calm, moved, busy, born = (a_share() for _ in range(4))
    before = books_of(calm, moved, busy)
    later = replace(moved, size_gib=7)
    after = books_of(calm, later, busy, born, busy=frozenset([busy.id]))
    books = settled(before, after)
    assert set(books.shares) == {calm.instance.id}
    assert books.known == {share.instance.id for share in (calm, moved, busy, born)}
    assert kinds(drift(books, inventory_of(found_of(calm), found_of(born)))) == []


def test_a_row_that_went_meanwhile_leaves_no_orphan() -> None:
    share = a_share()
    books = settled(books_of(share), books_of())
    assert drift(books, inventory_of(found_of(share))) == ()


def test_a_rule_added_meanwhile_unsettles_its_share() -> None:
    share = a_share()
    assert settled(books_of(share), books_of(share, rules=(a_rule(share),))).shares == {}


@pytest.mark.parametrize("state", [AccessState.QUEUED_TO_APPLY, AccessState.DENYING])
def test_rules_nobody_works_on_are_stuck(state: AccessState) -> None:
    share = a_share()
    books = books_of(share, rules=(a_rule(share, state=state),))
    (finding,) = drift(books, inventory_of(found_of(share)))
    assert (finding.kind, finding.subject) == (Kind.STUCK, share.instance.id)
    action = plan(finding, books, inventory_of(found_of(share)))
    assert action is not None


def test_a_restoring_snapshot_is_stuck_with_its_share_once() -> None:
    share = a_share(status=ShareStatus.REVERTING)
    snapshot = a_snapshot(share, status=SnapshotStatus.RESTORING)
    findings = drift(books_of(share, snapshots=(snapshot,)), inventory_of(found_of(share)))
    assert [finding.subject for finding in findings] == [share.instance.id]


def test_every_kind_says_what_its_repair_does() -> None:
    assert set(REPAIRS) == set(Kind)


def test_what_cannot_be_repaired_has_no_plan() -> None:
    finding = Finding(Kind.PLACEMENT, InstanceId("x"), "", can_repair=False)
    assert plan(finding, books_of(), inventory_of()) is None
