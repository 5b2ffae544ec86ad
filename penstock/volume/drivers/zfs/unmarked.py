"""A volume's dataset that a creation which was cut off left without its marks: completed, or destroyed with the volume.

See `penstock.zfs.unmarked` for what may be taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import structlog

from penstock.errors import Conflict
from penstock.ids import VolumeId
from penstock.volume.drivers.zfs import spec
from penstock.volume.drivers.zfs.identity import Kind, id_of, kind_of
from penstock.volume.drivers.zfs.options import Settings
from penstock.volume.models import VolumeModel
from penstock.zfs.client import Zfs
from penstock.zfs.marks import ID, KIND
from penstock.zfs.names import Dataset, SnapshotName, parse_target
from penstock.zfs.properties import Properties
from penstock.zfs.unmarked import Attempt, destroy, doubt, in_order, objection

NATIVE = frozenset({"refreservation", "compression", "volblocksize", "canmount"})
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")

log = structlog.get_logger(__name__)


def complete(zfs: Zfs, volume: VolumeModel, want: spec.VolumeSpec, origin: SnapshotName | None) -> None:
    """Make what stands in a new volume's place, if it is unmarked, the volume.

    Raises Conflict when it cannot be shown that an earlier attempt left it, NotFound when nothing is there.
    """
    attempt = Attempt(want.dataset, (ID, volume.name_id), NATIVE, origin, volume.created_at)
    reason = objection(zfs, attempt)
    if reason is not None:
        raise Conflict(f"{want.dataset} exists and is not volume {volume.id}'s: {reason}")
    log.warning("volume.marks_completed", volume=volume.id, dataset=str(want.dataset))
    zfs.set(want.dataset, in_order(attempt, {**want.options, **want.fixed, **want.marks}))


def left_of(zfs: Zfs, settings: Settings, volume: VolumeModel) -> tuple[Dataset, Properties] | None:
    """What the creation of a volume left that never came to its marks, with its ``origin``; None when there is no such
    thing."""
    if volume.launched_at is not None:
        return None  # it was whole once: what has no marks now was let go
    dataset = spec.new_dataset(volume, settings)
    found = zfs.get_many([dataset], (KIND, "origin")).get(str(dataset))
    if found is None or kind_of(found) is not None:
        return None
    attempt = Attempt(dataset, (ID, volume.name_id), NATIVE, _origin_mark(volume, found), volume.created_at)
    reason = doubt(zfs, attempt)
    if reason is not None:
        again = zfs.get_many([dataset], (KIND, ID, "origin")).get(str(dataset))
        if again is not None and kind_of(again) is Kind.VOLUME and id_of(again) == volume.name_id:
            return dataset, again  # the command was late, not cut off
        log.warning("volume.unmarked_dataset_kept", volume=volume.id, dataset=str(dataset), reason=reason)
        return None
    log.warning("volume.unmarked_dataset_taken", volume=volume.id, dataset=str(dataset))
    return dataset, found


def _origin_mark(volume: VolumeModel, found: Properties) -> tuple[str, str] | None:
    """What the snapshot bears that the volume is to be a clone of: its own, or one taken of another volume for it."""
    if not _is_clone(found):
        return None
    own = found["origin"].value.endswith(f"@clone-{volume.name_id}")
    return (ID, volume.name_id if own or volume.snapshot_id is None else volume.snapshot_id)


def _is_clone(found: Properties) -> bool:
    return found["origin"].value not in ("", "-")


# --- for the doctor, who knows of no operation ------------------------------------------------------------------------


def unmarked(root: Dataset, datasets: Mapping[str, Properties]) -> Iterator[tuple[str, VolumeId]]:
    """Datasets with a name that ends as only a volume's would, and no mark; each with the volume's id."""
    for name, found in datasets.items():
        at_end = _UUID.search(name)
        is_child = "@" not in name and Dataset(name).parent == root
        if at_end and is_child and kind_of(found) is None and id_of(found) is None:
            yield name, VolumeId(at_end[0])


def discard(zfs: Zfs, dataset: Dataset) -> None:
    """Destroy what `unmarked` named, when nothing was written to it. Raises Conflict when something was, NotFound."""
    origin = zfs.get(dataset, ["origin"])
    target = parse_target(origin["origin"].value) if _is_clone(origin) else None
    attempt = Attempt(dataset, (ID, ""), NATIVE, target if isinstance(target, SnapshotName) else None, since=None)
    reason = objection(zfs, attempt)
    if reason is not None:
        raise Conflict(f"{dataset} is not what a creation left: {reason}")
    destroy(zfs, dataset)
