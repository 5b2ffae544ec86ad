"""The snapshots that increments start from: taken, marked, held, and destroyed when no replica needs them any more.

Between two syncs each replica has one base: a sync snapshot on either side, marked as its base on the source and held
where ZFS has holds. A source that was not written since its newest sync snapshot gives that one, so replicas share a
base, and looking never makes anything that has to be sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.clock import Clock
from penstock.errors import NotFound
from penstock.ids import new_id
from penstock.zfs.changes import flush
from penstock.zfs.client import Zfs
from penstock.zfs.holds import hold, holds, release
from penstock.zfs.incremental import SnapshotPoint
from penstock.zfs.lines import SYNC, TOMBSTONE, Line, Taken, drop, observe_line
from penstock.zfs.marks import KIND
from penstock.zfs.names import Dataset, SnapshotName
from penstock.zfs.reigns import base_for, hold_tag
from penstock.zfs.snapshots import Side
from penstock.zfs.transfer import look_at_source

OUR_ID = "[0-9a-f]{8}(_[0-9a-f]{4}){3}_[0-9a-f]{12}"
STAMP = "_[0-9]{8}T[0-9]{6}_[0-9a-f]{8}"  # as `snapshot_to_send` makes it


@dataclass(frozen=True, slots=True)
class Naming:
    """How one backend calls snapshots: `sync_prefix` begins the names of those taken to move data, `others` is a
    pattern of all other names that it gives."""

    sync_prefix: str
    others: str

    @property
    def syncs(self) -> str:
        """A pattern of the names of those taken to move data."""
        return re.escape(self.sync_prefix) + OUR_ID + STAMP


@dataclass(frozen=True, slots=True)
class End:
    """One end of a sync: the copy `id` (a UUID). `synced_guid` is what it was last brought to, None when unknown."""

    id: str
    zfs: Zfs
    dataset: Dataset
    naming: Naming
    synced_guid: int | None = None


# --- what to send ---------------------------------------------------------------------------------------------------


def snapshot_to_send(
    source: End, target: End, copy_ids: Sequence[str], clock: Clock
) -> tuple[SnapshotPoint, Side | None]:
    """The source's present state as a snapshot marked and held as the target's next base. Raises NotFound.

    With it the source as it was seen after a new snapshot.
    """
    zfs = source.zfs
    line = _adopted(source, target, observe_line(zfs, source.dataset, copy_ids), copy_ids)
    _claim_base(zfs, line, target)
    if _ends_in_sync(line):  # as far as is counted; a snapshot would have what is not counted yet
        flush(zfs, source.dataset.pool)
        line = observe_line(zfs, source.dataset, copy_ids)
    newest = line.newest
    if newest is not None and _ends_in_sync(line):
        if target.id not in newest.bases:
            zfs.set(line.name(newest), {base_for(target.id): "yes"})
        hold(zfs, [line.name(newest)], hold_tag(target.id))
        return newest.point, None
    _forget_unsent(zfs, line, target)
    prefix = source.naming.sync_prefix
    stamp = clock.utc().strftime("%Y%m%dT%H%M%S")
    name = source.dataset.snapshot(f"{prefix}{target.id.replace('-', '_')}_{stamp}_{new_id()[:8]}")
    zfs.snapshot([name], {base_for(target.id): "yes", KIND: SYNC})
    hold(zfs, [name], hold_tag(target.id))
    side = look_at_source(zfs, source.dataset)
    point = side.point(name.name)
    if point is None:
        raise NotFound(f"{name} was taken, and is gone")
    return point, side


def _claim_base(zfs: Zfs, line: Line, target: End) -> None:
    """What the target ends in is marked as its base before anything newer is.

    On a source that has just become one it may not be: then the mark of what is still to be sent would be the target's
    only one, and another target's sync would take what this one starts from for useless.
    """
    base = line.by_guid(target.synced_guid)
    if base is not None and base.kind == SYNC and target.id not in base.bases:
        zfs.set(line.name(base), {base_for(target.id): "yes"})
        hold(zfs, [line.name(base)], hold_tag(target.id))


def _adopted(source: End, target: End, line: Line, copy_ids: Sequence[str]) -> Line:
    """Snapshots of syncs that the source received, and became the source before anybody marked them, are marked."""
    ours = re.compile("|".join(one.naming.syncs for one in (source, target)))
    unmarked = [line.name(taken) for taken in line.taken if taken.kind is None and ours.fullmatch(taken.point.name)]
    if not unmarked:
        return line
    source.zfs.set_each(unmarked, {KIND: SYNC})
    return observe_line(source.zfs, source.dataset, copy_ids)


def _ends_in_sync(line: Line) -> bool:
    """Was nothing written since a snapshot of ours?"""
    return line.newest is not None and line.newest.kind == SYNC and line.written_bytes == 0


def _forget_unsent(zfs: Zfs, line: Line, target: End) -> None:
    """Of syncs that did not end, all snapshots but the first go: that one may be on its way, to be gone on with."""
    base = line.by_guid(target.synced_guid)
    unsent = [t for t in line.syncs if target.id in t.bases and (base is None or t.point > base.point)]
    for taken in unsent[1:]:
        if taken.bases == {target.id}:
            drop(zfs, line, taken)


# --- afterwards -----------------------------------------------------------------------------------------------------


def move_base(source: End, target: End, arrived: Taken, line: Line, copy_ids: Sequence[str]) -> None:
    """From now on increments start from `arrived`; older bases that nobody needs go, on either side.

    `line` is the target as it is now. It is put in order first: should this end between the two, the source still has
    what tells the next sync what is left to do.
    """
    hold(target.zfs, [line.name(arrived)], hold_tag(target.id))
    if target.id.replace("-", "_") not in arrived.point.name:  # made for another replica
        followers = {hold_tag(copy_id) for copy_id in copy_ids if copy_id != source.id}
        for copy in (source, target):
            _trim(copy.zfs, copy.dataset.snapshot(arrived.point.name), followers)
    theirs = observe_line(source.zfs, source.dataset, copy_ids)
    gone = removable(theirs, source.id, target.id, arrived.point.guid, copy_ids)
    carried = {taken.point.guid for taken in theirs.syncs if taken not in gone}
    unmarked = [line.name(taken) for taken in line.taken if taken.kind is None and taken.point.guid in carried]
    target.zfs.set_each(unmarked, {KIND: SYNC})
    there = {taken.point.guid for taken in theirs.taken if taken not in gone and taken.kind != TOMBSTONE}
    for taken in surplus(line, carried, there, [source.naming, target.naming]):
        drop(target.zfs, line, taken)
    others = {hold_tag(copy_id) for copy_id in copy_ids if copy_id not in (source.id, target.id)}
    _clean_source(source, target, theirs, arrived.point.guid, gone, others)


def removable(line: Line, source_id: str, target_id: str, base_guid: int, copy_ids: Sequence[str]) -> list[Taken]:
    """The source's sync snapshots that no replica's next increment starts from. Pure.

    Those without a known need may be what a replica that has no base here yet starts from (after a promotion), so
    they stay until each replica has one. What may have come to a replica by a sync that did not end stays, too, up to
    what that sync was begun with: the replica can go on from it, also with another source.
    """
    followers = [copy_id for copy_id in copy_ids if copy_id != source_id]
    bases = {i for taken in line.syncs for i in taken.bases}
    is_settled = all(follower in bases for follower in followers)
    begun = {guid for f in followers if f != target_id for guid in _on_their_way(line, f)}
    gone = []
    for taken in line.syncs:
        if taken.point.guid in begun:
            continue
        needs = taken.bases - {target_id} if taken.point.guid != base_guid else taken.bases
        needs &= set(followers)
        if not needs and (is_settled or taken.bases == {target_id}) and taken.point.guid != base_guid:
            gone.append(taken)
    return gone


def _on_their_way(line: Line, copy_id: str) -> set[int]:
    """GUIDs of the syncs after a copy's base that may have come along with the first it did not end. Pure."""
    marked = [taken.point for taken in line.syncs if copy_id in taken.bases]
    if len(marked) < 2:
        return set()
    return {taken.point.guid for taken in line.syncs if marked[0] < taken.point < marked[1]}


def surplus(line: Line, carried: set[int], there: set[int], namings: Sequence[Naming]) -> list[Taken]:
    """What is on the target and of no use: syncs the source has no more, and what came and was deleted there before
    anybody marked it here. Pure.

    `carried` are the GUIDs of the source's syncs that stay, `there` of all its snapshots that do. Nobody would ever
    ask for these again. What is unmarked and called otherwise than we call ours is somebody else's.
    """
    ours = re.compile("|".join(f"{one.syncs}|{one.others}" for one in namings))
    return [
        taken
        for taken in line.taken
        if (taken.kind == SYNC and taken.point.guid not in carried)
        or (taken.kind is None and taken.point.guid not in there and ours.fullmatch(taken.point.name))
    ]


def _trim(zfs: Zfs, name: SnapshotName, wanted: set[str]) -> None:
    """Let go of it for whoever is not wanted; other people's holds stay."""
    for tag in holds(zfs, [name]).get(name, frozenset()) - wanted:
        if tag.startswith(hold_tag("")):
            release(zfs, [name], tag)


def _clean_source(
    source: End, target: End, line: Line, base_guid: int, gone: Sequence[Taken], others: set[str]
) -> None:
    """Let go of the target's older bases there, and of what is `gone`, unless a sync of one of the `others` (their tags
    of holds) has begun to use it since the look."""
    for taken in line.syncs:
        if target.id in taken.bases and taken.point.guid != base_guid and taken not in gone:
            release(source.zfs, [line.name(taken)], hold_tag(target.id))
            source.zfs.inherit(line.name(taken), base_for(target.id))
    for taken in gone:
        drop(source.zfs, line, taken, unless_held_by=others)
