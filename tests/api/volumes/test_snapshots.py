"""Snapshots of volumes."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.domain.pools import PoolRef
from penstock.services.control_plane import ControlPlane
from tests.api.conftest import PROJECT, USER, Client
from tests.api.volumes.arranging import act, add_volume_type, finish_snapshot, make_snapshot, make_volume

UNKNOWN = "00000000-0000-4000-8000-000000000000"
BASE = {"id", "name", "description", "volume_id", "status", "size", "created_at", "updated_at", "metadata"}
EXTENDED = {"os-extended-snapshot-attributes:project_id", "os-extended-snapshot-attributes:progress"}


@pytest.fixture
def volume_id(plane: ControlPlane, vbackend: PoolRef, vmember: Client) -> str:
    add_volume_type(plane)
    return str(make_volume(plane, vmember)["id"])


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("3.0", set()),
        ("3.14", {"group_snapshot_id"}),
        ("3.41", {"group_snapshot_id", "user_id"}),
        ("3.65", {"group_snapshot_id", "user_id", "consumes_quota"}),
    ],
)
def test_keys_of_each_version(
    plane: ControlPlane, vmember: Client, volume_id: str, version: str, more: set[str]
) -> None:
    client = vmember.at(version)
    made = make_snapshot(plane, client, volume_id, name="mon")
    assert set(made) == BASE | more
    shown = client.get(f"snapshots/{made['id']}").json()["snapshot"]
    assert set(shown) == BASE | EXTENDED | more
    assert client.get("snapshots/detail").json()["snapshots"] == [shown]
    assert set(client.get("snapshots").json()["snapshots"][0]) == BASE
    assert shown["os-extended-snapshot-attributes:progress"] == "100%"
    assert shown["os-extended-snapshot-attributes:project_id"] == PROJECT
    changed = client.put(f"snapshots/{made['id']}", {"snapshot": {"description": "first"}}).json()["snapshot"]
    assert (changed["description"], set(changed)) == ("first", BASE | more)


def test_life(plane: ControlPlane, vmember: Client, volume_id: str) -> None:
    made = make_snapshot(plane, vmember, volume_id, name=" mon ", metadata={"a": "b"})
    assert (made["status"], made["name"], made["size"], made["user_id"]) == ("creating", "mon", 2, USER)
    path = f"snapshots/{made['id']}"
    assert vmember.get(path).json()["snapshot"]["status"] == "available"
    assert vmember.get(f"{path}/metadata").json() == {"metadata": {"a": "b"}}
    assert vmember.put(f"{path}/metadata", {"metadata": {"c": "d"}}).json() == {"metadata": {"c": "d"}}
    assert vmember.put(f"{path}/metadata/c", {"meta": {"c": "e"}}).json() == {"meta": {"c": "e"}}
    assert vmember.delete(f"{path}/metadata/c").status_code == 200
    copy = vmember.post("volumes", {"volume": {"snapshot_id": made["id"]}}).json()["volume"]
    assert (copy["snapshot_id"], copy["size"]) == (made["id"], 2)
    assert vmember.delete(path).status_code == 409  # the volume is being made from it
    vmember.delete(f"volumes/{volume_id}")
    assert vmember.post("volumes", {"volume": {"snapshot_id": made["id"], "size": 1}}).status_code == 400


def test_deleting(plane: ControlPlane, vmember: Client, vadmin: Client, volume_id: str) -> None:
    one, two = (make_snapshot(plane, vmember, volume_id)["id"] for _ in range(2))
    assert vmember.delete(f"snapshots/{one}").status_code == 202
    assert vmember.get(f"snapshots/{one}").json()["snapshot"]["status"] == "deleting"
    assert vmember.delete(f"snapshots/{one}").status_code == 400
    assert vmember.post(f"snapshots/{two}/action", {"os-force_delete": None}).status_code == 403
    assert vadmin.post(f"snapshots/{two}/action", {"os-force_delete": None}).status_code == 202


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ({"volume_id": UNKNOWN}, 404),
        ({"volume_id": 5}, 400),
        ({"volume_id": None}, 404),
        ({"name": "x" * 256}, 400),
        ({"name": "a\x00b"}, 400),
        ({"description": "x" * 256}, 400),
        ({"metadata": {"k": 5}}, 400),
        ({"colour": "red"}, 400),
        ({"force": "perhaps"}, 400),
        ({"force": False}, 400),  # since 3.66
    ],
)
def test_what_cannot_be_taken(vmember: Client, volume_id: str, fields: dict[str, Any], status: int) -> None:
    body = fields if not fields or "volume_id" in fields else {"volume_id": volume_id, **fields}
    assert vmember.post("snapshots", {"snapshot": body}).status_code == status
    assert vmember.get("snapshots").json() == {"snapshots": []}


def test_of_volumes_in_use(plane: ControlPlane, vmember: Client, vadmin: Client, volume_id: str) -> None:
    act(vadmin, volume_id, "os-reset_status", {"status": "in-use"})
    body = {"snapshot": {"volume_id": volume_id}}
    assert vmember.at("3.65").post("snapshots", body).status_code == 400
    assert vmember.at("3.65").post("snapshots", {"snapshot": {**body["snapshot"], "force": True}}).status_code == 202
    assert vmember.at("3.66").post("snapshots", body).status_code == 202
    act(vadmin, volume_id, "os-reset_status", {"status": "error"})
    assert vmember.post("snapshots", body).status_code == 400


def test_lists(plane: ControlPlane, vmember: Client, vother: Client, vadmin: Client, volume_id: str) -> None:
    one = make_snapshot(plane, vmember, volume_id, name="one", metadata={"k": "v"})["id"]
    two = make_snapshot(plane, vmember, volume_id, name="two")["id"]

    def ids(client: Client = vmember, **query: Any) -> set[str]:
        answer = client.get("snapshots", **query)
        assert answer.status_code == 200, answer.text
        return {item["id"] for item in answer.json()["snapshots"]}

    assert ids(name="one") == {one}
    assert ids(**{"name~": "tw"}) == {two}
    assert ids(metadata="{'k': 'v'}") == {one}
    assert ids(volume_id=volume_id) == {one, two}
    assert ids(volume_id=UNKNOWN) == set()
    assert ids(status="error") == set()
    assert ids(vother, all_tenants="1") == set()
    assert ids(vadmin, all_tenants="1") == {one, two}
    assert ids(vadmin, all_tenants="1", project_id="x") == set()
    assert ids(sort="name:asc", limit=1) == {one}
    assert ids(sort="name:asc", marker=one) == {two}
    assert vmember.get("snapshots", limit=0).json() == {"snapshots": []}
    page = vmember.get("snapshots", limit=1, with_count="True").json()
    assert (page["count"], page["snapshots_links"][0]["rel"]) == (2, "next")
    assert vmember.get("snapshots", colour="red").status_code == 400


def test_states_by_hand(plane: ControlPlane, vmember: Client, vadmin: Client, volume_id: str) -> None:
    made = vmember.post("snapshots", {"snapshot": {"volume_id": volume_id}}).json()["snapshot"]
    path = f"snapshots/{made['id']}/action"
    report = {"os-update_snapshot_status": {"status": "creating", "progress": "80%"}}
    assert vmember.post(path, report).status_code == 202
    shown = vmember.get(f"snapshots/{made['id']}").json()["snapshot"]
    assert shown["os-extended-snapshot-attributes:progress"] == "80%"
    for bad in ({"status": "deleting"}, {"status": "creating", "progress": "all"}, {"progress": "1%"}, {}):
        assert vmember.post(path, {"os-update_snapshot_status": bad}).status_code == 400
    finish_snapshot(plane, made["id"])
    assert vmember.post(path, {"os-reset_status": {"status": "error"}}).status_code == 403
    assert vadmin.post(path, {"os-reset_status": {"status": "glad"}}).status_code == 400
    assert vadmin.post(path, {"os-reset_status": {"status": "error"}}).status_code == 202
    assert vmember.get(f"snapshots/{made['id']}").json()["snapshot"]["status"] == "error"
