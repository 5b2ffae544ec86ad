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
from penstock.domain.volumes_at_work import Source, VolumeToMake
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
from penstock.store.volumes_at_work import Types, typed, typed_snapshot

__all__ = ["NewVolume", "VolumeHints", "create"]

IMAGE_VOLUME_TYPE = "cinder_img_volume_type"  # property of an image: the type of volumes made of it


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
        decided = decide(tx, plane, context, wanted, held_source(tx, context, wanted))
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
        if pool is not None:  # before its row: a look at its source, where it begins at once, goes on meanwhile
            arguments = {**_arguments(volume, wanted), **asked(requirements)}
            calls.enqueue(tx, plane, context, volume, "create_volume", arguments, about=_to_make(tx, volume, decided))
        volumes.insert_volume(tx, volume)
        if pool is None:
            no_room.tell_of_volume(tx, plane, context, volume, VolumeMessageAction.SCHEDULE_ALLOCATE_VOLUME, reason)
        return volume


def _of_image(wanted: NewVolume, image: ImageModel) -> NewVolume:
    """The request with what the image says of the volumes made of it."""
    return replace(wanted, volume_type=wanted.volume_type or image.properties.get(IMAGE_VOLUME_TYPE))


def _requirements(
    tx: Transaction, plane: ControlPlane, context: RequestContext, wanted: NewVolume, decided: Decided
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
    decided: Decided,
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


def _to_make(tx: Transaction, volume: Volume, decided: Decided) -> VolumeToMake:
    """What its creation goes by: all of it was read in this transaction, and its type seen to have no encryption."""
    types = Types(tx, unencrypted=decided.volume_type)
    source: Source | None = None
    if decided.home is not None:
        snapshot, home = decided.snapshot, decided.home
        source = typed(types, home) if snapshot is None else typed_snapshot(types, snapshot, home)
    return VolumeToMake(typed(types, volume), source)


def _arguments(volume: Volume, wanted: NewVolume) -> dict[str, Any]:
    arguments: dict[str, Any] = {"volume_id": volume.id}
    if wanted.image_id is not None:
        arguments["image_id"] = wanted.image_id
    if wanted.backup_id is not None:
        arguments["backup_id"] = wanted.backup_id
    return arguments
