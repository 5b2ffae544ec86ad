"""Database, storage and targets compared: a pure function over what was read of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from penstock.doctor.findings import Finding, Kind
from penstock.doctor.volumes.books import VolumeBooks
from penstock.doctor.volumes.exposure import export_drift
from penstock.doctor.volumes.stuck import stuck_drift
from penstock.domain.pools import service_host
from penstock.domain.volume_lifecycle import RESTING
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes import TEMPORARY, ReplicationStatus, Volume, VolumeStatus
from penstock.units import bytes_to_gib, bytes_to_gib_ceil, gib_to_bytes
from penstock.volume.inventory import Aspect, FoundVolume, VolumeInventory

# States in which the data is there and nobody is changing it.
HELD = frozenset(
    {
        *RESTING,
        VolumeStatus.AWAITING_TRANSFER,
        VolumeStatus.ERROR_EXTENDING,
        VolumeStatus.ERROR_RESTORING,
        VolumeStatus.ERROR_BACKING_UP,
        VolumeStatus.ERROR_UNMANAGING,
    }
)
NAMES = {
    Aspect.VOLUMES: "whether volumes are on the storage",
    Aspect.ORPHANS: "volumes and snapshots on the storage that have no row",
    Aspect.MARKS: "what is written on the volumes",
    Aspect.SNAPSHOTS: "whether snapshots are on the storage",
    Aspect.EXPORTS: "who is let in",
    Aspect.LEFTOVERS: "what migrations and deletions left",
}


def drift(books: VolumeBooks, inventory: VolumeInventory) -> tuple[Finding, ...]:
    """Every difference, by kind. `books` are the settled ones (`books.settled`); empty when all agrees."""
    found = _by_id(inventory)
    held = [volume for volume in books.volumes.values() if volume.status in HELD]
    there = {volume.id: place for volume in held if (place := _place(volume, found)) is not None}
    findings = list(_not_examined(inventory))
    if inventory.sees(Aspect.VOLUMES):
        for volume in held:
            findings += _of_volume(volume, there.get(volume.id), inventory)
    if inventory.sees(Aspect.SNAPSHOTS):
        findings += _snapshots_missing(books, inventory)
    findings += _orphans(books, inventory)
    findings += _copies(books, inventory, found)
    findings += export_drift(books, inventory, [volume for volume in held if volume.id in there])
    findings += _tombstones(books, inventory)
    findings += stuck_drift(books)
    findings += _replication(books, inventory)
    return tuple(sorted(findings))


def _replication(books: VolumeBooks, inventory: VolumeInventory) -> Iterator[Finding]:
    """What was lost, is set aside, or is not copied: told, because nobody but an administrator can do anything."""
    for volume in books.volumes.values():
        told, status = volume.replication_extended_status, volume.replication_status
        if told and status in (ReplicationStatus.FAILED_OVER, ReplicationStatus.ERROR):
            sentence = f"volume {volume.id} is {status.value}: {told}"
            yield Finding(Kind.REPLICATION, volume.id, sentence, can_repair=False, is_drift=False)
    for kept in inventory.set_aside:
        sentence = f"{kept.location} has what a copy of volume {kept.volume_id} had that the volume has not"
        yield Finding(Kind.SET_ASIDE, kept.location, sentence, can_repair=False, is_drift=False)


def _pool(volume: Volume) -> str:
    return (volume.host or "").partition("#")[2]


def _by_id(inventory: VolumeInventory) -> dict[str, list[FoundVolume]]:
    found: dict[str, list[FoundVolume]] = {}
    for volume in inventory.volumes:
        found.setdefault(volume.id, []).append(volume)
    return found


def _place(volume: Volume, found: Mapping[str, list[FoundVolume]]) -> FoundVolume | None:
    """Where the volume is: on the pool its row names, where there is more than one of it."""
    places = found.get(volume.name_id or volume.id, [])
    return min(places, key=lambda one: one.pool != _pool(volume), default=None)


def _not_examined(inventory: VolumeInventory) -> Iterator[Finding]:
    for missing in inventory.not_examined:
        sentence = f"{NAMES[missing.aspect]}: not examined, because {missing.why}"
        yield Finding(Kind.NOT_EXAMINED, missing.aspect, sentence, can_repair=False, is_drift=False)


def _of_volume(volume: Volume, found: FoundVolume | None, inventory: VolumeInventory) -> Iterator[Finding]:
    pool = _pool(volume)
    if found is None:
        if pool not in inventory.pools:
            yield Finding(
                Kind.PLACEMENT,
                volume.id,
                f"volume {volume.id} is on pool '{pool}', which this backend does not have; "
                "put it back into the configuration",
                can_repair=False,
            )
        else:
            yield Finding(
                Kind.DATASET_MISSING,
                volume.id,
                f"volume {volume.id} is '{volume.status}' and there is nothing of it on pool '{pool}'",
                can_repair=volume.status in RESTING,
            )
        return
    if found.pool != pool:
        sentence = f"volume {volume.id} is recorded on pool '{pool}' and lies on '{found.pool}' ({found.location})"
        yield Finding(Kind.PLACEMENT, volume.id, sentence)
    yield from _size(volume, found)
    if inventory.sees(Aspect.MARKS):
        yield from _marks(volume, found)


def _size(volume: Volume, found: FoundVolume) -> Iterator[Finding]:
    wanted = gib_to_bytes(volume.size_gib)
    is_larger = found.is_size_exact and bytes_to_gib_ceil(found.size_bytes) > volume.size_gib
    if volume.status not in RESTING or not (found.size_bytes < wanted or is_larger):
        return
    actual = f"{bytes_to_gib(found.size_bytes):g} GiB" if found.size_bytes else "no size that can be told"
    sentence = f"volume {volume.id} has {volume.size_gib} GiB, and {found.location} {actual}"
    yield Finding(Kind.SIZE_DIFFERS, volume.id, sentence)


def _marks(volume: Volume, found: FoundVolume) -> Iterator[Finding]:
    pairs = {
        "volume id": (volume.id, found.volume_id),
        "project": (volume.project_id, found.project_id),
        "user": (volume.user_id, found.user_id),
        "volume type": (volume.volume_type_id, found.type_id if volume.volume_type_id else None),
        "temporary": (TEMPORARY in volume.admin_metadata, found.is_temporary),
    }
    wrong = [f"{name} {theirs} instead of {ours}" for name, (ours, theirs) in pairs.items() if ours != theirs]
    if wrong:
        sentence = f"{found.location} of volume {volume.id} says {', '.join(wrong)}"
        yield Finding(Kind.PROPERTY_DIFFERS, volume.id, sentence)


def _snapshots_missing(books: VolumeBooks, inventory: VolumeInventory) -> Iterator[Finding]:
    """Of volumes that are gone nothing is said: their own finding is enough, unless only they are."""
    taken = {snapshot.id for snapshot in inventory.snapshots}
    for snapshot in books.snapshots.values():
        volume = books.volumes[snapshot.volume_id]
        is_looked_at = volume.status in HELD and _pool(volume) in inventory.pools
        if _is_available(snapshot) and snapshot.id not in taken and is_looked_at:
            sentence = f"snapshot {snapshot.id} of volume {volume.id} is 'available' and not on the storage"
            yield Finding(Kind.SNAPSHOT_MISSING, snapshot.id, sentence)


def _is_available(snapshot: VolumeSnapshot) -> bool:
    return snapshot.status is VolumeSnapshotStatus.AVAILABLE


def _orphans(books: VolumeBooks, inventory: VolumeInventory) -> Iterator[Finding]:
    if not inventory.sees(Aspect.ORPHANS):
        return
    for volume in inventory.volumes:
        if volume.id not in books.known:
            what = "made for an operation" if volume.is_temporary else f"of project {volume.project_id}"
            sentence = f"{volume.location} is volume {volume.volume_id} {what}, unknown here"
            yield Finding(Kind.DATASET_ORPHAN, volume.location, sentence)
    for snapshot in inventory.snapshots:
        if snapshot.id not in books.known:
            sentence = f"{snapshot.location} is snapshot {snapshot.id} of volume {snapshot.volume_id}, unknown here"
            yield Finding(Kind.SNAPSHOT_ORPHAN, snapshot.location, sentence)


def _copies(
    books: VolumeBooks, inventory: VolumeInventory, found: Mapping[str, list[FoundVolume]]
) -> Iterator[Finding]:
    """Copies on their way that nothing carries on, and whole ones beside what the row names."""
    for left in inventory.leftovers:
        home = books.homes.get(left.volume_id)
        if home is not None and books.is_busy(home.id):
            continue
        if left.is_copy:
            sentence = f"{left.location} is an unfinished copy of volume {left.volume_id}, and no migration goes on"
            yield Finding(Kind.LEFTOVER, left.location, sentence)
        elif home is not None and _has_failed(books.volumes.get(home.id)):  # one that was let go looks the same
            sentence = f"{left.location} bears no mark: the creation of volume {left.volume_id} was cut off"
            yield Finding(Kind.LEFTOVER, left.location, sentence)
    for name_id, places in found.items():
        home = books.homes.get(name_id)
        if home is None or home.host is None or books.is_busy(home.id):
            continue
        at_home = [one for one in places if f"{books.host}#{one.pool}" == home.host]
        is_elsewhere = service_host(home.host) != books.host
        copies = [one for one in places if one not in at_home[:1]] if at_home or is_elsewhere else places[1:]
        for copy in copies:
            sentence = f"{copy.location} is another copy of volume {home.id}, which is on {home.host} by its row"
            yield Finding(Kind.LEFTOVER, copy.location, sentence, can_repair=False)
    for volume_id in sorted(books.unneeded & books.volumes.keys()):
        sentence = f"volume {volume_id} was made for an operation that is over"
        yield Finding(Kind.LEFTOVER, volume_id, sentence)


def _has_failed(volume: Volume | None) -> bool:
    return volume is not None and volume.status in (VolumeStatus.ERROR, VolumeStatus.ERROR_DELETING)


def _tombstones(books: VolumeBooks, inventory: VolumeInventory) -> Iterator[Finding]:
    for tombstone in inventory.tombstones:
        of = books.homes.get(tombstone.volume_id or "")
        if of is not None and books.is_busy(of.id):
            continue  # taken for what is going on
        if tombstone.is_needed:
            sentence = f"{tombstone.location} was deleted, and goes when the last volume made from it goes"
        else:
            sentence = f"{tombstone.location} was deleted and is still there, though nothing needs it"
        needed = tombstone.is_needed
        yield Finding(Kind.TOMBSTONE, tombstone.location, sentence, can_repair=not needed, is_drift=not needed)
