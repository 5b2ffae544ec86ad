"""The rows that an inventory of volumes stands for: a pure function.

What the storage is never told is lost for good: descriptions, metadata, later renames, images, groups, backups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from penstock.domain.volume_snapshots import VolumeSnapshot
from penstock.domain.volume_types import VolumeType
from penstock.domain.volumes import Volume
from penstock.ids import VolumeTypeId, is_uuid
from penstock.recovery.lost import lost_owners, types_of
from penstock.recovery.rows import Place
from penstock.recovery.volumes.rows import Source, snapshot_row, volume_row
from penstock.volume.inventory import FoundVolume, FoundVolumeSnapshot, VolumeClient, VolumeInventory


@dataclass(frozen=True, slots=True)
class KnownVolumes:
    """What the database has already. `volumes` are those of this backend, by the id in their backend name, `ids` those
    of all volumes (both of them) and snapshots."""

    ids: frozenset[str]
    volumes: Mapping[str, Volume]
    types: tuple[VolumeType, ...]
    project_ids: frozenset[str]
    user_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class RebuiltVolumes:
    """Everything to insert, in this order. `left_out` says in sentences what cannot be inserted, and why."""

    types: tuple[VolumeType, ...]
    project_ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    volumes: tuple[Volume, ...]
    snapshots: tuple[VolumeSnapshot, ...]
    left_out: tuple[str, ...]

    @property
    def attached(self) -> tuple[Volume, ...]:
        """Volumes whose targets let somebody in, of whom only a person knows whether they still use them."""
        return tuple(volume for volume in self.volumes if volume.attachments)

    @property
    def is_empty(self) -> bool:
        """Is there nothing to insert?"""
        return not (self.volumes or self.snapshots)


def rebuild_volumes(inventory: VolumeInventory, known: KnownVolumes, place: Place) -> RebuiltVolumes:
    """The rows missing from the database. Empty when repeated on its own result."""
    left_out: list[str] = []
    wanted = list(_new_volumes(inventory.volumes, known, left_out))
    types = types_of(wanted, known.types, _made_again)
    sources, clients = _sources(inventory), _clients(inventory)
    rows = {
        found.location: volume_row(
            found, types.of[found.id], sources.get(found.id, Source()), clients.get(found.volume_id, ()), place
        )
        for found in wanted
    }
    parents = rows | {
        found.location: known.volumes[found.id] for found in inventory.volumes if found.id in known.volumes
    }
    snapshots = tuple(
        snapshot_row(found, parents[found.parent], place)
        for found in _new_snapshots(inventory.snapshots, known, parents, left_out)
    )
    owners: list[Volume | VolumeSnapshot] = [*rows.values(), *snapshots]
    project_ids, user_ids = lost_owners(owners, known.project_ids, known.user_ids)
    return RebuiltVolumes(
        types=types.made,
        project_ids=project_ids,
        user_ids=user_ids,
        volumes=tuple(rows.values()),
        snapshots=snapshots,
        left_out=tuple(left_out),
    )


def _made_again(type_id: str, name: str, made_at: datetime) -> VolumeType:
    return VolumeType(VolumeTypeId(type_id), name, None, True, None, made_at, None, {})


def _new_volumes(found: Iterable[FoundVolume], known: KnownVolumes, left_out: list[str]) -> Iterator[FoundVolume]:
    """Of two copies the one that was made last: only once it was whole was it told whose it is."""
    seen: dict[str, str] = {}
    for volume in sorted(found, key=lambda one: one.id == one.volume_id):
        if volume.id in known.ids:
            continue
        if volume.is_temporary:
            left_out.append(f"{volume.location} was made for an operation, and is nobody's volume")
        elif not (is_uuid(volume.id) and is_uuid(volume.volume_id) and volume.project_id and volume.user_id):
            left_out.append(f"{volume.location} does not say whose it is")
        elif volume.volume_id in known.ids:
            left_out.append(f"{volume.location} is another copy of volume {volume.volume_id}, which the database has")
        elif volume.volume_id in seen:
            at = seen[volume.volume_id]
            left_out.append(f"{volume.location} is another copy of volume {volume.volume_id} at {at}")
        else:
            seen[volume.volume_id] = volume.location
            yield volume


def _new_snapshots(
    found: Iterable[FoundVolumeSnapshot], known: KnownVolumes, parents: Mapping[str, Volume], left_out: list[str]
) -> Iterator[FoundVolumeSnapshot]:
    for snapshot in found:
        if snapshot.id in known.ids:
            continue
        if not is_uuid(snapshot.id):
            left_out.append(f"{snapshot.location} does not say which it is")
        elif snapshot.parent not in parents:
            left_out.append(f"{snapshot.location} is of volume {snapshot.volume_id}, which is not here")
        else:
            yield snapshot


def _sources(inventory: VolumeInventory) -> dict[str, Source]:
    """By the clone's id. A clone of a volume is one of a snapshot that was taken for it, and says so."""
    snapshots = {snapshot.location: snapshot.id for snapshot in inventory.snapshots}
    taken_for = {tombstone.location: tombstone.volume_id for tombstone in inventory.tombstones}
    parents = {volume.location: volume.volume_id for volume in inventory.volumes}
    found = {}
    for volume in inventory.volumes:
        origin = volume.source_snapshot or ""
        if origin in snapshots:
            found[volume.id] = Source(snapshot_id=snapshots[origin])
        elif taken_for.get(origin) == volume.id and origin.partition("@")[0] in parents:
            found[volume.id] = Source(volume_id=parents[origin.partition("@")[0]])
    return {str(key): source for key, source in found.items()}


def _clients(inventory: VolumeInventory) -> dict[str, tuple[VolumeClient, ...]]:
    """Whom targets let in, by the volume's own id: only where they lead to it."""
    own = {volume.id: volume.volume_id for volume in inventory.volumes}
    return {
        export.volume_id: export.clients
        for export in inventory.exports
        if export.leads_to is not None and own.get(export.leads_to) == export.volume_id
    }
