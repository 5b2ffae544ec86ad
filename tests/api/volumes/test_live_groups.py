"""Groups of volumes by the field's own clients, against a listening server with a dummy backend."""

from __future__ import annotations

from typing import Any

import cinderclient.exceptions
import openstack
import pytest

from tests.api.volumes.test_live_volumes import admin, cloud, login, operator, until, url, user

__all__ = ["admin", "cloud", "login", "operator", "url", "user"]  # fixtures


def test_the_life_of_a_group(admin: Any, user: Any) -> None:
    of_type = admin.group_types.create("tied", "together")
    of_type.set_keys({"some": "thing"})
    assert of_type.get_keys() == {"some": "thing"}
    plain = next(item for item in user.volume_types.list() if item.name == "plain")
    group = user.groups.create(of_type.id, plain.id, name="pair", description="of ann")
    group = until(lambda: user.groups.get(group.id))
    assert (group.name, group.group_type, group.volume_types) == ("pair", of_type.id, [plain.id])
    inside = user.volumes.create(size=1, group_id=group.id, volume_type="plain")
    inside = until(lambda: user.volumes.get(inside.id))
    outside = user.volumes.create(size=1)
    outside = until(lambda: user.volumes.get(outside.id))
    host = getattr(admin.volumes.get(inside.id), "os-vol-host-attr:host")
    if getattr(admin.volumes.get(outside.id), "os-vol-host-attr:host") == host:
        user.groups.update(group.id, add_volumes=outside.id)
        until(lambda: user.groups.get(group.id))
        assert len(user.groups.get(group.id, list_volume=True).volumes) == 2
        user.groups.update(group.id, remove_volumes=outside.id, name="two")
        until(lambda: user.groups.get(group.id))
    assert user.groups.get(group.id, list_volume=True).volumes == [inside.id]
    with pytest.raises(cinderclient.exceptions.BadRequest):
        user.volumes.delete(inside)
    taken = user.group_snapshots.create(group.id, name="mon")
    taken = until(lambda: user.group_snapshots.get(taken.id))
    (member,) = user.volume_snapshots.list(search_opts={"volume_id": inside.id})
    assert (member.group_snapshot_id, member.status) == (taken.id, "available")
    copy = user.groups.get(user.groups.create_from_src(taken.id, None, name="copy")["id"])
    until(lambda: user.groups.get(copy.id))
    (copied,) = user.groups.get(copy.id, list_volume=True).volumes
    assert user.volumes.get(copied).snapshot_id == member.id
    twin = user.groups.get(user.groups.create_from_src(None, group.id, name="twin")["id"])
    until(lambda: user.groups.get(twin.id))
    assert {item.id for item in user.groups.list()} >= {group.id, copy.id, twin.id}
    with pytest.raises(cinderclient.exceptions.BadRequest):
        user.groups.delete(group.id, delete_volumes=True)  # it has group snapshots
    user.group_snapshots.delete(taken)
    until(lambda: user.group_snapshots.get(taken.id), "deleted")
    with pytest.raises(cinderclient.exceptions.BadRequest):
        user.groups.delete(group.id)
    for found in (group, copy, twin):
        user.groups.delete(found.id, delete_volumes=True)
    for found in (group, copy, twin):
        until(lambda found=found: user.groups.get(found.id), "deleted")
    until(lambda: user.volumes.get(inside.id), "deleted")
    user.volumes.delete(outside)
    admin.group_types.delete(of_type.id)


def test_groups_by_openstacksdk(operator: Any, cloud: Any) -> None:
    of_type = operator.create_group_type(name="bound")
    operator.create_group_type_group_specs(of_type, {"a": "b"})
    plain = cloud.find_type("plain", ignore_missing=False)
    group = cloud.create_group(group_type=of_type.id, volume_types=[plain.id], name="one")
    until(lambda: cloud.get_group(group.id))
    assert group.id in {item.id for item in cloud.groups()}
    operator.reset_group_status(group.id, "error")
    assert cloud.get_group(group.id).status == "error"
    cloud.delete_group(group.id, delete_volumes=True)
    until(lambda: cloud.get_group(group.id), "deleted")
    operator.delete_group_type(of_type)
    with pytest.raises(openstack.exceptions.NotFoundException):
        cloud.get_group("none")
