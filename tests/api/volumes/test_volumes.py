"""Volumes: what is shown in each version, lists, changes, actions, and who may."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.clock import ManualClock
from penstock.domain.pools import PoolRef
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.services.control_plane import ControlPlane
from tests.api.arranging import calls
from tests.api.conftest import PROJECT, USER, Client
from tests.api.volumes.arranging import act, add_volume_type, finish_volume, make_snapshot, make_volume

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(autouse=True)
def type_id(plane: ControlPlane, vbackend: PoolRef) -> str:
    return add_volume_type(plane)


BASE = {
    "id",
    "name",
    "description",
    "size",
    "status",
    "availability_zone",
    "user_id",
    "snapshot_id",
    "source_volid",
    "multiattach",
    "replication_status",
    "created_at",
    "updated_at",
    "metadata",
    "volume_type",
    "bootable",
    "encrypted",
    "consistencygroup_id",
    "links",
    "attachments",
}
TENANT = {"os-vol-tenant-attr:tenant_id"}
ADMIN = {
    "migration_status",
    "os-vol-host-attr:host",
    "os-vol-mig-status-attr:migstat",
    "os-vol-mig-status-attr:name_id",
}
KEYS = [
    ("3.0", set(), set()),
    ("3.13", {"group_id"}, set()),
    ("3.21", {"group_id"}, {"provider_id"}),
    ("3.48", {"group_id", "shared_targets", "service_uuid"}, {"provider_id"}),
    ("3.61", {"group_id", "shared_targets", "service_uuid"}, {"provider_id", "cluster_name"}),
    ("3.63", {"group_id", "shared_targets", "service_uuid", "volume_type_id"}, {"provider_id", "cluster_name"}),
    (
        "3.71",
        {"group_id", "shared_targets", "service_uuid", "volume_type_id", "consumes_quota"},
        {"provider_id", "cluster_name"},
    ),
]


@pytest.mark.parametrize(("version", "more", "more_for_admins"), KEYS, ids=[key[0] for key in KEYS])
def test_keys_of_each_version(
    plane: ControlPlane, vmember: Client, vadmin: Client, version: str, more: set[str], more_for_admins: set[str]
) -> None:
    made = vmember.at(version).post("volumes", {"volume": {"size": 1}})
    assert set(made.json()["volume"]) == BASE | more
    volume_id = made.json()["volume"]["id"]
    assert set(vmember.at(version).get(f"volumes/{volume_id}").json()["volume"]) == BASE | TENANT | more
    (listed,) = vmember.at(version).get("volumes/detail").json()["volumes"]
    assert listed == vmember.at(version).get(f"volumes/{volume_id}").json()["volume"]
    shown = vadmin.at(version).get(f"volumes/{volume_id}").json()["volume"]
    assert set(shown) == BASE | TENANT | ADMIN | more | more_for_admins
    changed = vmember.at(version).put(f"volumes/{volume_id}", {"volume": {"name": "other"}})
    assert (changed.status_code, set(changed.json()["volume"])) == (200, BASE | more)
    (short,) = vmember.at(version).get("volumes").json()["volumes"]
    assert set(short) == {"id", "name", "links"}


def test_values(plane: ControlPlane, vmember: Client, vadmin: Client, type_id: str) -> None:
    made = make_volume(plane, vmember, size=3, name=" home ", description="of ann", metadata={"a": "b"})
    assert made == {
        "id": made["id"],
        "name": "home",
        "description": "of ann",
        "size": 3,
        "status": "available",
        "availability_zone": "nova",
        "user_id": USER,
        "snapshot_id": None,
        "source_volid": None,
        "multiattach": False,
        "replication_status": None,
        "created_at": made["created_at"],
        "updated_at": made["updated_at"],
        "metadata": {"a": "b"},
        "volume_type": "gold",
        "volume_type_id": type_id,
        "bootable": "false",
        "encrypted": False,
        "consistencygroup_id": None,
        "group_id": None,
        "shared_targets": True,
        "service_uuid": made["service_uuid"],
        "consumes_quota": True,
        "os-vol-tenant-attr:tenant_id": PROJECT,
        "attachments": [],
        "links": [
            {"rel": "self", "href": f"http://testserver/volume/v3/volumes/{made['id']}"},
            {"rel": "bookmark", "href": f"http://testserver/volume/volumes/{made['id']}"},
        ],
    }
    assert vadmin.get(f"volumes/{made['id']}").json()["volume"]["os-vol-host-attr:host"] == "store1@block#tank"
    with_project = vmember.get(f"{PROJECT}/volumes/{made['id']}").json()["volume"]["links"]
    assert with_project[0]["href"] == f"http://testserver/volume/v3/{PROJECT}/volumes/{made['id']}"
    assert with_project[1]["href"] == f"http://testserver/volume/{PROJECT}/volumes/{made['id']}"


def test_creating_asks_the_backend(plane: ControlPlane, vmember: Client) -> None:
    answer = vmember.post("volumes", {"volume": {"size": "1", "volume_type": "gold"}})
    volume_id = answer.json()["volume"]["id"]
    assert answer.json()["volume"]["status"] == "creating"
    (call,) = calls(plane)
    assert call[:3] == ("store1@block", f"volume:{volume_id}", "create_volume")


@pytest.mark.parametrize("size", [0, -1, "0", 1.5, True, "", "#$%", None, [], 2**31, "9" * 40])
def test_sizes_that_cannot_be(vmember: Client, size: object) -> None:
    assert vmember.post("volumes", {"volume": {"size": size}}).status_code == 400
    assert vmember.get("volumes").json()["volumes"] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x" * 256},
        {"name": "a\x00b"},
        {"name": 7},
        {"description": "x" * 256},
        {"metadata": {"": "x"}},
        {"metadata": {"k": "x" * 256}},
        {"metadata": {"k": None}},
        {"metadata": ["k"]},
        {"multiattach": True},
        {"colour": "red"},
        {"availability_zone": "mars"},
        {"snapshot_id": 5},
        {"snapshot_id": UNKNOWN, "source_volid": UNKNOWN},
        {"consistencygroup_id": UNKNOWN},
        {"OS-SCH-HNT:scheduler_hints": {"near": "x"}},
    ],
)
def test_bodies_that_cannot_be(vmember: Client, fields: dict[str, Any]) -> None:
    answer = vmember.post("volumes", {"volume": {"size": 1, **fields}})
    assert answer.status_code in (400, 404), answer.text
    assert vmember.get("volumes").json()["volumes"] == []


def test_what_is_not_there(vmember: Client) -> None:
    for fields in ({"volume_type": "none"}, {"snapshot_id": UNKNOWN}, {"source_volid": UNKNOWN}):
        assert vmember.post("volumes", {"volume": {"size": 1, **fields}}).status_code == 404
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/metadata"), ("POST", "/action")):
        body = {"PUT": {"volume": {"name": "x"}}, "POST": {"os-extend": {"new_size": 9}}}.get(method)
        assert vmember.request(method, f"volumes/{UNKNOWN}{path}", body).status_code == 404, (method, path)


def test_unknown_fields_before_they_were_refused(vmember: Client) -> None:
    body = {"volume": {"size": 1, "user_id": None, "status": "creating", "attach_status": "detached"}}
    assert vmember.at("3.52").post("volumes", body).status_code == 202
    assert vmember.at("3.53").post("volumes", body).status_code == 400
    volume_id = vmember.get("volumes").json()["volumes"][0]["id"]
    assert vmember.at("3.52").put(f"volumes/{volume_id}", {"volume": {"colour": "red"}}).status_code == 200
    assert vmember.at("3.53").put(f"volumes/{volume_id}", {"volume": {}}).status_code == 400


def test_over_quota(vadmin: Client, vmember: Client) -> None:
    vadmin.put(f"os-quota-sets/{PROJECT}", {"quota_set": {"gigabytes": 5}})
    answer = vmember.post("volumes", {"volume": {"size": 6}})
    assert answer.status_code == 413
    assert answer.json()["overLimit"]["code"] == 413


def test_projects_are_isolated(plane: ControlPlane, vmember: Client, vother: Client, vreader: Client) -> None:
    volume_id = make_volume(plane, vmember)["id"]
    snapshot_id = make_snapshot(plane, vmember, volume_id)["id"]
    assert vother.get("volumes").json()["volumes"] == []
    assert vother.get("volumes/detail", all_tenants="1").json()["volumes"] == []
    for path in (f"volumes/{volume_id}", f"snapshots/{snapshot_id}", f"volumes/{volume_id}/metadata"):
        assert vother.get(path).status_code == 404
        assert vreader.get(path).status_code == 200
    assert vother.delete(f"volumes/{volume_id}").status_code == 404
    assert act(vother, volume_id, "os-extend", {"new_size": 9}).status_code == 404
    assert vother.post("volumes", {"volume": {"size": 2, "source_volid": volume_id}}).status_code == 404
    assert vother.post("volumes", {"volume": {"snapshot_id": snapshot_id}}).status_code == 404
    assert vother.post("snapshots", {"snapshot": {"volume_id": volume_id}}).status_code == 404
    assert vreader.post("volumes", {"volume": {"size": 1}}).status_code == 403
    assert vreader.delete(f"volumes/{volume_id}").status_code == 403
    assert act(vmember, volume_id, "os-force_delete").status_code == 403
    assert act(vmember, volume_id, "os-reset_status", {"status": "error"}).status_code == 403
    assert vmember.delete(f"volumes/{volume_id}", force="true").status_code == 403


def test_filters(plane: ControlPlane, vmember: Client, vadmin: Client) -> None:
    one = make_volume(plane, vmember, name="one", metadata={"k": "v"})["id"]
    two = make_volume(plane, vmember, name="two", size=5)["id"]
    act(vmember, two, "os-set_bootable", {"bootable": True})

    def ids(client: Client = vmember, **query: Any) -> set[str]:
        answer = client.get("volumes/detail", **query)
        assert answer.status_code == 200, answer.text
        assert [item["id"] for item in client.get("volumes", **query).json()["volumes"]] == [
            item["id"] for item in answer.json()["volumes"]
        ]
        return {item["id"] for item in answer.json()["volumes"]}

    assert ids(name="one") == {one}
    assert ids(**{"name~": "wo"}) == {two}
    assert ids(metadata="{'k': 'v'}") == {one}
    assert ids(bootable="true") == {two}
    assert ids(bootable="False") == {one}
    assert ids(status="available") == {one, two}
    assert ids(availability_zone="mars") == set()
    assert ids(size="5") == {two}
    assert ids(created_at="gt:2000-01-01T00:00:00") == {one, two}
    assert ids(created_at="lt:2000-01-01T00:00:00") == set()
    assert ids(consumes_quota="false") == set()
    assert ids(vadmin, all_tenants="1", project_id=PROJECT) == {one, two}
    assert ids(vadmin, all_tenants="1", host="store1@block") == {one, two}
    assert ids(vadmin) == set()
    assert vmember.get("volumes", colour="red").status_code == 400
    assert vmember.at("3.30").get("volumes", colour="red").status_code == 200
    assert vmember.get("volumes", bootable="perhaps").status_code == 400
    assert vmember.get("volumes", created_at="gt:yesterday").status_code == 400
    assert vmember.get("volumes", all_tenants="perhaps").status_code == 400
    assert vmember.get("volumes", name="a\x00b").status_code == 400


def test_pages(plane: ControlPlane, vmember: Client) -> None:
    ids = {name: make_volume(plane, vmember, name=name)["id"] for name in ("c", "a", "b")}

    def names(**query: Any) -> list[str]:
        answer = vmember.get("volumes", **query)
        assert answer.status_code == 200, answer.text
        return [item["name"] for item in answer.json()["volumes"]]

    assert names(sort="name:asc") == ["a", "b", "c"]
    assert names(sort_key="name", sort_dir="desc") == ["c", "b", "a"]
    assert names(sort="name:asc", marker=ids["a"], limit=1) == ["b"]
    assert names(sort="size:asc,name:desc") == ["c", "b", "a"]
    assert names(sort="name:asc", offset=2) == ["c"]
    first = vmember.get("volumes/detail", sort="name:asc", limit=2).json()
    (link,) = first["volumes_links"]
    assert link["rel"] == "next"
    following = vmember.http.get(link["href"], headers={"X-Auth-Token": "member"}).json()
    assert [item["name"] for item in following["volumes"]] == ["c"]
    assert "volumes_links" not in following
    assert vmember.get("volumes", limit=0).json() == {"volumes": []}
    assert vmember.get("volumes/detail", limit=0).json() == {"volumes": []}
    assert "volumes_links" not in vmember.get("volumes", limit=4).json()
    assert vmember.get("volumes", with_count="true", limit=1).json()["count"] == 3
    assert "count" not in vmember.at("3.44").get("volumes", with_count="true").json()
    assert vmember.get("volumes", marker=UNKNOWN).status_code == 404
    for bad in ({"limit": "-1"}, {"limit": "a"}, {"sort_key": "colour"}, {"sort": "name:up"}):
        assert vmember.get("volumes", **bad).status_code == 400


def test_summary(plane: ControlPlane, vmember: Client, vother: Client) -> None:
    make_volume(plane, vmember, size=2, metadata={"k": "v"})
    make_volume(plane, vmember, size=3, metadata={"k": "w"})
    assert vmember.get("volumes/summary").json() == {
        "volume-summary": {"total_count": 2, "total_size": 5, "metadata": {"k": ["v", "w"]}}
    }
    assert vmember.at("3.35").get("volumes/summary").json() == {"volume-summary": {"total_count": 2, "total_size": 5}}
    assert vmember.at("3.11").get("volumes/summary").status_code == 404
    assert vother.get("volumes/summary").json()["volume-summary"]["total_count"] == 0


def test_metadata(plane: ControlPlane, vmember: Client) -> None:
    path = f"volumes/{make_volume(plane, vmember, metadata={'a': '1'})['id']}/metadata"
    assert vmember.get(path).json() == {"metadata": {"a": "1"}}
    assert vmember.post(path, {"metadata": {"b": "2"}}).json() == {"metadata": {"a": "1", "b": "2"}}
    assert vmember.put(f"{path}/b", {"meta": {"b": "3"}}).json() == {"meta": {"b": "3"}}
    assert vmember.get(f"{path}/b").json() == {"meta": {"b": "3"}}
    assert vmember.get(f"{path}/c").status_code == 404
    assert vmember.put(path, {"metadata": {"d": "4"}}).json() == {"metadata": {"d": "4"}}
    assert vmember.delete(f"{path}/d").status_code == 200
    assert vmember.delete(f"{path}/d").status_code == 404
    for bad in ({}, {"metadata": None}, {"metadata": {"": "x"}}, {"metadata": {"k": "x" * 256}}, {"meta": {}}):
        assert vmember.post(path, bad).status_code == 400
    assert vmember.put(f"{path}/b", {"meta": {"c": "3"}}).status_code == 400
    assert vmember.get(path).json() == {"metadata": {}}


def test_lost_updates_of_metadata_are_prevented(plane: ControlPlane, vmember: Client) -> None:
    path = f"volumes/{make_volume(plane, vmember)['id']}/metadata"
    seen = vmember.get(path).headers["etag"]
    assert "etag" not in vmember.at("3.14").get(path).headers
    vmember.post(path, {"metadata": {"a": "1"}})
    late = vmember.at("3.71", **{"If-Match": seen}).put(path, {"metadata": {"b": "2"}})
    assert late.status_code == 412
    assert vmember.get(path).json() == {"metadata": {"a": "1"}}
    now = vmember.get(path).headers["etag"]
    assert vmember.at("3.71", **{"If-Match": now}).put(path, {"metadata": {"b": "2"}}).status_code == 200


def test_deleting(plane: ControlPlane, vmember: Client, vadmin: Client) -> None:
    volume_id = make_volume(plane, vmember)["id"]
    make_snapshot(plane, vmember, volume_id)
    assert vmember.delete(f"volumes/{volume_id}").status_code == 400
    assert vmember.delete(f"volumes/{volume_id}", cascade="perhaps").status_code == 400
    assert vmember.delete(f"volumes/{volume_id}", cascade="True").status_code == 202
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "deleting"
    assert calls(plane)[-1][2] == "delete_volume"
    assert act(vadmin, make_volume(plane, vmember)["id"], "os-force_delete").status_code == 202


def test_extending(plane: ControlPlane, vmember: Client) -> None:
    volume_id = make_volume(plane, vmember)["id"]
    for size in (0, -1, "x", None, 1.5, 2, 2**31):
        assert act(vmember, volume_id, "os-extend", {"new_size": size}).status_code == 400
    assert act(vmember, volume_id, "os-extend", {}).status_code == 400
    assert act(vmember, volume_id, "os-extend", {"new_size": 2000}).status_code == 413
    assert act(vmember, volume_id, "os-extend", {"new_size": "4"}).status_code == 202
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "extending"
    finish_volume(plane, volume_id, size_gib=4, size_target_gib=None)
    assert act(vmember, volume_id, "os-extend", {"new_size": 4}).status_code == 400


def test_what_is_being_copied_is_not_extended(plane: ControlPlane, vmember: Client) -> None:
    volume_id = make_volume(plane, vmember)["id"]
    copy = vmember.post("volumes", {"volume": {"source_volid": volume_id}}).json()["volume"]["id"]
    refused = act(vmember, volume_id, "os-extend", {"new_size": 4})
    assert (refused.status_code, "being made from" in refused.text) == (409, True)
    finish_volume(plane, copy)
    assert act(vmember, volume_id, "os-extend", {"new_size": 4}).status_code == 202


def test_flags(plane: ControlPlane, vmember: Client) -> None:
    volume_id = make_volume(plane, vmember)["id"]
    assert act(vmember, volume_id, "os-set_bootable", {"bootable": "True"}).status_code == 200
    assert act(vmember, volume_id, "os-update_readonly_flag", {"readonly": True}).status_code == 202
    shown = vmember.get(f"volumes/{volume_id}").json()["volume"]
    assert (shown["bootable"], shown["metadata"]) == ("true", {"readonly": "True"})
    assert vmember.get(f"volumes/{volume_id}/metadata").json() == {"metadata": {}}
    assert act(vmember, volume_id, "os-set_bootable", {"bootable": "perhaps"}).status_code == 400
    assert act(vmember, volume_id, "os-set_bootable", {}).status_code == 400
    assert act(vmember, volume_id, "os-update_readonly_flag", {"readonly": None}).status_code == 400
    assert act(vmember, volume_id, "os-reserve").status_code == 202
    assert act(vmember, volume_id, "os-update_readonly_flag", {"readonly": False}).status_code == 400
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["metadata"]["readonly"] == "True"
    assert act(vmember, volume_id, "dance", {}).status_code == 400
    assert vmember.post(f"volumes/{volume_id}/action", {}).status_code == 400


def test_image_metadata(plane: ControlPlane, vmember: Client, vadmin: Client) -> None:
    volume_id = make_volume(plane, vmember)["id"]
    body = {"metadata": {"image_id": UNKNOWN, "os": "linux"}}
    assert act(vmember, volume_id, "os-set_image_metadata", body).json() == body
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["volume_image_metadata"] == body["metadata"]
    by_image = {"glance_metadata": "{'os': 'linux'}", "all_tenants": "1"}
    assert vadmin.get("volumes/detail", **by_image).json()["volumes"]
    assert vmember.at("3.30").get("volumes/detail", **by_image).json()["volumes"]
    assert act(vmember, volume_id, "os-unset_image_metadata", {"key": "os"}).status_code == 200
    assert act(vmember, volume_id, "os-unset_image_metadata", {"key": "os"}).status_code == 404
    assert act(vmember, volume_id, "os-show_image_metadata").json() == {"metadata": {"image_id": UNKNOWN}}


def test_reverting(plane: ControlPlane, clock: ManualClock, vmember: Client) -> None:
    volume_id = make_volume(plane, vmember)["id"]
    first = make_snapshot(plane, vmember, volume_id)["id"]
    clock.advance(1)
    last = make_snapshot(plane, vmember, volume_id)["id"]
    assert act(vmember.at("3.39"), volume_id, "revert", {"snapshot_id": last}).status_code == 404
    assert act(vmember, volume_id, "revert", {"snapshot_id": UNKNOWN}).status_code == 404
    assert act(vmember, volume_id, "revert", {"snapshot_id": first}).status_code == 400
    assert act(vmember, volume_id, "revert", {"snapshot_id": last}).status_code == 202
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "reverting"


def test_resetting(plane: ControlPlane, vmember: Client, vadmin: Client) -> None:
    volume_id = make_volume(plane, vmember)["id"]
    assert act(vadmin, volume_id, "os-reset_status", {"status": "error"}).status_code == 202
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "error"
    for bad in ({}, {"status": "happy"}, {"attach_status": "glued"}, {"migration_status": "gone"}, {"colour": "x"}):
        assert act(vadmin, volume_id, "os-reset_status", bad).status_code == 400
    states = {"status": "Available", "attach_status": "detached", "migration_status": "none"}
    assert act(vadmin, volume_id, "os-reset_status", states).status_code == 202
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "available"


def test_the_reason_is_told(plane: ControlPlane, vmember: Client, vother: Client, vadmin: Client) -> None:
    vadmin.put(f"os-quota-sets/{PROJECT}", {"quota_set": {"gigabytes": -1}})
    made = vmember.post("volumes", {"volume": {"size": 500_000}}).json()["volume"]
    assert vmember.get(f"volumes/{made['id']}").json()["volume"]["status"] == "error"
    (found,) = vmember.get("messages").json()["messages"]
    assert found == {
        "id": found["id"],
        "event_id": "VOLUME_VOLUME_001_003",
        "user_message": found["user_message"],
        "message_level": "ERROR",
        "created_at": found["created_at"],
        "guaranteed_until": found["guaranteed_until"],
        "request_id": found["request_id"],
        "resource_type": "VOLUME",
        "resource_uuid": made["id"],
        "links": found["links"],
    }
    assert vother.get("messages").json() == {"messages": []}
    assert vmember.get("messages", resource_uuid=UNKNOWN).json() == {"messages": []}
    assert vmember.get("messages", event_id="VOLUME_VOLUME_001_003").json()["messages"] == [found]
    assert vmember.at("3.2").get("messages").status_code == 404
    assert vother.get(f"messages/{found['id']}").status_code == 404
    assert vmember.http.get(f"/v2/messages/{found['id']}", headers={"X-Auth-Token": "member"}).status_code == 404
    assert vmember.delete(f"messages/{found['id']}").status_code == 204
    assert vmember.get(f"messages/{found['id']}").status_code == 404


def test_encryption(plane: ControlPlane, vmember: Client) -> None:
    volume_id = make_volume(plane, vmember)["id"]
    assert vmember.get(f"volumes/{volume_id}/encryption").json() == {"encryption_key_id": None}
    assert vmember.get(f"volumes/{volume_id}/encryption/cipher").status_code == 404


def test_hosts_count_what_is_on_them(plane: ControlPlane, vmember: Client, vadmin: Client) -> None:
    make_snapshot(plane, vmember, make_volume(plane, vmember, size=3)["id"])
    total, mine = (line["resource"] for line in vadmin.get("os-hosts/store1@block").json()["host"])
    assert (total["volume_count"], total["total_volume_gb"], total["snapshot_count"]) == ("1", "3", "1")
    assert mine == {**total, "project": PROJECT}


def test_types_in_use_stay(plane: ControlPlane, vmember: Client, vadmin: Client, type_id: str) -> None:
    plane.conf.set_override("default_volume_type", None)
    make_volume(plane, vmember, volume_type="gold")
    assert vadmin.delete(f"types/{type_id}").status_code == 400
    assert vmember.post("volumes", {"volume": {"size": 1}}).status_code == 400  # none is named, and there is no default


def test_failures_end_in_error(plane: ControlPlane, vmember: Client) -> None:
    made = vmember.post("volumes", {"volume": {"size": 1}}).json()["volume"]
    finish_volume(plane, made["id"], VolumeEvent.FAILED)
    assert vmember.get(f"volumes/{made['id']}").json()["volume"]["status"] == "error"
    assert vmember.delete(f"volumes/{made['id']}").status_code == 202
