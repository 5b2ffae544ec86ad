"""Share replicas: create, list, promote, resync, delete; who may, in which state and version, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from penstock.clock import ManualClock
from penstock.domain.lifecycle import Event
from penstock.domain.shares import ReplicaState
from penstock.ids import new_id
from penstock.services.control_plane import ControlPlane
from penstock.store import instances, replicas, shares
from tests.api.arranging import act, add_type, calls, make_share, message, methods
from tests.api.conftest import Client
from tests.api.replicated import (
    POOLS,
    add_backends,
    ask_for_replica,
    finish_promotion,
    finish_replica,
    make_replica,
    replica_act,
)

SUMMARY = {"id", "share_id", "status", "replica_state"}
DETAIL = SUMMARY | {"availability_zone", "created_at", "updated_at", "share_network_id"}
LAG = {
    "synced_at",
    "lag_seconds",
    "recovery_point_objective_seconds",
    "epoch",
}


@pytest.fixture
def share(plane: ControlPlane, member: Client) -> str:
    """A share of a type that replicates, on the pool of ``alpha``."""
    add_backends(plane)
    add_type(plane, replication_type="readable")
    return str(make_share(plane, member)["id"])


def active(client: Client, share_id: str) -> dict[str, Any]:
    found = client.get("share-replicas", share_id=share_id).json()["share_replicas"]
    (one,) = [replica for replica in found if replica["replica_state"] == "active"]
    return dict(one)


def states(client: Client, share_id: str) -> list[tuple[str, str]]:
    found = client.get("share-replicas", share_id=share_id).json()["share_replicas"]
    return sorted((replica["status"], replica["replica_state"]) for replica in found)


def test_a_share_of_a_replicated_type_is_its_active_replica(member: Client, share: str) -> None:
    shown = member.get(f"shares/{share}").json()["share"]
    assert (shown["replication_type"], shown["has_replicas"]) == ("readable", False)
    assert states(member, share) == [("available", "active")]


def test_create_and_show(plane: ControlPlane, admin: Client, member: Client, share: str) -> None:
    answer = ask_for_replica(member, share)
    assert answer.status_code == 202
    made = answer.json()["share_replica"]
    assert set(made) == DETAIL
    assert (made["status"], made["replica_state"], made["share_id"]) == ("creating", "out_of_sync", share)
    seen = admin.get(f"share-replicas/{made['id']}").json()["share_replica"]
    assert set(seen) == DETAIL | LAG | {"host", "share_server_id", "cast_rules_to_readonly"}
    assert seen["cast_rules_to_readonly"] is True
    backend, key, method, arguments = calls(plane)[-1]
    assert (backend, key) == (seen["host"].partition("#")[0], f"share:{share}")
    assert (method, arguments) == ("create_share_replica", {"share_replica_id": made["id"], "share_id": share})
    assert seen["host"] != admin.get(f"shares/{share}").json()["share"]["host"]
    assert member.get(f"shares/{share}").json()["share"]["has_replicas"] is True
    assert member.get("shares/detail").json()["shares"][0]["has_replicas"] is True


def test_lists(plane: ControlPlane, clock: ManualClock, member: Client, share: str) -> None:
    other = str(make_share(plane, member)["id"])
    clock.advance(1)
    made = make_replica(plane, member, share)
    found = member.get("share-replicas").json()["share_replicas"]
    assert len(found) == 3
    assert all(set(item) == SUMMARY for item in found)
    mine = member.get("share-replicas/detail", share_id=share).json()["share_replicas"]
    assert [set(item) for item in mine] == [DETAIL, DETAIL]
    asked = member.get("share-replicas/detail", share_id=share, with_lag="true").json()["share_replicas"]
    assert [set(item) for item in asked] == [DETAIL | LAG] * 2
    assert member.get("share-replicas/detail", with_lag="soon").status_code == 400
    assert [item["id"] for item in mine][1] == made["id"]
    page = member.get("share-replicas", share_id=share, limit=1, offset=1).json()["share_replicas"]
    assert [item["id"] for item in page] == [made["id"]]
    assert [item["share_id"] for item in member.get("share-replicas", share_id=other).json()["share_replicas"]] == [
        other
    ]
    assert member.get("share-replicas", share_id=new_id()).status_code == 404


def test_lag_is_shown_against_the_objective(
    plane: ControlPlane, clock: ManualClock, admin: Client, member: Client, share: str
) -> None:
    clock.advance(1)
    replica = make_replica(plane, member, share)["id"]
    clock.advance(90)
    shown = member.get(f"share-replicas/{replica}", with_lag="true").json()["share_replica"]
    assert (shown["lag_seconds"], shown["recovery_point_objective_seconds"], shown["epoch"]) == (90, 300, 1)
    assert shown["synced_at"] is not None
    type_id = member.get(f"shares/{share}").json()["share"]["share_type"]
    assert admin.post(f"types/{type_id}/extra_specs", {"extra_specs": {"replication_rpo_seconds": "60"}}).is_success
    assert (
        member.get(f"share-replicas/{replica}", with_lag="true").json()["share_replica"][
            "recovery_point_objective_seconds"
        ]
        == 60
    )
    assert member.put(f"shares/{share}/metadata", {"metadata": {"replication_rpo_seconds": "15"}}).is_success
    shown = member.get("share-replicas/detail", share_id=share, with_lag=1).json()["share_replicas"]
    assert [item["recovery_point_objective_seconds"] for item in shown] == [15, 15]
    assert [item["lag_seconds"] for item in shown] == [None, 90]


@pytest.mark.parametrize("text", ["0", "-1", "soon", "1.5", "", "9" * 12, "٣"])
def test_an_objective_is_whole_seconds(admin: Client, member: Client, share: str, text: str) -> None:
    body = {"metadata": {"replication_rpo_seconds": text}}
    assert member.put(f"shares/{share}/metadata", body).status_code == 400
    type_id = member.get(f"shares/{share}").json()["share"]["share_type"]
    specs = {"extra_specs": {"replication_rpo_seconds": text}}
    assert admin.post(f"types/{type_id}/extra_specs", specs).status_code == 400
    fields = {"share_proto": "NFS", "size": 1, "share_type": "gold", "metadata": body["metadata"]}
    assert member.post("shares", {"share": fields}).status_code == 400


def test_versions(plane: ControlPlane, member: Client, share: str) -> None:
    replica = make_replica(plane, member, share)["id"]
    experimental = {"X-OpenStack-Manila-API-Experimental": "true"}
    assert member.at("2.10", **experimental).get("share-replicas").status_code == 404
    assert member.at("2.55").get("share-replicas").status_code == 404
    assert member.at("2.55", **experimental).get("share-replicas").status_code == 200
    assert ask_for_replica(member.at("2.55"), share).status_code == 404
    assert replica_act(member.at("2.55"), replica, "promote").status_code == 404
    assert member.at("2.46", **experimental).get(f"share-replicas/{replica}/export-locations").status_code == 404
    assert member.at("2.47", **experimental).get(f"share-replicas/{replica}/export-locations").status_code == 200
    old = member.at("2.11", **experimental)
    assert ask_for_replica(old, share, share_network_id=new_id()).status_code == 202


def test_other_projects_do_not_see_them(
    plane: ControlPlane, admin: Client, member: Client, other: Client, reader: Client, share: str
) -> None:
    replica = make_replica(plane, member, share)["id"]
    assert other.get("share-replicas").json()["share_replicas"] == []
    assert other.get(f"share-replicas/{replica}").status_code == 404
    assert other.get(f"share-replicas/{replica}/export-locations").status_code == 404
    assert other.delete(f"share-replicas/{replica}").status_code == 404
    assert replica_act(other, replica, "promote").status_code == 404
    assert ask_for_replica(other, share).status_code == 404
    assert len(reader.get("share-replicas").json()["share_replicas"]) == 2
    assert ask_for_replica(reader, share).status_code == 403
    assert reader.delete(f"share-replicas/{replica}").status_code == 403
    assert replica_act(reader, replica, "promote").status_code == 403
    for action, arguments in (
        ("resync", None),
        ("force_delete", None),
        ("reset_status", {"status": "error"}),
        ("reset_replica_state", {"replica_state": "error"}),
    ):
        assert replica_act(member, replica, action, arguments).status_code == 403
        assert replica_act(admin, replica, action, arguments).status_code == 202
    assert len(admin.get("share-replicas").json()["share_replicas"]) == 2


def test_a_public_share_of_another_project_is_not_replicated(
    plane: ControlPlane, admin: Client, member: Client, other: Client, share: str
) -> None:
    assert admin.put(f"shares/{share}", {"share": {"is_public": True}}).status_code == 200
    assert ask_for_replica(other, share).status_code == 403
    replica = make_replica(plane, member, share)["id"]
    assert other.get(f"share-replicas/{replica}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"share_replica": {}},
        {"share_replica": {"share_id": 5}},
        {"share_replica": {"share_id": "x", "colour": "red"}},
        {"share_replica": {"share_id": "x", "scheduler_hints": {"same_host": "y"}}},
        {"share_replica": None},
        [],
    ],
)
def test_bad_bodies(member: Client, share: str, body: Any) -> None:
    assert member.post("share-replicas", body).status_code == 400


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("promote", {"quiesce_wait_time": "soon"}),
        ("promote", {"quiesce_wait_time": -1}),
        ("promote", {"quiesce_wait_time": 10**9}),
        ("promote", {"force": True}),
        ("reset_status", {"status": "purple"}),
        ("reset_status", None),
        ("reset_replica_state", {"replica_state": "purple"}),
        ("reset_replica_state", {"replica_state": "active"}),
        ("reset_replica_state", {"status": "error"}),
        ("sync", None),
    ],
)
def test_bad_actions(plane: ControlPlane, admin: Client, share: str, action: str, arguments: Any) -> None:
    replica = make_replica(plane, admin, share)["id"]
    before = methods(plane)
    assert replica_act(admin, replica, action, arguments).status_code == 400
    assert methods(plane) == before


def test_only_a_share_that_can_be_replicated_is(plane: ControlPlane, admin: Client, member: Client, share: str) -> None:
    add_type(plane, "plain")
    plain = make_share(plane, member, share_type="plain")["id"]
    answer = ask_for_replica(member, plain)
    assert answer.status_code == 400
    assert "replication_type" in message(answer)
    assert act(admin, share, "reset_status", {"status": "error"}).status_code == 202
    assert ask_for_replica(member, share).status_code == 400
    assert ask_for_replica(member, new_id()).status_code == 404


@pytest.mark.parametrize("kind", ["dr", "writable"])
def test_kinds_that_nothing_here_does_are_refused_with_the_reason(
    plane: ControlPlane, member: Client, kind: str
) -> None:
    add_backends(plane)
    add_type(plane, replication_type=kind)
    made = member.post("shares", {"share": {"share_proto": "NFS", "size": 1, "share_type": "gold"}}).json()["share"]
    assert member.get(f"shares/{made['id']}").json()["share"]["status"] == "error"
    (told,) = member.get("messages", resource_id=made["id"]).json()["messages"]
    assert f"it replicates as readable, not as {kind}" in told["user_message"]
    with plane.database.begin() as tx:  # as if its backend had offered it then
        shares.reset_status(tx, shares.get(tx, made["id"]).instance.id, "available", now=plane.clock.utc())  # type: ignore[union-attr,arg-type]
    answer = ask_for_replica(member, made["id"])
    assert answer.status_code == 400
    assert f"No storage backend replicates as '{kind}'; what is offered is readable." in message(answer)


def test_zones_networks_and_hints(plane: ControlPlane, admin: Client, member: Client, share: str) -> None:
    assert ask_for_replica(member, share, availability_zone="mars").status_code == 400
    assert ask_for_replica(member, share, share_network_id=new_id()).status_code == 404
    assert ask_for_replica(member, share, scheduler_hints={"only_host": str(POOLS["beta"])}).status_code == 403
    east = ask_for_replica(member, share, availability_zone="east").json()["share_replica"]
    assert east["availability_zone"] == "east"
    seen = admin.get(f"share-replicas/{east['id']}").json()["share_replica"]
    assert seen["host"] == str(POOLS["gamma"])
    hinted = ask_for_replica(admin, share, scheduler_hints={"only_host": str(POOLS["beta"])})
    assert hinted.json()["share_replica"]["host"] == str(POOLS["beta"])
    type_id = member.get(f"shares/{share}").json()["share"]["share_type"]
    admin.post(f"types/{type_id}/extra_specs", {"extra_specs": {"availability_zones": "nova"}})
    assert ask_for_replica(member, share, availability_zone="east").status_code == 400


def test_each_backend_gets_one_and_the_next_is_told_why_not(plane: ControlPlane, admin: Client, share: str) -> None:
    for _ in range(2):
        make_replica(plane, admin, share)
    hosts = [item["host"] for item in admin.get("share-replicas/detail").json()["share_replicas"]]
    assert sorted(hosts) == sorted(str(pool) for pool in POOLS.values())
    refused = ask_for_replica(admin, share)
    assert refused.status_code == 202
    replica = refused.json()["share_replica"]
    assert (replica["status"], replica["replica_state"], replica["host"]) == ("error", "error", None)
    assert admin.get("messages").json()["messages"] == []  # the share's project is told, not the administrator's
    assert methods(plane) == ["create_share_instance", "create_share_replica", "create_share_replica"]
    assert admin.delete(f"share-replicas/{replica['id']}").status_code == 202
    assert admin.get(f"share-replicas/{replica['id']}").status_code == 404


def test_the_owner_is_told_why_no_backend_fits(plane: ControlPlane, member: Client, share: str) -> None:
    replica = ask_for_replica(member, share, availability_zone="east").json()["share_replica"]["id"]
    second = ask_for_replica(member, share, availability_zone="east").json()["share_replica"]
    assert second["status"] == "error"
    (told,) = member.get("messages", resource_id=second["id"]).json()["messages"]
    assert (told["resource_type"], told["action_id"], told["detail_id"]) == ("SHARE_REPLICA", "001", "002")
    assert "store1@beta#tank: it is in availability zone nova" in told["user_message"]
    assert "store1@gamma#tank: it has a replica of the share already" in told["user_message"]
    assert replica != second["id"]


def test_without_a_domain_there_is_no_place(plane: ControlPlane, member: Client, share: str) -> None:
    add_backends(plane, domain=None, replication_type="readable")
    replica = ask_for_replica(member, share).json()["share_replica"]
    (told,) = member.get("messages", resource_id=replica["id"]).json()["messages"]
    assert "is in no replication domain" in told["user_message"]


def test_promote(plane: ControlPlane, member: Client, share: str) -> None:
    old, replica = active(member, share)["id"], make_replica(plane, member, share)["id"]
    answer = replica_act(member, replica, "promote", {"quiesce_wait_time": 30})
    assert answer.status_code == 202
    assert answer.json()["share_replica"]["status"] == "replication_change"
    assert member.get(f"shares/{share}").json()["share"]["status"] == "replication_change"
    backend, key, method, arguments = calls(plane)[-1]
    assert (key, method) == (f"share:{share}", "promote_share_replica")
    assert arguments == {"share_replica_id": replica, "share_id": share, "quiesce_wait_time": 30}
    assert backend != "store1@alpha"
    assert replica_act(member, replica, "promote").status_code == 400  # on its way
    assert act(member, share, "extend", {"new_size": 3}).status_code == 400
    assert member.delete(f"share-replicas/{old}").status_code == 400
    finish_promotion(plane, replica)
    assert active(member, share)["id"] == replica
    assert states(member, share) == [("available", "active"), ("available", "in_sync")]
    shown = member.get(f"shares/{share}").json()["share"]
    assert (shown["status"], shown["has_replicas"]) == ("available", True)
    assert replica_act(member, replica, "promote").status_code == 200
    assert methods(plane).count("promote_share_replica") == 1
    assert member.delete(f"share-replicas/{old}").status_code == 202


def test_waiting_before_a_promotion_is_of_2_75(plane: ControlPlane, member: Client, share: str) -> None:
    replica = make_replica(plane, member, share)["id"]
    assert replica_act(member.at("2.74"), replica, "promote", {"quiesce_wait_time": "x"}).status_code == 202
    assert calls(plane)[-1][3]["quiesce_wait_time"] is None


@pytest.mark.parametrize("state", [ReplicaState.OUT_OF_SYNC, ReplicaState.ERROR])
def test_only_an_administrator_promotes_what_is_behind(
    plane: ControlPlane, admin: Client, member: Client, share: str, state: ReplicaState
) -> None:
    replica = make_replica(plane, member, share)["id"]
    assert replica_act(admin, replica, "reset_replica_state", {"replica_state": state}).status_code == 202
    refused = replica_act(member, replica, "promote")
    assert refused.status_code == 403
    assert "administrator" in message(refused)
    assert replica_act(admin, replica, "promote").status_code == 202


def test_a_replica_that_is_not_there_yet_is_not_promoted(plane: ControlPlane, admin: Client, share: str) -> None:
    replica = ask_for_replica(admin, share).json()["share_replica"]["id"]
    assert replica_act(admin, replica, "promote").status_code == 400
    assert replica_act(admin, replica, "resync").status_code == 400
    finish_replica(plane, replica, ReplicaState.ERROR, Event.FAILED)
    assert replica_act(admin, replica, "promote").status_code == 400


def test_promotion_gives_a_stuck_resize_up(plane: ControlPlane, member: Client, share: str) -> None:
    replica = make_replica(plane, member, share)["id"]
    assert act(member, share, "extend", {"new_size": 5}).status_code == 202
    assert replica_act(member, replica, "promote").status_code == 202
    finish_promotion(plane, replica)
    shown = member.get(f"shares/{share}").json()["share"]
    assert (shown["status"], shown["size"]) == ("available", 2)
    used = member.get("quota-sets/" + "1" * 32 + "/detail").json()["quota_set"]["gigabytes"]
    assert used["in_use"] + used["reserved"] == 2


@pytest.mark.parametrize("status", ["deleting", "reverting", "migrating"])
def test_promotion_waits_for_what_it_cannot_put_aside(
    plane: ControlPlane, admin: Client, member: Client, share: str, status: str
) -> None:
    replica = make_replica(plane, member, share)["id"]
    assert act(admin, share, "reset_status", {"status": status}).status_code == 202
    assert replica_act(admin, replica, "promote").status_code == 400
    shown = admin.get(f"share-replicas/{replica}").json()["share_replica"]
    assert shown["status"] == "available"


def test_a_share_on_the_move_is_neither_replicated_nor_promoted(
    plane: ControlPlane, admin: Client, member: Client, share: str
) -> None:
    replica = make_replica(plane, member, share)["id"]
    moving = admin.at("2.75", **{"X-OpenStack-Manila-API-Experimental": "true"})
    assert act(moving, share, "reset_task_state", {"task_state": "migration_in_progress"}).status_code == 202
    assert ask_for_replica(member, share).status_code == 400
    assert replica_act(member, replica, "promote").status_code == 400
    assert act(moving, share, "reset_task_state", {"task_state": "migration_success"}).status_code == 202
    assert replica_act(member, replica, "promote").status_code == 202


def test_resync(plane: ControlPlane, admin: Client, share: str) -> None:
    old, replica = active(admin, share)["id"], make_replica(plane, admin, share)["id"]
    assert replica_act(admin, old, "resync").status_code == 200
    assert replica_act(admin, replica, "resync").status_code == 202
    assert replica_act(admin, replica, "resync").status_code == 202
    assert methods(plane).count("update_share_replica") == 1
    _, key, _, arguments = calls(plane)[-1]
    assert (key, arguments) == (f"replica:{replica}", {"share_replica_id": replica, "share_id": share})


def test_the_active_replica_stays(plane: ControlPlane, admin: Client, member: Client, share: str) -> None:
    old = active(member, share)["id"]
    for _ in range(2):
        assert member.delete(f"share-replicas/{old}").status_code == 400
        assert replica_act(admin, old, "force_delete").status_code == 400
        assert replica_act(admin, old, "reset_replica_state", {"replica_state": "in_sync"}).status_code == 400
        make_replica(plane, member, share)


def test_delete(plane: ControlPlane, admin: Client, member: Client, share: str) -> None:
    replica = make_replica(plane, member, share)["id"]
    assert member.delete(f"share-replicas/{replica}").status_code == 202
    assert calls(plane)[-1][1:] == (
        f"share:{share}",
        "delete_share_replica",
        {"share_replica_id": replica, "share_id": share, "force": False},
    )
    assert member.get(f"share-replicas/{replica}").json()["share_replica"]["status"] == "deleting"
    assert member.delete(f"share-replicas/{replica}").status_code == 400
    assert replica_act(member, replica, "promote").status_code == 400
    assert replica_act(admin, replica, "force_delete").status_code == 202
    assert calls(plane)[-1][3]["force"] is True
    assert member.delete(f"share-replicas/{new_id()}").status_code == 404


def test_a_replica_that_is_being_made_can_be_let_go_of(plane: ControlPlane, member: Client, share: str) -> None:
    replica = ask_for_replica(member, share).json()["share_replica"]["id"]
    assert member.delete(f"share-replicas/{replica}").status_code == 202
    assert methods(plane)[-2:] == ["create_share_replica", "delete_share_replica"]


def test_what_a_share_with_replicas_does_not_take(
    plane: ControlPlane, admin: Client, member: Client, share: str
) -> None:
    replica = make_replica(plane, member, share)["id"]
    before = methods(plane)
    for answer in (
        member.delete(f"shares/{share}"),
        act(member, share, "soft_delete"),
        act(admin, share, "force_delete"),
        act(admin, share, "unmanage"),
        admin.post("snapshots/manage", {"snapshot": {"share_id": share, "provider_location": "tank@x"}}),
        admin.post(f"share_instances/{active(member, share)['id']}/action", {"force_delete": None}),
    ):
        assert answer.status_code == 409, answer.text
        assert "replicas" in message(answer)
    assert methods(plane) == before
    assert admin.post(f"share_instances/{replica}/action", {"force_delete": None}).status_code == 202
    assert methods(plane)[-1] == "delete_share_replica"


def test_export_locations(plane: ControlPlane, admin: Client, member: Client, share: str) -> None:
    replica = make_replica(plane, member, share)["id"]
    (location,) = member.get(f"share-replicas/{replica}/export-locations").json()["export_locations"]
    assert set(location) == {"id", "path", "preferred", "availability_zone", "replica_state"}
    assert (location["replica_state"], location["availability_zone"]) == ("in_sync", "nova")
    (mine,) = member.get(f"shares/{share}/export_locations").json()["export_locations"]
    assert mine["path"] != location["path"]
    assert member.get(f"shares/{share}/export_locations/{location['id']}").status_code == 404
    shown = admin.get(f"share-replicas/{replica}/export-locations/{location['id']}").json()["export_location"]
    assert set(shown) == set(location) | {"share_instance_id", "is_admin_only", "created_at", "updated_at"}
    assert shown["share_instance_id"] == replica
    assert member.get(f"share-replicas/{replica}/export-locations/{mine['id']}").status_code == 404
    old = member.at("2.46").get(f"shares/{share}/export_locations").json()["export_locations"]
    assert [item["path"] for item in old] == [mine["path"], location["path"]]
    assert member.at("2.46").get(f"shares/{share}/export_locations/{location['id']}").status_code == 200


def test_deleting_the_share_once_its_replicas_are_gone(plane: ControlPlane, member: Client, share: str) -> None:
    replica = make_replica(plane, member, share)["id"]
    member.delete(f"share-replicas/{replica}")
    assert member.delete(f"shares/{share}").status_code == 409
    with plane.database.begin() as tx:
        replicas.delete_replica(tx, replica)
    assert member.delete(f"shares/{share}").status_code == 202
    assert methods(plane)[-1] == "delete_share_instance"


def test_a_promoted_replica_is_where_the_share_is_worked_on(plane: ControlPlane, member: Client, share: str) -> None:
    replica = make_replica(plane, member, share)["id"]
    replica_act(member, replica, "promote")
    finish_promotion(plane, replica)
    assert act(member, share, "extend", {"new_size": 3}).status_code == 202
    with plane.database.read() as tx:
        instance = instances.get(tx, replica)
    assert instance is not None
    assert calls(plane)[-1][0] == str(instance.host).partition("#")[0]


def test_lag_is_never_negative(plane: ControlPlane, member: Client, share: str) -> None:
    replica = make_replica(plane, member, share)["id"]
    with plane.database.begin() as tx:
        ahead = plane.clock.utc() + timedelta(seconds=5)
        instances.update_instance(tx, replica, now=plane.clock.utc(), synced_at=ahead)
    assert member.get(f"share-replicas/{replica}", with_lag="true").json()["share_replica"]["lag_seconds"] == 0


def test_pools_for_a_replicated_type(plane: ControlPlane, admin: Client, share: str) -> None:
    add_type(plane, "distant", replication_type="dr")
    pools = "scheduler-stats/pools"
    assert len(admin.get(pools, share_type="gold").json()["pools"]) == len(POOLS)
    assert admin.get(pools, share_type="distant").json()["pools"] == []
