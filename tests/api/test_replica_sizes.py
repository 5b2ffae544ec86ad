"""What replicas take: quotas of their own, and room on every pool that a replicated share is on."""

from __future__ import annotations

import pytest

from penstock.clock import ManualClock
from penstock.domain.lifecycle import Event
from penstock.services.control_plane import ControlPlane
from penstock.store import backends
from tests.api.arranging import act, add_type, calls, finish_share, make_share, message, methods
from tests.api.conftest import Client
from tests.api.replicated import add_backends, ask_for_replica, finish_replica, make_replica


@pytest.fixture
def share(plane: ControlPlane, member: Client) -> str:
    """A share of 2 GiB of a type that replicates, on the pool of ``alpha``."""
    add_backends(plane)
    add_type(plane, replication_type="readable")
    return str(make_share(plane, member)["id"])


def test_quotas(plane: ControlPlane, admin: Client, member: Client, share: str) -> None:
    project = "1" * 32
    quota = {"share_replicas": 2, "replica_gigabytes": 5}
    assert admin.put(f"quota-sets/{project}", {"quota_set": quota}).status_code == 200
    detail = member.get(f"quota-sets/{project}/detail").json()["quota_set"]
    assert (detail["share_replicas"]["in_use"], detail["replica_gigabytes"]["in_use"]) == (1, 2)
    replica = ask_for_replica(member, share).json()["share_replica"]["id"]
    detail = member.get(f"quota-sets/{project}/detail").json()["quota_set"]
    assert (detail["share_replicas"]["in_use"], detail["share_replicas"]["reserved"]) == (1, 1)
    assert (detail["replica_gigabytes"]["in_use"], detail["replica_gigabytes"]["reserved"]) == (2, 2)
    assert detail["gigabytes"]["in_use"] == 2
    finish_replica(plane, replica)
    assert ask_for_replica(member, share).status_code == 413
    refused = act(member, share, "extend", {"new_size": 3})  # one more GiB on each of two replicas is one too many
    assert refused.status_code == 413
    assert "replica_gigabytes" in message(refused)
    fields = {"share_proto": "NFS", "size": 1, "share_type": "gold"}
    assert member.post("shares", {"share": fields}).status_code == 413
    admin.put(f"quota-sets/{project}", {"quota_set": {"replica_gigabytes": 6}})
    assert act(member, share, "extend", {"new_size": 3}).status_code == 202
    finish_share(plane, share, Event.DONE, size_gib=3, size_target_gib=None)
    assert member.get(f"quota-sets/{project}/detail").json()["quota_set"]["replica_gigabytes"]["in_use"] == 6


def test_extend_needs_room_for_every_replica(plane: ControlPlane, member: Client, share: str) -> None:
    make_replica(plane, member, share)
    add_backends(plane, total_capacity_gb=3.0, free_capacity_gb=3.0, max_over_subscription_ratio=1.0)
    assert act(member, share, "extend", {"new_size": 3}).status_code == 202
    assert methods(plane)[-1] == "extend_share"
    assert [name for _, _, name, _ in calls(plane)].count("extend_share") == 1
    finish_share(plane, share, Event.DONE, size_gib=3, size_target_gib=None)
    assert act(member, share, "extend", {"new_size": 5}).status_code == 202
    assert methods(plane).count("extend_share") == 1
    assert member.get("messages", resource_id=share).json()["messages"]


def test_a_replica_whose_backend_is_away_does_not_keep_the_share_small(
    plane: ControlPlane, clock: ManualClock, member: Client, share: str
) -> None:
    make_replica(plane, member, share)
    clock.advance(plane.conf.service_down_time + 1)
    with plane.database.begin() as tx:
        now = plane.clock.utc()
        backends.heartbeat(tx, binary="manila-share", host="store1@alpha", zone="nova", ready=True, now=now)
    assert act(member, share, "extend", {"new_size": 3}).status_code == 202
    assert methods(plane)[-1] == "extend_share"
