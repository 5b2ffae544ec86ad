"""What a volume is asked for with, and the same with everything looked up and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.context import RequestContext
from penstock.domain.backups import BackupStatus
from penstock.domain.volume_groups import GroupStatus
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volume_types import ZONES_SPEC, VolumeType, WholeVolumeType
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.domain.volumes_at_work import Source
from penstock.errors import Invalid, NotFound
from penstock.ids import VolumeTypeId
from penstock.services.control_plane import ControlPlane
from penstock.services.volume_types import choice
from penstock.services.volumes import calls
from penstock.services.volumes.visibility import hold_volumes, own_group, own_volume, own_volume_snapshot, owns
from penstock.store import backends, backups
from penstock.store.database import Transaction
from penstock.store.volumes_at_work import Types, typed, typed_snapshot


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
class Decided:
    """The request with everything looked up and checked; `home` is the volume whose data it is made from."""

    size_gib: int
    type: WholeVolumeType | None
    snapshot: VolumeSnapshot | None
    home: Volume | None
    source: Source | None  # whichever of them it is made from
    only_pool: str | None  # where its data, or its group, are

    @property
    def volume_type(self) -> VolumeType | None:
        """The type alone."""
        return None if self.type is None else self.type.own


def held_source(tx: Transaction, context: RequestContext, wanted: NewVolume) -> VolumeSnapshot | None:
    """Hold the volumes this one is made from or related to; the snapshot it is made from, if it is. Raises NotFound."""
    found = {*wanted.hints.same_host, *wanted.hints.different_host}
    if wanted.source_volid is not None:
        found.add(wanted.source_volid)
    if wanted.snapshot_id is None:
        hold_volumes(tx, found)
        return None
    snapshot = own_volume_snapshot(tx, context, wanted.snapshot_id)
    if not hold_volumes(tx, {*found, snapshot.volume_id}):
        return snapshot
    return own_volume_snapshot(tx, context, wanted.snapshot_id)


def decide(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    wanted: NewVolume,
    snapshot: VolumeSnapshot | None,
) -> Decided:
    """Look everything up; `snapshot` is what `held_source` found. Raises Invalid, NotFound (volume, type, backup,
    group)."""
    given = [wanted.snapshot_id, wanted.source_volid, wanted.image_id, wanted.backup_id]
    if sum(source is not None for source in given) > 1:
        raise Invalid("A volume is made from one thing: give one of snapshot, source volume, image and backup.")
    home = _home(tx, context, wanted, snapshot)
    types = Types(tx)
    whole_type = types.of(_type_id(tx, plane, context, wanted, snapshot, home))
    choice.refuse_encrypted(whole_type)
    volume_type = None if whole_type is None else whole_type.own
    size_gib = _size(wanted, snapshot, home, _size_of_backup(tx, context, wanted))
    choice.check_size(volume_type, size_gib)
    _check_zone(tx, plane, wanted, volume_type, home)
    # The data of a snapshot or volume are where that is: a driver makes a copy there, and nowhere else.
    only_pool = None if home is None else calls.placed_on(home)
    if wanted.group_id is not None:
        only_pool = _pool_of_group(tx, context, wanted.group_id, volume_type, only_pool)
    return Decided(size_gib, whole_type, snapshot, home, _source(types, snapshot, home), only_pool)


def _home(
    tx: Transaction, context: RequestContext, wanted: NewVolume, snapshot: VolumeSnapshot | None
) -> Volume | None:
    if snapshot is not None:
        if snapshot.status is not VolumeSnapshotStatus.AVAILABLE:
            raise Invalid(f"Snapshot {snapshot.id} is '{snapshot.status}'; a volume is made from it when 'available'.")
        return own_volume(tx, context, snapshot.volume_id)
    if wanted.source_volid is None:
        return None
    home = own_volume(tx, context, wanted.source_volid)
    if home.status not in (VolumeStatus.AVAILABLE, VolumeStatus.IN_USE):
        raise Invalid(f"Volume {home.id} is '{home.status}'; a volume is made from it when 'available' or 'in-use'.")
    return home


def _source(types: Types, snapshot: VolumeSnapshot | None, home: Volume | None) -> Source | None:
    if home is None:
        return None
    return typed(types, home) if snapshot is None else typed_snapshot(types, snapshot, home)


def _type_id(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    wanted: NewVolume,
    snapshot: VolumeSnapshot | None,
    home: Volume | None,
) -> VolumeTypeId:
    if wanted.volume_type is not None:
        return choice.find(tx, context, wanted.volume_type).id
    of_source = snapshot.volume_type_id if snapshot is not None else home.volume_type_id if home is not None else None
    return of_source or choice.required_default(tx, plane, context).id


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


def _size_of_backup(tx: Transaction, context: RequestContext, wanted: NewVolume) -> int | None:
    if wanted.backup_id is None:
        return None
    backup = backups.get(tx, wanted.backup_id)
    if backup is None or not owns(context, backup.project_id):
        raise NotFound(f"There is no backup {wanted.backup_id[:64]}.")
    if backup.status is not BackupStatus.AVAILABLE:
        raise Invalid(f"Backup {backup.id} is '{backup.status}'; a volume is made from it when 'available'.")
    return backup.size_gib


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
