"""Create a share: rows, quota, place and operation in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from penstock.context import RequestContext
from penstock.domain.message_codes import MessageAction
from penstock.domain.new_shares import new_instance, share_with
from penstock.domain.pools import PoolRef, service_host
from penstock.domain.quotas import QuotaResource
from penstock.domain.replication import TYPE_SPEC, parse_replication_type
from penstock.domain.shares import ReplicaState, Share, ShareInstance, ShareProtocol, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.domain.types import ShareType
from penstock.errors import InsufficientCapacity, Invalid, NotFound
from penstock.ids import ShareId, new_id
from penstock.scheduler.requirements import Requirements, SourceOf
from penstock.services import hints, no_room, placement, quotas, share_calls, type_choice
from penstock.services.control_plane import ControlPlane
from penstock.services.rescheduling import asked
from penstock.services.visibility import hold_share, own_snapshot, owner_of, snapshot_to_change
from penstock.store import backends, shares, types
from penstock.store.database import Transaction


@dataclass(frozen=True, slots=True)
class NewShare:
    """What a share is asked for with. `size_gib` None means that of the snapshot; `share_type` is a name or an id.

    The two `checks_*` say what the request's microversion has: the capability of the snapshot's share (2.24) and the
    availability zones of the type (2.48).
    """

    protocol: str
    size_gib: int | None = None
    name: str | None = None
    description: str | None = None
    share_type: str | None = None
    snapshot_id: str | None = None
    is_public: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    availability_zone: str | None = None
    share_network_id: str | None = None
    share_group_id: str | None = None
    hints: hints.Hints = field(default_factory=hints.Hints)
    checks_clone_support: bool = True
    checks_type_zones: bool = True


@dataclass(frozen=True, slots=True)
class _Source:
    """The snapshot a share is made from, and the share it was taken of."""

    snapshot: Snapshot
    share: Share


@dataclass(frozen=True, slots=True)
class _Decided:
    """The request with everything looked up and checked."""

    size_gib: int
    protocol: str
    share_type: ShareType
    source: _Source | None


def create(plane: ControlPlane, context: RequestContext, wanted: NewShare) -> Share:
    """Accept the share: stored as ``creating``, or as ``error`` with a message to its owner when no pool can take it.

    Raises Invalid, NotFound (snapshot, type, zone, network, group, hint), Forbidden, QuotaExceeded. Repeating it makes
    another share.
    """
    with plane.database.begin() as tx:
        owner = owner_of(context)
        _hold_others(tx, context, wanted)
        decided = _decide(tx, plane, context, wanted)
        more = {
            QuotaResource.SHARES: 1,
            QuotaResource.GIGABYTES: decided.size_gib,
            QuotaResource.PER_SHARE_GIGABYTES: decided.size_gib,
        }
        if replication_type(decided.share_type) is not None:
            more |= {QuotaResource.SHARE_REPLICAS: 1, QuotaResource.REPLICA_GIGABYTES: decided.size_gib}
        quotas.check(tx, plane, context, *owner, decided.share_type.id, more)
        near = hints.resolve(tx, context, wanted.hints)
        requirements = _from_where(tx, plane, _requirements(wanted, decided, near, owner), decided)
        pool, reason = _place(tx, plane, requirements)
        share = _share(wanted, decided, owner, plane.clock.utc(), pool, _zone(tx, wanted, pool))
        shares.insert_share(tx, share)
        hints.remember(tx, share.id, wanted.hints)
        if pool is None:
            no_room.tell_of_share(tx, plane, context, share, MessageAction.ALLOCATE_HOST, reason)
        else:
            _enqueue(tx, plane, context, share, asked(requirements))
        return shares.get(tx, share.id) or share


def _hold_others(tx: Transaction, context: RequestContext, wanted: NewShare) -> None:
    """Hold the shares this one will be related to, in one order for all requests."""
    others = {*wanted.hints.same_host, *wanted.hints.different_host}
    if others and wanted.snapshot_id is not None:
        others.add(own_snapshot(tx, context, wanted.snapshot_id).share_id)
    for share_id in sorted(others):
        hold_share(tx, share_id)


def _decide(tx: Transaction, plane: ControlPlane, context: RequestContext, wanted: NewShare) -> _Decided:
    protocol = _protocol(plane, wanted.protocol)
    _check_places(tx, wanted)
    source = _source(tx, plane, context, wanted)
    share_type = _share_type(tx, plane, context, wanted, source)
    if source is None and wanted.share_network_id is None:
        type_choice.check_without_network(share_type)
    if wanted.checks_type_zones:
        type_choice.check_zone(share_type, wanted.availability_zone)
    size_gib = _size(wanted, source)
    type_choice.check_size(share_type, size_gib)
    return _Decided(size_gib, protocol, share_type, source)


def _protocol(plane: ControlPlane, text: str) -> str:
    protocol = text.upper()
    enabled = [name.upper() for name in plane.conf.enabled_share_protocols]
    if protocol not in enabled or protocol not in set(ShareProtocol):
        raise Invalid(f"'{text[:32]}' is not a share protocol served here; use one of {', '.join(enabled)}.")
    return protocol


def _check_places(tx: Transaction, wanted: NewShare) -> None:
    if wanted.availability_zone and wanted.availability_zone not in {zone.name for zone in backends.list_zones(tx)}:
        raise NotFound(f"There is no availability zone '{wanted.availability_zone}'.")
    if wanted.share_network_id is not None:
        raise NotFound(f"There is no share network {wanted.share_network_id}.")
    if wanted.share_group_id is not None:
        raise NotFound(f"There is no share group {wanted.share_group_id}.")


def _source(tx: Transaction, plane: ControlPlane, context: RequestContext, wanted: NewShare) -> _Source | None:
    if wanted.snapshot_id is None:
        return None
    snapshot = snapshot_to_change(tx, context, wanted.snapshot_id)
    if snapshot.aggregate_status is not SnapshotStatus.AVAILABLE:
        raise Invalid(
            f"Snapshot {snapshot.id} is '{snapshot.aggregate_status}'; a share can be made from it when available."
        )
    share = shares.get(tx, snapshot.share_id)
    if share is None:
        raise NotFound(f"There is no share {snapshot.share_id}.")
    if wanted.checks_clone_support and not share.create_share_from_snapshot_support:
        raise Invalid(f"The share type of share {share.id} does not allow shares to be made from its snapshots.")
    zone = share.instance.availability_zone
    is_bound = not plane.conf.use_scheduler_to_create_share_from_snapshot
    if is_bound and wanted.availability_zone not in (None, zone):
        raise Invalid(f"A share from a snapshot is made where the snapshot is: in availability zone '{zone}'.")
    return _Source(snapshot, share)


def _share_type(
    tx: Transaction, plane: ControlPlane, context: RequestContext, wanted: NewShare, source: _Source | None
) -> ShareType:
    asked = None if wanted.share_type is None else type_choice.find(tx, context, wanted.share_type)
    if source is None:
        return asked or type_choice.default(tx, plane)
    type_id = source.share.share_type_id
    of_source = None if type_id is None else types.get(tx, type_id)
    if asked is not None and of_source is not None and asked.id != of_source.id:
        raise Invalid(f"A share from a snapshot has the type of the snapshot's share: '{of_source.name}'.")
    return of_source or asked or type_choice.default(tx, plane)


def _size(wanted: NewShare, source: _Source | None) -> int:
    if source is None:
        if wanted.size_gib is None:
            raise Invalid("Give a 'size' in GiB, a whole number of at least 1.")
        return wanted.size_gib
    smallest = source.snapshot.size_gib
    if wanted.size_gib is not None and wanted.size_gib < smallest:
        raise Invalid(f"A share from snapshot {source.snapshot.id} needs at least its size, {smallest} GiB.")
    return wanted.size_gib or smallest


def _requirements(wanted: NewShare, decided: _Decided, near: hints.Pools, owner: tuple[str, str]) -> Requirements:
    return Requirements(
        size_gib=decided.size_gib,
        protocol=decided.protocol,
        extra_specs=decided.share_type.extra_specs,
        availability_zone=wanted.availability_zone or None,
        same_hosts=near.same,
        different_hosts=near.different,
        hinted_pool=wanted.hints.only_host,
        share={"project_id": owner[0], "user_id": owner[1], "share_type_id": decided.share_type.id},
    )


def _from_where(tx: Transaction, plane: ControlPlane, wanted: Requirements, decided: _Decided) -> Requirements:
    """A share from a snapshot goes where that is, or, where the scheduler may choose, to any pool that can copy it."""
    if decided.source is None:
        return wanted
    home = share_calls.placed_on(decided.source.share.instance)
    if not plane.conf.use_scheduler_to_create_share_from_snapshot:
        return replace(wanted, only_pool=home)
    reports = {str(report.ref): report for report in backends.list_pools(tx)}
    domain = reports[home].capabilities.get("replication_domain") if home in reports else None
    return replace(wanted, source=SourceOf(home, service_host(home), domain))


def _place(tx: Transaction, plane: ControlPlane, requirements: Requirements) -> tuple[PoolRef | None, str]:
    try:
        return placement.place(tx, plane, requirements), ""
    except InsufficientCapacity as refusal:
        return None, refusal.message


def _zone(tx: Transaction, wanted: NewShare, pool: PoolRef | None) -> str | None:
    if pool is None:
        return wanted.availability_zone
    return backends.list_services(tx, host=pool.service_host)[0].availability_zone


def _share(
    wanted: NewShare,
    decided: _Decided,
    owner: tuple[str, str],
    now: datetime,
    pool: PoolRef | None,
    zone: str | None,
) -> Share:
    share_type = decided.share_type
    return share_with(
        first_instance(ShareId(new_id()), share_type, now, pool, zone, ShareStatus.CREATING),
        share_type,
        name=wanted.name,
        description=wanted.description,
        size_gib=decided.size_gib,
        project_id=owner[0],
        user_id=owner[1],
        protocol=decided.protocol,
        replication_type=replication_type(share_type),
        snapshot_id=None if decided.source is None else decided.source.snapshot.id,
        is_public=wanted.is_public,
        metadata=wanted.metadata,
    )


def replication_type(share_type: ShareType) -> str | None:
    """How shares of the type can be replicated; None when they cannot. Raises Invalid for a kind there is not."""
    text = share_type.extra_specs.get(TYPE_SPEC)
    return None if text is None else parse_replication_type(text).value


def first_instance(
    share_id: ShareId,
    share_type: ShareType,
    now: datetime,
    pool: PoolRef | None,
    zone: str | None,
    status: ShareStatus,
) -> ShareInstance:
    """The first instance of a new share. Where the share can be replicated, it is its active replica from the start."""
    state = None if replication_type(share_type) is None else ReplicaState.ACTIVE
    return new_instance(share_id, share_type.id, pool, zone, now, status=status, replica_state=state)


def _enqueue(
    tx: Transaction, plane: ControlPlane, context: RequestContext, share: Share, of_a_place: Mapping[str, Any]
) -> None:
    arguments = {"share_instance_id": share.instance.id, "snapshot_id": share.snapshot_id, **of_a_place}
    share_calls.enqueue(tx, plane, context, share.instance, "create_share_instance", arguments, about=share)
