"""Each kind of damage is found under its name, and repaired when, and only when, that name is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.context import admin_context
from penstock.doctor.examination import examine
from penstock.doctor.findings import Kind
from penstock.doctor.treatment import treat
from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.operations import Call
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.exports.model import ClientRule, Export
from penstock.ids import new_id
from penstock.operations.exclusive import exclusive
from penstock.store import access, instances, messages, operations, shares, snapshots
from penstock.store.shares import Page
from penstock.units import GIB
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.names import Dataset
from tests.factories import NOW
from tests.simulation.storage_bench import StorageBench
from tests.simulation.zfs_host import OPENZFS


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=["openzfs", "zfs-fuse"])
def bench(request: Any, tmp_path: Path) -> StorageBench:
    return StorageBench(tmp_path, flavour=request.param)


@dataclass
class Ward:
    """A share with a rule and a snapshot, and another share beside it that nothing happens to."""

    bench: StorageBench
    share: Share
    snapshot: Snapshot

    @property
    def dataset(self) -> str:
        return self.bench.dataset(self.share)

    @property
    def path(self) -> str:
        return f"/{self.dataset}"

    def zfs(self, *words: str) -> None:
        done = self.bench.host.run(["zfs", *words], timeout_s=9)
        assert done.exit_code == 0, done.stderr

    def clients(self) -> tuple[str, ...]:
        """Who is let in."""
        export = self.bench.nfs.served().get(self.path)
        return tuple(rule.client for rule in export.clients) if export else ()


@pytest.fixture
def ward(bench: StorageBench) -> Ward:
    share = bench.share(size_gib=2)
    bench.allow(share, "10.0.0.1")
    snapshot = bench.snapshot(share)
    other = bench.share()
    bench.allow(other, "10.0.0.9")
    assert examine(bench.site).findings == ()
    return Ward(bench, share, snapshot)


def lose_dataset(ward: Ward) -> None:
    ward.bench.nfs.remove([ward.path])
    ward.bench.zfs.destroy(Dataset(ward.dataset), recursive=True)


def lose_rows(ward: Ward) -> None:
    with ward.bench.database.begin() as tx:
        snapshots.delete_snapshot(tx, ward.snapshot.id)
        shares.delete_share(tx, ward.share.id)


def lose_snapshot_row(ward: Ward) -> None:
    with ward.bench.database.begin() as tx:
        snapshots.delete_snapshot(tx, ward.snapshot.id)


def export_to_another(ward: Ward) -> None:
    ward.bench.nfs.put([Export(ward.path, ward.share.instance.id, (ClientRule("10.9.9.9", True),))])


def export_nothing_of_ours(ward: Ward) -> None:
    ward.bench.nfs.put([Export("/tank/gone", "5" * 8, (ClientRule("10.9.9.9", True),))])


def lose_export(ward: Ward) -> None:
    ward.bench.nfs.remove([ward.path])


def forget_served(ward: Ward) -> None:
    ward.bench.host.state.files["/var/lib/nfs/simulated"] = "[]"


def record_another_pool(ward: Ward) -> None:
    with ward.bench.database.begin() as tx:
        instances.update_instance(tx, ward.share.instance.id, now=NOW, host="host@zfs#elsewhere")


def leave_a_tombstone(ward: Ward) -> None:
    ward.zfs("create", "tank/tomb")
    ward.zfs("set", "penstock:kind=tombstone", "tank/tomb")


def leave_what_has_no_mark(ward: Ward) -> None:
    ward.zfs("create", f"tank/manila_share_{new_id().replace('-', '_')}")


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        pytest.param(lose_dataset, {Kind.DATASET_MISSING, Kind.SNAPSHOT_MISSING}, id="dataset-missing"),
        pytest.param(lose_rows, {Kind.DATASET_ORPHAN, Kind.SNAPSHOT_ORPHAN, Kind.EXPORT_ORPHAN}, id="dataset-orphan"),
        pytest.param(
            lambda ward: ward.zfs("destroy", f"{ward.snapshot.instance.provider_location}"),
            {Kind.SNAPSHOT_MISSING},
            id="snapshot-missing",
        ),
        pytest.param(lose_snapshot_row, {Kind.SNAPSHOT_ORPHAN}, id="snapshot-orphan"),
        pytest.param(lambda ward: ward.zfs("set", f"refquota={GIB}", ward.dataset), {Kind.QUOTA_DIFFERS}, id="less"),
        pytest.param(lambda ward: ward.zfs("set", "refquota=none", ward.dataset), {Kind.QUOTA_DIFFERS}, id="no-quota"),
        pytest.param(lose_export, {Kind.EXPORT_MISSING}, id="export-missing"),
        pytest.param(forget_served, {Kind.EXPORT_MISSING}, id="export-not-in-force"),
        pytest.param(export_to_another, {Kind.EXPORT_DIFFERS}, id="export-differs"),
        pytest.param(
            lambda ward: ward.zfs("set", "penstock:rules=nonsense", ward.dataset), {Kind.EXPORT_DIFFERS}, id="rules"
        ),
        pytest.param(export_nothing_of_ours, {Kind.EXPORT_ORPHAN}, id="export-orphan"),
        pytest.param(
            lambda ward: ward.zfs("set", "penstock:project_id=p9", ward.dataset),
            {Kind.PROPERTY_DIFFERS},
            id="property-differs",
        ),
        pytest.param(
            lambda ward: ward.bench.move(ward.share, Event.EXTEND, size_target_gib=3), {Kind.STUCK}, id="stuck"
        ),
        pytest.param(record_another_pool, {Kind.PLACEMENT}, id="placement"),
        pytest.param(leave_a_tombstone, {Kind.TOMBSTONE}, id="tombstone"),
        pytest.param(leave_what_has_no_mark, {Kind.LEFTOVER}, id="leftover"),
    ],
)
def test_damage_is_named_and_repaired(ward: Ward, damage: Callable[[Ward], None], kinds: set[Kind]) -> None:
    damage(ward)
    bench = ward.bench
    assert set(bench.findings()) == kinds
    others = set(Kind) - kinds
    assert treat(bench.site, others).treated == ()  # nothing that was not asked for
    assert set(bench.findings()) == kinds
    treatment = treat(bench.site, kinds)
    assert [done.fault for done in treatment.treated if done.fault] == []
    assert treatment.is_complete
    assert treatment.after.findings == ()
    assert treat(bench.site, set(Kind)).treated == ()


def test_what_a_failed_creation_left_is_named_and_what_was_let_go_is_not(ward: Ward) -> None:
    ward.zfs("create", "-o", "refquota=1G", f"tank/manila_share_{new_id().replace('-', '_')}")
    assert ward.bench.findings() == []
    place = ward.bench.dataset(ward.bench.in_error())
    ward.zfs("create", "-o", "refquota=1G", place)
    (finding,) = examine(ward.bench.site).findings
    assert (finding.kind, finding.subject) == (Kind.LEFTOVER, place)
    ward.bench.host.write(place, GIB // 2)
    assert "bytes were written" in str(treat(ward.bench.site, {Kind.LEFTOVER}).treated[0].fault)
    ward.bench.host.empty(place)
    assert treat(ward.bench.site, {Kind.LEFTOVER}).after.findings == ()


def test_a_lost_share_is_in_error_and_its_owner_told(ward: Ward) -> None:
    lose_dataset(ward)
    treat(ward.bench.site, {Kind.DATASET_MISSING})
    assert ward.bench.row(ward.share).status is ShareStatus.ERROR
    with ward.bench.database.read() as tx:
        (message,) = messages.list_messages(tx, project_id="p1", filters={}, page=Page())
    assert (message.resource_id, "not found" in message.text) == (ward.share.id, True)


def test_repaired_exports_serve_the_rules(ward: Ward) -> None:
    export_to_another(ward)
    assert ward.clients() == ("10.9.9.9",)
    treat(ward.bench.site, {Kind.EXPORT_DIFFERS})
    assert ward.clients() == ("10.0.0.1",)
    with ward.bench.database.read() as tx:
        assert {rule.state for rule in access.of_share(tx, ward.share.id)} == {AccessState.ACTIVE}


def test_a_share_without_rules_is_closed(bench: StorageBench) -> None:
    share = bench.share()
    path = f"/{bench.dataset(share)}"
    bench.nfs.put([Export(path, share.instance.id, (ClientRule("10.9.9.9", True),))])
    assert bench.findings() == [Kind.EXPORT_DIFFERS]
    treat(bench.site, {Kind.EXPORT_DIFFERS})
    assert bench.nfs.served() == {}


def test_a_quota_is_not_cut_below_the_data(ward: Ward) -> None:
    ward.zfs("set", f"refquota={9 * GIB}", ward.dataset)
    ward.bench.host.write(ward.dataset, 3 * GIB)
    treatment = treat(ward.bench.site, {Kind.QUOTA_DIFFERS})
    assert "would lose data" in treatment.failures[0]
    assert ward.bench.host.filesystem(ward.dataset).local["refquota"] == str(9 * GIB)


def test_two_repairs_of_one_share(ward: Ward) -> None:
    lose_export(ward)
    ward.zfs("set", f"refquota={GIB}", ward.dataset)
    ward.zfs("set", "penstock:user_id=somebody", ward.dataset)
    treatment = treat(ward.bench.site, set(Kind))
    assert len(treatment.treated) == 3
    assert treatment.after.findings == ()


def test_a_tombstone_that_is_needed_is_told_and_no_drift(bench: StorageBench) -> None:
    share = bench.share()
    snapshot = bench.snapshot(share)
    bench.share(snapshot_id=snapshot.id)
    with bench.database.begin() as tx:
        snapshots.move(tx, snapshot.instance, Event.DELETE, now=NOW)
    bench.site.manager.delete_snapshot(bench.site.context, snapshot.id)
    (finding,) = examine(bench.site).findings
    assert (finding.kind, finding.is_drift, finding.can_repair) == (Kind.TOMBSTONE, False, False)


def test_what_somebody_holds_of_a_deleted_share_is_told_and_no_drift(ward: Ward) -> None:
    """Its snapshots were deleted with it: they are nobody's, and no drift either."""
    bench = ward.bench
    if not bench.zfs.flavour.can_hold:
        pytest.skip("it knows no holds that we would see")
    ward.zfs("hold", "theirs", f"{ward.snapshot.instance.provider_location}")
    lose_snapshot_row(ward)
    with bench.database.begin() as tx:
        shares.move(tx, ward.share.instance, Event.DELETE, now=NOW)
    bench.site.manager.delete_share_instance(bench.site.context, ward.share.instance.id)
    (finding,) = examine(bench.site).findings
    assert (finding.kind, finding.is_drift, finding.can_repair) == (Kind.TOMBSTONE, False, False)
    assert finding.subject == ward.dataset


def test_work_in_progress_is_no_drift(ward: Ward) -> None:
    bench = ward.bench
    lose_export(ward)
    with bench.database.begin() as tx:
        call = Call("host@zfs", f"share:{ward.share.id}", "update_access", {"share_instance_id": "x"})
        bench.site.queue.enqueue(tx, bench.site.context, call)
    assert bench.findings() == []


def test_operations_of_others_are_left_to_the_daemon(ward: Ward) -> None:
    bench = ward.bench
    lose_export(ward)
    waiting = bench.share()
    bench.move(waiting, Event.EXTEND, size_target_gib=3)
    with bench.database.begin() as tx:
        call = Call("host@zfs", f"share:{waiting.id}", "extend_share", {"share_id": waiting.id, "new_size": 3})
        bench.site.queue.enqueue(tx, admin_context(), call)
    assert treat(bench.site, set(Kind)).is_complete
    assert bench.row(waiting).status is ShareStatus.EXTENDING
    assert ward.clients() == ("10.0.0.1",)


def test_what_the_storage_cannot_do_now_stays_queued(ward: Ward) -> None:
    bench = ward.bench
    lose_export(ward)
    good = bench.host.programs["exportfs"]
    bench.host.programs["exportfs"] = lambda *_: (1, "", "down")
    treatment = treat(bench.site, {Kind.EXPORT_MISSING})
    assert not treatment.is_complete
    bench.host.programs["exportfs"] = good
    assert bench.site.work.finish()
    assert bench.findings() == []


def test_beside_a_daemon_the_work_is_left_to_it(ward: Ward) -> None:
    bench = ward.bench
    lose_export(ward)
    with exclusive(bench.database, bench.folder, "host@zfs"):
        treatment = treat(bench.site, {Kind.EXPORT_MISSING})
    assert not treatment.is_complete
    with bench.database.read() as tx:
        (waiting,) = operations.pending(tx, backend="host@zfs")
    assert waiting.call.method == "update_access"


@pytest.mark.parametrize("status", [ShareStatus.CREATING, ShareStatus.DELETING, ShareStatus.MANAGING])
def test_stuck_shares_end(bench: StorageBench, status: ShareStatus) -> None:
    share = bench.share()
    with bench.database.begin() as tx:
        shares.reset_status(tx, share.instance.id, status, now=NOW)
    assert bench.findings() == [Kind.STUCK]
    treatment = treat(bench.site, {Kind.STUCK})
    assert treatment.after.findings == ()
    with bench.database.read() as tx:
        left = shares.get(tx, share.id)
    expected = {ShareStatus.CREATING: ShareStatus.AVAILABLE, ShareStatus.MANAGING: ShareStatus.MANAGE_ERROR}
    assert (left.status if left else None) == expected.get(status)


@pytest.mark.parametrize("status", [SnapshotStatus.CREATING, SnapshotStatus.DELETING, SnapshotStatus.RESTORING])
def test_stuck_snapshots_end(ward: Ward, status: SnapshotStatus) -> None:
    bench = ward.bench
    with bench.database.begin() as tx:
        snapshots.reset_status(tx, ward.snapshot.instance.id, status, now=NOW)
    assert bench.findings() == [Kind.STUCK]
    treatment = treat(bench.site, {Kind.STUCK})
    assert treatment.after.findings == ()
    with bench.database.read() as tx:
        left = snapshots.get(tx, ward.snapshot.id)
    assert (left is None) == (status is SnapshotStatus.DELETING)


def test_an_interrupted_revert_is_done_again(ward: Ward) -> None:
    bench = ward.bench
    with bench.database.begin() as tx:
        shares.move(tx, ward.share.instance, Event.REVERT, now=NOW)
        snapshots.move(tx, ward.snapshot.instance, Event.REVERT, now=NOW)
    assert bench.findings() == [Kind.STUCK]
    assert treat(bench.site, {Kind.STUCK}).after.findings == ()
    assert bench.row(ward.share).status is ShareStatus.AVAILABLE


def test_few_commands_however_many_shares(bench: StorageBench) -> None:
    for number in range(12):
        share = bench.share()
        bench.allow(share, f"10.0.0.{number}")
        bench.snapshot(share)
    seen: list[tuple[str, ...]] = []

    class Counting:
        def before(self, host: Any, words: tuple[str, ...]) -> None:
            seen.append(words)

        def after(self, host: Any, words: tuple[str, ...], answer: Any) -> None:
            return None

    bench.host.hooks = Counting()
    assert examine(bench.site).findings == ()
    assert len([words for words in seen if words[0] in ("zfs", "zpool")]) <= 3
