"""Move a share to another pool: accept it, complete it, cancel it, and say how far it is. Administrators only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction
from penstock.domain.migration import (
    ACTIVE,
    NOT_BEGUN,
    PHASE1_DONE,
    Migration,
    MigrationFlags,
    TaskState,
    Turn,
    call_of,
)
from penstock.domain.pools import PoolRef
from penstock.domain.quotas import QuotaResource
from penstock.domain.shares import AccessRulesStatus, Share, ShareInstance, ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.domain.types import ShareType
from penstock.errors import Conflict, InsufficientCapacity, Invalid, InvalidShare, NotFound
from penstock.ids import InstanceId, ShareTypeId, new_id
from penstock.scheduler.requirements import Requirements
from penstock.services import no_room, placement, quotas, share_calls, type_choice
from penstock.services.control_plane import ControlPlane
from penstock.services.visibility import changeable_share, own_share
from penstock.store import backends, instances, share_migrations, shares, snapshots, types
from penstock.store.database import Transaction

__all__ = ["MigrationFlags", "NewMigration", "Progress", "cancel", "complete", "progress", "start"]


@dataclass(frozen=True, slots=True)
class NewMigration:
    """Where to, and what it is to hold to. `host` is ``host@backend#pool``; `share_type` an id, None to keep it."""

    host: str
    flags: MigrationFlags
    share_type: str | None = None
    share_network: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a migration is, in percent of the first phase. `migration` has the rest, None where there is no row."""

    total_percent: int
    task_state: str
    migration: Migration | None


def start(plane: ControlPlane, context: RequestContext, share_id: str, wanted: NewMigration) -> bool:
    """Accept the migration; False when the share is there and so already.

    A destination that exists but does not fit ends it at once: state ``migration_error``, and a message with the
    reasons. Raises NotFound (share, pool), Invalid (state of share, rules or snapshots, type and its zones, network,
    service down), Conflict (replicas; snapshots that host-assisted migration would lose; an earlier migration not
    cleaned up).
    """
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)
        pool = _pool(tx, plane, wanted.host)
        share_type = _type(tx, share, wanted)
        now = plane.clock.utc()
        if str(pool) == share.instance.host and (share_type is None or share_type.id == share.share_type_id):
            shares.update_share(tx, share.id, now=now, task_state=TaskState.SUCCESS)
            return False
        _check_movable(tx, share, wanted)
        if share_type is not None:
            type_choice.check_zone(share_type, _zone(tx, pool))
        refusal = _refusal(tx, plane, share, pool, share_type)
        destination = _destination(tx, plane, share, pool, share_type)
        migration = _migration(share, destination, wanted, share_type)
        if refusal is not None:
            share_migrations.put(tx, replace(migration, is_unfinished=False, note=refusal))
            shares.update_share(tx, share.id, now=now, task_state=TaskState.ERROR)
            no_room.tell_of_share(tx, plane, context, share, MessageAction.ALLOCATE_HOST, refusal)
            return True
        instances.insert_instance(tx, destination)
        for snapshot_id in share_migrations.snapshots_of(tx, share.id):
            snapshot = snapshots.get(tx, snapshot_id)
            assert snapshot is not None  # noqa: S101 - read in this transaction
            snapshots.move(tx, snapshot.instance, Event.MIGRATE, now=now)
            new = share_migrations.destination_of(snapshot, destination.id, new_id(), now)
            snapshots.insert_instance(tx, new)
        shares.move(tx, share.instance, Event.MIGRATE, now=now)
        shares.update_share(tx, share.id, now=now, task_state=TaskState.STARTING)
        share_migrations.put(tx, migration)
        _enqueue(tx, plane, context, share, migration, Turn.START)
        return True


def complete(plane: ControlPlane, context: RequestContext, share_id: str) -> None:
    """Accept the switch. Raises NotFound, Invalid (the first phase is not done). Safe to repeat."""
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)
        migration = _current(tx, share)
        if migration is None or share.task_state not in PHASE1_DONE:
            raise InvalidShare(f"The first phase of the migration of share {share.id} is not done yet.")
        share_migrations.move_task(tx, share, TaskState.COMPLETING, now=plane.clock.utc())
        share_migrations.update_migration(tx, share.id, now=plane.clock.utc(), note=None)
        _enqueue(tx, plane, context, share, migration, Turn.COMPLETE)


def cancel(plane: ControlPlane, context: RequestContext, share_id: str) -> None:
    """Ask for the end of the migration, with the share as it was; what copies stops within seconds.

    One that is being completed is cancelled when that comes before the switch. Raises NotFound, Invalid (nothing to
    cancel). Safe to repeat.
    """
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)
        migration = _current(tx, share)
        if migration is None:
            raise InvalidShare(f"Share {share.id} is not being migrated, so nothing can be cancelled.")
        if migration.cancel_requested:
            return
        share_migrations.update_migration(tx, share.id, now=plane.clock.utc(), cancel_requested=True)
        _enqueue(tx, plane, context, share, migration, Turn.CANCEL)


def progress(plane: ControlPlane, context: RequestContext, share_id: str) -> Progress:
    """How far the share's latest migration is. Raises NotFound, Invalid (there was none)."""
    with plane.database.read() as tx:
        share = own_share(tx, context, share_id)
        if share.task_state is None:
            raise InvalidShare(f"Share {share.id} was not migrated, so there is no progress of it.")
        migration = share_migrations.get(tx, share.id)
        return Progress(_percent(share.task_state, migration), share.task_state, migration)


def of_share(plane: ControlPlane, context: RequestContext, share_id: str) -> Migration | None:
    """The share's latest migration. Raises NotFound."""
    with plane.database.read() as tx:
        return share_migrations.get(tx, own_share(tx, context, share_id).id)


def _percent(task_state: str, migration: Migration | None) -> int:
    """As published: 0 before the first phase, 100 after it, however it ended."""
    if task_state in NOT_BEGUN:
        return 0
    if task_state in (TaskState.DRIVER_IN_PROGRESS, TaskState.DATA_COPYING_IN_PROGRESS):
        return 0 if migration is None else migration.percent or 0
    return 100


# --- what is checked --------------------------------------------------------------------------------------------------


def _pool(tx: Transaction, plane: ControlPlane, host: str) -> PoolRef:
    """The pool of that name, whose service is up. Raises NotFound, Invalid."""
    try:
        pool = PoolRef.parse(host)
    except Invalid as err:
        raise NotFound(err.message) from err
    services = backends.list_services(tx, binary=placement.SHARE_BINARY, host=pool.service_host)
    if not services or pool not in {report.ref for report in backends.list_pools(tx)}:
        raise NotFound(f"There is no pool '{host}'; see 'pools' for those that are reported.")
    heard_at = services[0].updated_at or services[0].created_at
    if heard_at < plane.clock.utc() - timedelta(seconds=plane.conf.service_down_time):
        raise Invalid(f"The service {pool.service_host} is down.")
    return pool


def _type(tx: Transaction, share: Share, wanted: NewMigration) -> ShareType | None:
    """The type the share will have. Raises Invalid, as published, for what does not exist."""
    if wanted.share_network is not None:
        raise Invalid(f"There is no share network {wanted.share_network[:64]}.")
    if wanted.share_type is None:
        return None if share.share_type_id is None else types.get(tx, share.share_type_id)
    try:
        share_type = type_choice.find_any(tx, wanted.share_type)
    except NotFound as err:
        raise Invalid(err.message) from err
    type_choice.check_without_network(share_type)
    if share_type.id != share.share_type_id:
        type_choice.check_size(share_type, share.size_gib)
        if shares.has_snapshots(tx, share.id) and not share_type.claims("snapshot_support"):
            raise Invalid(f"Share {share.id} has snapshots, and share type '{share_type.name}' does not allow them.")
        more = {QuotaResource.SHARES: 1, QuotaResource.GIGABYTES: share.size_gib}
        quotas.check_type(tx, share.project_id, share_type.id, more)
    return share_type


def _check_movable(tx: Transaction, share: Share, wanted: NewMigration) -> None:
    share_calls.placed_on(share.instance)
    if share.replication_type is not None and len(instances.of_share(tx, share.id)) > 1:
        raise Conflict(f"Share {share.id} has replicas; delete them before it is migrated.")
    former = share_migrations.get(tx, share.id)
    if former is not None and former.is_unfinished and share.task_state not in ACTIVE:
        raise Conflict(f"The last migration of share {share.id} was not cleaned up: cancel it first.")
    if share.share_group_id is not None:
        raise InvalidShare(f"Share {share.id} is in a share group; such shares are not migrated.")
    if share.status is not ShareStatus.AVAILABLE or share.task_state in ACTIVE:
        raise InvalidShare(f"Share {share.id} is '{share.status}'; it can be migrated when it is available.")
    if share.instance.access_rules_status is not AccessRulesStatus.ACTIVE:
        raise InvalidShare(
            f"The access rules of share {share.id} are '{share.instance.access_rules_status}'; they must be active."
        )
    found = [snapshots.get(tx, snapshot_id) for snapshot_id in share_migrations.snapshots_of(tx, share.id)]
    if found and wanted.flags.force_host_assisted:
        raise Conflict(f"Share {share.id} has snapshots, which a host-assisted migration would lose.")
    busy = [snapshot for snapshot in found if snapshot is not None and snapshot.status is not SnapshotStatus.AVAILABLE]
    if busy:
        raise InvalidShare(f"Snapshot {busy[0].id} is '{busy[0].status}'; all snapshots must be available.")
    if any(shares.is_being_cloned(tx, snapshot.id) for snapshot in found if snapshot is not None):
        raise InvalidShare(f"A share is being made from a snapshot of share {share.id}; migrate it when that is done.")


def _refusal(
    tx: Transaction, plane: ControlPlane, share: Share, pool: PoolRef, share_type: ShareType | None
) -> str | None:
    """Why the pool cannot take the share; None when it can."""
    is_elsewhere = str(pool) != share.instance.host
    requirements = Requirements(
        size_gib=share.size_gib if is_elsewhere else 0,  # there already, and a change of type may be made in place
        protocol=share.protocol,
        extra_specs={} if share_type is None else share_type.extra_specs,
        only_pool=str(pool),
    )
    try:
        placement.place(tx, plane, requirements)
    except InsufficientCapacity as refusal:
        return refusal.message
    return None


# --- what is stored ---------------------------------------------------------------------------------------------------


def _zone(tx: Transaction, pool: PoolRef) -> str:
    return backends.list_services(tx, binary=placement.SHARE_BINARY, host=pool.service_host)[0].availability_zone


def _destination(
    tx: Transaction, plane: ControlPlane, share: Share, pool: PoolRef, share_type: ShareType | None
) -> ShareInstance:
    """The instance that will speak for the share. It is stored now, so that its space is promised."""
    now = plane.clock.utc()
    return replace(
        share.instance,
        id=InstanceId(new_id()),
        host=str(pool),
        status=ShareStatus.MIGRATING_TO,
        replica_state=None,  # there are never two active ones; it is written with the switch
        availability_zone=_zone(tx, pool),
        share_type_id=None if share_type is None else share_type.id,
        progress=None,
        provider_location=None,
        scheduled_at=now,
        launched_at=None,
        terminated_at=None,
        created_at=now,
        updated_at=None,
    )


def _migration(
    share: Share, destination: ShareInstance, wanted: NewMigration, share_type: ShareType | None
) -> Migration:
    is_other_type = share_type is not None and share_type.id != share.share_type_id
    return Migration(
        share_id=share.id,
        source_instance_id=share.instance.id,
        destination_instance_id=destination.id,
        destination_host=destination.host or "",
        flags=wanted.flags,
        new_share_type_id=ShareTypeId(share_type.id) if share_type is not None and is_other_type else None,
        is_unfinished=True,
        is_host_assisted=None,
        cancel_requested=False,
        moved_bytes=None,
        total_bytes=None,
        eta_s=None,
        note=None,
        destination_connection=None,
        created_at=destination.created_at,
        updated_at=None,
    )


def _enqueue(
    tx: Transaction, plane: ControlPlane, context: RequestContext, share: Share, migration: Migration, turn: Turn
) -> None:
    call = call_of(migration, turn, share_calls.placed_on(share.instance))
    plane.operations.enqueue(tx, context, call)


def _current(tx: Transaction, share: Share) -> Migration | None:
    migration = share_migrations.get(tx, share.id)
    return migration if migration is not None and migration.is_unfinished else None
