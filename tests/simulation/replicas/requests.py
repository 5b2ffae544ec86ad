"""What services accept about replicas, written to the rows: states and operation in one transaction."""

from __future__ import annotations

from dataclasses import replace

from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.operations import Call
from penstock.domain.pools import service_host
from penstock.domain.shares import ReplicaState, Share, ShareInstance, ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.errors import Conflict, Invalid
from penstock.ids import InstanceId, SnapshotInstanceId, new_id
from penstock.store import access, instances, replicas, shares, snapshots
from penstock.store.database import Transaction
from penstock.store.snapshots import SnapshotFilter
from tests.factories import a_rule, a_share, a_snapshot
from tests.simulation.replicas.world import CONTEXT, World


def _enqueue(tx: Transaction, world: World, instance: ShareInstance, method: str, **arguments: object) -> None:
    key = f"replica:{instance.id}" if method == "update_share_replica" else f"share:{instance.share_id}"
    world.queue.enqueue(tx, CONTEXT, Call(service_host(instance.host or ""), key, method, arguments))


def create(world: World, section: str) -> str:
    """A share on that backend, the first of its replicas."""
    plain = a_share(status=ShareStatus.CREATING, host=f"sim@{section}#pool", replication_type="readable")
    share = replace(plain, instance=replace(plain.instance, replica_state=ReplicaState.ACTIVE))
    with world.database.begin() as tx:
        shares.insert_share(tx, share)
        access.insert_rule(tx, a_rule(share, state=AccessState.QUEUED_TO_APPLY), [share.instance.id])
        _enqueue(tx, world, share.instance, "create_share_instance", share_instance_id=share.instance.id)
        _enqueue(tx, world, share.instance, "update_access", share_instance_id=share.instance.id)
    return share.id


def create_replica(world: World, share_id: str, section: str) -> None:
    with world.database.begin() as tx:
        active = _active(tx, share_id)
        if active.status is not ShareStatus.AVAILABLE:
            raise Invalid("not now")
        host = f"sim@{section}#pool"
        if any(one.instance.host == host for one in replicas.of_share(tx, share_id)):
            raise Conflict("there is one")
        instance = replace(
            active.instance,
            id=InstanceId(new_id()),
            host=host,
            status=ShareStatus.CREATING,
            replica_state=ReplicaState.OUT_OF_SYNC,
            cast_rules_to_readonly=True,
            synced_at=None,
            created_at=world.clock.utc(),
        )
        instances.insert_instance(tx, instance)
        for snapshot in snapshots.list_snapshots(tx, SnapshotFilter(share_id=share_id)):
            if snapshot.status in (SnapshotStatus.AVAILABLE, SnapshotStatus.CREATING, SnapshotStatus.RESTORING):
                copy = replace(
                    snapshot.instance,
                    id=SnapshotInstanceId(new_id()),
                    share_instance_id=instance.id,
                    status=SnapshotStatus.CREATING,
                )
                snapshots.insert_instance(tx, copy)
        _enqueue(tx, world, instance, "create_share_replica", share_replica_id=instance.id, share_id=share_id)


def delete_replica(world: World, share_id: str, replica_id: str) -> None:
    with world.database.begin() as tx:
        share = _replica(tx, share_id, replica_id)
        if share.instance.replica_state is ReplicaState.ACTIVE:
            raise Invalid("the active one")
        for snapshot in snapshots.list_snapshots(tx, SnapshotFilter(share_id=share_id)):
            if snapshot.instance.share_instance_id == replica_id:
                raise Conflict("it speaks for a snapshot")
        shares.move(tx, share.instance, Event.DELETE, now=world.clock.utc())
        _enqueue(tx, world, share.instance, "delete_share_replica", share_replica_id=replica_id, share_id=share_id)


def promote(world: World, share_id: str, replica_id: str) -> None:
    with world.database.begin() as tx:
        share, active = _replica(tx, share_id, replica_id), _active(tx, share_id)
        if share.instance.replica_state is ReplicaState.ACTIVE or share.status is not ShareStatus.AVAILABLE:
            raise Invalid("not now")
        for one in (active, share):
            shares.move(tx, one.instance, Event.PROMOTE, now=world.clock.utc())
        _enqueue(tx, world, share.instance, "promote_share_replica", share_replica_id=replica_id, share_id=share_id)


def resync(world: World, share_id: str, replica_id: str) -> None:
    with world.database.begin() as tx:
        share = _replica(tx, share_id, replica_id)
        if share.status is ShareStatus.AVAILABLE and share.instance.replica_state is not ReplicaState.ACTIVE:
            _enqueue(tx, world, share.instance, "update_share_replica", share_replica_id=replica_id, share_id=share_id)


def snapshot(world: World, share_id: str) -> str:
    with world.database.begin() as tx:
        active = _active(tx, share_id)
        if active.status is not ShareStatus.AVAILABLE:
            raise Invalid("not now")
        made = replace(a_snapshot(active, status=SnapshotStatus.CREATING), created_at=world.clock.utc())
        snapshots.insert_snapshot(tx, made)
        for one in replicas.of_share(tx, share_id):
            if one.instance.id != active.instance.id and one.status is not ShareStatus.DELETING:
                copy = replace(made.instance, id=SnapshotInstanceId(new_id()), share_instance_id=one.instance.id)
                snapshots.insert_instance(tx, copy)
        _enqueue(tx, world, active.instance, "create_replicated_snapshot", snapshot_id=made.id, share_id=share_id)
        return made.id


def delete_snapshot(world: World, snapshot_id: str) -> None:
    with world.database.begin() as tx:
        found = snapshots.get(tx, snapshot_id)
        if found is None or found.status not in (SnapshotStatus.AVAILABLE, SnapshotStatus.ERROR):
            raise Invalid("not now")
        active = _active(tx, found.share_id)
        for instance in snapshots.instances_of(tx, snapshot_id):
            if instance.status is not SnapshotStatus.DELETING:
                snapshots.move(tx, instance, Event.FORCE_DELETE, now=world.clock.utc())
        _enqueue(
            tx, world, active.instance, "delete_replicated_snapshot", snapshot_id=snapshot_id, share_id=found.share_id
        )


def revert(world: World, share_id: str, snapshot_id: str) -> None:
    with world.database.begin() as tx:
        active, found = _active(tx, share_id), snapshots.get(tx, snapshot_id)
        if found is None or found.status is not SnapshotStatus.AVAILABLE or active.status is not ShareStatus.AVAILABLE:
            raise Invalid("not now")
        if found.instance.share_instance_id != active.instance.id:
            raise Conflict("it is elsewhere")
        shares.move(tx, active.instance, Event.REVERT, now=world.clock.utc())
        snapshots.move(tx, found.instance, Event.REVERT, now=world.clock.utc())
        _enqueue(tx, world, active.instance, "revert_to_snapshot", snapshot_id=snapshot_id)


def delete(world: World, share_id: str) -> None:
    """The share with its last replica."""
    with world.database.begin() as tx:
        active = _active(tx, share_id)
        shares.move(tx, active.instance, Event.DELETE, now=world.clock.utc())
        _enqueue(tx, world, active.instance, "delete_share_instance", share_instance_id=active.instance.id)


def _active(tx: Transaction, share_id: str) -> Share:
    found = replicas.active_of(tx, share_id)
    if found is None:
        raise Invalid("there is no active replica")
    return found


def _replica(tx: Transaction, share_id: str, replica_id: str) -> Share:
    found = next((one for one in replicas.of_share(tx, share_id) if one.instance.id == replica_id), None)
    if found is None:
        raise Invalid("there is no such replica")
    return found
