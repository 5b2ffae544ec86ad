"""Create a volume: rows, quota, place and operation in one transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from penstock.context import RequestContext
from penstock.domain.new_volumes import new_volume
from penstock.domain.pools import PoolRef
from penstock.domain.volume_message_codes import VolumeMessageAction
from penstock.domain.volume_quotas import VolumeResource
from penstock.domain.volume_types import ZONES_SPEC
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.domain.volumes_at_work import TypedVolume, VolumeToMake
from penstock.errors import InsufficientCapacity, NotFound
from penstock.ids import VolumeId, VolumeSnapshotId
from penstock.images.model import ImageModel
from penstock.scheduler.requirements import Requirements
from penstock.services.control_plane import ControlPlane
from penstock.services.rescheduling import asked
from penstock.services.volumes import calls, images, no_room, placement, quotas
from penstock.services.volumes.creation_request import Decided, NewVolume, VolumeHints, decide, held_source
from penstock.services.volumes.visibility import hold_group, own_volume, owner_of
from penstock.store import backends, volumes
from penstock.store.database import Transaction

__all__ = ["NewVolume", "VolumeHints", "create", "create_typed"]

IMAGE_VOLUME_TYPE = "cinder_img_volume_type"  # property of an image: the type of volumes made of it


def create(plane: ControlPlane, context: RequestContext, wanted: NewVolume) -> Volume:
    """Accept the volume: that of `create_typed`. Raises as that."""
    return create_typed(plane, context, wanted).volume


def create_typed(plane: ControlPlane, context: RequestContext, wanted: NewVolume) -> TypedVolume:
    """Accept the volume: stored as ``creating``, or as ``error`` with a message to its owner when no pool can take it.

    Raises Invalid, NotFound (snapshot, volume, type), QuotaExceeded. Repeating it makes another volume.
    """
    if wanted.image_id is not None:
        wanted = _of_image(wanted, images.usable(plane, context, wanted.image_id, wanted.size_gib))
    with plane.database.begin() as tx:
        project_id, user_id = owner_of(context)
        if wanted.group_id is not None:
            hold_group(tx, wanted.group_id)
        decided = decide(tx, plane, context, wanted, held_source(tx, context, wanted))
        type_id = None if decided.volume_type is None else decided.volume_type.id
        more = {
            VolumeResource.VOLUMES: 1,
            VolumeResource.GIGABYTES: decided.size_gib,
            VolumeResource.PER_VOLUME_GIGABYTES: decided.size_gib,
        }
        quotas.check(tx, plane, project_id, type_id, more)
        requirements = _requirements(tx, plane, context, wanted, decided)
        place, reason = _place(tx, plane, requirements)
        volume = _volume(wanted, decided, (project_id, user_id), plane.clock.utc(), place)
        made = TypedVolume(volume, decided.type)
        if place is not None:  # before its row: a look at its source, where it begins at once, goes on meanwhile
            arguments = {**_arguments(volume, wanted), **asked(requirements)}
            about = VolumeToMake(made, decided.source)
            calls.enqueue(tx, plane, context, volume, "create_volume", arguments, about=about)
        volumes.insert_volume(tx, volume)
        if place is None:
            no_room.tell_of_volume(tx, plane, context, volume, VolumeMessageAction.SCHEDULE_ALLOCATE_VOLUME, reason)
        return made


def _of_image(wanted: NewVolume, image: ImageModel) -> NewVolume:
    """The request with what the image says of the volumes made of it."""
    return replace(wanted, volume_type=wanted.volume_type or image.properties.get(IMAGE_VOLUME_TYPE))


def _requirements(
    tx: Transaction, plane: ControlPlane, context: RequestContext, wanted: NewVolume, decided: Decided
) -> Requirements:
    specs = {} if decided.volume_type is None else decided.volume_type.extra_specs
    zone = wanted.availability_zone or plane.conf.default_availability_zone
    is_known = bool(zone) and zone in {found.name for found in backends.list_zones(tx)}
    return Requirements(
        size_gib=decided.size_gib,
        protocol=None,
        extra_specs={key: value for key, value in specs.items() if key != ZONES_SPEC},
        availability_zone=zone if is_known else None,
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


def _place(tx: Transaction, plane: ControlPlane, requirements: Requirements) -> tuple[tuple[PoolRef, str] | None, str]:
    """The pool with its availability zone; None, and why, when there is no room for it."""
    try:
        return placement.place_in_zone(tx, plane, requirements), ""
    except InsufficientCapacity as refusal:
        return None, refusal.message


def _volume(
    wanted: NewVolume,
    decided: Decided,
    owner: tuple[str, str],
    now: datetime,
    place: tuple[PoolRef, str] | None,
) -> Volume:
    """The row; what an owner knows of the image on its source comes with the data."""
    pool, zone = place or (None, wanted.availability_zone)
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
        zone=zone,
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
