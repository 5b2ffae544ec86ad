"""Deleting what clones depend on: the user's deletion succeeds at once, ZFS is satisfied underneath.

A snapshot with clones is destroyed *deferred*: ZFS itself drops it with its last clone. Until then it is a tombstone.
A dataset whose snapshots have clones hands them over: our clone is promoted, the rest destroyed. Clones that are not
ours are left alone, as are snapshots that somebody holds; then the dataset is emptied of promises and unmounted as a
tombstone, and swept when they are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock.errors import BackendFault, NotFound
from penstock.share.drivers.zfsonlinux.identity import ID, KIND, Kind, kind_of
from penstock.share.drivers.zfsonlinux.observe import SeenShare, SeenSnapshot, observe_snapshot, observe_snapshots
from penstock.share.drivers.zfsonlinux.steps import (
    DestroySnapshots,
    Promote,
    Rename,
    SetProperties,
    Step,
    Unmount,
    carry_out,
)
from penstock.zfs.client import Zfs
from penstock.zfs.faults import Busy, HasClones, NotAClone
from penstock.zfs.holds import holds
from penstock.zfs.names import Dataset, SnapshotName, parse_target

MOST_HANDOVERS = 100
HEIRS = (Kind.SHARE, Kind.DIVERGED)
TOMB = ((KIND, Kind.TOMBSTONE.value),)


@dataclass(frozen=True, slots=True)
class SeenClone:
    """A dataset that started from a snapshot."""

    dataset: Dataset
    origin: SnapshotName
    kind: Kind | None

    @property
    def is_ours(self) -> bool:
        """May it be given the snapshots it depends on?"""
        return self.kind in HEIRS


def destroy_snapshot(zfs: Zfs, seen: SeenSnapshot) -> None:
    """Destroy the snapshot, now or with its last clone. Safe to repeat."""
    carry_out((DestroySnapshots(seen.snapshot.dataset, (seen.snapshot.name,)),), zfs)
    left = observe_snapshot(zfs, seen.snapshot)
    if left is not None and left.kind is not Kind.TOMBSTONE:
        carry_out((SetProperties(seen.snapshot, TOMB),), zfs)


def destroy_share(zfs: Zfs, seen: SeenShare) -> None:
    """Destroy the dataset with its snapshots; see above for clones. Safe to repeat. Raises Busy, BackendFault."""
    for _ in range(MOST_HANDOVERS):
        try:
            zfs.destroy(seen.dataset, recursive=True)
        except NotFound:
            return
        except HasClones:
            clones = observe_clones(zfs, seen.dataset)
        except Busy:
            if not _is_held(zfs, seen.dataset):
                raise
            carry_out(plan_tombstone(seen), zfs)
            return
        else:
            if not zfs.exists(seen.dataset):
                return
            continue
        ours = [clone for clone in clones if clone.is_ours]
        if clones and not ours:
            carry_out(plan_tombstone(seen), zfs)
            return
        if ours:
            _hand_over(zfs, seen.dataset, ours[0])
    raise BackendFault(f"{seen.dataset} still has clones after {MOST_HANDOVERS} of them took over its snapshots")


def _is_held(zfs: Zfs, dataset: Dataset) -> bool:
    """Has a snapshot of it a hold? Ours are let go of before."""
    return bool(holds(zfs, [seen.snapshot for seen in observe_snapshots(zfs, dataset)]))


def sweep(zfs: Zfs, tombstones: Iterable[SeenShare]) -> None:
    """Destroy the tombstones that nothing depends on, or looks into, any more; the others wait for the next time."""
    for tombstone in tombstones:
        try:
            zfs.destroy(tombstone.dataset, recursive=True)
        except (NotFound, HasClones, Busy):
            continue


def _hand_over(zfs: Zfs, dataset: Dataset, clone: SeenClone) -> None:
    """Promote one clone. A clone that went, or was promoted, meanwhile is no longer in the way."""
    try:
        theirs = {seen.snapshot.name for seen in observe_snapshots(zfs, clone.dataset)}
        carry_out(plan_handover(clone.dataset, observe_snapshots(zfs, dataset), theirs), zfs)
    except (NotFound, NotAClone):
        return


def plan_handover(clone: Dataset, snapshots: Sequence[SeenSnapshot], theirs: set[str]) -> tuple[Step, ...]:
    """Give the clone the snapshots it depends on.

    Those that are ours are deleted with the share; of the others, one whose name the clone already uses gets another.
    """
    ours = [seen for seen in snapshots if seen.kind is not None]
    marks = [SetProperties(seen.snapshot, TOMB) for seen in ours if seen.kind is Kind.SNAPSHOT]
    gone: list[Step] = []
    if ours:
        gone = [DestroySnapshots(ours[0].snapshot.dataset, tuple(seen.snapshot.name for seen in ours))]
    renames = [
        Rename(seen.snapshot, seen.snapshot.dataset.snapshot(f"{seen.snapshot.name}.of.{seen.snapshot.dataset.name}"))
        for seen in snapshots
        if seen.kind is None and seen.snapshot.name in theirs
    ]
    return (*marks, *gone, *renames, Promote(clone))


def plan_tombstone(seen: SeenShare) -> tuple[Step, ...]:
    """Nobody's data is served from it, nothing is set aside for it, and it is no share any more."""
    pairs = (("refreservation", "none"), ("canmount", "off"), *TOMB)
    return SetProperties(seen.dataset, pairs), Unmount(seen.dataset)


def observe_clones(zfs: Zfs, dataset: Dataset) -> list[SeenClone]:
    """Filesystems and volumes that started from a snapshot of the dataset. Lists the whole zpool where ZFS does not say
    it on the snapshot (zfs-fuse), so it is asked only when ZFS says that there are some.
    """
    marks = ("origin", KIND, ID)
    if zfs.flavour.has_clones_property:
        found = zfs.tree(dataset, ("clones",), kinds=("snapshot",), depth=1)
        names = [name for properties in found.values() for name in properties["clones"].value.split(",")]
        answers = zfs.get_many([Dataset(name) for name in names if name not in ("", "-")], marks)
    else:
        answers = zfs.tree(Dataset(dataset.pool), marks, kinds=("filesystem", "volume"))
    clones = []
    for name, properties in answers.items():
        value = properties["origin"].value
        origin = parse_target(value) if value not in ("", "-") else None
        if isinstance(origin, SnapshotName) and origin.dataset == dataset:
            clones.append(SeenClone(Dataset(name), origin, kind_of(properties)))
    return clones


def is_half_copy(zfs: Zfs, dataset: Dataset, roots: Iterable[Dataset]) -> bool:
    """Is the unmarked dataset a copy of ours that a crash interrupted before it was marked (zfs-fuse only)?

    The proof is the GUID of its one snapshot, which the copied snapshot of ours has too.
    """
    names = ("guid", KIND)
    copied = {properties["guid"].value for properties in zfs.tree(dataset, names, kinds=("snapshot",)).values()}
    if len(copied) != 1:
        return False
    for root in roots:
        for name, properties in zfs.tree(root, names, kinds=("snapshot",)).items():
            is_ours = kind_of(properties) in (Kind.SNAPSHOT, Kind.TOMBSTONE) and not name.startswith(f"{dataset}@")
            if is_ours and properties["guid"].value in copied:
                return True
    return False
