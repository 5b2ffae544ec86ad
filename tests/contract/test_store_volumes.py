"""Rows of volumes on every database: lists, pages, states, attachments, quotas, placement."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from penstock.domain.attachments import Attachment, AttachMode, AttachStatus
from penstock.domain.backups import Backup, BackupStatus
from penstock.domain.new_volumes import new_volume
from penstock.domain.pools import PoolRef, PoolReport
from penstock.domain.quotas import Usage
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_quotas import Counted, VolumeResource
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.domain.volume_types import VolumeType
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Conflict, Invalid, NotFound
from penstock.ids import AttachmentId, ProjectId, UserId, VolumeTypeId, new_id
from penstock.services.volumes.snapshots import new_snapshot
from penstock.store import (
    attachments,
    backends,
    backups,
    volume_placement,
    volume_quotas,
    volume_snapshots,
    volume_types,
    volumes,
)
from penstock.store.attachments import AttachmentFilter
from penstock.store.backups import BackupFilter
from penstock.store.database import Database
from penstock.store.keyset import KeysetPage
from penstock.store.volume_snapshots import VolumeSnapshotFilter
from penstock.store.volumes import VolumeFilter

NOW = datetime(2026, 1, 1)
FAST = VolumeType(VolumeTypeId(new_id()), "fast", None, True, None, NOW, None, {})
POOL = PoolRef("host", "b", "p")


def a_volume(seconds: int = 0, **values: Any) -> Volume:
    fields = {"size_gib": 2, "volume_type": None, "status": VolumeStatus.AVAILABLE, **values}
    return new_volume(
        project_id="p1", user_id="u1", pool=POOL, zone="z", now=NOW + timedelta(seconds=seconds), **fields
    )


def an_attachment(volume: Volume, status: AttachStatus, **values: Any) -> Attachment:
    made = Attachment(
        AttachmentId(new_id()), volume.id, volume.project_id, "vm", None, None, AttachMode.RW, status,
        {"host": "h"}, None, None, None, NOW, None,
    )  # fmt: skip
    return replace(made, **values)


def a_backup(volume: Volume, **values: Any) -> Backup:
    made = Backup(
        new_id(), volume.id, None, ProjectId("p1"), UserId("u1"), "host@b", "z", "n", None, "c", BackupStatus.AVAILABLE,
        None, 2, 1, None, NOW, None, NOW, None,
    )  # fmt: skip
    return replace(made, **values)


def test_a_volume_is_what_was_stored(database: Database) -> None:
    volume = a_volume(
        name="n", metadata={"a": "b"}, admin_metadata={"readonly": "True"}, image_metadata={"os": "x"}, is_bootable=True
    )
    with database.begin() as tx:
        volumes.insert_volume(tx, volume)
        assert volumes.get(tx, volume.id) == volume
        assert volumes.by_ids(tx, [volume.id]) == {volume.id: volume}
        assert volumes.of_backend(tx, "host@b") == [volume]
        assert volumes.of_backend(tx, "host@B") == []
        assert volumes.by_admin_metadata(tx, "readonly", "True") == volume
        volumes.delete_volume(tx, volume.id)
        assert volumes.get(tx, volume.id) is None


@pytest.mark.parametrize(
    ("sort", "order"),
    [((("created_at", True),), "dcba"), ((("name", False),), "abcd"), ((("size", True), ("name", False)), "cdab")],
)
def test_pages_follow_their_marker(database: Database, sort: Any, order: str) -> None:
    made = {
        letter: a_volume(seconds, name=None if letter == "d" else letter, size_gib=size)
        for letter, seconds, size in (("a", 0, 1), ("b", 1, 1), ("c", 2, 2), ("d", 3, 2))
    }
    with database.begin() as tx:
        for volume in made.values():
            volumes.insert_volume(tx, volume)
        letters = {volume.id: letter for letter, volume in made.items()}
        seen, marker = "", None
        while page := volumes.list_volumes(tx, VolumeFilter(), KeysetPage(limit=1, marker=marker, sort=sort)):
            seen += letters[page[0].id]
            marker = page[0].id
        assert seen == order
        with pytest.raises(NotFound):
            volumes.list_volumes(tx, VolumeFilter(), KeysetPage(marker="none"))
        with pytest.raises(Invalid):
            volumes.list_volumes(tx, VolumeFilter(), KeysetPage(sort=(("secret", True),)))


def test_filters(database: Database) -> None:
    mine = a_volume(name="one", metadata={"k": "v"}, is_bootable=True)
    other = a_volume(5, name="two%", status=VolumeStatus.ERROR, uses_quota=False)
    with database.begin() as tx:
        for volume in (mine, other):
            volumes.insert_volume(tx, volume)
        for wanted, found in (
            (VolumeFilter(name="one"), [mine]),
            (VolumeFilter(name_like="WO%"), [other]),
            (VolumeFilter(status=["error", "creating"]), [other]),
            (VolumeFilter(metadata={"k": "v"}), [mine]),
            (VolumeFilter(host="host@b"), [other, mine]),
            (VolumeFilter(is_bootable=True), [mine]),
            (VolumeFilter(uses_quota=False), [other]),
            (VolumeFilter(times=[("created_at", "gt", NOW)]), [other]),
            (VolumeFilter(is_encrypted=True), []),
        ):
            assert volumes.list_volumes(tx, wanted) == found, wanted
            assert volumes.count_volumes(tx, wanted) == len(found)
        summed = volumes.summary(tx, VolumeFilter())
        assert (summed.count, summed.gib, summed.metadata) == (2, 4, {"k": ["v"]})


def test_a_state_moves_once_and_back_to_what_the_attachments_say(database: Database) -> None:
    volume = a_volume()
    with database.begin() as tx:
        volumes.insert_volume(tx, volume)
        attachment = an_attachment(volume, AttachStatus.ATTACHED)
        attachments.insert_attachment(tx, attachment)
        volumes.follow_attachments(tx, volume.id, now=NOW)
        used = volumes.get(tx, volume.id)
        assert used is not None
        assert (used.status, used.attach_status, used.attachments) == (
            VolumeStatus.IN_USE,
            AttachStatus.ATTACHED,
            (attachment,),
        )
        volumes.move(tx, used, VolumeEvent.EXTEND, now=NOW, size_target_gib=3)
        with pytest.raises(Conflict):
            volumes.move(tx, used, VolumeEvent.EXTEND, now=NOW)
        extending = volumes.get(tx, volume.id)
        assert extending is not None
        attachments.delete_attachment(tx, attachment.id)
        volumes.follow_attachments(tx, volume.id, now=NOW)
        assert volumes.move(tx, extending, VolumeEvent.DONE, now=NOW) is VolumeStatus.AVAILABLE


def test_attachments_keep_what_they_were_told(database: Database) -> None:
    volume = a_volume()
    with database.begin() as tx:
        volumes.insert_volume(tx, volume)
        attachment = an_attachment(volume, AttachStatus.RESERVED, connector=None)
        attachments.insert_attachment(tx, attachment)
        info = {"driver_volume_type": "iscsi", "target_lun": 1}
        attachments.change(tx, attachment, AttachStatus.ATTACHING, now=NOW, connector={"ip": "::1"})
        attachments.update_attachment(tx, attachment.id, now=NOW, connection_info=info)
        with pytest.raises(Conflict):
            attachments.change(tx, attachment, AttachStatus.ATTACHED, now=NOW)
        seen = attachments.get(tx, attachment.id)
        assert seen is not None
        assert (seen.connector, seen.connection_info, seen.status) == ({"ip": "::1"}, info, AttachStatus.ATTACHING)
        attachments.update_attachment(tx, attachment.id, now=NOW, connector=None, connection_info=None)
        assert attachments.of_backend(tx, "host@b")[0].connector is None
        assert attachments.list_attachments(tx, AttachmentFilter(instance_uuid="vm"))[0].id == attachment.id


def test_quotas_count_rows_by_type(database: Database) -> None:
    with database.begin() as tx:
        volume_types.insert_type(tx, FAST)
        volume = a_volume(volume_type=FAST)
        growing = a_volume(1, size_target_gib=5)
        new = a_volume(2, status=VolumeStatus.CREATING)
        hidden = a_volume(3, uses_quota=False)
        for one in (volume, growing, new, hidden):
            volumes.insert_volume(tx, one)
        volume_snapshots.insert_snapshot(tx, new_snapshot(volume, NOW, VolumeSnapshotStatus.AVAILABLE))
        backups.insert_backup(tx, a_backup(volume))
        used = volume_quotas.usage(tx, "p1", counts_snapshot_gib=True)
        assert used.of(Counted(VolumeResource.VOLUMES)) == Usage(2, 1)
        assert used.of(Counted(VolumeResource.GIGABYTES)) == Usage(6, 5)
        assert used.of(Counted(VolumeResource.GIGABYTES, FAST.id)) == Usage(4)
        assert used.of(Counted(VolumeResource.BACKUP_GIGABYTES)) == Usage(2)
        limits = {Counted(VolumeResource.VOLUMES, FAST.id): 3}
        volume_quotas.set_limits(tx, volume_quotas.PROJECT, "p1", limits, now=NOW)
        assert volume_quotas.limits(tx, volume_quotas.PROJECT, "p1") == limits


def test_what_a_report_cannot_know_is_promised(database: Database) -> None:
    with database.begin() as tx:
        backends.put_pools(tx, "host@b", [PoolReport(POOL, {}, NOW + timedelta(seconds=10))])
        for volume in (
            a_volume(launched_at=NOW),
            a_volume(launched_at=NOW + timedelta(seconds=20)),
            a_volume(launched_at=NOW, size_target_gib=7),
            a_volume(status=VolumeStatus.ERROR),
        ):
            volumes.insert_volume(tx, volume)
        placed = volume_placement.placed(tx)[str(POOL)]
        assert (placed.provisioned_gib, placed.unreported_gib) == (2 + 2 + 7, 2 + 5)


def test_snapshots_and_backups_are_listed(database: Database) -> None:
    volume = a_volume()
    with database.begin() as tx:
        volumes.insert_volume(tx, volume)
        snapshot = new_snapshot(volume, NOW, VolumeSnapshotStatus.AVAILABLE, name="s", metadata={"k": "v"})
        volume_snapshots.insert_snapshot(tx, snapshot)
        wanted = VolumeSnapshotFilter(volume_id=volume.id, metadata={"k": "v"}, availability_zone="z")
        assert volume_snapshots.list_snapshots(tx, wanted) == [snapshot]
        parent = a_backup(volume)
        child = a_backup(volume, parent_id=parent.id, data_timestamp=NOW + timedelta(seconds=1))
        for backup in (parent, child):
            backups.insert_backup(tx, backup)
        assert backups.latest(tx, volume.id) == child
        seen = backups.get(tx, parent.id)
        assert seen is not None
        assert seen.has_dependents
        assert backups.count_backups(tx, BackupFilter(name_like="N")) == 2
