"""Groups of volumes: create, also from others, change, delete.

Who will write holds the group before its volumes. The group's operations are queued under the group's own key, group
snapshots' with them; what is on its way with a member by itself is refused by the member's state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.domain.pools import PoolRef, service_host
from penstock.domain.volume_groups import GroupEvent, GroupStatus, VolumeGroup, VolumeGroupType
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_quotas import VolumeResource
from penstock.domain.volume_types import ZONES_SPEC, VolumeType
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import InsufficientCapacity, Invalid
from penstock.ids import ProjectId, UserId, VolumeGroupId, new_id
from penstock.scheduler.requirements import Requirements
from penstock.services.control_plane import ControlPlane
from penstock.services.paging import KeysetPage
from penstock.services.visibility import owner_of
from penstock.services.volume_types import choice, group_types
from penstock.services.volumes import no_room, placement, quotas
from penstock.services.volumes.lifecycle import check_removable
from penstock.services.volumes.visibility import hold_group, hold_volumes, own_group, own_volume
from penstock.store import backends, volume_groups, volumes
from penstock.store.database import Transaction

SORT_KEYS = tuple(volume_groups.SORTABLE)
RESETTABLE = (
    GroupStatus.AVAILABLE,
    GroupStatus.CREATING,
    GroupStatus.DELETING,
    GroupStatus.ERROR,
    GroupStatus.ERROR_DELETING,
    GroupStatus.UPDATING,
)
IDLE = (VolumeStatus.AVAILABLE, VolumeStatus.IN_USE)


@dataclass(frozen=True, slots=True)
class NewGroup:
    """What a group is asked for with; types by name or id."""

    group_type: str
    volume_types: Sequence[str]
    name: str | None = None
    description: str | None = None
    availability_zone: str | None = None


@dataclass(frozen=True, slots=True)
class GroupChange:
    """What to change; None leaves a text. Volumes by id."""

    name: str | None = None
    description: str | None = None
    add_volumes: tuple[str, ...] = ()
    remove_volumes: tuple[str, ...] = ()


def create(plane: ControlPlane, context: RequestContext, wanted: NewGroup) -> VolumeGroup:
    """Accept an empty group, on a pool that can have volumes of all its types; ``error`` and a message where none can.

    Raises Invalid, NotFound (a type), QuotaExceeded. Repeating it makes another group.
    """
    if not wanted.volume_types:
        raise Invalid("A group needs the 'volume_types' of the volumes it will have.")
    with plane.database.begin() as tx:
        owner = owner_of(context)
        of_type = group_types.find(tx, context, wanted.group_type)
        types = [choice.find(tx, context, name) for name in dict.fromkeys(wanted.volume_types)]
        quotas.check(tx, plane, owner[0], None, {VolumeResource.GROUPS: 1})
        pool, refusal = _place(tx, plane, types, wanted.availability_zone)
        group = _group(tx, plane, owner, of_type, types, pool, wanted.name, wanted.description)
        volume_groups.insert_group(tx, group)
        if pool is None:
            no_room.tell_of_group(tx, plane, context, group, refusal)
        else:
            enqueue(tx, plane, context, group, "create_group", {"group_id": group.id})
        return group


def get(plane: ControlPlane, context: RequestContext, group_id: str) -> tuple[VolumeGroup, list[str]]:
    """The group and the ids of its volumes. Raises NotFound."""
    with plane.database.read() as tx:
        group = own_group(tx, context, group_id)
        return group, volume_groups.volume_ids(tx, group.id)


def list_groups(
    plane: ControlPlane,
    context: RequestContext,
    page: KeysetPage,
    equal: Mapping[str, str],
    *,
    all_projects: bool = False,
) -> list[tuple[VolumeGroup, list[str]]]:
    """One page of the caller's groups, or of all projects', with the ids of their volumes. Raises NotFound (marker)."""
    project_id = None if all_projects else context.project_id or ""
    with plane.database.read() as tx:
        found = volume_groups.list_groups(tx, page, project_id=project_id, equal=dict(equal))
        return [(group, volume_groups.volume_ids(tx, group.id)) for group in found]


def update(plane: ControlPlane, context: RequestContext, group_id: str, change: GroupChange) -> None:
    """Rename at once; take volumes in and out by the backend. Raises NotFound, Invalid.

    A volume taken in is of a type the group takes, in no other group, and where the group is.
    """
    with plane.database.begin() as tx:
        hold_group(tx, group_id)
        hold_volumes(tx, (*change.add_volumes, *change.remove_volumes))
        group = own_group(tx, context, group_id)
        texts = {"display_name": change.name, "display_description": change.description}
        values = {column: text for column, text in texts.items() if text is not None}
        if values:
            volume_groups.rename(tx, group.id, now=plane.clock.utc(), **values)
        if not change.add_volumes and not change.remove_volumes:
            return
        for volume_id in change.add_volumes:
            _check_joinable(own_volume(tx, context, volume_id), group)
        for volume_id in change.remove_volumes:
            _check_leavable(own_volume(tx, context, volume_id), group)
        volume_groups.move(tx, group, GroupEvent.UPDATE, now=plane.clock.utc())
        arguments = {
            "group_id": group.id,
            "add_volumes": list(change.add_volumes),
            "remove_volumes": list(change.remove_volumes),
        }
        enqueue(tx, plane, context, group, "update_group", arguments)


def delete(plane: ControlPlane, context: RequestContext, group_id: str, *, delete_volumes: bool) -> None:
    """Accept the deletion of the group, with `delete_volumes` of its volumes too.

    Raises NotFound, Invalid (it has volumes and they are to stay, group snapshots, a member that cannot go).
    """
    with plane.database.begin() as tx:
        hold_group(tx, group_id)
        group = own_group(tx, context, group_id)
        members = volume_groups.volume_ids(tx, group.id)
        hold_volumes(tx, members)
        if volume_groups.has_snapshots(tx, group.id):
            raise Invalid(f"Group {group.id} has group snapshots; delete them first.")
        if members and not delete_volumes:
            raise Invalid(f"Group {group.id} has {len(members)} volumes; delete them with it, or take them out first.")
        now = plane.clock.utc()
        for volume_id in members:
            volume = own_volume(tx, context, volume_id)
            check_removable(tx, volume, with_group=True)
            if volumes.has_snapshots(tx, volume.id):
                raise Invalid(f"Volume {volume.id} of the group has snapshots; delete them first.")
            volumes.move(tx, volume, VolumeEvent.DELETE, now=now, terminated_at=now)
        volume_groups.move(tx, group, GroupEvent.DELETE, now=now)
        if group.host is None:  # no backend has it, and so it has no volumes
            volume_groups.delete_group(tx, group.id)
            return
        enqueue(tx, plane, context, group, "delete_group", {"group_id": group.id})


def reset_status(plane: ControlPlane, context: RequestContext, group_id: str, status: str) -> None:
    """Write a state by hand. Raises NotFound, Invalid. Safe to repeat."""
    wanted = resettable(status)
    with plane.database.begin() as tx:
        hold_group(tx, group_id)
        volume_groups.reset(tx, own_group(tx, context, group_id).id, wanted, now=plane.clock.utc())


def resettable(status: str) -> GroupStatus:
    """A state that can be written by hand. Raises Invalid."""
    if status not in RESETTABLE:
        raise Invalid(f"'{status[:64]}' cannot be set; use one of {', '.join(RESETTABLE)}.")
    return GroupStatus(status)


def enqueue(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    group: VolumeGroup,
    method: str,
    arguments: dict[str, Any],
) -> None:
    """Queue `method` at the backend of `group`, after everything queued for the group before."""
    if group.host is None:
        raise Invalid(f"Group {group.id} is on no pool; it can only be deleted.")
    plane.operations.enqueue(tx, context, Call(service_host(group.host), f"volume-group:{group.id}", method, arguments))


def _group(
    tx: Transaction,
    plane: ControlPlane,
    owner: tuple[str, str],
    of_type: VolumeGroupType,
    types: Iterable[VolumeType],
    pool: PoolRef | None,
    name: str | None,
    description: str | None,
) -> VolumeGroup:
    return VolumeGroup(
        id=VolumeGroupId(new_id()),
        name=name,
        description=description,
        project_id=ProjectId(owner[0]),
        user_id=UserId(owner[1]),
        group_type_id=of_type.id,
        volume_type_ids=tuple(sorted(item.id for item in types)),
        host=None if pool is None else str(pool),
        availability_zone=None if pool is None else placement.zone_of(tx, pool),
        status=GroupStatus.ERROR if pool is None else GroupStatus.CREATING,
        group_snapshot_id=None,
        source_group_id=None,
        replication_status=None,
        created_at=plane.clock.utc(),
        updated_at=None,
    )


def _place(
    tx: Transaction, plane: ControlPlane, types: Sequence[VolumeType], zone: str | None
) -> tuple[PoolRef | None, str]:
    """A pool that volumes of each of these types can be on. What two of them want differently nobody has."""
    if zone is not None and zone not in {found.name for found in backends.list_zones(tx)}:
        raise Invalid(f"There is no availability zone '{zone[:128]}'.")
    specs: dict[str, str] = {}
    for volume_type in types:
        for key, value in volume_type.extra_specs.items():
            if key != ZONES_SPEC and specs.setdefault(key, value) != value:
                return None, f"Its volume types want different things of '{key}'."
    try:
        return placement.place(tx, plane, Requirements(0, None, specs, availability_zone=zone)), ""
    except InsufficientCapacity as refusal:
        return None, refusal.message


def _check_joinable(volume: Volume, group: VolumeGroup) -> None:
    if volume.group_id is not None:
        raise Invalid(f"Volume {volume.id} is in a group already.")
    if volume.volume_type_id not in group.volume_type_ids:
        raise Invalid(f"Volume {volume.id} is of a type that group {group.id} does not take.")
    if volume.host != group.host:
        raise Invalid(f"Volume {volume.id} is not on {group.host}, where group {group.id} is.")
    _check_idle(volume)


def _check_leavable(volume: Volume, group: VolumeGroup) -> None:
    if volume.group_id != group.id:
        raise Invalid(f"Volume {volume.id} is not in group {group.id}.")
    _check_idle(volume)


def _check_idle(volume: Volume) -> None:
    if volume.status not in IDLE or volume.is_migrating:
        raise Invalid(f"Volume {volume.id} is '{volume.status}'; it joins or leaves a group when 'available'.")
