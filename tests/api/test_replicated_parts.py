"""Access rules and snapshots of a share with replicas: they are those of all its replicas."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.shares import ReplicaState
from penstock.services.control_plane import ControlPlane
from penstock.store import access, replicas, shares, snapshots
from tests.api.arranging import (
    act,
    add_type,
    calls,
    finish_rules,
    finish_snapshot,
    make_share,
    make_snapshot,
    message,
    methods,
)
from tests.api.conftest import Client
from tests.api.replicated import (
    add_backends,
    ask_for_replica,
    finish_promotion,
    finish_replica,
    make_replica,
    replica_act,
)

RULE = {"access_type": "ip", "access_to": "10.0.0.1", "access_level": "rw"}


@pytest.fixture
def share(plane: ControlPlane, member: Client) -> str:
    add_backends(plane)
    add_type(plane, replication_type="readable")
    return str(make_share(plane, member)["id"])


def instance_ids(plane: ControlPlane, share_id: str) -> list[str]:
    with plane.database.read() as tx:
        return [one.instance.id for one in replicas.of_share(tx, share_id)]


def rule_states(plane: ControlPlane, share_id: str) -> dict[str, list[AccessState]]:
    with plane.database.read() as tx:
        ids = [one.instance.id for one in replicas.of_share(tx, share_id)]
        return {key: [rule.state for rule in access.of_instance(tx, key)] for key in ids}


def listed(client: Client, share_id: str) -> list[dict[str, Any]]:
    return list(client.get("share-access-rules", share_id=share_id).json()["access_list"])


def test_a_rule_goes_to_every_replica_and_back(plane: ControlPlane, member: Client, share: str) -> None:
    make_replica(plane, member, share)
    assert act(member, share, "allow_access", RULE).status_code == 200
    given = [
        arguments for _, key, method, arguments in calls(plane) if (key, method) == (f"share:{share}", "update_access")
    ]
    assert sorted(item["share_instance_id"] for item in given) == sorted(instance_ids(plane, share))
    assert set(map(tuple, rule_states(plane, share).values())) == {(AccessState.QUEUED_TO_APPLY,)}
    finish_rules(plane, share)
    (rule,) = listed(member, share)
    assert rule["state"] == "active"
    assert act(member, share, "deny_access", {"access_id": rule["id"]}).status_code == 202
    assert set(map(tuple, rule_states(plane, share).values())) == {(AccessState.QUEUED_TO_DENY,)}
    assert len({backend for backend, _, method, _ in calls(plane)[-2:] if method == "update_access"}) == 2
    finish_rules(plane, share)
    assert listed(member, share) == []


def test_a_rule_is_active_when_all_replicas_have_it(plane: ControlPlane, member: Client, share: str) -> None:
    replica = make_replica(plane, member, share)["id"]
    act(member, share, "allow_access", RULE)
    with plane.database.begin() as tx:
        speaker = shares.get(tx, share)
        assert speaker is not None
        now, queued = plane.clock.utc(), [AccessState.QUEUED_TO_APPLY]
        access.set_states(tx, speaker.instance.id, now=now, source=queued, target=AccessState.ACTIVE)
    assert [rule["state"] for rule in listed(member, share)] == ["queued_to_apply"]
    assert member.get(f"shares/{share}").json()["share"]["access_rules_status"] == "syncing"
    with plane.database.begin() as tx:
        access.set_states(tx, replica, now=plane.clock.utc(), source=queued, target=AccessState.ERROR)
    assert [rule["state"] for rule in listed(member, share)] == ["error"]


def test_a_new_replica_gets_the_rules_there_are(plane: ControlPlane, member: Client, share: str) -> None:
    act(member, share, "allow_access", RULE)
    finish_rules(plane, share)
    replica = ask_for_replica(member, share).json()["share_replica"]["id"]
    assert rule_states(plane, share)[replica] == [AccessState.QUEUED_TO_APPLY]
    assert [rule["state"] for rule in listed(member, share)] == ["active"]  # it is not there yet
    assert member.get(f"shares/{share}").json()["share"]["access_rules_status"] == "active"
    assert act(member, share, "allow_access", {**RULE, "access_to": "10.0.0.2"}).status_code == 200
    assert len(rule_states(plane, share)[replica]) == 2


def test_rules_while_a_replica_is_in_error_are_of_2_74(
    plane: ControlPlane, admin: Client, member: Client, share: str
) -> None:
    replica = make_replica(plane, member, share)["id"]
    act(member, share, "allow_access", RULE)
    finish_rules(plane, share)
    (rule,) = listed(member, share)
    assert replica_act(admin, replica, "reset_status", {"status": "error"}).status_code == 202
    old = member.at("2.73")
    refused = act(old, share, "allow_access", {**RULE, "access_to": "10.0.0.2"})
    assert refused.status_code == 400
    assert "2.74" in message(refused)
    assert act(old, share, "deny_access", {"access_id": rule["id"]}).status_code == 400
    assert act(member, share, "allow_access", {**RULE, "access_to": "10.0.0.2"}).status_code == 200
    assert act(member, share, "deny_access", {"access_id": rule["id"]}).status_code == 202


def test_a_replica_on_its_way_out_gets_no_more_rules(plane: ControlPlane, member: Client, share: str) -> None:
    replica = make_replica(plane, member, share)["id"]
    member.delete(f"share-replicas/{replica}")
    act(member, share, "allow_access", RULE)
    assert rule_states(plane, share)[replica] == []
    assert methods(plane).count("update_access") == 1


def test_a_snapshot_has_an_instance_on_each_replica(
    plane: ControlPlane, admin: Client, member: Client, share: str
) -> None:
    replica = make_replica(plane, member, share)["id"]
    answer = member.post("snapshots", {"snapshot": {"share_id": share}})
    assert answer.status_code == 202
    snapshot = answer.json()["snapshot"]["id"]
    backend, key, method, arguments = calls(plane)[-1]
    assert (key, method) == (f"share:{share}", "create_replicated_snapshot")
    assert arguments == {"share_id": share, "snapshot_id": snapshot}
    assert backend == "store1@alpha"
    copies = admin.get("snapshot-instances/detail", snapshot_id=snapshot).json()["snapshot_instances"]
    assert sorted(copy["share_instance_id"] for copy in copies) == sorted(instance_ids(plane, share))
    finish_snapshot(plane, snapshot)  # on the active one
    assert member.get(f"snapshots/{snapshot}").json()["snapshot"]["status"] == "creating"
    assert member.get("snapshots", status="available").json()["snapshots"] == []
    assert act(member, share, "revert", {"snapshot_id": snapshot}).status_code == 409
    fields = {"share_proto": "NFS", "size": 2, "snapshot_id": snapshot}
    assert member.post("shares", {"share": fields}).status_code == 400
    with plane.database.begin() as tx:
        (copy,) = replicas.snapshot_instances_on(tx, replica)
        snapshots.move(tx, copy, Event.DONE, now=plane.clock.utc())
    assert member.get(f"snapshots/{snapshot}").json()["snapshot"]["status"] == "available"
    assert [item["id"] for item in member.get("snapshots", status="available").json()["snapshots"]] == [snapshot]
    assert act(member, share, "revert", {"snapshot_id": snapshot}).status_code == 202


def test_a_snapshot_is_deleted_everywhere(plane: ControlPlane, admin: Client, member: Client, share: str) -> None:
    make_replica(plane, member, share)
    snapshot = member.post("snapshots", {"snapshot": {"share_id": share}}).json()["snapshot"]["id"]
    finish_snapshot(plane, snapshot)  # on the active one: that on the other is still being made, and goes with it
    assert member.delete(f"snapshots/{snapshot}").status_code == 202
    _, key, method, arguments = calls(plane)[-1]
    assert (key, method) == (f"share:{share}", "delete_replicated_snapshot")
    assert arguments == {"share_id": share, "snapshot_id": snapshot, "force": False}
    copies = admin.get("snapshot-instances", snapshot_id=snapshot).json()["snapshot_instances"]
    assert [copy["status"] for copy in copies] == ["deleting", "deleting"]


def test_a_share_without_further_replicas_has_ordinary_snapshots(
    plane: ControlPlane, member: Client, share: str
) -> None:
    snapshot = make_snapshot(plane, member, share)["id"]
    assert methods(plane)[-1] == "create_snapshot"
    assert member.delete(f"snapshots/{snapshot}").status_code == 202
    assert methods(plane)[-1] == "delete_snapshot"


def test_a_new_replica_is_to_get_the_snapshots_there_are(
    plane: ControlPlane, admin: Client, member: Client, share: str
) -> None:
    snapshot = make_snapshot(plane, member, share)["id"]
    replica = ask_for_replica(member, share).json()["share_replica"]["id"]
    copies = admin.get("snapshot-instances/detail", snapshot_id=snapshot).json()["snapshot_instances"]
    assert {copy["share_instance_id"]: copy["status"] for copy in copies}[replica] == "creating"
    assert member.get(f"snapshots/{snapshot}").json()["snapshot"]["status"] == "available"  # not in sync yet
    finish_replica(plane, replica)
    assert member.get(f"snapshots/{snapshot}").json()["snapshot"]["status"] == "available"
    refused = admin.post(f"snapshots/{snapshot}/action", {"unmanage": None})
    assert refused.status_code == 409


def test_a_new_replica_is_to_let_go_of_a_snapshot_whose_deletion_failed(
    plane: ControlPlane, admin: Client, member: Client, share: str
) -> None:
    """A sync brings it along, and the next attempt has to find it there."""
    snapshot = make_snapshot(plane, member, share)["id"]
    assert member.delete(f"snapshots/{snapshot}").status_code == 202
    with plane.database.begin() as tx:
        (only,) = snapshots.instances_of(tx, snapshot)
        snapshots.move(tx, only, Event.FAILED, now=plane.clock.utc())
    replica = make_replica(plane, member, share)["id"]
    copies = admin.get("snapshot-instances/detail", snapshot_id=snapshot).json()["snapshot_instances"]
    assert {copy["share_instance_id"]: copy["status"] for copy in copies}[replica] == "error_deleting"
    assert member.delete(f"snapshots/{snapshot}").status_code == 202
    assert methods(plane)[-1] == "delete_replicated_snapshot"
    copies = admin.get("snapshot-instances", snapshot_id=snapshot).json()["snapshot_instances"]
    assert [copy["status"] for copy in copies] == ["deleting", "deleting"]


def test_after_a_promotion_the_new_active_one_speaks_for_the_snapshots(
    plane: ControlPlane, member: Client, share: str
) -> None:
    snapshot = make_snapshot(plane, member, share)["id"]
    (old,) = instance_ids(plane, share)
    replica = make_replica(plane, member, share)["id"]
    replica_act(member, replica, "promote")
    finish_promotion(plane, replica)
    assert member.delete(f"share-replicas/{old}").status_code == 202
    with plane.database.begin() as tx:
        replicas.delete_replica(tx, old)
        found = snapshots.get(tx, snapshot)
    assert found is not None
    assert found.instance.share_instance_id == replica


def test_a_replica_that_alone_has_a_snapshot_is_kept_unless_forced(
    plane: ControlPlane, admin: Client, member: Client, share: str
) -> None:
    """The old active one died with a snapshot that the promoted one never got."""
    (old,) = instance_ids(plane, share)
    replica = make_replica(plane, member, share)["id"]
    snapshot = member.post("snapshots", {"snapshot": {"share_id": share}}).json()["snapshot"]["id"]
    finish_snapshot(plane, snapshot)
    with plane.database.begin() as tx:
        (copy,) = replicas.snapshot_instances_on(tx, replica)
        replicas.delete_snapshot_instance(tx, copy.id)
        replicas.set_state(tx, replica, ReplicaState.IN_SYNC, now=plane.clock.utc())
    replica_act(admin, replica, "promote")
    finish_promotion(plane, replica)
    refused = member.delete(f"share-replicas/{old}")
    assert refused.status_code == 409
    assert snapshot in message(refused)
    assert replica_act(admin, old, "force_delete").status_code == 202
    assert member.get(f"snapshots/{snapshot}").status_code == 404
