"""Snapshots: create, show, list, change, delete, revert; instances of snapshots."""

from __future__ import annotations

import pytest

from penstock.domain.lifecycle import Event
from penstock.domain.pools import PoolRef
from penstock.services.control_plane import ControlPlane
from tests.api.arranging import act, add_type, calls, finish_share, finish_snapshot, make_share, make_snapshot, message
from tests.api.conftest import PROJECT, USER, Client

DETAIL_2_0 = {
    "id", "share_id", "share_size", "created_at", "status", "name", "description", "size", "share_proto", "links",
}  # fmt: skip


@pytest.fixture
def share(plane: ControlPlane, member: Client, backend: PoolRef) -> str:
    add_type(plane)
    return str(make_share(plane, member)["id"])


def test_create_show_list(plane: ControlPlane, member: Client, other: Client, admin: Client, share: str) -> None:
    body = {"snapshot": {"share_id": share, "name": "monday", "description": "first", "force": False}}
    answer = member.post("snapshots", body)
    assert answer.status_code == 202
    made = answer.json()["snapshot"]
    assert (made["status"], made["size"], made["share_size"], made["share_proto"]) == ("creating", 2, 2, "NFS")
    assert (made["project_id"], made["user_id"]) == (PROJECT, USER)
    assert calls(plane)[-1][1:] == (
        f"share:{share}",
        "create_snapshot",
        {"share_id": share, "snapshot_id": made["id"]},
    )
    finish_snapshot(plane, made["id"])
    path = f"snapshots/{made['id']}"
    assert set(member.at("2.0").get(path).json()["snapshot"]) == DETAIL_2_0
    assert set(member.at("2.72").get(path).json()["snapshot"]) == DETAIL_2_0 | {"project_id", "user_id"}
    assert admin.get(path).json()["snapshot"]["provider_location"] == f"tank@{made['id']}"
    assert other.get(path).status_code == 404
    assert other.get("snapshots").json()["snapshots"] == []
    assert [s["id"] for s in admin.get("snapshots", all_tenants=1).json()["snapshots"]] == [made["id"]]
    assert set(member.get("snapshots").json()["snapshots"][0]) == {"id", "name", "links"}
    for filters in ({"name": "monday"}, {"share_id": share}, {"name~": "mon"}, {"status": "available"}):
        assert len(member.get("snapshots/detail", **filters).json()["snapshots"]) == 1
    for filters in ({"name": "x"}, {"share_id": "x"}, {"description": "x"}, {"status": "error"}, {"offset": "1"}):
        assert member.get("snapshots/detail", **filters).json()["snapshots"] == []
    assert member.get("snapshots/detail", limit=0, offset=1).json()["snapshots"] == []
    assert len(member.get("snapshots/detail", limit=1, offset=0, sort_key="share_id").json()["snapshots"]) == 1


def test_rename(plane: ControlPlane, member: Client, share: str) -> None:
    snapshot = make_snapshot(plane, member, share, name="old")["id"]
    body = {"snapshot": {"display_name": "new", "display_description": "text"}}
    changed = member.put(f"snapshots/{snapshot}", body).json()["snapshot"]
    assert (changed["name"], changed["description"]) == ("new", "text")


def test_delete(plane: ControlPlane, member: Client, admin: Client, share: str) -> None:
    snapshot = make_snapshot(plane, member, share)["id"]
    assert member.delete(f"snapshots/{snapshot}").status_code == 202
    assert member.get(f"snapshots/{snapshot}").json()["snapshot"]["status"] == "deleting"
    assert calls(plane)[-1][2:] == ("delete_snapshot", {"snapshot_id": snapshot, "force": False})
    assert member.delete(f"snapshots/{snapshot}").status_code == 400
    path = f"snapshots/{snapshot}/action"
    assert member.post(path, {"force_delete": None}).status_code == 403
    assert admin.post(path, {"force_delete": None}).status_code == 202
    assert member.delete("snapshots/unknown").status_code == 404


def test_a_snapshot_that_a_share_is_being_made_from_stays(
    plane: ControlPlane, member: Client, admin: Client, share: str
) -> None:
    snapshot = make_snapshot(plane, member, share)["id"]
    wanted = {"share": {"share_proto": "NFS", "snapshot_id": snapshot}}
    clone = member.post("shares", wanted).json()["share"]["id"]
    assert member.delete(f"snapshots/{snapshot}").status_code == 409
    assert admin.post(f"snapshots/{snapshot}/action", {"force_delete": None}).status_code == 409
    finish_share(plane, clone)
    assert member.delete(f"snapshots/{snapshot}").status_code == 202


def test_reset_status(plane: ControlPlane, member: Client, admin: Client, share: str) -> None:
    snapshot = make_snapshot(plane, member, share)["id"]
    path = f"snapshots/{snapshot}/action"
    assert member.post(path, {"reset_status": {"status": "error"}}).status_code == 403
    assert admin.post(path, {"reset_status": {"status": "fake"}}).status_code == 400
    assert admin.post(path, {"reset_status": {"status": "error"}}).status_code == 202
    assert admin.at("2.6").post(path, {"os-reset_status": {"status": "available"}}).status_code == 202
    assert admin.post("snapshots/fake/action", {"reset_status": {"status": "error"}}).status_code == 404


def test_what_cannot_be_snapshotted(plane: ControlPlane, member: Client, other: Client, share: str) -> None:
    def create(share_id: object, **more: object) -> int:
        return int(member.post("snapshots", {"snapshot": {"share_id": share_id, **more}}).status_code)

    act(member, share, "extend", {"new_size": 3})
    assert create(share) == 400
    assert create(share, force=True) == 202
    assert create(share, force="maybe") == 400
    assert create("unknown") == 404
    assert create(7) == 400
    assert other.post("snapshots", {"snapshot": {"share_id": share}}).status_code == 404
    add_type(plane, "plain", snapshot_support="False")
    assert create(make_share(plane, member, share_type="plain")["id"]) == 422


def test_quota(plane: ControlPlane, member: Client, share: str) -> None:
    plane.conf.set_override("snapshots", 1, group="quota")
    make_snapshot(plane, member, share)
    over = member.post("snapshots", {"snapshot": {"share_id": share}})
    assert over.status_code == 413
    assert "snapshots" in message(over)


def test_revert(plane: ControlPlane, member: Client, admin: Client, share: str) -> None:
    first = make_snapshot(plane, member, share)["id"]
    plane.clock.sleep(1)
    second = make_snapshot(plane, member, share)["id"]

    def revert(share_id: str, snapshot_id: str) -> int:
        return int(act(member, share_id, "revert", {"snapshot_id": snapshot_id}).status_code)

    assert revert(share, first) == 409
    assert revert(share, share) == 400
    assert revert(make_share(plane, member)["id"], second) == 400
    admin.post(f"snapshots/{second}/action", {"reset_status": {"status": "error"}})
    assert revert(share, second) == 409
    admin.post(f"snapshots/{second}/action", {"reset_status": {"status": "available"}})
    act(admin, share, "reset_status", {"status": "error"})
    assert revert(share, second) == 409
    act(admin, share, "reset_status", {"status": "available"})
    assert act(member.at("2.26"), share, "revert", {"snapshot_id": second}).status_code == 404
    assert revert(share, second) == 202
    assert calls(plane)[-1][2:] == ("revert_to_snapshot", {"snapshot_id": second})
    assert member.get(f"shares/{share}").json()["share"]["status"] == "reverting"
    assert member.get(f"snapshots/{second}").json()["snapshot"]["status"] == "restoring"
    finish_share(plane, share)
    finish_snapshot(plane, second, Event.DONE)


def test_instances(plane: ControlPlane, member: Client, admin: Client, share: str) -> None:
    snapshot = make_snapshot(plane, member, share)["id"]
    assert member.get("snapshot-instances").status_code == 403
    (item,) = admin.get("snapshot-instances", snapshot_id=snapshot).json()["snapshot_instances"]
    assert set(item) == {"id", "snapshot_id", "status"}
    (detail,) = admin.get("snapshot-instances/detail").json()["snapshot_instances"]
    assert set(detail) == set(item) | {
        "share_id", "share_instance_id", "progress", "provider_location", "created_at", "updated_at",
    }  # fmt: skip
    path = f"snapshot-instances/{item['id']}"
    assert admin.get(path).json()["snapshot_instance"] == detail
    assert admin.post(f"{path}/action", {"reset_status": {"status": "error"}}).status_code == 202
    assert admin.get(f"snapshots/{snapshot}").json()["snapshot"]["status"] == "error"
    assert admin.get("snapshot-instances/unknown").status_code == 404
    assert admin.at("2.18").get("snapshot-instances").status_code == 404


def test_a_snapshot_is_mounted_nowhere(plane: ControlPlane, member: Client, other: Client, share: str) -> None:
    path = f"snapshots/{make_snapshot(plane, member, share)['id']}/export-locations"
    assert member.get(path).json() == {"share_snapshot_export_locations": []}
    assert other.get(path).status_code == member.at("2.31").get(path).status_code == 404
