"""Groups of volumes and group snapshots: what is shown, refused, and asked of the backend."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.domain.pools import PoolRef
from penstock.domain.volume_groups import GroupEvent
from penstock.services.control_plane import ControlPlane
from penstock.store import volume_groups, volume_snapshots
from tests.api.arranging import calls
from tests.api.conftest import PROJECT, Client
from tests.api.volumes.arranging import add_volume_type, finish_snapshot, finish_volume, make_volume
from tests.api.volumes.test_group_types import make as make_group_type

UNKNOWN = "00000000-0000-4000-8000-000000000000"
BASE = {"id", "name", "description", "status", "availability_zone", "created_at", "group_type", "volume_types"}
SOURCES = {"group_snapshot_id", "source_group_id"}
TAKEN = {"id", "name", "description", "group_id", "group_type_id", "status", "created_at"}


@pytest.fixture(autouse=True)
def types(plane: ControlPlane, vbackend: PoolRef, vadmin: Client) -> dict[str, str]:
    return {"volume": add_volume_type(plane), "group": str(make_group_type(vadmin)["id"])}


@pytest.fixture
def group_id(plane: ControlPlane, vmember: Client, types: dict[str, str]) -> str:
    return make_group(plane, vmember, types)


def make_group(plane: ControlPlane, client: Client, types: dict[str, str], **wanted: Any) -> str:
    fields = {"group_type": types["group"], "volume_types": [types["volume"]], "name": "pair", **wanted}
    answer = client.post("groups", {"group": fields})
    assert answer.status_code == 202, answer.text
    assert set(answer.json()["group"]) == {"id", "name"}
    finish_group(plane, answer.json()["group"]["id"])
    return str(answer.json()["group"]["id"])


def finish_group(plane: ControlPlane, group_id: str, event: GroupEvent = GroupEvent.DONE) -> None:
    with plane.database.begin() as tx:
        group = volume_groups.get(tx, group_id)
        assert group is not None
        volume_groups.move(tx, group, event, now=plane.clock.utc())


def take(plane: ControlPlane, client: Client, group_id: str) -> str:
    """An available group snapshot."""
    answer = client.post("group_snapshots", {"group_snapshot": {"group_id": group_id, "name": "mon"}})
    assert answer.status_code == 202, answer.text
    taken_id = str(answer.json()["group_snapshot"]["id"])
    with plane.database.begin() as tx:
        members = volume_groups.member_ids(tx, taken_id)
        taken = volume_groups.get_snapshot(tx, taken_id)
        assert taken is not None
        volume_groups.move_snapshot(tx, taken, GroupEvent.DONE, now=plane.clock.utc())
    for member in members:
        finish_snapshot(plane, member)
    return taken_id


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("3.13", set()),
        ("3.14", SOURCES),
        ("3.25", SOURCES | {"volumes"}),
        ("3.38", SOURCES | {"volumes", "replication_status"}),
    ],
)
def test_keys_of_each_version(vmember: Client, group_id: str, version: str, more: set[str]) -> None:
    client = vmember.at(version)
    shown = client.get(f"groups/{group_id}", list_volume="True").json()["group"]
    assert set(shown) == BASE | more
    assert client.get("groups/detail", list_volume="True").json()["groups"] == [shown]
    assert client.get("groups").json()["groups"] == [{"id": group_id, "name": "pair"}]
    assert "volumes" not in vmember.get(f"groups/{group_id}").json()["group"]


def test_the_owner_is_shown_to_administrators(vadmin: Client, vmember: Client, group_id: str) -> None:
    assert vadmin.get(f"groups/{group_id}").json()["group"]["project_id"] == PROJECT
    assert "project_id" not in vadmin.at("3.57").get(f"groups/{group_id}").json()["group"]
    assert "project_id" not in vmember.get(f"groups/{group_id}").json()["group"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ({"group_type": "tied"}, 400),
        ({"group_type": "tied", "volume_types": []}, 400),
        ({"group_type": "tied", "volume_types": "gold"}, 400),
        ({"group_type": "none", "volume_types": ["gold"]}, 404),
        ({"group_type": "tied", "volume_types": ["none"]}, 404),
        ({"group_type": "tied", "volume_types": ["gold"], "availability_zone": "mars"}, 400),
        ({"group_type": "tied", "volume_types": ["gold"], "name": "x" * 256}, 400),
        ({"group_type": "tied", "volume_types": ["gold"], "colour": "red"}, 400),
    ],
)
def test_what_cannot_be_a_group(vmember: Client, fields: dict[str, Any], status: int) -> None:
    assert vmember.post("groups", {"group": fields}).status_code == status
    assert vmember.get("groups").json() == {"groups": []}


def test_projects_are_isolated(plane: ControlPlane, vmember: Client, vother: Client, group_id: str) -> None:
    make_volume(plane, vmember, group_id=group_id)
    taken_id = take(plane, vmember, group_id)
    assert vother.get("groups").json() == {"groups": []}
    assert vother.get("group_snapshots").json() == {"group_snapshots": []}
    assert vother.get(f"groups/{group_id}").status_code == 404
    assert vother.get(f"group_snapshots/{taken_id}").status_code == 404
    assert vother.delete(f"group_snapshots/{taken_id}").status_code == 404
    assert vother.post(f"groups/{group_id}/action", {"delete": {"delete-volumes": True}}).status_code == 404
    assert vother.post("volumes", {"volume": {"size": 1, "group_id": group_id}}).status_code == 404
    copy = {"create-from-src": {"group_snapshot_id": taken_id}}
    assert vother.post("groups/action", copy).status_code == 404


def test_quota(vadmin: Client, vmember: Client, types: dict[str, str], group_id: str) -> None:
    vadmin.put(f"os-quota-sets/{PROJECT}", {"quota_set": {"groups": 1}})
    body = {"group": {"group_type": "tied", "volume_types": ["gold"]}}
    assert vmember.post("groups", body).status_code == 413
    assert vmember.get(f"os-quota-sets/{PROJECT}", usage="True").json()["quota_set"]["groups"]["in_use"] == 1


def test_members(plane: ControlPlane, vmember: Client, group_id: str) -> None:
    inside = make_volume(plane, vmember, group_id=group_id)["id"]
    outside = make_volume(plane, vmember)["id"]
    assert vmember.get(f"volumes/{inside}").json()["volume"]["group_id"] == group_id
    assert [item["id"] for item in vmember.get("volumes", group_id=group_id).json()["volumes"]] == [inside]
    assert vmember.delete(f"volumes/{inside}").status_code == 400
    change = {"group": {"add_volumes": outside, "remove_volumes": inside}}
    assert vmember.put(f"groups/{group_id}", change).status_code == 202
    assert vmember.get(f"groups/{group_id}").json()["group"]["status"] == "updating"
    (_, key, method, arguments) = calls(plane)[-1]
    assert (key, method) == (f"volume-group:{group_id}", "update_group")
    assert (arguments["add_volumes"], arguments["remove_volumes"]) == ([outside], [inside])
    assert vmember.put(f"groups/{group_id}", change).status_code == 400  # it is being changed already


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ({"add_volumes": UNKNOWN}, 404),
        ({"remove_volumes": "OUTSIDE"}, 400),
        ({"add_volumes": "OTHER-TYPE"}, 400),
        ({"add_volumes": "OUTSIDE", "remove_volumes": "OUTSIDE"}, 400),
        ({"add_volumes": 5}, 400),
        ({"colour": "red"}, 400),
    ],
)
def test_what_cannot_be_changed(
    plane: ControlPlane, vmember: Client, group_id: str, fields: dict[str, Any], status: int
) -> None:
    add_volume_type(plane, "silver")
    known = {
        "OUTSIDE": make_volume(plane, vmember, volume_type="gold")["id"],
        "OTHER-TYPE": make_volume(plane, vmember, volume_type="silver")["id"],
    }
    body = {"group": {key: known.get(str(value), value) for key, value in fields.items()}}
    assert vmember.put(f"groups/{group_id}", body).status_code == status
    assert vmember.get(f"groups/{group_id}").json()["group"]["status"] == "available"


def test_only_its_types_join(plane: ControlPlane, vmember: Client, group_id: str) -> None:
    add_volume_type(plane, "silver")
    body = {"volume": {"size": 1, "volume_type": "silver", "group_id": group_id}}
    assert vmember.post("volumes", body).status_code == 400
    assert vmember.post("volumes", {"volume": {"size": 1, "group_id": UNKNOWN}}).status_code == 404


def test_deleting(plane: ControlPlane, vmember: Client, vadmin: Client, group_id: str, types: dict[str, str]) -> None:
    volume_id = make_volume(plane, vmember, group_id=group_id)["id"]
    taken_id = take(plane, vmember, group_id)
    path = f"groups/{group_id}/action"
    assert vmember.post(path, {"delete": {"delete-volumes": True}}).status_code == 400  # it has a group snapshot
    (member,) = vmember.get("snapshots/detail").json()["snapshots"]
    assert member["group_snapshot_id"] == taken_id
    assert vmember.delete(f"snapshots/{member['id']}").status_code == 400
    assert vmember.delete(f"group_snapshots/{taken_id}").status_code == 202
    assert vmember.get(f"group_snapshots/{taken_id}").json()["group_snapshot"]["status"] == "deleting"
    with plane.database.begin() as tx:  # what the backend does
        for gone in volume_groups.member_ids(tx, taken_id):
            volume_snapshots.delete_snapshot(tx, gone)
        volume_groups.delete_snapshot(tx, taken_id)
    assert vmember.post(path, {"delete": {}}).status_code == 400  # it has volumes
    assert vmember.post(path, {"delete": {"delete-volumes": "perhaps"}}).status_code == 400
    assert vmember.post(path, {"delete": {"colour": "red"}}).status_code == 400
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "available"
    assert vadmin.delete(f"group_types/{types['group']}").status_code == 400
    empty = make_group(plane, vmember, types)
    assert vmember.post(f"groups/{empty}/action", {"delete": {"delete-volumes": False}}).status_code == 202
    assert calls(plane)[-1][2] == "delete_group"


def test_group_snapshots(plane: ControlPlane, vmember: Client, vadmin: Client, group_id: str) -> None:
    body = {"group_snapshot": {"group_id": group_id, "name": "mon"}}
    assert vmember.post("group_snapshots", body).status_code == 400  # there are no volumes
    make_volume(plane, vmember, group_id=group_id)
    taken_id = take(plane, vmember, group_id)
    shown = vmember.get(f"group_snapshots/{taken_id}").json()["group_snapshot"]
    assert (set(shown), shown["status"]) == (TAKEN, "available")
    assert vmember.get("group_snapshots/detail").json()["group_snapshots"] == [shown]
    assert vmember.get("group_snapshots").json()["group_snapshots"] == [{"id": taken_id, "name": "mon"}]
    assert vmember.get("group_snapshots", status="error").json() == {"group_snapshots": []}
    path = f"group_snapshots/{taken_id}"
    assert vmember.put(path, {"group_snapshot": {"name": "tue"}}).json()["group_snapshot"]["name"] == "tue"
    assert vmember.put(path, {"group_snapshot": {}}).status_code == 400
    assert vmember.post(f"{path}/action", {"reset_status": {"status": "error"}}).status_code == 403
    assert vadmin.post(f"{path}/action", {"reset_status": {"status": "glad"}}).status_code == 400
    assert vadmin.post(f"{path}/action", {"reset_status": {"status": "error"}}).status_code == 202
    assert vadmin.at("3.18").post(f"{path}/action", {"reset_status": {"status": "error"}}).status_code == 404
    assert vmember.post("group_snapshots", {"group_snapshot": {"group_id": UNKNOWN}}).status_code == 404
    assert vmember.at("3.13").get("group_snapshots").status_code == 404


def test_copies(plane: ControlPlane, vmember: Client, group_id: str) -> None:
    for bad, status in (
        ({}, 400),
        ({"group_snapshot_id": UNKNOWN}, 404),
        ({"source_group_id": UNKNOWN}, 404),
        ({"source_group_id": group_id}, 400),  # there are no volumes in it
        ({"source_group_id": group_id, "group_snapshot_id": UNKNOWN}, 400),
        ({"source_group_id": group_id, "colour": "red"}, 400),
    ):
        assert vmember.post("groups/action", {"create-from-src": bad}).status_code == status, bad
    volume_id = make_volume(plane, vmember, group_id=group_id, name="one")["id"]
    taken_id = take(plane, vmember, group_id)
    for source, field in (
        ({"source_group_id": group_id}, "source_volid"),
        ({"group_snapshot_id": taken_id}, "snapshot_id"),
    ):
        made = vmember.post("groups/action", {"create-from-src": {"name": "copy", **source}})
        assert made.status_code == 202, made.text
        copy = vmember.get(f"groups/{made.json()['group']['id']}", list_volume="1").json()["group"]
        (member,) = copy["volumes"]
        shown = vmember.get(f"volumes/{member}").json()["volume"]
        assert (shown["status"], shown["name"], shown["size"]) == ("creating", "one", 2)
        assert shown[field] is not None
        assert calls(plane)[-1][2] == "create_group_from_src"
        finish_volume(plane, member)
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "available"


def test_states_by_hand_and_replication(vmember: Client, vadmin: Client, group_id: str) -> None:
    path = f"groups/{group_id}/action"
    assert vmember.post(path, {"reset_status": {"status": "error"}}).status_code == 403
    assert vadmin.post(path, {"reset_status": {"status": "glad"}}).status_code == 400
    assert vadmin.at("3.19").post(path, {"reset_status": {"status": "error"}}).status_code == 404
    assert vadmin.post(path, {"reset_status": {"status": "error"}}).status_code == 202
    assert vmember.post(path, {"enable_replication": {}}).status_code == 400
    assert vmember.at("3.37").post(path, {"enable_replication": {}}).status_code == 404
