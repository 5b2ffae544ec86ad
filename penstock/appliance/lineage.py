"""Which datasets were cloned of which snapshots, found by one look at the pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset, SnapshotName, parse_target


@dataclass(frozen=True, slots=True)
class Lineage:
    """`clones` of each snapshot that has some."""

    clones: Mapping[SnapshotName, tuple[Dataset, ...]]

    @classmethod
    def below(cls, zfs: Zfs, root: Dataset) -> Lineage:
        """Of everything below `root`: one command."""
        found: dict[SnapshotName, list[Dataset]] = {}
        for name, each in zfs.tree(root, ["origin"], kinds=("filesystem", "volume")).items():
            origin = parse_target(each["origin"].value) if each["origin"].is_set else None
            if isinstance(origin, SnapshotName):
                found.setdefault(origin, []).append(Dataset(name))
        return cls({snapshot: tuple(sorted(clones)) for snapshot, clones in found.items()})

    def count(self, snapshot: SnapshotName) -> int:
        """Live clones of the snapshot."""
        return len(self.clones.get(snapshot, ()))

    def of_dataset(self, dataset: Dataset) -> list[Dataset]:
        """The dataset and all that descends from it, parents before children."""
        found = [dataset]
        for parent in found:  # grows while it is walked
            for snapshot, clones in sorted(self.clones.items()):
                if snapshot.dataset == parent:
                    found.extend(clones)
        return found

    def of_snapshot(self, snapshot: SnapshotName) -> list[Dataset]:
        """All that descends from the snapshot, parents before children."""
        return [each for clone in self.clones.get(snapshot, ()) for each in self.of_dataset(clone)]
