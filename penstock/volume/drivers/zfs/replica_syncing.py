"""One sync: a copy is brought to what the volume holds now, by an increment, and says since when."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from penstock.clock import Clock
from penstock.errors import BackendFault, Conflict
from penstock.host.streaming import Routes
from penstock.units import gib_to_bytes
from penstock.volume.drivers.zfs import going_back, lineage, setting_aside, spec
from penstock.volume.drivers.zfs.copies import UUID, VolumeCopy
from penstock.volume.drivers.zfs.fencing import fence_copy
from penstock.volume.drivers.zfs.identity import DELETED, SNAPSHOT_MARKS, SOURCE, Kind, kind_of, marks_of_volume
from penstock.zfs.bases import move_base, snapshot_to_send
from penstock.zfs.faults import Diverged
from penstock.zfs.incremental import SnapshotPoint, newest_common
from penstock.zfs.lines import SYNC, drop, observe_line
from penstock.zfs.marks import ID, KIND
from penstock.zfs.names import SnapshotName
from penstock.zfs.properties import Properties, local_value
from penstock.zfs.reigns import ACCEPTED, EPOCH, FENCED, PROMOTED, REVERTED_TO, SYNCED_AT, SYNCED_GUID, Fence
from penstock.zfs.snapshots import Side as Snapshots
from penstock.zfs.transfer import Transfer

_OF_USER = re.compile(f"snapshot-({UUID})")

log = structlog.get_logger(__name__)


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Sending:
    """How data goes from host to host, by which clock its age is told, and whether it shall stop (asked every second).

    `copy_ids` are those of all the volume's copies, also of sides that are away; `source_guid` tells the dataset that
    holds the backend's volumes on the active side from any other of its name.
    """

    routes: Routes
    clock: Clock
    copy_ids: Sequence[str]
    source_guid: str
    should_stop: Callable[[], bool] = _never


@dataclass(frozen=True, slots=True)
class Brought:
    """The target after a sync: as it is now, at which time the volume was like that, the snapshot, the bytes sent."""

    copy: VolumeCopy
    synced_at: datetime
    base: SnapshotPoint
    sent_bytes: int


def bring(source: VolumeCopy, target: VolumeCopy, sending: Sending) -> Brought:
    """Bring the target to what the source holds now, and mark it a replica of the source's reign.

    What the target has of its own is set aside. Safe to repeat; an interrupted copy is gone on with. Raises Conflict
    (the target is of a later reign, or another's), and what `Transfer.run` raises.
    """
    if source.seen is None:
        raise Conflict(f"{source.side.id} has nothing of volume {source.volume.id} to copy from")
    if target.epoch > source.epoch:
        raise Conflict(f"{target.dataset} is of reign {target.epoch}, {source.dataset} of {source.epoch}: no source")
    if target.is_active:
        target = fence_copy(target, Fence(source.highest_epoch, ""))
    if target.seen is None or target.seen.kind is not None:
        target = setting_aside.finish(target, observe_line(source.zfs, source.dataset, ()).points)
    looked_at = sending.clock.utc()
    to, seen = snapshot_to_send(source.end, target.end, sending.copy_ids, sending.clock)
    target, sent_bytes = _send(source, target, to, sending, seen)
    line = observe_line(target.zfs, target.dataset, sending.copy_ids)
    arrived = line.newest
    if arrived is None or arrived.point.guid != to.guid:
        raise BackendFault(f"{target.dataset} was brought to {to.name}, and does not end in it")
    follow_snapshots(source, target)
    _mark(source, target, to.guid, looked_at, sending.source_guid)
    move_base(source.end, target.end, arrived, line, sending.copy_ids)
    return Brought(target.again(), looked_at, arrived.point, sent_bytes)


def is_as_wanted(source: VolumeCopy, target: VolumeCopy) -> bool:
    """Is it what a sync would make it, apart from what was written? Is space kept free for it if its type wants that,
    and only then, and did it hear of every snapshot that was deleted?"""
    if source.seen is None or target.seen is None or source.seen.last_deleted != target.seen.last_deleted:
        return False
    return target.seen.has_reservation != _is_thin(target)


def _is_thin(target: VolumeCopy) -> bool:
    return spec.stays_thin(target.volume, target.side.settings)


# --- sending --------------------------------------------------------------------------------------------------------


def _send(
    source: VolumeCopy, target: VolumeCopy, to: SnapshotPoint, sending: Sending, seen: Snapshots | None
) -> tuple[VolumeCopy, int]:
    target = _follow_revert(source, target)
    if not _was_written_beyond(target, to):
        try:
            return _transferred(source, target, to, sending, seen)
        except Diverged as fault:
            log.warning("volume.replica_modified", volume=target.volume.id, side=target.side.id, reason=fault.message)
        target = going_back.forget_unfinished(source, target)
        try:
            return _transferred(source, target, to, sending, seen)
        except Diverged as fault:
            is_ours = target.seen is not None and (target.seen.kind is not None or going_back.is_named_for(target))
            if not is_ours:
                raise Conflict(f"{target.dataset} on {target.side.id} is not ours: {fault.message}") from fault
            log.warning("volume.to_set_aside", volume=target.volume.id, side=target.side.id, reason=fault.message)
    target = setting_aside.set_aside(target, observe_line(source.zfs, source.dataset, ()).points)
    return _transferred(source, target, to, sending, seen)


def _transferred(
    source: VolumeCopy, target: VolumeCopy, to: SnapshotPoint, sending: Sending, seen: Snapshots | None
) -> tuple[VolumeCopy, int]:
    way = Transfer(
        source.zfs,
        source.dataset.snapshot(to.name),
        target.zfs,
        target.dataset,
        route=sending.routes.between(source.side.storage.host, target.side.storage.host),
        properties=_first_properties(target),
        seen=seen,
    )
    limit = source.side.settings.bandwidth_limit_bytes_per_s
    done = way.run(should_stop=sending.should_stop, bandwidth_limit_bytes_per_s=limit)
    return target.again(), done.sent_bytes


def _first_properties(target: VolumeCopy) -> dict[str, str]:
    """What a replica is made with. Of no reign yet: until a sync has ended nobody may believe it."""
    specs, settings = spec.extra_specs(target.volume), target.side.settings
    is_zvol = target.side.storage.medium.type == "volume"
    still = {} if is_zvol else {"canmount": "noauto"}
    options = spec.native(specs, settings, target.zfs.flavour)
    marks = {**marks_of_volume(target.volume), KIND: Kind.REPLICA.value}
    return {**options, "readonly": "on", **still, EPOCH: "0", **marks}


def _was_written_beyond(target: VolumeCopy, to: SnapshotPoint) -> bool:
    """Was it the volume once, and written since the very snapshot it is to end in? Nothing is sent then, so that no
    receive would notice."""
    if target.fence is None:
        return False
    line = observe_line(target.zfs, target.dataset, ())
    return line.newest is not None and line.newest.point.guid == to.guid and line.written_bytes > 0


def _follow_revert(source: VolumeCopy, target: VolumeCopy) -> VolumeCopy:
    """When its owner put the volume back to a snapshot, go back, too.

    Only snapshots taken to move data, and users' that are gone from the volume, are destroyed for it; and only of a
    copy that was never the volume since it was last in line.
    """
    guid = source.seen.reverted_to if source.seen is not None else None
    if guid is None or target.seen is None or target.seen.kind is not Kind.REPLICA or target.fence is not None:
        return target
    theirs = observe_line(source.zfs, source.dataset, ())
    reverted_to = theirs.by_guid(guid)
    line = observe_line(target.zfs, target.dataset, ())
    common = newest_common(theirs.points, line.points)
    if reverted_to is None or common is None or common[0] > reverted_to.point:
        return target
    newer = [taken for taken in line.taken if taken.point > common[1]]
    if not newer or any(taken.kind not in (SYNC, Kind.SNAPSHOT.value) for taken in newer):
        return target
    for taken in newer:
        drop(target.zfs, line, taken)
    target.zfs.rollback(target.dataset.snapshot(common[1].name), destroy_newer=False)
    return target.again()


# --- afterwards -----------------------------------------------------------------------------------------------------


def follow_snapshots(source: VolumeCopy, target: VolumeCopy) -> None:
    """Mark the users' snapshots that arrived as theirs are, and destroy those that their users deleted."""
    theirs, ours = _snapshots(source), _snapshots(target)
    for name, found in theirs.values():
        here = ours.get(found["guid"].value)
        marks = {mark: value for mark in SNAPSHOT_MARKS if (value := local_value(found, mark)) is not None}
        if here is None or kind_of(found) is not Kind.SNAPSHOT:
            continue
        if any(local_value(here[1], mark) != value for mark, value in marks.items()) or kind_of(here[1]) is None:
            log.info("volume.snapshot_arrived", snapshot=str(name), side=target.side.id)
            target.zfs.set(here[0], {**marks, KIND: Kind.SNAPSHOT.value})
    for guid, (name, found) in ours.items():
        at_source = theirs.get(guid)
        is_left = at_source is None or kind_of(at_source[1]) is not Kind.SNAPSHOT
        if kind_of(found) is Kind.SNAPSHOT and is_left:
            lineage.destroy_snapshot(target.zfs, name)


def snapshots_kept(copy: VolumeCopy) -> list[str]:
    """The ids of the users' snapshots that the copy has. One that arrived with a sync that did not end is marked first:
    nobody can tell any more what else its source said of it."""
    line, kept = observe_line(copy.zfs, copy.dataset, ()), list[str]()
    for taken in line.taken:
        named = _OF_USER.fullmatch(taken.point.name)
        if taken.kind is None and named:
            copy.zfs.set(line.name(taken), {ID: named[1], KIND: Kind.SNAPSHOT.value})
            kept.append(named[1])
        elif taken.kind == Kind.SNAPSHOT and taken.owner is not None:
            kept.append(taken.owner)
    return kept


def _snapshots(copy: VolumeCopy) -> dict[str, tuple[SnapshotName, Properties]]:
    """By GUID; those that are destroyed, and only kept for a clone, are none."""
    names = ("guid", "defer_destroy", *SNAPSHOT_MARKS, KIND)
    found = copy.zfs.tree(copy.dataset, names, kinds=("snapshot",), depth=1)
    live = {name: one for name, one in found.items() if one["defer_destroy"].value != "on"}
    return {one["guid"].value: (copy.dataset.snapshot(name.partition("@")[2]), one) for name, one in live.items()}


def _mark(source: VolumeCopy, target: VolumeCopy, guid: int, looked_at: datetime, source_guid: str) -> None:
    """Say what it is and since when; when it was synced comes last: until then it is not in line."""
    seen, zfs = target.seen, target.zfs
    if seen is None:
        return
    last_deleted = source.seen.last_deleted if source.seen is not None else None
    if not _is_thin(target):
        target.side.storage.medium.reserve(target.dataset, gib_to_bytes(target.volume.size))
    elif seen.has_reservation:
        zfs.set(target.dataset, {"refreservation": "none"})
    wanted = (
        (EPOCH, str(source.epoch), seen.epoch != source.epoch),
        (SYNCED_GUID, str(guid), seen.synced_guid != guid),
        (SOURCE, source_guid, seen.source_guid != source_guid),
        (DELETED, last_deleted or "", last_deleted is not None and seen.last_deleted != last_deleted),
    )
    pairs = {name: value for name, value, is_missing in wanted if is_missing}
    zfs.set(target.dataset, {**pairs, SYNCED_AT: looked_at.isoformat()})
    stale = (
        (FENCED, seen.fence),
        (PROMOTED, seen.promoted),
        (REVERTED_TO, seen.reverted_to),
        (ACCEPTED, seen.accepted),
        (DELETED, seen.last_deleted if last_deleted is None else None),
    )
    for name, value in stale:
        if value is not None:
            zfs.inherit(target.dataset, name)
