"""Take existing shares and snapshots under management, and let them go. For administrators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.new_shares import share_with
from penstock.domain.pools import PoolRef
from penstock.domain.quotas import QuotaResource
from penstock.domain.replication import TYPE_SPEC
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.domain.types import ShareType
from penstock.errors import Conflict, Forbidden, Invalid, InvalidShare, NotFound
from penstock.ids import ShareId, new_id
from penstock.services import hints, quotas, share_calls, share_creation, snapshots, type_choice
from penstock.services.control_plane import ControlPlane
from penstock.services.placement import SHARE_BINARY
from penstock.services.replicated import refuse_replicas
from penstock.services.visibility import changeable_share, owner_of, snapshot_to_change
from penstock.store import backends, instances, shares, snapshot_instances
from penstock.store import snapshots as snapshot_rows
from penstock.store.database import Transaction, hold


@dataclass(frozen=True, slots=True)
class ExistingShare:
    """An export on a backend. `service_host` is ``host@backend#pool``; `share_type` is a name or an id."""

    service_host: str
    export_path: str
    protocol: str
    share_type: str | None = None
    name: str | None = None
    description: str | None = None
    is_public: bool = False
    driver_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExistingSnapshot:
    """A snapshot on a backend, by the backend's own name."""

    share_id: str
    provider_location: str
    name: str | None = None
    description: str | None = None
    driver_options: Mapping[str, str] = field(default_factory=dict)


def manage_share(plane: ControlPlane, context: RequestContext, existing: ExistingShare) -> Share:
    """Accept an existing export as a share of the caller's project; its size is found out by the backend.

    Raises NotFound (service, type), Invalid (host form, service down), Conflict (a share already), QuotaExceeded.
    """
    now = plane.clock.utc()
    with plane.database.begin() as tx:
        project_id, user_id = owner_of(context)
        pool, zone = _pool(tx, plane, existing.service_host)
        share_type = _type(tx, plane, context, existing.share_type)
        type_choice.check_without_network(share_type)
        hold(tx, f"export {existing.service_host} {existing.export_path}")
        _check_not_managed(tx, existing)
        more = {QuotaResource.SHARES: 1}
        if share_type.extra_specs.get(TYPE_SPEC):
            more[QuotaResource.SHARE_REPLICAS] = 1
        quotas.check(tx, plane, context, project_id, user_id, share_type.id, more)
        share = share_with(
            share_creation.first_instance(ShareId(new_id()), share_type, now, pool, zone, ShareStatus.MANAGING),
            share_type,
            name=existing.name,
            description=existing.description,
            size_gib=0,
            project_id=project_id,
            user_id=user_id,
            protocol=existing.protocol.upper(),
            replication_type=share_creation.replication_type(share_type),
            is_public=existing.is_public,
        )
        shares.insert_share(tx, share)
        instances.put_export_locations(tx, share.instance.id, [{"path": existing.export_path}], now=now)
        arguments = {"share_id": share.id, "driver_options": dict(existing.driver_options)}
        share_calls.enqueue(tx, plane, context, share.instance, "manage_share", arguments)
        return share


def unmanage_share(plane: ControlPlane, context: RequestContext, share_id: str) -> None:
    """Accept to forget the share and leave its data where they are.

    Raises NotFound, Forbidden (as published: snapshots, or an operation under way), Conflict (replicas).
    """
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)
        refuse_replicas(share, "unmanaged")
        if shares.has_snapshots(tx, share.id):
            raise Forbidden(f"Share {share.id} has snapshots; unmanage or delete them first.")
        try:
            shares.move(tx, share.instance, Event.UNMANAGE, now=plane.clock.utc())
        except InvalidShare as err:
            raise Forbidden(err.message) from err
        hints.forget(tx, share.id, share.metadata)
        if share.instance.host is None:
            shares.delete_share(tx, share.id)
            return
        share_calls.enqueue(tx, plane, context, share.instance, "unmanage_share", {"share_id": share.id})


def manage_snapshot(plane: ControlPlane, context: RequestContext, existing: ExistingSnapshot) -> Snapshot:
    """Accept an existing snapshot of a share. Raises NotFound, QuotaExceeded, Conflict (it is one
    already, or the share is busy)."""
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, existing.share_id)
        share_calls.placed_on(share.instance)
        refuse_replicas(share, "given existing snapshots")
        if share.status is not ShareStatus.AVAILABLE:
            raise Conflict(
                f"Share {share.id} is '{share.status}'; its snapshots can be taken over when it is available."
            )
        known = snapshot_instances.list_all(
            tx, share_instance_id=share.instance.id, provider_location=existing.provider_location
        )
        if any(found.instance.status is not SnapshotStatus.MANAGE_ERROR for found in known):
            raise Conflict(f"'{existing.provider_location}' is snapshot {known[0].instance.snapshot_id} already.")
        more = {QuotaResource.SNAPSHOTS: 1, QuotaResource.SNAPSHOT_GIGABYTES: share.size_gib}
        quotas.check(tx, plane, context, share.project_id, share.user_id, share.share_type_id, more)
        wanted = snapshots.NewSnapshot(share.id, existing.name, existing.description)
        snapshot = snapshots.new_snapshot(
            share,
            wanted,
            plane.clock.utc(),
            SnapshotStatus.MANAGING,
            provider_location=existing.provider_location,
        )
        snapshot_rows.insert_snapshot(tx, snapshot)
        arguments = {"snapshot_id": snapshot.id, "driver_options": dict(existing.driver_options)}
        share_calls.enqueue(tx, plane, context, share.instance, "manage_snapshot", arguments)
        return snapshot


def unmanage_snapshot(plane: ControlPlane, context: RequestContext, snapshot_id: str) -> None:
    """Accept to forget the snapshot and leave it where it is. Raises NotFound, Forbidden (an operation
    under way), Conflict (the share has replicas)."""
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        share = snapshots.share_of(tx, snapshot)
        refuse_replicas(share, "relieved of snapshots without deleting them")
        try:
            snapshot_rows.move(tx, snapshot.instance, Event.UNMANAGE, now=plane.clock.utc())
        except InvalidShare as err:
            raise Forbidden(err.message) from err
        share_calls.enqueue(tx, plane, context, share.instance, "unmanage_snapshot", {"snapshot_id": snapshot.id})


def _pool(tx: Transaction, plane: ControlPlane, text: str) -> tuple[PoolRef, str]:
    """The pool called `text` and its zone."""
    host, _, pool = text.partition("#")
    if not pool:
        raise Invalid(f"'{text[:64]}' names no pool; 'service_host' has the form host@backend#pool.")
    services = backends.list_services(tx, binary=SHARE_BINARY, host=host)
    if not services:
        raise NotFound(f"There is no share service '{host}'.")
    service = services[0]
    oldest = plane.clock.utc() - timedelta(seconds=plane.conf.service_down_time)
    if (service.updated_at or service.created_at) < oldest:
        raise Invalid(f"The share service '{host}' is down.")
    return PoolRef.parse(text), service.availability_zone


def _type(tx: Transaction, plane: ControlPlane, context: RequestContext, name_or_id: str | None) -> ShareType:
    if name_or_id:
        return type_choice.find(tx, context, name_or_id)
    return type_choice.default(tx, plane)


def _check_not_managed(tx: Transaction, existing: ExistingShare) -> None:
    for instance in instances.list_all(tx, export_location_path=existing.export_path):
        if instance.host == existing.service_host and instance.status is not ShareStatus.MANAGE_ERROR:
            raise Conflict(f"'{existing.export_path}' is share {instance.share_id} already.")
