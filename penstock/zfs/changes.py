"""Whether datasets were written since their newest snapshot: one look at a whole pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.zfs.client import Zfs
from penstock.zfs.incremental import SnapshotPoint
from penstock.zfs.names import Dataset
from penstock.zfs.properties import Properties, bytes_of
from penstock.zfs.snapshots import point_of

# never set: forgetting it makes zfs-fuse write its transaction group, which it otherwise does every 30 s
_NEVER_SET = "penstock:flush"


@dataclass(frozen=True, slots=True)
class Change:
    """`written_bytes` (with metadata) since `newest`, the newest snapshot; since ever when there is none."""

    newest: SnapshotPoint | None
    written_bytes: int

    def is_unwritten_since(self, guid: int) -> bool:
        """True when the dataset holds exactly what its snapshot with this GUID holds, and that is the newest."""
        return self.newest is not None and self.newest.guid == guid and self.written_bytes == 0


def flush(zfs: Zfs, pool: str) -> None:
    """Have everything acknowledged so far in a transaction group on disk: only from then on does ZFS count it.

    Without it `changes` misses what was written in the last 5 s (OpenZFS) or 30 s (zfs-fuse).
    """
    if zfs.flavour.name == "zfs-fuse":
        zfs.commands.zfs("inherit", _NEVER_SET, pool)
    else:
        zfs.commands.zpool("sync", pool)


def changes(zfs: Zfs, root: Dataset) -> dict[Dataset, Change]:
    """Every filesystem and zvol directly below `root` with what was written since its newest snapshot: two commands."""
    below = root.path.count("/") + 1
    return {at: each for at, (each, _) in look_for_changes(zfs, root).items() if at.path.count("/") == below}


def look_for_changes(zfs: Zfs, root: Dataset, names: Sequence[str] = ()) -> dict[Dataset, tuple[Change, Properties]]:
    """`root` and all below it with what was written since the newest snapshot, and the named properties.

    Two commands. What a client had acknowledged before the call is seen. ``written`` says it on OpenZFS; zfs-fuse has
    no such property, but shows the same number as ``unique`` (``used`` of the newest snapshot does not do: it stays 0
    when the snapshot before it has the same blocks). Reading changes access times, which counts where ``atime`` is on.
    Raises NotFound.
    """
    flush(zfs, root.pool)
    written = "written" if zfs.flavour.has_written else "unique"
    found = zfs.tree(root, ["guid", "createtxg", written, *names], kinds=("filesystem", "volume", "snapshot"))
    newest: dict[str, SnapshotPoint] = {}
    for name, each in found.items():
        dataset, at, snapshot = name.partition("@")
        if at:
            point = point_of(snapshot, each)
            newest[dataset] = max(point, newest.get(dataset, point))
    return {
        Dataset(name): (Change(newest.get(name), bytes_of(each, written)), each)
        for name, each in found.items()
        if "@" not in name
    }
