"""What users ask for about replicas, through the services."""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.access import AccessLevel, AccessType
from penstock.services import access, replica_creation, replicas, share_creation, share_lifecycle, snapshots
from penstock.services.access import NewRule
from penstock.services.replica_creation import NewReplica
from penstock.services.share_creation import NewShare
from penstock.services.snapshots import NewSnapshot
from tests.simulation.replicas.world import World

CONTEXT = RequestContext("u1", "p1", ("member",), is_admin=True)


def create(world: World) -> None:
    """A share, the first of its replicas."""
    share_creation.create(world.plane, CONTEXT, NewShare("NFS", 1, "s"))


def create_replica(world: World, share_id: str) -> None:
    replica_creation.create(world.plane, CONTEXT, NewReplica(share_id))


def delete_replica(world: World, replica_id: str) -> None:
    replicas.delete(world.plane, CONTEXT, replica_id)


def promote(world: World, replica_id: str) -> None:
    replicas.promote(world.plane, CONTEXT, replica_id)


def resync(world: World, replica_id: str) -> None:
    replicas.resync(world.plane, CONTEXT, replica_id)


def snapshot(world: World, share_id: str) -> None:
    snapshots.create(world.plane, CONTEXT, NewSnapshot(share_id))


def delete_snapshot(world: World, snapshot_id: str) -> None:
    snapshots.delete(world.plane, CONTEXT, snapshot_id)


def revert(world: World, share_id: str, snapshot_id: str) -> None:
    share_lifecycle.revert(world.plane, CONTEXT, share_id, snapshot_id)


def allow(world: World, share_id: str, address: str) -> None:
    access.allow(world.plane, CONTEXT, share_id, NewRule(AccessType.IP, address, AccessLevel.RW))


def delete(world: World, share_id: str) -> None:
    """The share with its last replica."""
    share_lifecycle.delete(world.plane, CONTEXT, share_id)
