"""Deleting what clones depend on: the user's deletion succeeds at once, ZFS is satisfied underneath.

A snapshot with clones is destroyed *deferred*: ZFS drops it with its last clone; until then it is a tombstone. A volume
whose snapshots have clones hands them over: one clone of ours is promoted, and the rest destroyed. Clones that are not
ours are left alone, as are snapshots that somebody holds: then the volume becomes a tombstone, and is swept when they
are gone.
"""

from __future__ import annotations

from penstock.errors import BackendFault, NotFound
from penstock.volume.drivers.zfs.identity import Kind, kind_of
from penstock.zfs.client import Zfs
from penstock.zfs.faults import Busy, HasClones, NotAClone
from penstock.zfs.holds import holds
from penstock.zfs.marks import ID, KIND
from penstock.zfs.names import Dataset, SnapshotName, Target, parse_target
from penstock.zfs.snapshots import points

MOST_HANDOVERS = 100
HEIRS = (Kind.VOLUME, Kind.TOMBSTONE, Kind.REPLICA, Kind.DIVERGED)
TOMB = {KIND: Kind.TOMBSTONE.value}


def destroy_snapshot(zfs: Zfs, snapshot: SnapshotName) -> None:
    """Destroy it, now or with its last clone. Safe to repeat."""
    zfs.destroy_snapshots(snapshot.dataset, [snapshot.name], deferred=True)
    left = zfs.get_many([snapshot], (KIND,)).get(str(snapshot))
    if left is not None and kind_of(left) is not Kind.TOMBSTONE:
        _bury(zfs, snapshot)


def destroy_volume(zfs: Zfs, dataset: Dataset) -> None:
    """Destroy the dataset with its snapshots; see above for clones. Safe to repeat. Raises Busy, BackendFault."""
    for _ in range(MOST_HANDOVERS):
        try:
            zfs.destroy(dataset, recursive=True)
        except NotFound:
            if not zfs.exists(dataset):
                return  # else it was one of its snapshots that went meanwhile
        except HasClones:
            if not _hand_over(zfs, dataset):
                return
        except Busy:
            if not _is_held(zfs, dataset):
                raise
            zfs.set(dataset, TOMB)
            return
        else:
            return
    raise BackendFault(f"{dataset} still has clones after {MOST_HANDOVERS} of them took over its snapshots")


def _is_held(zfs: Zfs, dataset: Dataset) -> bool:
    """Has a snapshot of it a hold? None is ours."""
    return bool(holds(zfs, [dataset.snapshot(point.name) for point in points(zfs, dataset)]))


def sweep(zfs: Zfs, root: Dataset) -> None:
    """Destroy the tombstones below `root` that nothing depends on any more; the others wait for the next time."""
    for name, found in zfs.tree(root, (KIND,), kinds=("filesystem", "volume"), depth=1).items():
        if kind_of(found) is Kind.TOMBSTONE:
            try:
                zfs.destroy(Dataset(name), recursive=True)
            except (NotFound, HasClones, Busy):
                continue


def _hand_over(zfs: Zfs, dataset: Dataset) -> bool:
    """Promote a clone of ours, or make the volume a tombstone when there are only others'; False then."""
    clones = _clones(zfs, dataset)
    ours = [clone for clone, kind in clones if kind in HEIRS]
    if not ours:
        if clones:
            _bury(zfs, dataset)
        return not clones
    snapshots = zfs.tree(dataset, (KIND,), kinds=("snapshot",), depth=1)
    for name, found in snapshots.items():
        if kind_of(found) is Kind.SNAPSHOT:
            _bury(zfs, _snapshot(name))
    names = [_snapshot(name).name for name, found in snapshots.items() if kind_of(found) is not None]
    if names:
        zfs.destroy_snapshots(dataset, names, deferred=True)
    try:
        zfs.promote(ours[0])
    except (NotFound, NotAClone):
        return True  # it went, or was promoted, meanwhile
    return True


def _bury(zfs: Zfs, target: Target) -> None:
    """Make it a tombstone; fine when it went meanwhile, with its last clone or by another's hand."""
    try:
        zfs.set(target, TOMB)
    except NotFound:
        return


def _clones(zfs: Zfs, dataset: Dataset) -> list[tuple[Dataset, Kind | None]]:
    """Datasets that started from a snapshot of this one. Lists the whole zpool where ZFS does not say it on snapshots
    (zfs-fuse), so it is asked only when ZFS says that there are some."""
    marks = ("origin", KIND, ID)
    if zfs.flavour.has_clones_property:
        found = zfs.tree(dataset, ("clones",), kinds=("snapshot",), depth=1)
        names = [name for one in found.values() for name in one["clones"].value.split(",")]
        answers = zfs.get_many([Dataset(name) for name in names if name not in ("", "-")], marks)
    else:
        answers = zfs.tree(Dataset(dataset.pool), marks, kinds=("filesystem", "volume"))
    clones = []
    for name, properties in answers.items():
        origin = properties["origin"].value
        if origin.partition("@")[0] == str(dataset):
            clones.append((Dataset(name), kind_of(properties)))
    return clones


def _snapshot(name: str) -> SnapshotName:
    found = parse_target(name)
    assert isinstance(found, SnapshotName)  # noqa: S101 - zfs was asked for snapshots
    return found
