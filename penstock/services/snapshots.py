"""Take, show, rename and delete snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.quotas import QuotaResource
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotInstance, SnapshotOf, SnapshotStatus
from penstock.errors import Conflict, Invalid, InvalidShare, NotFound, Unprocessable
from penstock.ids import InstanceId, SnapshotId, SnapshotInstanceId, new_id
from penstock.services import quotas, share_calls
from penstock.services.control_plane import ControlPlane
from penstock.services.paging import Page
from penstock.services.visibility import changeable_share, own_snapshot, snapshot_to_change
from penstock.store import replicas, shares, snapshots
from penstock.store.database import Transaction
from penstock.store.snapshots import SnapshotFilter

__all__ = [
    "SORT_KEYS",
    "ListedSnapshots",
    "NewSnapshot",
    "SnapshotFilter",
    "create",
    "delete",
    "force_delete",
    "get",
    "list_snapshots",
    "reset_status",
    "update",
]
SORT_KEYS = tuple(snapshots.SORTABLE)
RESETTABLE = (
    SnapshotStatus.AVAILABLE,
    SnapshotStatus.ERROR,
    SnapshotStatus.CREATING,
    SnapshotStatus.DELETING,
    SnapshotStatus.ERROR_DELETING,
)
FORCEABLE = (ShareStatus.AVAILABLE, ShareStatus.EXTENDING, ShareStatus.SHRINKING)


@dataclass(frozen=True, slots=True)
class NewSnapshot:
    """What a snapshot is asked for with. `force` takes it after a resize that is under way."""

    share_id: str
    name: str | None = None
    description: str | None = None
    force: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListedSnapshots:
    """One page of snapshots; `count` of all that match when it was asked for."""

    items: list[Snapshot]
    count: int | None


def create(plane: ControlPlane, context: RequestContext, wanted: NewSnapshot) -> Snapshot:
    """Accept the snapshot. Raises NotFound, Forbidden, Invalid (state), Unprocessable (the type), QuotaExceeded."""
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, wanted.share_id)
        _check_snapshots_possible(share, force=wanted.force)
        more = {QuotaResource.SNAPSHOTS: 1, QuotaResource.SNAPSHOT_GIGABYTES: share.size_gib}
        quotas.check(tx, plane, context, share.project_id, share.user_id, share.share_type_id, more)
        snapshot = new_snapshot(share, wanted, plane.clock.utc(), SnapshotStatus.CREATING)
        snapshots.insert_snapshot(tx, snapshot)
        if share.has_replicas:
            _add_copies(tx, share, snapshot)
        arguments = {"share_id": share.id, "snapshot_id": snapshot.id}
        if share.has_replicas:
            share_calls.enqueue(tx, plane, context, share.instance, "create_replicated_snapshot", arguments)
        else:
            about = SnapshotOf(snapshot, share)
            share_calls.enqueue(tx, plane, context, share.instance, "create_snapshot", arguments, about=about)
        return snapshot


def new_snapshot(
    share: Share,
    wanted: NewSnapshot,
    now: datetime,
    status: SnapshotStatus,
    *,
    provider_location: str | None = None,
) -> Snapshot:
    """The rows of a new snapshot of `share`, in `status`."""
    snapshot_id = SnapshotId(new_id())
    return Snapshot(
        id=snapshot_id,
        share_id=share.id,
        name=wanted.name,
        description=wanted.description,
        project_id=share.project_id,
        user_id=share.user_id,
        size_gib=share.size_gib,
        share_size_gib=share.size_gib,
        share_protocol=share.protocol,
        metadata=dict(wanted.metadata),
        created_at=now,
        updated_at=None,
        instance=SnapshotInstance(
            id=SnapshotInstanceId(new_id()),
            snapshot_id=snapshot_id,
            share_instance_id=share.instance.id,
            status=status,
            progress="0%",
            provider_location=provider_location,
            created_at=now,
            updated_at=None,
        ),
    )


def get(plane: ControlPlane, context: RequestContext, snapshot_id: str) -> Snapshot:
    """The snapshot. Raises NotFound."""
    with plane.database.read() as tx:
        return own_snapshot(tx, context, snapshot_id)


def list_snapshots(
    plane: ControlPlane,
    context: RequestContext,
    wanted: SnapshotFilter,
    page: Page,
    *,
    all_projects: bool = False,
    with_count: bool = False,
) -> ListedSnapshots:
    """One page of the caller's snapshots; of all projects' when policy let the caller say so."""
    if not all_projects:
        wanted = replace(wanted, project_id=context.project_id)
    with plane.database.read() as tx:
        count = snapshots.count_snapshots(tx, wanted) if with_count else None
        return ListedSnapshots(snapshots.list_snapshots(tx, wanted, page), count)


def update(
    plane: ControlPlane, context: RequestContext, snapshot_id: str, name: str | None, description: str | None
) -> Snapshot:
    """Change name or description; None leaves it. Raises NotFound. Safe to repeat."""
    wanted = {"display_name": name, "display_description": description}
    values = {column: value for column, value in wanted.items() if value is not None}
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        if values:
            snapshots.update_snapshot(tx, snapshot.id, now=plane.clock.utc(), **values)
        return own_snapshot(tx, context, snapshot_id)


def delete(plane: ControlPlane, context: RequestContext, snapshot_id: str) -> None:
    """Accept the deletion. Raises NotFound, Invalid (a state that does not allow it), Conflict (being cloned)."""
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        if snapshot.status is SnapshotStatus.MANAGE_ERROR:
            raise Invalid(f"Snapshot {snapshot.id} was never taken over; unmanage it instead of deleting it.")
        _remove(tx, plane, context, snapshot, Event.DELETE)


def force_delete(plane: ControlPlane, context: RequestContext, snapshot_id: str) -> None:
    """The same in any state, for administrators. Raises NotFound, Conflict (being cloned)."""
    with plane.database.begin() as tx:
        _remove(tx, plane, context, snapshot_to_change(tx, context, snapshot_id), Event.FORCE_DELETE)


def reset_status(plane: ControlPlane, context: RequestContext, snapshot_id: str, status: str) -> None:
    """Write a state by hand. Raises NotFound, Invalid. Safe to repeat."""
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        snapshots.reset_status(tx, snapshot.instance.id, resettable(status), now=plane.clock.utc())


def resettable(status: str) -> SnapshotStatus:
    """The state an administrator may write. Raises Invalid."""
    try:
        return RESETTABLE[RESETTABLE.index(status)]
    except ValueError:
        raise Invalid(f"'{status[:64]}' cannot be set; use one of {', '.join(RESETTABLE)}.") from None


def share_of(tx: Transaction, snapshot: Snapshot) -> Share:
    """The share the snapshot was taken of. Raises NotFound."""
    share = shares.get(tx, snapshot.share_id)
    if share is None:
        raise NotFound(f"There is no share {snapshot.share_id}.")
    return share


def _add_copies(tx: Transaction, share: Share, snapshot: Snapshot) -> None:
    """One instance of the snapshot for each further replica that is, or will be, somewhere."""
    for one in replicas.of_share(tx, share.id):
        replica = one.instance
        if replica.id == share.instance.id or replica.host is None or replica.status is ShareStatus.DELETING:
            continue
        snapshots.insert_instance(tx, new_copy(snapshot.instance, replica.id, snapshot.created_at))


def new_copy(of: SnapshotInstance, instance_id: InstanceId, now: datetime) -> SnapshotInstance:
    """The instance of the same snapshot on another replica, which is yet to get it."""
    return replace(
        of,
        id=SnapshotInstanceId(new_id()),
        share_instance_id=instance_id,
        status=SnapshotStatus.CREATING,
        progress="0%",
        provider_location=None,
        created_at=now,
        updated_at=None,
    )


def _check_snapshots_possible(share: Share, *, force: bool) -> None:
    if not share.snapshot_support:
        raise Unprocessable(f"The share type of share {share.id} does not allow snapshots.")
    if share.status not in (FORCEABLE if force else (ShareStatus.AVAILABLE,)):
        raise InvalidShare(f"Share {share.id} is '{share.status}'; a snapshot can be taken when it is available.")


def _remove(tx: Transaction, plane: ControlPlane, context: RequestContext, snapshot: Snapshot, event: Event) -> None:
    if shares.is_being_cloned(tx, snapshot.id):
        raise Conflict(f"A share is being made from snapshot {snapshot.id}; delete it when that is done.")
    now = plane.clock.utc()
    snapshots.move(tx, snapshot.instance, event, now=now)
    copies = [one for one in snapshots.instances_of(tx, snapshot.id) if one.id != snapshot.instance.id]
    for copy in copies:  # whatever has become of them: they go with it
        snapshots.move(tx, copy, Event.FORCE_DELETE, now=now)
    share = share_of(tx, snapshot)
    if share.instance.host is None:
        snapshots.delete_snapshot(tx, snapshot.id)
        return
    arguments: dict[str, Any] = {"snapshot_id": snapshot.id, "force": event is Event.FORCE_DELETE}
    method = "delete_snapshot"
    if copies or share.has_replicas:
        method = "delete_replicated_snapshot"
        arguments["share_id"] = share.id
    share_calls.enqueue(tx, plane, context, share.instance, method, arguments)
