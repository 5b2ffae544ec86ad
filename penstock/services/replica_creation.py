"""Create a replica: rows, quota, place and operation in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from penstock.context import RequestContext
from penstock.domain.new_shares import new_instance
from penstock.domain.pools import PoolRef, service_host
from penstock.domain.quotas import QuotaResource
from penstock.domain.replication import ReplicationType, parse_replication_type
from penstock.domain.shares import AccessRulesStatus, ReplicaState, Share, ShareInstance, ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.domain.types import ShareType
from penstock.errors import InsufficientCapacity, Invalid, InvalidShare, NotFound
from penstock.scheduler.requirements import ReplicaOf, Requirements
from penstock.services import no_room, placement, quotas, replica_views, share_calls, type_choice
from penstock.services.control_plane import ControlPlane
from penstock.services.replica_views import SeenReplica
from penstock.services.replicated import refuse_moving
from penstock.services.snapshots import new_copy
from penstock.services.visibility import changeable_share
from penstock.store import access, backends, instances, snapshots, types
from penstock.store.database import Transaction
from penstock.store.snapshots import SnapshotFilter

# Of these the new replica gets a copy.
CARRIED = (SnapshotStatus.AVAILABLE, SnapshotStatus.CREATING, SnapshotStatus.RESTORING)
# Of these it may get one: while the source has them a sync brings them along, and they are to go from here, too.
LEAVING = (SnapshotStatus.DELETING, SnapshotStatus.ERROR_DELETING)


@dataclass(frozen=True, slots=True)
class NewReplica:
    """What a replica is asked for with. `only_host` is the name of the one pool an administrator wants it on."""

    share_id: str
    availability_zone: str | None = None
    share_network_id: str | None = None
    only_host: str | None = None
    checks_type_zones: bool = True


def create(plane: ControlPlane, context: RequestContext, wanted: NewReplica) -> SeenReplica:
    """Accept the replica: stored as ``creating``, or as ``error`` with a message to its owner when no pool can take it.

    Raises NotFound (share, network), Forbidden, Invalid (the type does not replicate or in a way that nothing here
    does, the share's state, zone), QuotaExceeded. Repeating it makes another replica.
    """
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, wanted.share_id)
        share_type = _type(tx, share)
        _check(tx, plane, share, share_type, wanted)
        more = {QuotaResource.SHARE_REPLICAS: 1, QuotaResource.REPLICA_GIGABYTES: share.size_gib}
        quotas.check(tx, plane, context, share.project_id, share.user_id, share.share_type_id, more)
        pool, reason = _place(tx, plane, share, share_type, wanted)
        instance = _instance(share, pool, _zone(tx, wanted, pool), plane.clock.utc())
        instances.insert_instance(tx, instance)
        stored = replace(share, instance=instance)
        if pool is None:
            no_room.tell_of_replica(tx, plane, context, stored, reason)
        else:
            _fill(tx, plane, context, stored)
        return replica_views.seen(tx, plane, replica_views.own_replica(tx, context, instance.id))


def _type(tx: Transaction, share: Share) -> ShareType | None:
    return None if share.share_type_id is None else types.get(tx, share.share_type_id)


def _check(
    tx: Transaction, plane: ControlPlane, share: Share, share_type: ShareType | None, wanted: NewReplica
) -> None:
    if share.replication_type is None:
        raise Invalid(f"The share type of share {share.id} has no 'replication_type', so it cannot have replicas.")
    _check_offered(tx, plane, parse_replication_type(share.replication_type))
    if share.status is not ShareStatus.AVAILABLE:
        raise InvalidShare(f"Share {share.id} is '{share.status}'; it can have a replica made when it is available.")
    if share.instance.replica_state is not ReplicaState.ACTIVE:
        raise InvalidShare(f"Share {share.id} has no active replica to make another of; promote one first.")
    refuse_moving(share, "make replicas of it")
    if wanted.availability_zone and wanted.availability_zone not in {zone.name for zone in backends.list_zones(tx)}:
        raise Invalid(f"There is no availability zone '{wanted.availability_zone}'.")
    if share_type is not None and wanted.checks_type_zones:
        type_choice.check_zone(share_type, wanted.availability_zone)
    if wanted.share_network_id is not None:
        raise NotFound(f"There is no share network {wanted.share_network_id}.")


def _check_offered(tx: Transaction, plane: ControlPlane, kind: ReplicationType) -> None:
    """Refuse at once what no backend will ever do, whatever the size or the zone."""
    offered = {
        name
        for candidate in placement.candidates(tx, plane)
        for name in _kinds(candidate.report.capabilities.get("replication_type"))
    }
    if kind not in offered:
        what = f"; what is offered is {', '.join(sorted(offered))}" if offered else ""
        raise Invalid(f"No storage backend replicates as '{kind}'{what}.")


def _kinds(said: object) -> list[str]:
    if isinstance(said, list | tuple):
        return [str(one) for one in said]
    return [str(said)] if said else []


def _place(
    tx: Transaction, plane: ControlPlane, share: Share, share_type: ShareType | None, wanted: NewReplica
) -> tuple[PoolRef | None, str]:
    taken = frozenset(one.host for one in instances.of_share(tx, share.id) if one.host is not None)
    domain = _domain(tx, share.instance)
    if domain is None:
        return None, f"The share's own pool, {share.instance.host}, is in no replication domain."
    requirements = Requirements(
        size_gib=share.size_gib,
        protocol=share.protocol,
        extra_specs={} if share_type is None else share_type.extra_specs,
        availability_zone=wanted.availability_zone or None,
        hinted_pool=wanted.only_host,
        replica_of=ReplicaOf(domain, taken, frozenset(service_host(host) for host in taken)),
        share={"project_id": share.project_id, "user_id": share.user_id, "share_type_id": share.share_type_id},
    )
    try:
        return placement.place(tx, plane, requirements), ""
    except InsufficientCapacity as refusal:
        return None, refusal.message


def _domain(tx: Transaction, active: ShareInstance) -> str | None:
    reports = {str(report.ref): report for report in backends.list_pools(tx)}
    report = reports.get(active.host or "")
    found = None if report is None else report.capabilities.get("replication_domain")
    return str(found) if found else None


def _zone(tx: Transaction, wanted: NewReplica, pool: PoolRef | None) -> str | None:
    if pool is None:
        return wanted.availability_zone
    return backends.list_services(tx, host=pool.service_host)[0].availability_zone


def _instance(share: Share, pool: PoolRef | None, zone: str | None, now: datetime) -> ShareInstance:
    return new_instance(
        share.id,
        share.share_type_id,
        pool,
        zone,
        now,
        status=ShareStatus.CREATING,
        replica_state=ReplicaState.OUT_OF_SYNC,
        cast_rules_to_readonly=share.replication_type == ReplicationType.READABLE,
        epoch=share.instance.epoch,
    )


def _fill(tx: Transaction, plane: ControlPlane, context: RequestContext, share: Share) -> None:
    """Give the new replica the share's rules and snapshots, to be applied and copied, and let it be made."""
    now, instance = plane.clock.utc(), share.instance
    if access.add_instance(tx, share.id, instance.id, now=now):
        syncing = AccessRulesStatus.SYNCING
        instances.update_instance(tx, instance.id, now=now, access_rules_status=syncing)
    for snapshot in snapshots.list_snapshots(tx, SnapshotFilter(share_id=share.id)):
        if snapshot.status in CARRIED:
            snapshots.insert_instance(tx, new_copy(snapshot.instance, instance.id, now))
        elif snapshot.status in LEAVING:
            leaving = replace(new_copy(snapshot.instance, instance.id, now), status=snapshot.status)
            snapshots.insert_instance(tx, leaving)
    share_calls.enqueue(
        tx,
        plane,
        context,
        instance,
        "create_share_replica",
        {"share_replica_id": instance.id, "share_id": share.id},
    )
