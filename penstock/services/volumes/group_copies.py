"""Groups made from a group snapshot, or from another group: its volumes are made with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from penstock.context import RequestContext
from penstock.domain.new_volumes import new_volume
from penstock.domain.pools import PoolRef
from penstock.domain.volume_groups import GroupStatus, VolumeGroup
from penstock.domain.volume_quotas import VolumeResource
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Invalid
from penstock.ids import ProjectId, UserId, VolumeGroupId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.visibility import owner_of
from penstock.services.volumes import quotas
from penstock.services.volumes.group_snapshots import own_group_snapshot
from penstock.services.volumes.groups import IDLE, enqueue
from penstock.services.volumes.visibility import (
    hold_group,
    hold_volumes,
    own_group,
    own_volume,
    own_volume_snapshot,
)
from penstock.store import volume_groups, volume_types, volumes
from penstock.store.database import Transaction


@dataclass(frozen=True, slots=True)
class GroupCopy:
    """From what: exactly one of the two."""

    group_snapshot_id: str | None = None
    source_group_id: str | None = None
    name: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class _Member:
    """A volume to be made: from which snapshot, or from which volume."""

    size_gib: int
    of: Volume
    snapshot_id: str | None


def create(plane: ControlPlane, context: RequestContext, wanted: GroupCopy) -> VolumeGroup:
    """Accept the group and its volumes, all ``creating``, where their source is.

    Raises NotFound, Invalid (not one source, a source without volumes or in a state that does not allow it),
    QuotaExceeded. Repeating it makes another group.
    """
    if (wanted.group_snapshot_id is None) == (wanted.source_group_id is None):
        raise Invalid("A group is made from one thing: give a 'group_snapshot_id' or a 'source_group_id'.")
    with plane.database.begin() as tx:
        project_id, user_id = owner_of(context)
        source, members = _source(tx, context, wanted)
        if not members or source.host is None:
            raise Invalid("There are no volumes in what the group is to be made from.")
        _check_quota(tx, plane, project_id, members)
        now = plane.clock.utc()
        group = replace(
            source,
            id=VolumeGroupId(new_id()),
            name=wanted.name,
            description=wanted.description,
            project_id=ProjectId(project_id),
            user_id=UserId(user_id),
            status=GroupStatus.CREATING,
            group_snapshot_id=wanted.group_snapshot_id,
            source_group_id=wanted.source_group_id,
            created_at=now,
            updated_at=None,
        )
        volume_groups.insert_group(tx, group)
        pool = PoolRef.parse(source.host)
        for member in members:
            of_type = None if member.of.volume_type_id is None else volume_types.get(tx, member.of.volume_type_id)
            made = new_volume(
                size_gib=member.size_gib,
                project_id=project_id,
                user_id=user_id,
                volume_type=of_type,
                pool=pool,
                zone=source.availability_zone,
                status=VolumeStatus.CREATING,
                now=now,
                name=member.of.name,
                description=member.of.description,
                metadata=dict(member.of.metadata),
                snapshot_id=member.snapshot_id,
                source_volid=member.of.id if member.snapshot_id is None else None,
                group_id=group.id,
                is_bootable=member.of.is_bootable,
                image_metadata=dict(member.of.image_metadata),
            )
            volumes.insert_volume(tx, made)
        enqueue(tx, plane, context, group, "create_group_from_src", {"group_id": group.id})
        return group


def _source(tx: Transaction, context: RequestContext, wanted: GroupCopy) -> tuple[VolumeGroup, list[_Member]]:
    """The group whose kind and place the new one has, and what its volumes are made from; held."""
    if wanted.group_snapshot_id is not None:
        taken = own_group_snapshot(tx, context, wanted.group_snapshot_id)
        hold_group(tx, taken.group_id)
        taken = own_group_snapshot(tx, context, wanted.group_snapshot_id)
        if taken.status is not GroupStatus.AVAILABLE:
            raise Invalid(f"Group snapshot {taken.id} is '{taken.status}'; groups are made from it when 'available'.")
        return own_group(tx, context, taken.group_id), _of_snapshots(tx, context, taken.id)
    hold_group(tx, wanted.source_group_id or "")
    group = own_group(tx, context, wanted.source_group_id or "")
    if group.status is not GroupStatus.AVAILABLE:
        raise Invalid(f"Group {group.id} is '{group.status}'; groups are made from it when 'available'.")
    ids = volume_groups.volume_ids(tx, group.id)
    hold_volumes(tx, ids)
    found = [own_volume(tx, context, volume_id) for volume_id in ids]
    for volume in found:
        if volume.status not in IDLE or volume.is_migrating:
            raise Invalid(f"Volume {volume.id} is '{volume.status}'; groups are made from it when 'available'.")
    return group, [_Member(volume.size_gib, volume, None) for volume in found]


def _of_snapshots(tx: Transaction, context: RequestContext, group_snapshot_id: str) -> list[_Member]:
    snapshots = [own_volume_snapshot(tx, context, one) for one in volume_groups.member_ids(tx, group_snapshot_id)]
    hold_volumes(tx, (snapshot.volume_id for snapshot in snapshots))
    found: list[_Member] = []
    for snapshot in snapshots:
        if snapshot.status is not VolumeSnapshotStatus.AVAILABLE:
            raise Invalid(f"Snapshot {snapshot.id} is '{snapshot.status}'; volumes are made from it when 'available'.")
        found.append(_Member(snapshot.volume_size_gib, own_volume(tx, context, snapshot.volume_id), snapshot.id))
    return found


def _check_quota(tx: Transaction, plane: ControlPlane, project_id: str, members: Sequence[_Member]) -> None:
    """Room for the group, for all its volumes, and of each type for that type's."""
    quotas.check(tx, plane, project_id, None, {VolumeResource.GROUPS: 1})
    largest = max(member.size_gib for member in members)
    counts, gib = Counter[str | None](), Counter[str | None]()
    for member in members:
        counts[member.of.volume_type_id] += 1
        gib[member.of.volume_type_id] += member.size_gib
    total = {
        VolumeResource.VOLUMES: len(members),
        VolumeResource.GIGABYTES: sum(gib.values()),
        VolumeResource.PER_VOLUME_GIGABYTES: largest,
    }
    quotas.check(tx, plane, project_id, None, total)
    for type_id, count in counts.items():
        if type_id is not None:
            more = {VolumeResource.VOLUMES: count, VolumeResource.GIGABYTES: gib[type_id]}
            quotas.check(tx, plane, project_id, type_id, more)
