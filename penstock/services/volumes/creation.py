"""Create a volume: rows, quota, place and operation in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from penstock.context import RequestContext
from penstock.domain.attachments import AttachStatus
from penstock.domain.backups import BackupStatus
from penstock.domain.pools import PoolRef
from penstock.domain.volume_groups import GroupStatus
from penstock.domain.volume_message_codes import (
    VolumeMessageAction,
    VolumeMessageDetail,
    VolumeMessageResource,
    volume_sentence,
)
from penstock.domain.volume_quotas import VolumeResource
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volume_types import MULTIATTACH_SPEC, REPLICATION_SPEC, ZONES_SPEC, VolumeType
from penstock.domain.volumes import ReplicationStatus, Volume, VolumeStatus
from penstock.errors import InsufficientCapacity, Invalid, NotFound
from penstock.ids import ProjectId, UserId, VolumeId, VolumeSnapshotId, new_id
from penstock.images.model import ImageModel
from penstock.scheduler.requirements import Requirements
from penstock.services import messages
from penstock.services.control_plane import ControlPlane
from penstock.services.volume_types import choice
from penstock.services.volumes import calls, images, placement, quotas, rescheduling
from penstock.services.volumes.visibility import (
    hold_group,
    hold_volumes,
    own_group,
    own_volume,
    own_volume_snapshot,
    owner_of,
    owns,
)
from penstock.store import backends, backups, volume_types, volumes
from penstock.store.database import Transaction

IMAGE_VOLUME_TYPE = "cinder_img_volume_type"  # property of an image: the type of volumes made of it
MIN_SIZE = "provisioning:min_vol_size"
MAX_SIZE = "provisioning:max_vol_size"


@dataclass(frozen=True, slots=True)
class VolumeHints:
    """Ids of volumes to be on the backend of, and to be away from (``scheduler_hints``)."""

    same_host: tuple[str, ...] = ()
    different_host: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewVolume:
    """What a volume is asked for with; at most one source. `volume_type` is a name or an id.

    `size_gib` None means that of the snapshot, volume or backup it is made from.
    """

    size_gib: int | None = None
    name: str | None = None
    description: str | None = None
    volume_type: str | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    image_id: str | None = None
    backup_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    availability_zone: str | None = None
    hints: VolumeHints = field(default_factory=VolumeHints)
    group_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Decided:
    """The request with everything looked up and checked; `home` is the volume whose data it is made from."""

    size_gib: int
    volume_type: VolumeType | None
    snapshot: VolumeSnapshot | None
    home: Volume | None
    only_pool: str | None  # where its data, or its group, are


def create(plane: ControlPlane, context: RequestContext, wanted: NewVolume) -> Volume:
    """Accept the volume: stored as ``creating``, or as ``error`` with a message to its owner when no pool can take it.

    Raises Invalid, NotFound (snapshot, volume, type), QuotaExceeded. Repeating it makes another volume.
    """
    if wanted.image_id is not None:
        wanted = _of_image(wanted, images.usable(plane, context, wanted.image_id, wanted.size_gib))
    with plane.database.begin() as tx:
        project_id, user_id = owner_of(context)
        if wanted.group_id is not None:
            hold_group(tx, wanted.group_id)
        hold_volumes(tx, _sources(tx, context, wanted))
        decided = _decide(tx, plane, context, wanted)
        type_id = None if decided.volume_type is None else decided.volume_type.id
        more = {
            VolumeResource.VOLUMES: 1,
            VolumeResource.GIGABYTES: decided.size_gib,
            VolumeResource.PER_VOLUME_GIGABYTES: decided.size_gib,
        }
        quotas.check(tx, plane, project_id, type_id, more)
        requirements = _requirements(tx, plane, context, wanted, decided)
        pool, reason = _place(tx, plane, requirements)
        volume = _volume(tx, wanted, decided, (project_id, user_id), plane.clock.utc(), pool)
        volumes.insert_volume(tx, volume)
        if pool is None:
            _tell_owner(tx, plane, context, volume, reason)
        else:
            arguments = {**_arguments(volume, wanted), **rescheduling.asked(requirements)}
            calls.enqueue(tx, plane, context, volume, "create_volume", arguments)
        return volume


def _of_image(wanted: NewVolume, image: ImageModel) -> NewVolume:
    """The request with what the image says of the volumes made of it."""
    return replace(wanted, volume_type=wanted.volume_type or image.properties.get(IMAGE_VOLUME_TYPE))


def new_volume(
    *,
    size_gib: int,
    project_id: str,
    user_id: str,
    volume_type: VolumeType | None,
    pool: PoolRef | None,
    zone: str | None,
    status: VolumeStatus,
    now: datetime,
    **values: Any,
) -> Volume:
    """A volume at its beginning, however it comes to us; `values` are further fields. On no pool it is in ``error``."""
    is_replicated = volume_type is not None and volume_type.claims(REPLICATION_SPEC)
    fields: dict[str, Any] = {
        "name_id": None,
        "name": None,
        "description": None,
        "size_target_gib": None,
        "previous_status": None,
        "migration_status": None,
        "snapshot_id": None,
        "source_volid": None,
        "group_id": None,
        "is_bootable": False,
        "uses_quota": True,
        "shared_targets": True,
        "encryption_key_id": None,
        "provider_location": None,
        "provider_id": None,
        "provider_auth": None,
        "provider_geometry": None,
        "replication_status": ReplicationStatus.ENABLED if is_replicated else None,
        "replication_extended_status": None,
        "replication_driver_data": None,
        "launched_at": None,
        "terminated_at": None,
        "updated_at": None,
    }
    return Volume(
        id=VolumeId(new_id()),
        size_gib=size_gib,
        project_id=ProjectId(project_id),
        user_id=UserId(user_id),
        host=None if pool is None else str(pool),
        availability_zone=zone,
        status=VolumeStatus.ERROR if pool is None else status,
        attach_status=AttachStatus.DETACHED,
        volume_type_id=None if volume_type is None else volume_type.id,
        is_multiattach=volume_type is not None and volume_type.claims(MULTIATTACH_SPEC),
        scheduled_at=None if pool is None else now,
        created_at=now,
        **{**fields, **values},
    )


def check_size(volume_type: VolumeType | None, size_gib: int) -> None:
    """Raise Invalid when the type does not allow that size."""
    if volume_type is None:
        return
    smallest, largest = _limit(volume_type, MIN_SIZE), _limit(volume_type, MAX_SIZE)
    if smallest is not None and size_gib < smallest:
        raise Invalid(f"Volumes of type '{volume_type.name}' have at least {smallest} GiB; {size_gib} were asked for.")
    if largest is not None and size_gib > largest:
        raise Invalid(f"Volumes of type '{volume_type.name}' have at most {largest} GiB; {size_gib} were asked for.")


def refuse_encryption(tx: Transaction, volume_type: VolumeType | None) -> None:
    """Raise Invalid for a type whose volumes are encrypted: keys need a key manager, which there is none of."""
    if volume_type is not None and volume_types.encryption_of(tx, volume_type.id) is not None:
        raise Invalid(f"Volumes of type '{volume_type.name}' are encrypted, which needs a key manager; there is none.")


def _sources(tx: Transaction, context: RequestContext, wanted: NewVolume) -> set[str]:
    """The volumes this one is made from or related to."""
    found = {*wanted.hints.same_host, *wanted.hints.different_host}
    if wanted.source_volid is not None:
        found.add(wanted.source_volid)
    if wanted.snapshot_id is not None:
        found.add(own_volume_snapshot(tx, context, wanted.snapshot_id).volume_id)
    return found


def _size_of_backup(tx: Transaction, context: RequestContext, wanted: NewVolume) -> int | None:
    if wanted.backup_id is None:
        return None
    backup = backups.get(tx, wanted.backup_id)
    if backup is None or not owns(context, backup.project_id):
        raise NotFound(f"There is no backup {wanted.backup_id[:64]}.")
    if backup.status is not BackupStatus.AVAILABLE:
        raise Invalid(f"Backup {backup.id} is '{backup.status}'; a volume is made from it when 'available'.")
    return backup.size_gib


def _decide(tx: Transaction, plane: ControlPlane, context: RequestContext, wanted: NewVolume) -> _Decided:
    sources = [wanted.snapshot_id, wanted.source_volid, wanted.image_id, wanted.backup_id]
    if sum(source is not None for source in sources) > 1:
        raise Invalid("A volume is made from one thing: give one of snapshot, source volume, image and backup.")
    snapshot, home = _source(tx, context, wanted)
    volume_type = _volume_type(tx, plane, context, wanted, snapshot, home)
    refuse_encryption(tx, volume_type)
    size_gib = _size(wanted, snapshot, home, _size_of_backup(tx, context, wanted))
    check_size(volume_type, size_gib)
    _check_zone(tx, plane, wanted, volume_type, home)
    # The data of a snapshot or volume are where that is: a driver makes a copy there, and nowhere else.
    only_pool = None if home is None else calls.placed_on(home)
    if wanted.group_id is not None:
        only_pool = _pool_of_group(tx, context, wanted.group_id, volume_type, only_pool)
    return _Decided(size_gib, volume_type, snapshot, home, only_pool)


def _pool_of_group(
    tx: Transaction, context: RequestContext, group_id: str, volume_type: VolumeType | None, only_pool: str | None
) -> str:
    """The pool of the group a new volume joins. Raises NotFound, Invalid (its state, the type, data elsewhere)."""
    group = own_group(tx, context, group_id)
    if group.status is not GroupStatus.AVAILABLE or group.host is None:
        raise Invalid(f"Group {group.id} is '{group.status}'; a volume joins it when 'available'.")
    if volume_type is None or volume_type.id not in group.volume_type_ids:
        raise Invalid(f"Group {group.id} does not take volumes of this type.")
    if only_pool not in (None, group.host):
        raise Invalid(f"The data of the volume are not on {group.host}, where group {group.id} is.")
    return group.host


def _source(tx: Transaction, context: RequestContext, wanted: NewVolume) -> tuple[VolumeSnapshot | None, Volume | None]:
    if wanted.snapshot_id is not None:
        snapshot = own_volume_snapshot(tx, context, wanted.snapshot_id)
        if snapshot.status is not VolumeSnapshotStatus.AVAILABLE:
            raise Invalid(f"Snapshot {snapshot.id} is '{snapshot.status}'; a volume is made from it when 'available'.")
        return snapshot, own_volume(tx, context, snapshot.volume_id)
    if wanted.source_volid is None:
        return None, None
    home = own_volume(tx, context, wanted.source_volid)
    if home.status not in (VolumeStatus.AVAILABLE, VolumeStatus.IN_USE):
        raise Invalid(f"Volume {home.id} is '{home.status}'; a volume is made from it when 'available' or 'in-use'.")
    return None, home


def _volume_type(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    wanted: NewVolume,
    snapshot: VolumeSnapshot | None,
    home: Volume | None,
) -> VolumeType | None:
    if wanted.volume_type is not None:
        return choice.find(tx, context, wanted.volume_type)
    of_source = snapshot.volume_type_id if snapshot is not None else home.volume_type_id if home is not None else None
    if of_source is not None:
        return volume_types.get(tx, of_source)
    return choice.required_default(tx, plane, context)


def _size(wanted: NewVolume, snapshot: VolumeSnapshot | None, home: Volume | None, of_backup_gib: int | None) -> int:
    smallest = of_backup_gib
    if snapshot is not None or home is not None:
        smallest = snapshot.volume_size_gib if snapshot is not None else home.size_gib if home is not None else None
    if wanted.size_gib is None:
        if smallest is None:
            raise Invalid("Give a 'size' in GiB, a whole number of at least 1.")
        return smallest
    if smallest is not None and wanted.size_gib < smallest:
        raise Invalid(f"The volume needs at least the {smallest} GiB of what it is made from.")
    return wanted.size_gib


def _check_zone(
    tx: Transaction, plane: ControlPlane, wanted: NewVolume, volume_type: VolumeType | None, home: Volume | None
) -> None:
    zone = wanted.availability_zone
    if zone is None:
        return
    is_known = zone in {found.name for found in backends.list_zones(tx)}
    if not is_known and not plane.conf.allow_availability_zone_fallback:
        raise Invalid(f"There is no availability zone '{zone[:128]}'.")
    offered = "" if volume_type is None else volume_type.extra_specs.get(ZONES_SPEC, "")
    zones = [name.strip() for name in offered.split(",") if name.strip()]
    if zones and zone not in zones:
        raise Invalid(f"The volume type is not offered in availability zone '{zone}'.")
    if home is not None and home.availability_zone not in (None, zone) and plane.conf.cloned_volume_same_az:
        raise Invalid(f"A volume is made from another where that is: in availability zone '{home.availability_zone}'.")


def _requirements(
    tx: Transaction, plane: ControlPlane, context: RequestContext, wanted: NewVolume, decided: _Decided
) -> Requirements:
    specs = {} if decided.volume_type is None else decided.volume_type.extra_specs
    zones = {found.name for found in backends.list_zones(tx)}
    zone = wanted.availability_zone or plane.conf.default_availability_zone
    return Requirements(
        size_gib=decided.size_gib,
        protocol=None,
        extra_specs={key: value for key, value in specs.items() if key != ZONES_SPEC},
        availability_zone=zone if zone in zones else None,
        same_hosts=_hosts(tx, context, wanted.hints.same_host),
        different_hosts=_hosts(tx, context, wanted.hints.different_host),
        only_pool=decided.only_pool,
        volume={"project_id": context.project_id, "volume_type_id": getattr(decided.volume_type, "id", None)},
    )


def _hosts(tx: Transaction, context: RequestContext, volume_ids: tuple[str, ...]) -> frozenset[str]:
    found = [own_volume(tx, context, volume_id) for volume_id in volume_ids]
    for volume in found:
        if volume.status is VolumeStatus.DELETING:
            raise NotFound(f"Volume {volume.id} is being deleted.")
    return frozenset(volume.host for volume in found if volume.host is not None)


def _place(tx: Transaction, plane: ControlPlane, requirements: Requirements) -> tuple[PoolRef | None, str]:
    try:
        return placement.place(tx, plane, requirements), ""
    except InsufficientCapacity as refusal:
        return None, refusal.message


def _volume(
    tx: Transaction,
    wanted: NewVolume,
    decided: _Decided,
    owner: tuple[str, str],
    now: datetime,
    pool: PoolRef | None,
) -> Volume:
    """The row; what an owner knows of the image on its source comes with the data."""
    image_metadata: dict[str, str] = {}
    if decided.snapshot is not None:
        image_metadata = dict(decided.snapshot.image_metadata)
    elif decided.home is not None:
        image_metadata = dict(decided.home.image_metadata)
    return new_volume(
        size_gib=decided.size_gib,
        project_id=owner[0],
        user_id=owner[1],
        volume_type=decided.volume_type,
        pool=pool,
        zone=wanted.availability_zone if pool is None else placement.zone_of(tx, pool),
        status=VolumeStatus.CREATING,
        now=now,
        name=wanted.name,
        description=wanted.description,
        metadata=dict(wanted.metadata),
        snapshot_id=None if wanted.snapshot_id is None else VolumeSnapshotId(wanted.snapshot_id),
        source_volid=None if wanted.source_volid is None else VolumeId(wanted.source_volid),
        group_id=wanted.group_id,
        is_bootable=decided.home is not None and decided.home.is_bootable,
        image_metadata=image_metadata,
    )


def _arguments(volume: Volume, wanted: NewVolume) -> dict[str, Any]:
    arguments: dict[str, Any] = {"volume_id": volume.id}
    if wanted.image_id is not None:
        arguments["image_id"] = wanted.image_id
    if wanted.backup_id is not None:
        arguments["backup_id"] = wanted.backup_id
    return arguments


def _tell_owner(tx: Transaction, plane: ControlPlane, context: RequestContext, volume: Volume, reason: str) -> None:
    messages.add(
        tx,
        plane,
        context,
        resource_type=VolumeMessageResource.VOLUME,
        resource_id=volume.id,
        action=VolumeMessageAction.SCHEDULE_ALLOCATE_VOLUME,
        detail=VolumeMessageDetail.NO_BACKEND_AVAILABLE,
        text=volume_sentence(VolumeMessageDetail.NO_BACKEND_AVAILABLE, reason),
    )


def _limit(volume_type: VolumeType, spec: str) -> int | None:
    text = volume_type.extra_specs.get(spec)
    try:
        return None if text is None else int(text)
    except ValueError:
        raise Invalid(f"The extra spec '{spec}' of volume type '{volume_type.name}' is not a number.") from None
