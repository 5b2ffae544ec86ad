"""Snapshots of all volumes of a group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.context import RequestContext
from penstock.domain.volume_groups import GroupEvent, GroupSnapshot, GroupStatus
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.errors import Conflict, Invalid, NotFound
from penstock.ids import GroupSnapshotId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.paging import KeysetPage
from penstock.services.visibility import owns
from penstock.services.volumes import snapshots
from penstock.services.volumes.groups import enqueue, resettable
from penstock.services.volumes.snapshots import NewVolumeSnapshot
from penstock.services.volumes.visibility import hold_group, hold_volumes, own_group, own_volume
from penstock.store import volume_groups, volume_snapshots, volumes
from penstock.store.database import Transaction

SORT_KEYS = tuple(volume_groups.SNAPSHOTS_SORTABLE)


@dataclass(frozen=True, slots=True)
class NewGroupSnapshot:
    """What is asked for."""

    group_id: str
    name: str | None = None
    description: str | None = None


def create(plane: ControlPlane, context: RequestContext, wanted: NewGroupSnapshot) -> GroupSnapshot:
    """Accept snapshots of all volumes of the group. Raises NotFound, Invalid (a state, no volumes), QuotaExceeded.

    Repeating it takes another.
    """
    with plane.database.begin() as tx:
        hold_group(tx, wanted.group_id)
        group = own_group(tx, context, wanted.group_id)
        members = volume_groups.volume_ids(tx, group.id)
        hold_volumes(tx, members)
        if group.status is not GroupStatus.AVAILABLE:
            raise Invalid(f"Group {group.id} is '{group.status}'; a snapshot of it is taken when 'available'.")
        if not members:
            raise Invalid(f"Group {group.id} has no volumes: there is nothing to take a snapshot of.")
        made = GroupSnapshot(
            id=GroupSnapshotId(new_id()),
            group_id=group.id,
            name=wanted.name,
            description=wanted.description,
            project_id=group.project_id,
            user_id=group.user_id,
            group_type_id=group.group_type_id,
            status=GroupStatus.CREATING,
            created_at=plane.clock.utc(),
            updated_at=None,
        )
        volume_groups.insert_snapshot(tx, made)
        for volume_id in members:
            volume = own_volume(tx, context, volume_id)
            member = NewVolumeSnapshot(volume.id, wanted.name, wanted.description, force=True)
            snapshots.take(tx, plane, context, volume, member, group_snapshot_id=made.id)
        enqueue(tx, plane, context, group, "create_group_snapshot", {"group_snapshot_id": made.id})
        return made


def get(plane: ControlPlane, context: RequestContext, snapshot_id: str) -> GroupSnapshot:
    """The group snapshot. Raises NotFound."""
    with plane.database.read() as tx:
        return own_group_snapshot(tx, context, snapshot_id)


def list_snapshots(
    plane: ControlPlane,
    context: RequestContext,
    page: KeysetPage,
    equal: Mapping[str, str],
    *,
    all_projects: bool = False,
) -> list[GroupSnapshot]:
    """One page of the caller's group snapshots, or of all projects'. Raises NotFound (the marker)."""
    project_id = None if all_projects else context.project_id or ""
    with plane.database.read() as tx:
        return volume_groups.list_snapshots(tx, page, project_id=project_id, equal=dict(equal))


def update(
    plane: ControlPlane, context: RequestContext, snapshot_id: str, name: str | None, description: str | None
) -> GroupSnapshot:
    """Change name or description; None leaves it. Raises NotFound. Safe to repeat."""
    texts = {"display_name": name, "display_description": description}
    values = {column: text for column, text in texts.items() if text is not None}
    with plane.database.begin() as tx:
        found = _to_change(tx, context, snapshot_id)
        if values:
            volume_groups.rename_snapshot(tx, found.id, now=plane.clock.utc(), **values)
        return own_group_snapshot(tx, context, snapshot_id)


def delete(plane: ControlPlane, context: RequestContext, snapshot_id: str) -> None:
    """Accept the deletion of all its snapshots. Raises NotFound, Invalid (a state), Conflict (volumes grow from it)."""
    with plane.database.begin() as tx:
        found = _to_change(tx, context, snapshot_id)
        group = own_group(tx, context, found.group_id)
        members = [volume_snapshots.get(tx, member_id) for member_id in volume_groups.member_ids(tx, found.id)]
        hold_volumes(tx, (member.volume_id for member in members if member is not None))
        now = plane.clock.utc()
        volume_groups.move_snapshot(tx, found, GroupEvent.DELETE, now=now)
        for member in members:
            if member is None:
                continue
            if volumes.growing_from_snapshot(tx, member.id):
                raise Conflict(f"A volume is being made from snapshot {member.id}; delete it when that is done.")
            if member.status is not VolumeSnapshotStatus.DELETING:
                volume_snapshots.move(tx, member, VolumeEvent.DELETE, now=now)
        enqueue(tx, plane, context, group, "delete_group_snapshot", {"group_snapshot_id": found.id})


def reset_status(plane: ControlPlane, context: RequestContext, snapshot_id: str, status: str) -> None:
    """Write a state by hand. Raises NotFound, Invalid. Safe to repeat."""
    wanted = resettable(status)
    with plane.database.begin() as tx:
        found = _to_change(tx, context, snapshot_id)
        volume_groups.reset_snapshot(tx, found.id, wanted, now=plane.clock.utc())


def own_group_snapshot(tx: Transaction, context: RequestContext, snapshot_id: str) -> GroupSnapshot:
    """The group snapshot. Raises NotFound, also for other projects' group snapshots."""
    found = volume_groups.get_snapshot(tx, snapshot_id)
    if found is None or not owns(context, found.project_id):
        raise NotFound(f"There is no group snapshot {snapshot_id[:64]}.")
    return found


def _to_change(tx: Transaction, context: RequestContext, snapshot_id: str) -> GroupSnapshot:
    """`own_group_snapshot`, read while its group is held until this transaction ends."""
    hold_group(tx, own_group_snapshot(tx, context, snapshot_id).group_id)
    return own_group_snapshot(tx, context, snapshot_id)
