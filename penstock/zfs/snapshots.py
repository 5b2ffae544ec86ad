"""A dataset and its snapshots as a transfer needs to see them: points, tokens and marks, in one command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.errors import NotFound
from penstock.zfs.client import Zfs
from penstock.zfs.incremental import SnapshotPoint
from penstock.zfs.names import Dataset
from penstock.zfs.properties import Properties, bytes_of

_ORDER = ("guid", "createtxg")


@dataclass(frozen=True, slots=True)
class Side:
    """One end of a transfer: the dataset's own properties, and its snapshots, oldest first."""

    properties: Properties
    points: tuple[SnapshotPoint, ...]

    def point(self, name: str) -> SnapshotPoint | None:
        """The snapshot of that name."""
        return next((point for point in self.points if point.name == name), None)


def points(zfs: Zfs, dataset: Dataset) -> tuple[SnapshotPoint, ...]:
    """The dataset's snapshots, oldest first, in one command. Raises NotFound."""
    return look(zfs, dataset, ()).points


def look(zfs: Zfs, dataset: Dataset, names: Sequence[str]) -> Side:
    """The dataset with the named properties, and its snapshots, in one command. Raises NotFound, Unsupported."""
    found = zfs.tree(dataset, [*_ORDER, *names], kinds=("filesystem", "volume", "snapshot"), depth=1)
    head = f"{dataset}@"
    snapshots = {name.removeprefix(head): each for name, each in found.items() if name.startswith(head)}
    order = sorted(point_of(name, each) for name, each in snapshots.items())
    if str(dataset) not in found:
        raise NotFound(f"there is no dataset {dataset}")
    return Side(found[str(dataset)], tuple(order))


def point_of(name: str, properties: Properties) -> SnapshotPoint:
    """The point of a snapshot's properties ``guid`` and ``createtxg``. Raises BackendFault."""
    return SnapshotPoint(bytes_of(properties, "createtxg"), name, bytes_of(properties, "guid"))
