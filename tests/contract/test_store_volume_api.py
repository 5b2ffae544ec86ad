"""What the volume API reads and writes besides volumes, on every database: lists, hosts, groups, transfers."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from penstock.domain.attachments import Attachment, AttachMode, AttachStatus
from penstock.domain.new_volumes import new_volume
from penstock.domain.pools import PoolRef
from penstock.domain.volume_groups import GroupEvent, GroupStatus, VolumeGroup, VolumeGroupType
from penstock.domain.volume_transfers import VolumeTransfer, hash_of
from penstock.domain.volume_types import VolumeType
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Conflict
from penstock.ids import (
    AttachmentId,
    ProjectId,
    UserId,
    VolumeGroupId,
    VolumeGroupTypeId,
    VolumeId,
    VolumeTypeId,
    new_id,
)
from penstock.store import (
    attachments,
    volume_group_types,
    volume_groups,
    volume_hosts,
    volume_lines,
    volume_transfers,
    volume_types,
    volumes,
)
from penstock.store.database import Database
from penstock.store.keyset import KeysetPage
from penstock.store.volume_lines import COLUMNS
from penstock.store.volumes import VolumeFilter
from tests.factories import NOW

POOL = PoolRef("h", "b", "p")
TYPE = VolumeType(VolumeTypeId(new_id()), "gold", None, True, None, NOW, None, {"a": "b"})


@pytest.fixture(autouse=True)
def of_type(database: Database) -> None:
    with database.begin() as tx:
        volume_types.insert_type(tx, TYPE)


def put(database: Database, name: str, *, minutes: int = 0, **values: Any) -> Volume:
    volume = new_volume(
        size_gib=1,
        project_id="one",
        user_id="ann",
        volume_type=TYPE,
        pool=POOL,
        zone="nova",
        status=VolumeStatus.AVAILABLE,
        now=NOW + timedelta(minutes=minutes),
        name=name,
        **values,
    )
    with database.begin() as tx:
        volumes.insert_volume(tx, volume)
    return volume


def test_a_line_of_a_list_is_the_line_of_the_volume(database: Database) -> None:
    plain = put(database, "plain")
    rich = put(
        database, "rich", minutes=1, metadata={"k": "ü"}, admin_metadata={"readonly": "True"}, image_metadata={"i": "j"}
    )
    notes = [COLUMNS.index(name) for name in ("metadata", "admin_metadata", "image_metadata")]
    with database.read() as tx:
        lines = volume_lines.list_lines(tx, VolumeFilter(project_id="one"), KeysetPage(limit=10))
        single = [volume_lines.line_by_id(tx, volume.id) for volume in (rich, plain)]
        kept = volumes.by_ids(tx, [rich.id, plain.id])
    assert [line[0] for line in lines] == [rich.id, plain.id]  # the newest first
    for line, alone, volume in zip(lines, single, (rich, plain), strict=True):
        made = volume_lines.line_of(kept[volume.id])
        assert alone is not None
        for index, name in enumerate(COLUMNS):
            if index in notes:
                assert json.loads(line[index] or "{}") == json.loads(alone[index] or "{}") == json.loads(made[index])
            else:
                assert line[index] == alone[index] == made[index], name


def test_pages_by_marker(database: Database) -> None:
    ids = [put(database, name, minutes=minutes).id for minutes, name in enumerate(("b", "a", "a"))]
    page = KeysetPage(limit=1, marker=ids[1], sort=(("name", False),))
    with database.read() as tx:
        every = volume_lines.list_names(tx, VolumeFilter(), KeysetPage(sort=(("name", False),)))
        following = volume_lines.list_names(tx, VolumeFilter(), page)
    assert sorted(line[1] for line in every) == ["a", "a", "b"]
    behind = [line[0] for line in every].index(ids[1]) + 1
    assert [line[0] for line in following] == [every[behind][0]]


def test_who_uses_volumes(database: Database) -> None:
    volume = put(database, "used")
    for status in (AttachStatus.ATTACHED, AttachStatus.RESERVED):
        made = Attachment(
            id=AttachmentId(new_id()),
            volume_id=volume.id,
            project_id=ProjectId("one"),
            instance_uuid="vm",
            attached_host="c1",
            mountpoint="/dev/vdb",
            mode=AttachMode.RW,
            status=status,
            connector=None,
            connection_info=None,
            attach_time=NOW,
            detach_time=None,
            created_at=NOW,
            updated_at=None,
        )
        with database.begin() as tx:
            attachments.insert_attachment(tx, made)
    with database.read() as tx:
        ((_, of_volume, instance, host, device, since),) = volume_lines.uses_of(tx, [volume.id])[volume.id]
    assert (of_volume, instance, host, device, since) == (volume.id, "vm", "c1", "/dev/vdb", NOW)


def test_hosts(database: Database) -> None:
    put(database, "one")
    put(database, "two")
    with database.read() as tx:
        for host in ("h", "h@b", "h@b#p"):
            assert volume_hosts.usage(tx, host) == [("one", 2, 2, 0, 0)], host
        assert volume_hosts.usage(tx, "h@") == volume_hosts.usage(tx, "other") == []


def test_groups(database: Database) -> None:
    of_type = VolumeGroupType(VolumeGroupTypeId(new_id()), "tied", None, True, NOW, None, {"c": "d"})
    group = VolumeGroup(
        id=VolumeGroupId(new_id()),
        name="pair",
        description=None,
        project_id=ProjectId("one"),
        user_id=UserId("ann"),
        group_type_id=of_type.id,
        volume_type_ids=(TYPE.id,),
        host=str(POOL),
        availability_zone="nova",
        status=GroupStatus.CREATING,
        group_snapshot_id=None,
        source_group_id=None,
        replication_status=None,
        created_at=NOW,
        updated_at=None,
    )
    with database.begin() as tx:
        volume_group_types.insert_type(tx, of_type)
        volume_groups.insert_group(tx, group)
    put(database, "member", group_id=group.id)
    with database.begin() as tx:
        assert volume_group_types.get_by_name(tx, "tied") == of_type
        assert volume_groups.get(tx, group.id) == group
        assert volume_groups.in_work(tx, "h@b") == [group]
        assert volume_groups.takes_type(tx, TYPE.id)
        assert len(volume_groups.volume_ids(tx, group.id)) == 1
        assert volume_groups.list_groups(tx, project_id="one", equal={"name": "pair"}) == [group]
        assert volume_groups.list_groups(tx, project_id="two", equal={}) == []
        assert volume_groups.move(tx, group, GroupEvent.DONE, now=NOW) is GroupStatus.AVAILABLE
    with pytest.raises(Conflict), database.begin() as tx:
        volume_groups.move(tx, group, GroupEvent.DONE, now=NOW)  # somebody moved it since


def test_transfers(database: Database) -> None:
    volume = put(database, "gift")
    made = VolumeTransfer(
        id=new_id(),
        volume_id=VolumeId(volume.id),
        name="gift",
        salt="salt",
        key_hash=hash_of("key", "salt"),
        no_snapshots=False,
        source_project_id=ProjectId("one"),
        created_at=NOW,
    )
    with database.begin() as tx:
        volume_transfers.insert_transfer(tx, made)
    with pytest.raises(Conflict), database.begin() as tx:
        volume_transfers.insert_transfer(tx, made)  # a volume is offered once
    with database.begin() as tx:
        found = volume_transfers.get(tx, made.id)
        assert found == made
        assert found is not None
        assert found.opens_with("key")
        assert not found.opens_with("kez")
        assert volume_transfers.list_transfers(tx, KeysetPage(limit=5), project_id="one", name="gift") == [made]
        assert volume_transfers.delete_transfer(tx, made.id)
        assert not volume_transfers.delete_transfer(tx, made.id)
