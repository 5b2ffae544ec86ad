"""What tests of replicas arrange: three backends of one domain, and what a backend does with a replica."""

from __future__ import annotations

from typing import Any

from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.pools import PoolRef, PoolReport
from penstock.domain.shares import AccessRulesStatus, ReplicaState
from penstock.domain.snapshots import SnapshotStatus
from penstock.services.control_plane import ControlPlane
from penstock.store import access, backends, instances, replicas, shares, snapshots
from tests.api.conftest import Client

POOLS = {
    "alpha": PoolRef("store1", "alpha", "tank"),
    "beta": PoolRef("store1", "beta", "tank"),
    "gamma": PoolRef("store1", "gamma", "tank"),
}
ZONES = {"alpha": "nova", "beta": "nova", "gamma": "east"}


def add_backends(plane: ControlPlane, *, domain: str | None = "ring", **capabilities: Any) -> None:
    """Three backends that are up, each with one pool of 100 GiB; ``gamma`` is in another zone."""
    now = plane.clock.utc()
    said = {
        "total_capacity_gb": 100.0,
        "free_capacity_gb": 100.0,
        "thin_provisioning": [True],
        "max_over_subscription_ratio": 20.0,
        "storage_protocol": "NFS",
        "driver_handles_share_servers": False,
        "snapshot_support": True,
        "create_share_from_snapshot_support": True,
        "revert_to_snapshot_support": True,
        "replication_type": "readable" if domain else None,
        "replication_domain": domain,
        **capabilities,
    }
    with plane.database.begin() as tx:
        for name, pool in POOLS.items():
            host = pool.service_host
            backends.heartbeat(tx, binary="manila-share", host=host, zone=ZONES[name], ready=True, now=now)
            backends.put_pools(tx, host, [PoolReport(pool, {**said, "pool_name": pool.pool}, now)])


def ask_for_replica(client: Client, share_id: str, **wanted: Any) -> Any:
    """``POST share-replicas``"""
    return client.post("share-replicas", {"share_replica": {"share_id": share_id, **wanted}})


def finish_replica(
    plane: ControlPlane, replica_id: str, state: ReplicaState = ReplicaState.IN_SYNC, event: Event = Event.DONE
) -> None:
    """What a backend does when it has made a replica and brought it into sync, with its rules and snapshots."""
    now = plane.clock.utc()
    with plane.database.begin() as tx:
        share = shares.get_by_instance(tx, replica_id)
        assert share is not None
        shares.move(tx, share.instance, event, now=now)
        replicas.set_state(tx, replica_id, state, now=now, synced_at=now)
        locations = [{"path": f"10.0.0.6:/tank/{replica_id}", "preferred": False}]
        instances.put_export_locations(tx, replica_id, locations, now=now)
        access.set_states(tx, replica_id, now=now, source=[AccessState.QUEUED_TO_APPLY], target=AccessState.ACTIVE)
        instances.update_instance(tx, replica_id, now=now, access_rules_status=AccessRulesStatus.ACTIVE)
        for copy in replicas.snapshot_instances_on(tx, replica_id):
            if copy.status is SnapshotStatus.CREATING:
                snapshots.move(tx, copy, Event.DONE, now=now)


def make_replica(plane: ControlPlane, client: Client, share_id: str, **wanted: Any) -> dict[str, Any]:
    """A replica that is available and in sync."""
    answer = ask_for_replica(client, share_id, **wanted)
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.json()["share_replica"]
    finish_replica(plane, made["id"])
    return made


def finish_promotion(plane: ControlPlane, replica_id: str) -> None:
    """What a backend does at the end of a promotion."""
    now = plane.clock.utc()
    with plane.database.begin() as tx:
        share = shares.get_by_instance(tx, replica_id)
        assert share is not None
        old = shares.get(tx, share.id)
        assert old is not None
        replicas.switch_active(
            tx, share.id, old.instance.id, replica_id, now=now, epoch=2, old_state=ReplicaState.IN_SYNC
        )
        for one in replicas.of_share(tx, share.id):
            if one.status == "replication_change":
                shares.move(tx, one.instance, Event.DONE, now=now)


def replica_act(client: Client, replica_id: str, action: str, arguments: Any = None) -> Any:
    """``POST share-replicas/{id}/action``"""
    return client.post(f"share-replicas/{replica_id}/action", {action: arguments})
