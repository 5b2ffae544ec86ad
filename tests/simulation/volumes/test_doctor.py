"""Each kind of damage to volumes is found under its name, and repaired when, and only when, that name is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from penstock.doctor.findings import Kind
from penstock.doctor.treatment import Treatment, treat
from penstock.doctor.volumes.examination import examine_volumes
from penstock.domain.attachments import Attachment, AttachStatus
from penstock.domain.operations import Call
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes import MigrationStatus, Volume, VolumeStatus
from penstock.errors import Conflict
from penstock.exports.iscsi import Chap, Initiator
from penstock.ids import VolumeId, new_id
from penstock.services.volumes import connections
from penstock.store import attachments, messages, volume_snapshots, volumes
from penstock.store.keyset import FIRST_PAGE
from penstock.units import GIB
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.names import Dataset
from tests.factories import NOW
from tests.simulation.volumes.zfs_plane import ELSEWHERE, ZfsPlane
from tests.simulation.zfs_host import OPENZFS
from tests.volume_plane import ADMIN, CONNECTOR, OWNER

THIEF = "iqn.2001-04.org.example:thief"


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=["openzfs", "zfs-fuse"])
def plane(request: Any, tmp_path: Path) -> ZfsPlane:
    return ZfsPlane(tmp_path, request.param)


@dataclass
class Ward:
    """A volume with a snapshot, attached, and another beside it that nothing happens to."""

    plane: ZfsPlane
    volume: Volume
    snapshot: VolumeSnapshot
    attachment: Attachment
    spare: Volume

    @property
    def dataset(self) -> str:
        return self.plane.dataset(self.volume)

    @property
    def exports(self) -> Any:
        return self.plane.driver.storage.exports  # type: ignore[attr-defined]

    def zfs(self, *words: str) -> None:
        done = self.plane.host.run(["zfs", *words], timeout_s=9)
        assert done.exit_code == 0, done.stderr

    def move(self, event: VolumeEvent, **columns: Any) -> None:
        """A service accepts a request for the spare volume and dies before it queues the operation."""
        spare = self.plane.row(self.spare)
        with self.plane.database.begin() as tx:
            volumes.move(tx, spare, event, now=self.plane.clock.utc(), **columns)

    def set(self, **columns: Any) -> None:
        with self.plane.database.begin() as tx:
            volumes.reset(tx, self.spare.id, now=self.plane.clock.utc(), **columns)

    def treat(self, *kinds: Kind) -> Treatment:
        return treat(self.plane.site, set(kinds), examine_volumes)


@pytest.fixture
def ward(plane: ZfsPlane) -> Ward:
    volume = plane.volume(name="data")
    snapshot = plane.snapshot(volume)
    attachment = plane.attached(volume)
    other = plane.volume()
    plane.attached(other, ELSEWHERE)
    spare = plane.volume(size_gib=2)
    assert examine_volumes(plane.site).findings == ()
    return Ward(plane, plane.row(volume), snapshot, attachment, spare)


def lose_dataset(ward: Ward) -> None:
    ward.exports.apply([], remove=[ward.plane.iqn(ward.volume)])
    ward.plane.zfs.destroy(Dataset(ward.dataset), recursive=True)


def lose_rows(ward: Ward) -> None:
    with ward.plane.database.begin() as tx:
        volume_snapshots.delete_snapshot(tx, ward.snapshot.id)
        volumes.delete_volume(tx, ward.volume.id)


def lose_snapshot_row(ward: Ward) -> None:
    with ward.plane.database.begin() as tx:
        volume_snapshots.delete_snapshot(tx, ward.snapshot.id)


def let_a_thief_in(ward: Ward) -> None:
    ward.exports.edit(ward.plane.iqn(ward.volume), lambda found: found.allowing(Initiator(THIEF)))


def shut_the_owner_out(ward: Ward) -> None:
    ward.exports.edit(ward.plane.iqn(ward.volume), lambda found: found.refusing(CONNECTOR["initiator"]))


def ask_for_a_secret(ward: Ward) -> None:
    chap = Chap("somebody", "a-secret-of-20-letter")
    initiator = Initiator(CONNECTOR["initiator"], chap)
    ward.exports.edit(ward.plane.iqn(ward.volume), lambda found: found.allowing(initiator))


def lose_target(ward: Ward) -> None:
    ward.exports.apply([], remove=[ward.plane.iqn(ward.volume)])


def forget_served(ward: Ward) -> None:
    """The target daemon was started without its files."""
    files = {name: text for name, text in ward.plane.host.state.files.items() if name.endswith(".conf")}
    for name in files:
        ward.plane.host.state.files.pop(name)
    ward.plane.tgt.boot()
    ward.plane.host.state.files.update(files)


def grow_dataset(ward: Ward) -> None:
    ward.plane.driver.storage.medium.settle(Dataset(ward.dataset), 3 * GIB, is_thin=True)  # type: ignore[attr-defined]


def record_a_larger_size(ward: Ward) -> None:
    with ward.plane.database.begin() as tx:
        volumes.update_volume(tx, ward.volume.id, now=NOW, size_gib=4)


def record_another_pool(ward: Ward) -> None:
    with ward.plane.database.begin() as tx:
        volumes.update_volume(tx, ward.volume.id, now=NOW, host="host@dummy#elsewhere", provider_id=None)


def record_the_other_pool(ward: Ward) -> None:
    to = "pond" if "#tank" in str(ward.volume.host) else "tank"
    with ward.plane.database.begin() as tx:
        volumes.update_volume(tx, ward.volume.id, now=NOW, host=f"host@dummy#{to}")


def write_another_project(ward: Ward) -> None:
    ward.zfs("set", "penstock:project_id=somebody", ward.dataset)


def leave_a_tombstone(ward: Ward) -> None:
    ward.zfs("create", "tank/volumes/tomb")
    ward.zfs("set", "penstock:kind=volume_tombstone", "tank/volumes/tomb")


def leave_a_snapshot_of_an_operation(ward: Ward) -> None:
    ward.zfs("snapshot", f"{ward.dataset}@move-1")
    ward.zfs("set", "penstock:kind=volume_tombstone", f"{ward.dataset}@move-1")
    ward.zfs("set", f"penstock:id={ward.volume.id}", f"{ward.dataset}@move-1")


def leave_a_copy(ward: Ward) -> None:
    ward.zfs("create", "pond/volumes/copy")
    ward.zfs("set", f"penstock:id={ward.volume.id}", "pond/volumes/copy")
    ward.zfs("set", "penstock:kind=volume_arriving", "pond/volumes/copy")


def leave_what_has_no_mark(ward: Ward) -> None:
    """Of a creation that failed; and, which is nothing, of a volume that was let go."""
    ward.plane.zfs.destroy(Dataset(ward.plane.dataset(ward.spare)), recursive=True)
    ward.zfs("create", ward.plane.dataset(ward.spare))
    ward.zfs("create", f"tank/volumes/volume-{new_id()}")
    ward.set(status=VolumeStatus.ERROR)


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        pytest.param(lose_dataset, {Kind.DATASET_MISSING, Kind.SNAPSHOT_MISSING}, id="dataset-missing"),
        pytest.param(lose_rows, {Kind.DATASET_ORPHAN, Kind.SNAPSHOT_ORPHAN, Kind.EXPORT_ORPHAN}, id="rows-lost"),
        pytest.param(lose_snapshot_row, {Kind.SNAPSHOT_ORPHAN}, id="snapshot-orphan"),
        pytest.param(let_a_thief_in, {Kind.EXPORT_DIFFERS}, id="a-thief-is-let-in"),
        pytest.param(shut_the_owner_out, {Kind.EXPORT_DIFFERS}, id="the-owner-is-shut-out"),
        pytest.param(ask_for_a_secret, {Kind.EXPORT_DIFFERS}, id="another-secret"),
        pytest.param(lose_target, {Kind.EXPORT_MISSING}, id="target-lost"),
        pytest.param(forget_served, {Kind.EXPORT_MISSING}, id="target-not-in-force"),
        pytest.param(grow_dataset, {Kind.SIZE_DIFFERS}, id="larger"),
        pytest.param(record_a_larger_size, {Kind.SIZE_DIFFERS}, id="smaller"),
        pytest.param(record_the_other_pool, {Kind.PLACEMENT}, id="placement"),
        pytest.param(write_another_project, {Kind.PROPERTY_DIFFERS}, id="property-differs"),
        pytest.param(leave_a_tombstone, {Kind.TOMBSTONE}, id="tombstone"),
        pytest.param(leave_a_snapshot_of_an_operation, {Kind.TOMBSTONE}, id="snapshot-of-an-operation"),
        pytest.param(leave_a_copy, {Kind.LEFTOVER}, id="leftover"),
        pytest.param(leave_what_has_no_mark, {Kind.LEFTOVER}, id="without-a-mark"),
    ],
)
def test_damage_is_found_and_repaired_under_its_name(
    ward: Ward, damage: Callable[[Ward], None], kinds: set[Kind]
) -> None:
    damage(ward)
    assert set(ward.plane.findings()) == kinds
    others = set(Kind) - kinds
    assert ward.treat(*others).treated == ()  # nothing that was not asked for
    assert set(ward.plane.findings()) == kinds
    treatment = ward.treat(*kinds)
    assert [done.fault for done in treatment.treated] == [None] * len(treatment.treated)
    assert (treatment.failures, treatment.is_complete) == ((), True)
    assert treatment.after.findings == ()
    assert ward.treat(*Kind).treated == ()


@pytest.mark.parametrize("damage", [record_the_other_pool, grow_dataset])
def test_a_row_that_was_changed_since_it_was_examined_is_left_as_it_is(
    ward: Ward, damage: Callable[[Ward], None]
) -> None:
    damage(ward)
    seen = examine_volumes(ward.plane.site)
    (repair,) = [seen.repair_of(finding) for finding in seen.findings]
    assert repair is not None
    with ward.plane.database.begin() as tx:
        volumes.update_volume(tx, ward.volume.id, now=NOW, host="host@other#pool", size_gib=7)
    with pytest.raises(Conflict, match="changed meanwhile"):
        repair.carry_out(ward.plane.site)
    row = ward.plane.row(ward.volume)
    assert (row.host, row.size_gib) == ("host@other#pool", 7)


def test_no_orphan_any_more_when_a_row_names_it_meanwhile(ward: Ward) -> None:
    lose_rows(ward)
    seen = examine_volumes(ward.plane.site)
    (finding,) = [one for one in seen.findings if one.kind is Kind.DATASET_ORPHAN]
    repair = seen.repair_of(finding)
    assert repair is not None
    moved = replace(ward.volume, id=VolumeId(new_id()), name_id=ward.volume.id, attachments=())
    with ward.plane.database.begin() as tx:
        volumes.insert_volume(tx, moved)  # as after a migration by a copy
    with pytest.raises(Conflict, match="has a row by now"):
        repair.carry_out(ward.plane.site)
    assert ward.dataset in ward.plane.host.state.filesystems


def test_a_lost_volume_is_an_error_and_its_owner_is_told(ward: Ward) -> None:
    lose_dataset(ward)
    ward.treat(Kind.DATASET_MISSING, Kind.SNAPSHOT_MISSING)
    assert ward.plane.row(ward.volume).status is VolumeStatus.ERROR
    with ward.plane.database.read() as tx:
        found = volume_snapshots.get(tx, ward.snapshot.id)
        told = messages.list_about_volumes(tx, project_id="p1", filters={}, like_filters={}, page=FIRST_PAGE)
    assert found is not None
    assert found.status is VolumeSnapshotStatus.ERROR
    assert {message.resource_id for message in told} == {ward.volume.id, ward.snapshot.id}


def test_a_pool_that_is_not_ours_is_not_a_loss(ward: Ward) -> None:
    record_another_pool(ward)
    ward.zfs("inherit", "penstock:kind", ward.dataset)  # it went with its pool
    found = {finding.kind: finding for finding in examine_volumes(ward.plane.site).findings}
    assert not found[Kind.PLACEMENT].can_repair
    assert ward.treat(*Kind).treated[0].fault == "cannot be repaired from here"


def test_who_is_let_in_is_said_and_made_right(ward: Ward) -> None:
    let_a_thief_in(ward)
    (finding,) = examine_volumes(ward.plane.site).findings
    assert THIEF in finding.sentence
    assert "secret" not in finding.sentence
    ward.treat(Kind.EXPORT_DIFFERS)
    assert ward.plane.initiators(ward.volume) == {CONNECTOR["initiator"]}


def test_what_smaller_size_is_recorded_is_not_cut_off(ward: Ward) -> None:
    grow_dataset(ward)
    ward.treat(Kind.SIZE_DIFFERS)
    assert ward.plane.row(ward.volume).size_gib == 3


def test_an_orphan_goes_with_its_snapshots_and_its_target(ward: Ward) -> None:
    lose_rows(ward)
    ward.treat(Kind.DATASET_ORPHAN)
    assert ward.dataset not in ward.plane.host.state.filesystems
    assert ward.plane.findings() == []


def test_another_whole_copy_is_named_and_left_to_a_person(ward: Ward) -> None:
    ward.zfs("create", "pond/volumes/copy" if "#tank" in str(ward.volume.host) else "tank/volumes/copy")
    name = next(one for one in ward.plane.host.state.filesystems if one.endswith("/copy"))
    ward.zfs("set", f"penstock:id={ward.volume.id}", name)
    ward.zfs("set", "penstock:kind=volume", name)
    (finding,) = examine_volumes(ward.plane.site).findings
    assert (finding.kind, finding.subject, finding.can_repair) == (Kind.LEFTOVER, name, False)
    assert str(ward.volume.host) in finding.sentence


def test_a_copy_that_is_on_its_way_is_no_leftover(ward: Ward) -> None:
    leave_a_copy(ward)
    leave_a_snapshot_of_an_operation(ward)
    with ward.plane.database.begin() as tx:
        call = Call("host@dummy", f"volume:{ward.volume.id}", "migrate_volume", {})
        ward.plane.queue.enqueue(tx, ADMIN, call)
    assert ward.plane.findings() == []


# --- stuck ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "columns", "ends"),
    [
        pytest.param(VolumeEvent.DELETE, {}, None, id="deleting"),
        pytest.param(VolumeEvent.EXTEND, {"size_target_gib": 5}, VolumeStatus.AVAILABLE, id="extending"),
        pytest.param(VolumeEvent.REVERT, {}, VolumeStatus.ERROR, id="reverting"),
        pytest.param(VolumeEvent.RETYPE, {}, VolumeStatus.ERROR, id="retyping"),
        pytest.param(VolumeEvent.UPLOAD, {}, VolumeStatus.AVAILABLE, id="uploading"),
        pytest.param(VolumeEvent.MAINTAIN, {}, VolumeStatus.AVAILABLE, id="maintenance"),
        pytest.param(VolumeEvent.UNMANAGE, {}, None, id="unmanaging"),
    ],
)
def test_stuck_volumes_are_begun_again_or_ended(
    ward: Ward, event: VolumeEvent, columns: dict[str, Any], ends: VolumeStatus | None
) -> None:
    ward.move(event, **columns)
    (finding,) = examine_volumes(ward.plane.site).findings
    assert (finding.kind, finding.subject) == (Kind.STUCK, ward.spare.id)
    treatment = ward.treat(Kind.STUCK)
    assert (treatment.failures, treatment.after.findings) == ((), ())
    with ward.plane.database.read() as tx:
        found = volumes.get(tx, ward.spare.id)
    assert (found.status if found else None) == ends
    assert found is None or found.size_gib == columns.get("size_target_gib", 2)


@pytest.mark.parametrize("is_made_from", [True, False], ids=["from-a-volume", "of-nobody-knows"])
def test_a_creation_is_begun_again_when_the_row_says_all_of_it(ward: Ward, is_made_from: bool) -> None:
    source = {"source_volid": ward.volume.id} if is_made_from else {}
    ward.set(status="creating", name_id=None, provider_id=None, **source)
    ward.plane.zfs.destroy(Dataset(ward.plane.dataset(ward.spare)), recursive=True)
    ward.treat(Kind.STUCK)
    assert ward.plane.row(ward.spare).status is (VolumeStatus.AVAILABLE if is_made_from else VolumeStatus.ERROR)
    assert ward.treat(Kind.STUCK).treated == ()


def test_a_migration_that_nothing_carries_on_is_given_up(ward: Ward) -> None:
    ward.set(migration_status=MigrationStatus.STARTING.value)
    assert ward.plane.findings() == [Kind.STUCK]
    assert ward.treat(Kind.STUCK).after.findings == ()
    assert ward.plane.row(ward.spare).migration_status is MigrationStatus.ERROR


def test_a_busy_volume_is_not_stuck(ward: Ward) -> None:
    ward.move(VolumeEvent.RETYPE)
    with ward.plane.database.begin() as tx:
        call = Call("host@dummy", f"volume:{ward.spare.id}", "retype", {"volume_id": ward.spare.id})
        ward.plane.queue.enqueue(tx, ADMIN, call)
    assert ward.plane.findings() == []


def test_stuck_snapshots(ward: Ward) -> None:
    with ward.plane.database.begin() as tx:
        volume_snapshots.move(tx, ward.snapshot, VolumeEvent.DELETE, now=NOW)
    assert ward.plane.findings() == [Kind.STUCK]
    assert ward.treat(Kind.STUCK).after.findings == ()
    with ward.plane.database.read() as tx:
        assert volume_snapshots.get(tx, ward.snapshot.id) is None


def test_an_attachment_without_an_answer_is_an_error(ward: Ward) -> None:
    with ward.plane.database.begin() as tx:
        attachments.update_attachment(tx, ward.attachment.id, now=NOW, connection_info=None)
    assert ward.plane.findings() == [Kind.STUCK]
    assert ward.treat(Kind.STUCK).after.findings == ()
    with ward.plane.database.read() as tx:
        found = attachments.get(tx, ward.attachment.id)
    assert found is not None
    assert found.status is AttachStatus.ERROR_ATTACHING


def test_a_connection_of_nobody_is_told_and_after_an_hour_can_be_ended(ward: Ward) -> None:
    connections.initialize_connection(ward.plane.plane, OWNER, ward.spare.id, CONNECTOR)
    (finding,) = examine_volumes(ward.plane.site).findings
    assert (finding.kind, finding.is_drift) == (Kind.CONNECTION, False)
    assert ward.treat(Kind.CONNECTION).treated == ()
    ward.plane.clock.advance(timedelta(hours=2).total_seconds())  # type: ignore[attr-defined]
    treatment = ward.treat(Kind.CONNECTION)
    assert (len(treatment.treated), treatment.after.findings) == (1, ())
    assert ward.plane.initiators(ward.spare) == set()
    assert ward.plane.row(ward.spare).attachments == ()
