"""A database of volumes that is lost is rebuilt from the pools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.doctor.findings import Kind
from penstock.domain.attachments import AttachStatus
from penstock.domain.volumes import TEMPORARY, VolumeStatus
from penstock.errors import Conflict
from penstock.operations.exclusive import exclusive
from penstock.recovery.volumes.rebuilding import RebuiltVolumes
from penstock.recovery.volumes.recover import recover_volumes
from penstock.services.volumes import attachments, retyping, transfers
from penstock.store import identity, volume_types, volumes
from penstock.volume.manager.temporary import temporary
from penstock.zfs.flavour import ZFS_FUSE
from tests.simulation.volumes.zfs_plane import ELSEWHERE, ZfsPlane
from tests.simulation.zfs_host import OPENZFS
from tests.volume_plane import ADMIN, CONNECTOR, OWNER

CHAP = "use_chap_auth = True\n"


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=["openzfs", "zfs-fuse"])
def plane(request: Any, tmp_path: Path) -> ZfsPlane:
    return ZfsPlane(tmp_path, request.param, text=CHAP)


def recovered(plane: ZfsPlane, **options: Any) -> RebuiltVolumes:
    return recover_volumes(plane.site, **{"merge": False, "dry_run": False, "with_identity": True, **options})


def furnished(plane: ZfsPlane) -> dict[str, Any]:
    plane.add_type("shared", {"multiattach": "<is> True"})
    one = plane.volume(name="weekly räports", size_gib=3)
    taken = plane.snapshot(one, "monday")
    plane.volume(name="of the snapshot", size_gib=4, snapshot_id=taken.id)
    plane.volume(name="of the volume", size_gib=3, source_volid=one.id)
    plane.attached(plane.volume())
    return plane.rows()


def test_the_rows_are_what_they_were(plane: ZfsPlane) -> None:
    before = furnished(plane)
    with plane.database.read() as tx:
        types = {found.id: found.name for found in volume_types.list_types(tx)}
    assert recovered(plane, merge=True).is_empty
    plane.lose_database()
    rebuilt = recovered(plane)
    assert (len(rebuilt.volumes), len(rebuilt.snapshots), rebuilt.left_out) == (4, 1, ())
    assert plane.rows() == before
    with plane.database.read() as tx:
        assert {found.id: found.name for found in volume_types.list_types(tx)}.items() <= types.items()
        assert [project.id for project in identity.list_projects(tx)] == ["p1"]
    assert set(plane.findings()) <= {Kind.TOMBSTONE}
    assert recovered(plane).is_empty


def test_who_is_let_in_stays_in_and_can_be_shut_out(plane: ZfsPlane) -> None:
    volume = plane.volume()
    plane.attached(volume)
    secret = plane.row(volume).provider_auth
    plane.lose_database()
    recovered(plane)
    found = plane.row(volume)
    assert (found.status, found.provider_auth) == (VolumeStatus.IN_USE, secret)
    (attachment,) = found.attachments
    assert attachment.status is AttachStatus.ATTACHED
    plane.restart()
    assert plane.initiators(volume) == {CONNECTOR["initiator"]}
    attachments.delete(plane.plane, OWNER, attachment.id)
    assert plane.initiators(volume) == set()
    assert plane.row(volume).status is VolumeStatus.AVAILABLE


def test_a_dry_run_changes_nothing_and_rows_of_others_want_merge(plane: ZfsPlane) -> None:
    furnished(plane)
    plane.lose_database()
    assert len(recovered(plane, dry_run=True).volumes) == 4
    with plane.database.read() as tx:
        assert volumes.of_backend(tx, "host@dummy") == []
    plane.add_type("default", {})
    plane.volume()
    with pytest.raises(Conflict, match="--merge"):
        recovered(plane)
    assert len(recovered(plane, merge=True).volumes) == 4


def test_not_while_a_daemon_serves_the_backend(plane: ZfsPlane) -> None:
    furnished(plane)
    plane.lose_database()
    with exclusive(plane.database, plane.folder, "host@dummy"), pytest.raises(Conflict):
        recovered(plane)


def test_a_volume_that_was_copied_elsewhere_keeps_its_id(plane: ZfsPlane) -> None:
    volume = plane.volume(name="moved")
    copy = plane.volume()  # what a migration by copy leaves: another dataset under the volume's row
    with plane.database.begin() as tx:
        volumes.delete_volume(tx, copy.id)
        volumes.update_volume(
            tx, volume.id, now=plane.clock.utc(), name_id=copy.id, host=copy.host, provider_id=copy.provider_id
        )
    plane.site.manager.write_identity(ADMIN, volume.id)
    before = plane.row(volume)
    plane.lose_database()
    rebuilt = recovered(plane)
    assert [sentence for sentence in rebuilt.left_out if "another copy of volume" in sentence] != []
    after = plane.row(volume)
    assert (after.id, after.name_id, after.name, after.provider_id) == (
        before.id,
        copy.id,
        "moved",
        before.provider_id,
    )


def test_a_driver_migration_and_a_transfer_are_remembered(plane: ZfsPlane) -> None:
    volume = plane.volume(name="travels")
    to = "host@dummy#pond" if "#tank" in str(volume.host) else "host@dummy#tank"
    retyping.migrate(plane.plane, ADMIN, volume.id, to)
    plane.work()
    assert plane.row(volume).host == to
    snapshot = plane.snapshot(volume)
    offer, key = transfers.create(plane.plane, OWNER, transfers.NewTransfer(volume.id))
    transfers.accept(plane.plane, ADMIN, offer.id, key)
    plane.work()
    assert plane.findings() == []
    plane.lose_database()
    recovered(plane)
    found = plane.row(volume)
    assert (found.host, found.project_id, found.user_id) == (to, ADMIN.project_id, ADMIN.user_id)
    assert plane.rows()["snapshots"][snapshot.id].project_id == ADMIN.project_id


def test_what_was_made_for_an_operation_is_left_out(plane: ZfsPlane) -> None:
    plane.volume(name="mine")
    with plane.database.begin() as tx:
        like = volumes.of_backend(tx, "host@dummy")[0]
    made = temporary(like, now=plane.clock.utc())
    assert made.admin_metadata[TEMPORARY]
    with plane.database.begin() as tx:
        volumes.insert_volume(tx, made)
    plane.site.manager.create_volume(ADMIN, made.id)
    plane.lose_database()
    rebuilt = recovered(plane)
    assert [volume.name for volume in rebuilt.volumes] == ["mine"]
    assert "nobody's volume" in rebuilt.left_out[0]


def test_two_machines_make_it_multiattach(plane: ZfsPlane) -> None:
    plane.add_type("shared", {"multiattach": "<is> True"})
    volume = plane.volume(volume_type="shared")
    for connector in (CONNECTOR, ELSEWHERE):
        plane.attached(volume, connector)
    plane.lose_database()
    recovered(plane)
    found = plane.row(volume)
    assert (found.is_multiattach, len(found.attachments)) == (True, 2)
