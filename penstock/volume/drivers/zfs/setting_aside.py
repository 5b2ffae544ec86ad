"""Bringing a copy that has data of its own back into line without a full copy, and without losing that data.

It gets its diverged name; a clone of the newest snapshot that it has in common with the volume takes its place, and is
promoted, so that the older snapshots are that one's. Each step is recognized by what it left.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from penstock.volume.drivers.zfs import spec
from penstock.volume.drivers.zfs.copies import VolumeCopy, look_at
from penstock.volume.drivers.zfs.fencing import stop_serving
from penstock.volume.drivers.zfs.identity import Kind, kind_of, marks_of_volume
from penstock.volume.drivers.zfs.sides import Side
from penstock.zfs.client import Zfs
from penstock.zfs.faults import NotAClone
from penstock.zfs.incremental import SnapshotPoint, newest_common
from penstock.zfs.lines import release_all
from penstock.zfs.marks import ID, KIND
from penstock.zfs.names import Dataset
from penstock.zfs.properties import local_value
from penstock.zfs.receiving import abort
from penstock.zfs.reigns import EPOCH, OF
from penstock.zfs.snapshots import points

INFIX = "_diverged_"
MOST_NAMES = 100

log = structlog.get_logger(__name__)


def set_aside(copy: VolumeCopy, source_points: Sequence[SnapshotPoint]) -> VolumeCopy:
    """Put what the copy holds beyond the newest snapshot in common under its diverged name.

    Afterwards it holds that snapshot, or nothing where there is none. Raises Busy when it is in use on its host.
    """
    leave(copy)
    return finish(copy.again(), source_points)


def leave(copy: VolumeCopy) -> None:
    """Put the whole copy under its diverged name; nothing takes its place. Raises Busy when it is in use there."""
    seen, zfs = copy.seen, copy.zfs
    if seen is None:
        return
    stop_serving(copy.side, [copy.volume])
    if zfs.flavour.can_resume:
        abort(zfs, copy.dataset)
    release_all(zfs, copy.dataset)  # first: whoever has looked through what is aside may destroy it
    if seen.is_mounted:
        zfs.unmount(copy.dataset)
    still = {} if seen.is_zvol else {"canmount": "noauto"}
    freed = {"refreservation": "none"} if seen.has_reservation else {}
    marks = {**freed, "readonly": "on", **still, OF: copy.volume.name_id, KIND: Kind.DIVERGED.value}
    zfs.set(copy.dataset, marks)
    _rename(copy)
    log.warning("volume.diverged", volume=copy.volume.id, side=copy.side.id, epoch=copy.epoch)


def finish(copy: VolumeCopy, source_points: Sequence[SnapshotPoint]) -> VolumeCopy:
    """Complete what an interrupted setting aside left, if there is anything."""
    zfs, seen = copy.zfs, copy.seen
    if seen is not None and seen.kind is Kind.DIVERGED:
        if seen.is_mounted:
            zfs.unmount(copy.dataset)
        _rename(copy)
        copy, seen = copy.again(), None
    if seen is None:
        aside = diverged_of(copy)
        common = newest_common(source_points, points(zfs, aside[-1])) if aside else None
        if common is None:
            return copy
        zfs.clone(aside[-1].snapshot(common[1].name), copy.dataset, _first_marks(copy))
        copy = copy.again()
    origin = copy.seen.origin if copy.seen is not None else None
    if origin is not None and _is_aside(copy, origin.dataset):
        try:
            zfs.promote(copy.dataset)
        except NotAClone:
            log.info("volume.promoted_before", dataset=str(copy.dataset))
    return copy.again()


def _first_marks(copy: VolumeCopy) -> dict[str, str]:
    """Of no reign, and never synced: until it was brought up to date it is nobody's to be believed."""
    is_zvol = copy.side.storage.medium.type == "volume"
    still = {} if is_zvol else {"canmount": "noauto"}
    return {**marks_of_volume(copy.volume), EPOCH: "0", "readonly": "on", **still, KIND: Kind.REPLICA.value}


def _rename(copy: VolumeCopy) -> None:
    copy.zfs.inherit(copy.dataset, ID)
    copy.zfs.rename(copy.dataset, _free_name(copy))


def _free_name(copy: VolumeCopy) -> Dataset:
    """``<dataset>_diverged_<epoch>``, with a number when one reign diverged twice."""
    base = f"{copy.dataset.path}{INFIX}{copy.epoch}"
    names = [Dataset(base), *(Dataset(f"{base}_{number}") for number in range(2, MOST_NAMES))]
    taken = copy.zfs.get_many(names, ("type",))
    return next(name for name in names if str(name) not in taken)


def _is_aside(copy: VolumeCopy, dataset: Dataset) -> bool:
    found = look_at(copy.volume, copy.side, dataset).seen if INFIX in dataset.name else None
    return found is not None and found.kind is Kind.DIVERGED


def diverged_of(copy: VolumeCopy) -> list[Dataset]:
    """What was set aside of it, oldest first."""
    root = spec.root_of(copy.volume.host, copy.side.settings)
    return [dataset for dataset, of in list_diverged(copy.zfs, root) if of == copy.volume.name_id]


def list_diverged(zfs: Zfs, root: Dataset) -> list[tuple[Dataset, str]]:
    """Everything set aside below the root, oldest first, with the volume it is of."""
    found = zfs.tree(root, (KIND, OF, "createtxg"), kinds=("filesystem", "volume"))
    aside = [(int(one["createtxg"].value), name, one) for name, one in found.items() if kind_of(one) is Kind.DIVERGED]
    return [(Dataset(name), local_value(one, OF) or "") for _, name, one in sorted(aside, key=lambda item: item[:2])]


def diverged_on(side: Side) -> list[tuple[Dataset, str]]:
    """Everything set aside on a side."""
    roots = dict.fromkeys(side.settings.roots.values())
    return [one for root in roots for one in list_diverged(side.storage.zfs, root)]
