"""Manage, unmanage, instances and export locations: what administrators see and do."""

from __future__ import annotations

import pytest

from penstock.domain.lifecycle import Event
from penstock.domain.pools import PoolRef
from penstock.services.control_plane import ControlPlane
from tests.api.arranging import act, add_type, calls, finish_share, finish_snapshot, make_share, make_snapshot
from tests.api.conftest import Client


@pytest.fixture
def gold(plane: ControlPlane) -> str:
    return add_type(plane)


def existing(backend: PoolRef, **more: object) -> dict[str, object]:
    return {
        "share": {
            "service_host": str(backend),
            "export_path": "10.0.0.5:/tank/old",
            "protocol": "nfs",
            "share_type": "gold",
            **more,
        }
    }


def test_manage(plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str) -> None:
    assert member.post("shares/manage", existing(backend)).status_code == 403
    answer = admin.post("shares/manage", existing(backend, name="n", driver_options={"size": 1}, is_public=True))
    assert answer.status_code == 200
    share = answer.json()["share"]
    assert (share["status"], share["size"], share["host"]) == ("manage_starting", 0, str(backend))
    assert (share["share_proto"], share["share_type"], share["is_public"]) == ("NFS", gold, True)
    assert calls(plane) == [
        (
            "store1@alpha",
            f"share:{share['id']}",
            "manage_share",
            {"share_id": share["id"], "driver_options": {"size": "1"}},
        )
    ]
    assert admin.post("shares/manage", existing(backend)).status_code == 409
    finish_share(plane, share["id"], Event.FAILED)
    assert admin.delete(f"shares/{share['id']}").status_code == 403
    assert act(admin, share["id"], "unmanage", {}).status_code == 202
    assert calls(plane)[-1][2:] == ("unmanage_share", {"share_id": share["id"]})


def test_manage_in_old_versions(plane: ControlPlane, admin: Client, backend: PoolRef, gold: str) -> None:
    old = admin.at("2.5")
    location = {"id": "x", "path": "10.0.0.5:/tank/old", "preferred": False}
    share = old.post("os-share-manage", existing(backend, is_public=True, export_path=location)).json()["share"]
    assert share["export_locations"] == ["10.0.0.5:/tank/old"]
    assert share["is_public"] is False
    assert share["share_type"] == "gold"
    finish_share(plane, share["id"])
    assert old.post(f"os-share-unmanage/{share['id']}/unmanage").status_code == 202
    assert admin.post("os-share-manage", existing(backend)).status_code == 404


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"service_host": "invalid_host#invalid_pool"}, 404),
        ({"service_host": "store1@alpha"}, 400),
        ({"share_type": "invalid_share_type_id"}, 404),
        ({"export_path": ""}, 422),
        ({"export_path": "a\nb"}, 422),
        ({"driver_options": {"a": []}}, 400),
        ({"unknown": 1}, 400),
    ],
)
def test_bad_manage(
    plane: ControlPlane, admin: Client, backend: PoolRef, gold: str, more: dict[str, object], status: int
) -> None:
    assert admin.post("shares/manage", existing(backend, **more)).status_code == status
    assert calls(plane) == []


def test_a_service_that_is_down(plane: ControlPlane, admin: Client, backend: PoolRef, gold: str) -> None:
    plane.clock.sleep(61)
    assert admin.post("shares/manage", existing(backend)).status_code == 400


def test_unmanage(plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str) -> None:
    share = make_share(plane, member)["id"]
    assert act(member, share, "unmanage", {}).status_code == 403
    snapshot = make_snapshot(plane, member, share)["id"]
    assert act(admin, share, "unmanage", {}).status_code == 403
    path = f"snapshots/{snapshot}/action"
    admin.post(path, {"reset_status": {"status": "deleting"}})
    assert admin.post(path, {"unmanage": {}}).status_code == 403
    admin.post(path, {"reset_status": {"status": "available"}})
    assert admin.post(path, {"unmanage": None}).status_code == 202
    assert calls(plane)[-1][2:] == ("unmanage_snapshot", {"snapshot_id": snapshot})
    for status in ("creating", "deleting", "migrating", "migrating_to"):
        act(admin, share, "reset_status", {"status": status})
        assert act(admin, share, "unmanage", {}).status_code == 403
    assert act(admin, "unknown", "unmanage", {}).status_code == 404


def test_manage_snapshot(plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str) -> None:
    share = make_share(plane, member)["id"]
    body = {"snapshot": {"share_id": share, "provider_location": "tank@x", "name": "n", "driver_options": {"size": 1}}}
    assert member.post("snapshots/manage", body).status_code == 403
    answer = admin.post("snapshots/manage", body)
    assert answer.status_code == 202
    made = answer.json()["snapshot"]
    assert (made["status"], made["provider_location"], made["name"]) == ("manage_starting", "tank@x", "n")
    assert calls(plane)[-1][2:] == (
        "manage_snapshot",
        {"snapshot_id": made["id"], "driver_options": {"size": "1"}},
    )
    assert admin.post("snapshots/manage", body).status_code == 409
    finish_snapshot(plane, made["id"], Event.FAILED)
    assert admin.delete(f"snapshots/{made['id']}").status_code == 400
    unknown = {"snapshot": {"share_id": "unknown", "provider_location": "x"}}
    assert admin.post("snapshots/manage", unknown).status_code == 404
    assert admin.at("2.11").post("snapshots/manage", body).status_code == 404


INSTANCE_2_3 = {
    "id", "share_id", "availability_zone", "created_at", "host", "status", "share_network_id", "share_server_id",
}  # fmt: skip


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("2.3", {"export_location", "export_locations"}),
        ("2.9", set()),
        ("2.10", {"access_rules_status"}),
        ("2.30", {"access_rules_status", "replica_state", "share_type_id", "cast_rules_to_readonly"}),
        ("2.54", {"access_rules_status", "replica_state", "share_type_id", "cast_rules_to_readonly", "progress"}),
    ],
)
def test_instances(
    plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str, version: str, more: set[str]
) -> None:
    share = make_share(plane, member)["id"]
    (item,) = admin.at(version).get(f"shares/{share}/instances").json()["share_instances"]
    assert set(item) == INSTANCE_2_3 | more
    assert admin.at(version).get("share_instances").json()["share_instances"] == [item]
    assert admin.at(version).get(f"share_instances/{item['id']}").json()["share_instance"] == item
    assert member.at(version).get(f"shares/{share}/instances").status_code == 403
    assert member.at(version).get("share_instances").status_code == 403


def test_instance_actions(plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str) -> None:
    share = make_share(plane, member)["id"]
    (item,) = admin.get(f"shares/{share}/instances").json()["share_instances"]
    path = f"share_instances/{item['id']}/action"
    assert member.post(path, {"force_delete": None}).status_code == 403
    assert admin.post(path, {"reset_status": {"status": "fake"}}).status_code == 400
    assert admin.post(path, {"reset_status": {"status": "error_deleting"}}).status_code == 202
    assert admin.post(path, {"force_delete": None}).status_code == 202
    assert calls(plane)[-1][2:] == ("delete_share_instance", {"share_instance_id": item["id"], "force": True})
    assert admin.post("share_instances/fake/action", {"force_delete": None}).status_code == 404


def test_export_locations(plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str) -> None:
    share = make_share(plane, member)["id"]
    path = f"shares/{share}/export_locations"
    (mine,) = member.get(path).json()["export_locations"]
    assert set(mine) == {"id", "path", "preferred"}
    assert set(member.at("2.13").get(path).json()["export_locations"][0]) == {"id", "path"}
    detail = member.get(f"{path}/{mine['id']}").json()["export_location"]
    assert set(detail) == {"id", "path", "preferred", "created_at", "updated_at"}
    assert detail["updated_at"] is not None
    for_admin = admin.get(path).json()["export_locations"]
    assert [location["is_admin_only"] for location in for_admin] == [False, True]
    hidden = for_admin[1]["id"]
    assert member.get(f"{path}/{hidden}").status_code == 404
    instance = for_admin[0]["share_instance_id"]
    assert admin.get(f"share_instances/{instance}/export_locations").json()["export_locations"] == for_admin
    assert admin.get(f"share_instances/{instance}/export_locations/{hidden}").status_code == 200
    assert member.get(f"share_instances/{instance}/export_locations").status_code == 403
    assert member.get("shares/unknown/export_locations").status_code == 404
    assert member.at("2.8").get(path).status_code == 404
    found = admin.get("share_instances", export_location_id=hidden).json()["share_instances"]
    assert [item["id"] for item in found] == [instance]
    assert admin.get("share_instances", export_location_path="x").json()["share_instances"] == []
    assert len(admin.at("2.34").get("share_instances", export_location_path="x").json()["share_instances"]) == 1


def test_replicas_are_listed_and_there_are_none(
    plane: ControlPlane, member: Client, other: Client, backend: PoolRef, gold: str
) -> None:
    share = make_share(plane, member)["id"]
    assert member.get("share-replicas", share_id=share).json() == {"share_replicas": []}
    assert member.get("share-replicas/detail").json() == {"share_replicas": []}
    assert other.get("share-replicas/detail", share_id=share).status_code == 404
    assert member.get("share-replicas/unknown").status_code == 404
    assert member.at("2.55").get("share-replicas").status_code == 404
    assert member.get("share-things/detail").status_code == 404
