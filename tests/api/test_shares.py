"""Shares: create, show, list, change, delete; what each version shows."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.domain.lifecycle import Event
from penstock.domain.pools import PoolRef
from penstock.services.control_plane import ControlPlane
from penstock.store import shares, snapshots
from tests.api.arranging import act, add_type, calls, finish_share, make_share, make_snapshot, message, methods
from tests.api.conftest import ADMIN_PROJECT, PROJECT, USER, Client

DETAIL_2_0 = {
    "id", "size", "availability_zone", "created_at", "status", "name", "description", "project_id", "snapshot_id",
    "share_network_id", "share_proto", "metadata", "share_type", "volume_type", "links", "is_public",
    "export_location", "export_locations",
}  # fmt: skip


@pytest.fixture
def gold(plane: ControlPlane) -> str:
    return add_type(plane)


def test_create_is_accepted_placed_and_enqueued(
    plane: ControlPlane, member: Client, backend: PoolRef, gold: str
) -> None:
    answer = member.post(
        "shares",
        {"share": {"share_proto": "nfs", "size": "3", "name": "home", "share_type": gold, "metadata": {"a": "b"}}},
    )
    assert answer.status_code == 200
    share = answer.json()["share"]
    assert share["status"] == "creating"
    assert (share["size"], share["share_proto"], share["name"]) == (3, "NFS", "home")
    assert (share["project_id"], share["user_id"]) == (PROJECT, USER)
    assert (share["share_type"], share["share_type_name"]) == (gold, "gold")
    assert share["metadata"] == {"a": "b"}
    assert share["snapshot_support"] is True
    assert share["mount_snapshot_support"] is False
    with plane.database.read() as tx:
        stored = shares.get(tx, share["id"])
    assert stored is not None
    assert stored.instance.host == str(backend)
    assert calls(plane) == [
        (
            "store1@alpha",
            f"share:{share['id']}",
            "create_share_instance",
            {"share_instance_id": stored.instance.id, "snapshot_id": None, "asked": {}},
        )
    ]


def test_a_share_no_pool_can_take_is_in_error_with_a_message(
    plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str
) -> None:
    answer = member.post("shares", {"share": {"share_proto": "NFS", "size": 500, "share_type": gold}})
    assert answer.status_code == 200
    share = answer.json()["share"]
    assert share["status"] == "error"
    assert methods(plane) == []
    told = member.get("messages", resource_id=share["id"]).json()["messages"]
    assert told[0]["action_id"] == "001"
    assert told[0]["user_message"].startswith("No storage could be allocated for this share request")
    assert "100 GiB in all" in told[0]["user_message"]
    assert member.delete(f"shares/{share['id']}").status_code == 202
    assert member.get(f"shares/{share['id']}").status_code == 404
    assert methods(plane) == []


def test_the_default_type_is_used(plane: ControlPlane, member: Client, backend: PoolRef, gold: str) -> None:
    refused = member.post("shares", {"share": {"share_proto": "NFS", "size": 1}})
    assert refused.status_code == 400
    plane.conf.set_override("default_share_type", "gold")
    assert member.post("shares", {"share": {"share_proto": "NFS", "size": 1}}).json()["share"]["share_type"] == gold


def test_from_a_snapshot_it_goes_to_the_same_pool_with_the_same_type(
    plane: ControlPlane, member: Client, backend: PoolRef, gold: str
) -> None:
    parent = make_share(plane, member)
    snapshot = make_snapshot(plane, member, parent["id"])
    answer = member.post("shares", {"share": {"share_proto": "NFS", "snapshot_id": snapshot["id"]}})
    share = answer.json()["share"]
    assert (share["size"], share["share_type"], share["snapshot_id"]) == (2, gold, snapshot["id"])
    _, key, method, arguments = calls(plane)[-1]
    assert (key, method) == (f"share:{share['id']}", "create_share_instance")
    assert arguments["snapshot_id"] == snapshot["id"]
    smaller = member.post("shares", {"share": {"share_proto": "NFS", "snapshot_id": snapshot["id"], "size": 1}})
    assert smaller.status_code == 400


@pytest.mark.parametrize(
    ("version", "more", "less"),
    [
        ("2.0", set(), set()),
        ("2.2", {"snapshot_support"}, set()),
        ("2.4", {"snapshot_support", "consistency_group_id", "source_cgsnapshot_member_id"}, set()),
        ("2.5", {"snapshot_support", "task_state", "consistency_group_id", "source_cgsnapshot_member_id"}, set()),
        (
            "2.9",
            {
                "snapshot_support", "task_state", "share_type_name",
                "consistency_group_id", "source_cgsnapshot_member_id",
            },
            {"export_location", "export_locations"},
        ),
        (
            "2.68",
            {
                "snapshot_support", "task_state", "share_type_name", "access_rules_status", "replication_type",
                "has_replicas", "user_id", "create_share_from_snapshot_support", "revert_to_snapshot_support",
                "share_group_id", "source_share_group_snapshot_member_id", "mount_snapshot_support", "progress",
            },
            {"export_location", "export_locations"},
        ),
        (
            "2.73",
            {
                "snapshot_support", "task_state", "share_type_name", "access_rules_status", "replication_type",
                "has_replicas", "user_id", "create_share_from_snapshot_support", "revert_to_snapshot_support",
                "share_group_id", "source_share_group_snapshot_member_id", "mount_snapshot_support", "progress",
                "is_soft_deleted", "scheduled_to_be_deleted_at",
            },
            {"export_location", "export_locations"},
        ),
    ],
)  # fmt: skip
def test_fields_by_version(
    plane: ControlPlane,
    member: Client,
    admin: Client,
    backend: PoolRef,
    gold: str,
    version: str,
    more: set[str],
    less: set[str],
) -> None:
    share = make_share(plane, member)
    expected = (DETAIL_2_0 | more) - less
    shown = member.at(version).get(f"shares/{share['id']}").json()["share"]
    assert set(shown) == expected
    listed = member.at(version).get("shares/detail").json()["shares"]
    assert listed == [shown]
    as_admin = admin.at(version).get(f"shares/{share['id']}").json()["share"]
    assert set(as_admin) == expected | {"host", "share_server_id"}
    assert as_admin["host"] == str(backend)


def test_old_versions_show_paths_and_the_name_of_the_type(
    plane: ControlPlane, member: Client, backend: PoolRef, gold: str
) -> None:
    share = make_share(plane, member)
    shown = member.at("2.0").get(f"shares/{share['id']}").json()["share"]
    assert shown["export_location"] == f"10.0.0.5:/tank/{share['id']}"
    assert shown["export_locations"] == [shown["export_location"]]
    assert (shown["share_type"], shown["volume_type"]) == ("gold", "gold")
    assert shown["created_at"] == "2026-01-01T00:00:00.000000"
    assert shown["links"][0]["href"] == f"http://testserver/v2/shares/{share['id']}"
    assert shown["links"][1]["href"] == f"http://testserver/shares/{share['id']}"


def test_projects_are_isolated(
    plane: ControlPlane, member: Client, other: Client, admin: Client, backend: PoolRef, gold: str
) -> None:
    private = make_share(plane, member)["id"]
    assert other.get(f"shares/{private}").status_code == 404
    assert other.delete(f"shares/{private}").status_code == 404
    assert act(other, private, "extend", {"new_size": 9}).status_code == 404
    assert other.get(f"shares/{private}/metadata").status_code == 404
    assert other.get(f"shares/{private}/export_locations").status_code == 403  # as published
    assert other.get("shares/detail", all_tenants=1).json()["shares"] == []
    assert admin.get(f"shares/{private}").status_code == 200
    assert admin.get("shares").json()["shares"] == []
    assert [s["id"] for s in admin.get("shares", all_tenants=1).json()["shares"]] == [private]
    assert [s["id"] for s in admin.get("shares", all_tenants=1, project_id=PROJECT).json()["shares"]] == [private]
    assert admin.get("shares", all_tenants=1, project_id=ADMIN_PROJECT).json()["shares"] == []


def test_public_shares_can_be_read_but_not_changed(
    plane: ControlPlane, member: Client, other: Client, admin: Client, backend: PoolRef, gold: str
) -> None:
    public = make_share(plane, admin, is_public=True)["id"]
    assert member.put(f"shares/{public}", {"share": {"display_name": "x"}}).status_code == 403
    assert other.get(f"shares/{public}").json()["share"]["is_public"] is True
    assert other.get("shares").json()["shares"] == []
    assert [s["id"] for s in other.get("shares", is_public=True).json()["shares"]] == [public]
    assert other.delete(f"shares/{public}").status_code == 403
    assert act(other, public, "allow_access", {"access_type": "ip", "access_to": "1.2.3.4"}).status_code == 403
    refused = member.post("shares", {"share": {"share_proto": "NFS", "size": 1, "is_public": True}})
    assert refused.status_code == 403


def test_readers_only_read(plane: ControlPlane, member: Client, reader: Client, backend: PoolRef, gold: str) -> None:
    share = make_share(plane, member)["id"]
    assert reader.get(f"shares/{share}").status_code == 200
    assert reader.post("shares", {"share": {"share_proto": "NFS", "size": 1}}).status_code == 403
    assert reader.delete(f"shares/{share}").status_code == 403
    assert reader.put(f"shares/{share}", {"share": {"display_name": "x"}}).status_code == 403


def test_filters(plane: ControlPlane, member: Client, backend: PoolRef, gold: str) -> None:
    one = make_share(plane, member, name="one", description="first share", metadata={"k": "v", "l": "w"})
    two = make_share(plane, member, name="two")

    def ids(**params: str) -> list[str]:
        return [share["id"] for share in member.get("shares", **params).json()["shares"]]

    assert ids(name="one") == [one["id"]]
    assert ids(**{"name~": "tw"}) == [two["id"]]
    assert ids(**{"description~": "first"}) == [one["id"]]
    assert ids(metadata="{'k': 'v'}") == [one["id"]]
    assert ids(metadata='{"k": "other"}') == []
    assert ids(status="available", sort_key="name", sort_dir="asc") == [one["id"], two["id"]]
    assert ids(status="fake") == []
    assert ids(share_type_id=gold, sort_key="name", sort_dir="desc") == [two["id"], one["id"]]
    assert ids(export_location_path=f"10.0.0.5:/tank/{one['id']}") == [one["id"]]
    assert ids(export_location_id="nonsense") == []
    assert len(member.at("2.34").get("shares", export_location_id="x").json()["shares"]) == 2
    assert len(member.at("2.35").get("shares", **{"name~": "x"}).json()["shares"]) == 2
    assert member.get("shares", host="h").status_code == 403
    assert member.get("shares", share_server_id="h").status_code == 403
    assert member.get("shares", extra_specs="{'a': 'b'}").status_code == 403


def test_pages_and_counts(plane: ControlPlane, member: Client, backend: PoolRef, gold: str) -> None:
    made = [make_share(plane, member, name=f"s{number}")["id"] for number in range(3)]
    body = member.get("shares", limit=2, sort_key="name", sort_dir="asc", with_count="true").json()
    assert [share["id"] for share in body["shares"]] == made[:2]
    assert body["count"] == 3
    assert body["shares_links"][0]["rel"] == "next"
    assert "offset=2" in body["shares_links"][0]["href"]
    rest = member.get("shares/detail", limit=2, offset=2, sort_key="name", sort_dir="asc").json()
    assert [share["id"] for share in rest["shares"]] == made[2:]
    assert "count" not in member.at("2.41").get("shares", with_count="true").json()


def test_rename(plane: ControlPlane, member: Client, backend: PoolRef, gold: str) -> None:
    share = make_share(plane, member, name="old")["id"]
    body = {"share": {"display_name": "new", "display_description": "text"}}
    changed = member.put(f"shares/{share}", body).json()["share"]
    assert (changed["name"], changed["description"]) == ("new", "text")
    assert member.put(f"shares/{share}", {"share": {"is_public": True}}).status_code == 403


def test_delete(plane: ControlPlane, member: Client, backend: PoolRef, gold: str) -> None:
    share = make_share(plane, member)["id"]
    snapshot = make_snapshot(plane, member, share)["id"]
    assert member.delete(f"shares/{share}").status_code == 403
    member.delete(f"snapshots/{snapshot}")
    with plane.database.begin() as tx:
        snapshots.delete_snapshot(tx, snapshot)
    assert member.delete(f"shares/{share}").status_code == 202
    assert member.get(f"shares/{share}").json()["share"]["status"] == "deleting"
    assert calls(plane)[-1][2] == "delete_share_instance"
    assert calls(plane)[-1][3]["force"] is False
    again = member.delete(f"shares/{share}")
    assert again.status_code == 403
    assert "deleting" in message(again)


def test_force_delete_is_for_administrators(
    plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str
) -> None:
    share = make_share(plane, member)["id"]
    member.delete(f"shares/{share}")
    assert act(member, share, "force_delete").status_code == 403
    assert act(admin.at("2.6"), share, "os-force_delete").status_code == 202
    assert calls(plane)[-1][3]["force"] is True


def test_extend_and_shrink(plane: ControlPlane, member: Client, backend: PoolRef, gold: str) -> None:
    share = make_share(plane, member)["id"]
    assert act(member, share, "extend", {"new_size": 5}).status_code == 202
    assert member.get(f"shares/{share}").json()["share"]["status"] == "extending"
    assert calls(plane)[-1][2:] == ("extend_share", {"share_id": share, "new_size": 5})
    assert act(member, share, "extend", {"new_size": 6}).status_code == 400
    finish_share(plane, share, size_gib=5, size_target_gib=None)
    assert act(member, share, "shrink", {"new_size": 1}).status_code == 202
    assert calls(plane)[-1][2:] == ("shrink_share", {"share_id": share, "new_size": 1})
    finish_share(plane, share, Event.REFUSED, size_target_gib=None)
    shown = member.get(f"shares/{share}").json()["share"]
    assert (shown["status"], shown["size"]) == ("available", 5)


def test_extend_without_room_changes_nothing_and_tells(
    plane: ControlPlane, member: Client, backend: PoolRef, gold: str
) -> None:
    share = make_share(plane, member)["id"]
    assert act(member, share, "extend", {"new_size": 900}).status_code == 202
    shown = member.get(f"shares/{share}").json()["share"]
    assert (shown["status"], shown["size"]) == ("available", 2)
    assert methods(plane) == ["create_share_instance"]
    (told,) = member.get("messages", resource_id=share).json()["messages"]
    assert told["action_id"] == "008"


def test_extend_over_quota_is_forbidden_and_create_over_quota_is_413(
    plane: ControlPlane, member: Client, backend: PoolRef, gold: str
) -> None:
    share = make_share(plane, member)["id"]
    assert act(member, share, "extend", {"new_size": 1001}).status_code == 403
    over = member.post("shares", {"share": {"share_proto": "NFS", "size": 1000, "share_type": gold}})
    assert over.status_code == 413
    assert "gigabytes" in message(over)


def test_force_extend_is_for_administrators(
    plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str
) -> None:
    share = make_share(plane, member)["id"]
    assert act(member, share, "extend", {"new_size": 900, "force": True}).status_code == 403
    assert act(admin, share, "extend", {"new_size": 900, "force": "true"}).status_code == 202
    assert methods(plane)[-1] == "extend_share"


def test_limits_of_the_type(plane: ControlPlane, member: Client, backend: PoolRef) -> None:
    add_type(plane, "small", provisioning__min_share_size="2", provisioning__max_share_size="5")

    def create(size: int) -> int:
        body = {"share": {"share_proto": "NFS", "size": size, "share_type": "small"}}
        return int(member.post("shares", body).status_code)

    assert [create(size) for size in (1, 2, 5, 6)] == [400, 200, 200, 400]


def test_private_types_do_not_exist_for_others(plane: ControlPlane, member: Client, backend: PoolRef) -> None:
    add_type(plane, "secret", is_public=False)
    body = {"share": {"share_proto": "NFS", "size": 1, "share_type": "secret"}}
    assert member.post("shares", body).status_code == 404


def test_hints_are_kept_on_both_sides(plane: ControlPlane, member: Client, backend: PoolRef, gold: str) -> None:
    first = make_share(plane, member)["id"]
    second = make_share(plane, member, scheduler_hints={"same_host": first})
    assert second["metadata"] == {"__affinity_same_host": first}
    assert member.get(f"shares/{first}/metadata").json()["metadata"] == {"__affinity_same_host": second["id"]}
    apart = {
        "share": {"share_proto": "NFS", "size": 1, "share_type": gold, "scheduler_hints": {"different_host": first}}
    }
    assert member.post("shares", apart).json()["share"]["status"] == "error"
    unknown = {"share": {"share_proto": "NFS", "size": 1, "share_type": gold, "scheduler_hints": {"same_host": "x"}}}
    assert member.post("shares", unknown).status_code == 404
    member.delete(f"shares/{second['id']}")
    assert "__affinity_same_host" not in member.get(f"shares/{first}/metadata").json()["metadata"]


def test_reset_status(plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str) -> None:
    share = make_share(plane, member)["id"]
    assert act(member, share, "reset_status", {"status": "error"}).status_code == 403
    assert act(admin, share, "reset_status", {"status": "fake"}).status_code == 400
    assert act(admin, share, "reset_status", {"status": "error"}).status_code == 202
    assert act(admin.at("2.6"), share, "os-reset_status", {"status": "available"}).status_code == 202
    assert act(admin.at("2.6"), share, "reset_status", {"status": "available"}).status_code == 404
    assert act(admin, "fake", "reset_status", {"status": "error"}).status_code == 404


def test_reset_task_state_is_experimental(
    plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str
) -> None:
    share = make_share(plane, member)["id"]
    body = {"task_state": "migration_error"}
    assert act(admin, share, "reset_task_state", body).status_code == 404
    daring = admin.at("2.22", **{"X-OpenStack-Manila-API-Experimental": "true"})
    assert act(daring, share, "reset_task_state", body).status_code == 202
    assert admin.get(f"shares/{share}").json()["share"]["task_state"] == "migration_error"
    assert act(daring, share, "reset_task_state", {"task_state": None}).status_code == 202
    assert act(daring, share, "reset_task_state", {"task_state": "fake_state"}).status_code == 400


def test_metadata(plane: ControlPlane, member: Client, backend: PoolRef, gold: str) -> None:
    share = make_share(plane, member, metadata={"a": "1"})["id"]
    path = f"shares/{share}/metadata"
    assert member.post(path, {"metadata": {"b.c": "2"}}).json() == {"metadata": {"a": "1", "b.c": "2"}}
    assert member.get(f"{path}/b.c").json() == {"meta": {"b.c": "2"}}
    assert member.put(path, {"metadata": {"d": "3"}}).json() == {"metadata": {"d": "3"}}
    assert member.put(f"{path}/d", {"metadata": {"d": "4"}}).json() == {"metadata": {"d": "4"}}
    assert member.put(f"{path}/d", {"metadata": {"e": "4"}}).status_code == 400
    assert member.delete(f"{path}/d").status_code == 200
    assert member.delete(f"{path}/d").status_code == 404
    assert member.post(path, {"metadata": {"__affinity_same_host": "x"}}).status_code == 403
    for bad in ({"": "v"}, {"k" * 256: "v"}, {"k": "v" * 1024}, {"k": 1}):
        assert member.post(path, {"metadata": bad}).status_code == 400
        assert member.put(path, {"metadata": bad}).status_code == 400
    assert member.post(path, {"metadata": {"k" * 255: "v" * 1023}}).status_code == 200


def test_the_hint_only_host_is_for_administrators(
    plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str
) -> None:
    def create(client: Client, pool: str) -> Any:
        fields = {"share_proto": "NFS", "size": 1, "share_type": gold, "scheduler_hints": {"only_host": pool}}
        return client.post("shares", {"share": fields})

    assert create(admin, str(backend)).json()["share"]["host"] == str(backend)
    elsewhere = create(admin, "store1@alpha#other").json()["share"]
    assert (elsewhere["status"], elsewhere["host"]) == ("error", None)
    assert create(admin.at("2.66"), "store1@alpha#other").json()["share"]["host"] == str(backend)
    assert create(member, str(backend)).status_code == 403
    assert create(member.at("2.66"), str(backend)).status_code == 200


def test_metadata_keys_of_administrators_are_configured(
    plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str
) -> None:
    plane.conf.set_override("admin_only_metadata", ["tier"])
    pairs = f"shares/{make_share(plane, member)['id']}/metadata"
    assert admin.post(pairs, {"metadata": {"tier": "1"}}).status_code == 200
    assert member.post(pairs, {"metadata": {"tier": "2"}}).status_code == 403
    assert member.delete(f"{pairs}/tier").status_code == 403
    assert member.put(pairs, {"metadata": {"a": "b"}}).json() == {"metadata": {"a": "b", "tier": "1"}}
    body = {"share": {"share_proto": "NFS", "size": 1, "share_type": gold, "metadata": {"tier": "3"}}}
    assert member.post("shares", body).status_code == 403


def test_instances_say_when_they_changed(
    plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str
) -> None:
    make_share(plane, member)
    (shown,) = admin.at("2.71").get("share_instances").json()["share_instances"]
    assert shown["updated_at"] == shown["created_at"]  # the clock stands still
    assert "updated_at" not in admin.at("2.70").get(f"share_instances/{shown['id']}").json()["share_instance"]


def test_administrators_find_private_shares_of_all_projects_among_public_ones(
    plane: ControlPlane, member: Client, admin: Client, backend: PoolRef, gold: str
) -> None:
    share = make_share(plane, member)["id"]
    listed = admin.get("shares", all_tenants=1, is_public="True").json()["shares"]  # how manilaclient looks for a name
    assert [item["id"] for item in listed] == [share]
