"""A dataset's snapshots with what they are to replication: whose, of which kind, the base of which copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from penstock.errors import NotFound
from penstock.zfs.client import Zfs
from penstock.zfs.faults import HasClones, NewerSnapshots
from penstock.zfs.holds import holds, release
from penstock.zfs.incremental import SnapshotPoint
from penstock.zfs.marks import ID, KIND
from penstock.zfs.names import Dataset, SnapshotName
from penstock.zfs.properties import Properties, bytes_of, local_value
from penstock.zfs.reigns import base_for, hold_tag
from penstock.zfs.snapshots import point_of

DEFERRED = "defer_destroy"
SYNC = "sync"
TOMBSTONE = "tombstone"
_TOMBSTONES = frozenset({TOMBSTONE, "volume_tombstone"})


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot. `owner` is the id of the user's snapshot that it is; `bases` the copies that need it next.

    `kind` is ``penstock:kind``. What nobody wants any more, and a clone or a hold of somebody's keeps, is a
    ``tombstone``, whatever its marks say.
    """

    point: SnapshotPoint
    kind: str | None
    owner: str | None
    bases: frozenset[str]


@dataclass(frozen=True, slots=True)
class Line:
    """A dataset's snapshots, oldest first, and what was written since the newest."""

    dataset: Dataset
    taken: tuple[Taken, ...]
    written_bytes: int

    @property
    def points(self) -> tuple[SnapshotPoint, ...]:
        """As the transfer wants them."""
        return tuple(taken.point for taken in self.taken)

    @property
    def newest(self) -> Taken | None:
        """The last one taken."""
        return self.taken[-1] if self.taken else None

    @property
    def syncs(self) -> tuple[Taken, ...]:
        """Those taken to move data."""
        return tuple(taken for taken in self.taken if taken.kind == SYNC)

    def by_guid(self, guid: int | None) -> Taken | None:
        """The snapshot with that GUID."""
        return next((taken for taken in self.taken if taken.point.guid == guid), None)

    def owned_by(self, snapshot_id: str) -> Taken | None:
        """The user's snapshot of that id, also when it is a tombstone."""
        found = (taken for taken in self.taken if taken.kind not in (None, SYNC))
        return next((taken for taken in found if taken.owner == snapshot_id), None)

    def name(self, taken: Taken) -> SnapshotName:
        """Its full name."""
        return self.dataset.snapshot(taken.point.name)


def observe_line(zfs: Zfs, dataset: Dataset, copy_ids: Sequence[str]) -> Line:
    """The snapshots, with what they are to these copies; one command. Raises NotFound."""
    written = "written" if zfs.flavour.has_written else "unique"
    marks = {copy_id: base_for(copy_id) for copy_id in copy_ids}
    names = ["guid", "createtxg", written, DEFERRED, KIND, ID, *marks.values()]
    found = zfs.tree(dataset, names, kinds=("filesystem", "volume", "snapshot"), depth=1)
    head = f"{dataset}@"
    taken = [
        _taken(name.removeprefix(head), properties, marks)
        for name, properties in found.items()
        if name.startswith(head)
    ]
    ordered = tuple(sorted(taken, key=lambda one: one.point))
    return Line(dataset, ordered, bytes_of(found[str(dataset)], written))


def _taken(name: str, properties: Properties, marks: Mapping[str, str]) -> Taken:
    point, owner = point_of(name, properties), local_value(properties, ID)
    kind = local_value(properties, KIND)
    if properties[DEFERRED].value == "on" or kind in _TOMBSTONES:
        return Taken(point, TOMBSTONE, owner, frozenset())
    bases = frozenset(copy_id for copy_id, mark in marks.items() if local_value(properties, mark))
    return Taken(point, kind, owner, bases)


def drop(zfs: Zfs, line: Line, taken: Taken, unless_held_by: Set[str] = frozenset()) -> None:
    """Destroy a sync snapshot with all holds of ours; what has a clone, or somebody else's hold, goes with the last.

    Gone is fine: another sync beside this one may have found it useless, too. With one of these tags it stays as it is.
    """
    name = line.name(taken)
    try:
        tags = holds(zfs, [name]).get(name, frozenset())
    except NotFound:
        return
    if tags & unless_held_by:
        return
    for tag in _ours(tags):
        release(zfs, [name], tag)
    zfs.destroy_snapshots(line.dataset, [taken.point.name], deferred=True)


def roll_back(zfs: Zfs, line: Line, to: Taken, newer: Sequence[Taken]) -> str | None:
    """Go back to the snapshot `to`, without the sync snapshots after it, which are `newer`. Why it did not, or None.

    The newest goes in the command that goes back: were it gone before, and that command never made, what it held would
    look as if somebody had written it.
    """
    for taken in newer[:-1]:
        drop(zfs, line, taken)
    if newer and release_ours(zfs, line.name(newer[-1])):
        return f"somebody holds {line.name(newer[-1])}"
    try:
        zfs.rollback(line.name(to), destroy_newer=bool(newer))
    except (NewerSnapshots, HasClones) as fault:
        return fault.message
    return None


def release_ours(zfs: Zfs, name: SnapshotName) -> frozenset[str]:
    """Let go of a snapshot that replication holds; the holds of others, which stay. Raises NotFound."""
    tags = holds(zfs, [name]).get(name, frozenset())
    for tag in _ours(tags):
        release(zfs, [name], tag)
    return tags - _ours(tags)


def _ours(tags: Set[str]) -> frozenset[str]:
    return frozenset(tag for tag in tags if tag.startswith(hold_tag("")))


def release_all(zfs: Zfs, dataset: Dataset) -> None:
    """Let go of the dataset's snapshots that replication holds; other people's holds stay."""
    line = observe_line(zfs, dataset, ())
    for name, tags in holds(zfs, [line.name(taken) for taken in line.taken]).items():
        for tag in _ours(tags):
            release(zfs, [name], tag)
