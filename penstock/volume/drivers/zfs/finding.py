"""Where a volume or snapshot of ours is: at its known place, or, when it is not there, by the id written on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.errors import NotFound, Unavailable
from penstock.volume.drivers.zfs import spec
from penstock.volume.drivers.zfs.identity import Kind, id_of, kind_of
from penstock.volume.drivers.zfs.options import Settings
from penstock.volume.errors import SnapshotNotFound, VolumeNotFound
from penstock.volume.models import SnapshotModel, VolumeModel
from penstock.zfs.client import Zfs
from penstock.zfs.marks import ID, KIND
from penstock.zfs.names import Dataset, SnapshotName
from penstock.zfs.properties import Properties

MARKS = (ID, KIND, "origin", "type")


@dataclass(frozen=True, slots=True)
class LookedAtSource:
    """Whether what is in the place is the snapshot, on its volume."""

    place: SnapshotName
    is_snapshot: bool


@dataclass(frozen=True, slots=True)
class Finder:
    """Looks for volumes below the roots of the settings."""

    zfs: Zfs
    settings: Settings

    def volume(self, volume: VolumeModel, extra: Sequence[str] = ()) -> tuple[Dataset, Properties] | None:
        """The volume's dataset with its marks and `extra` properties; None when there is none.

        What stands in its place and is not marked as it is nothing to us: we neither use nor destroy it. Raises
        Unavailable when it is a copy that is not to be served: a failover is on its way; and when it is not found and
        a root is not there either: its pool is not imported, and nobody can tell.
        """
        place = spec.told_dataset(volume, self.settings)
        names = (*MARKS, *extra)
        found = self.zfs.get_many([place], names).get(str(place))
        if found is not None and _is_volume(found, volume):
            return place, found
        if found is not None and kind_of(found) is Kind.REPLICA and id_of(found) == volume.name_id:
            raise Unavailable(f"{place} made way for a copy of volume {volume.id} on another side.")
        return self._searched(volume, place, names)

    def place(self, volume: VolumeModel) -> Dataset:
        """Where the volume should be."""
        return spec.told_dataset(volume, self.settings)

    def is_at(self, place: Dataset, volume: VolumeModel) -> bool:
        """Is what is there the volume? One command."""
        return _is_volume(self.zfs.get_many([place], (ID, KIND)).get(str(place)), volume)

    def existing(self, volume: VolumeModel, extra: Sequence[str] = ()) -> tuple[Dataset, Properties]:
        """As `volume`. Raises VolumeNotFound, Unavailable."""
        found = self.volume(volume, extra)
        if found is None:
            raise VolumeNotFound(f"Volume {volume.id} is not on {', '.join(map(str, self.settings.roots.values()))}.")
        return found

    def snapshot(self, snapshot: SnapshotModel) -> SnapshotName | None:
        """The snapshot, None when there is none (or only its tombstone, or another's).

        Raises Unavailable as `volume`.
        """
        place = spec.told_dataset(snapshot.volume, self.settings)
        name = place.snapshot(spec.snapshot_name(snapshot))
        seen = self.zfs.get_many([place, name], (ID, KIND))
        if not _is_volume(seen.get(str(place)), snapshot.volume):
            found = self.volume(snapshot.volume)
            if found is None:
                return None
            name = found[0].snapshot(name.name)
            seen = self.zfs.get_many([name], (ID, KIND))
        return name if _is_snapshot(seen.get(str(name)), snapshot) else None

    def snapshot_place(self, snapshot: SnapshotModel) -> SnapshotName:
        """Where the snapshot should be."""
        return spec.told_dataset(snapshot.volume, self.settings).snapshot(spec.snapshot_name(snapshot))

    def is_snapshot_at(self, name: SnapshotName, snapshot: SnapshotModel) -> bool:
        """Is what is there the snapshot, on its volume? One command."""
        seen = self.zfs.get_many([name.dataset, name], (ID, KIND))
        return _is_volume(seen.get(str(name.dataset)), snapshot.volume) and _is_snapshot(seen.get(str(name)), snapshot)

    def existing_snapshot(self, snapshot: SnapshotModel) -> SnapshotName:
        """As `snapshot`. Raises SnapshotNotFound, Unavailable."""
        found = self.snapshot(snapshot)
        if found is None:
            raise SnapshotNotFound(f"Snapshot {snapshot.id} of volume {snapshot.volume_id} is not there.")
        return found

    def _searched(self, volume: VolumeModel, place: Dataset, names: Sequence[str]) -> tuple[Dataset, Properties] | None:
        """By the id written on it, when it was told to be elsewhere than where a new one would be made.

        A machine answers before it has imported its pools: what is not there is gone only where the roots are there.
        """
        all_roots = list(dict.fromkeys(self.settings.roots.values()))
        roots = all_roots if volume.provider_id else [spec.root_of(volume.host, self.settings)]
        # the place once more, and last: the pool may have come since it was looked at
        seen = self.zfs.get_many([*roots, place], names)
        there = seen.get(str(place))
        if there is not None and is_volume(there, volume):
            return place, there
        away = [root for root in roots if str(root) not in seen]
        for root in roots if volume.provider_id else ():
            if root in away:
                continue
            try:
                tree = self.zfs.tree(root, names, kinds=("filesystem", "volume"))
            except NotFound:
                away.append(root)
                continue
            for name, found in tree.items():
                if is_volume(found, volume):
                    return Dataset(name), found
        if away:
            missing = ", ".join(map(str, away))
            raise Unavailable(f"Volume {volume.id} cannot be looked for: {missing} is not there. Import the pool.")
        return None


def is_volume(found: Properties, volume: VolumeModel) -> bool:
    """Is it that volume's? By `name_id` alone, which is what is written on it: after a copy and a swap the row's id is
    written on what the other row has, the old dataset or the new.
    """
    return kind_of(found) is Kind.VOLUME and id_of(found) == volume.name_id


def _is_volume(found: Properties | None, volume: VolumeModel) -> bool:
    return found is not None and is_volume(found, volume)


def _is_snapshot(found: Properties | None, snapshot: SnapshotModel) -> bool:
    return found is not None and kind_of(found) is Kind.SNAPSHOT and id_of(found) in (snapshot.id, None)
