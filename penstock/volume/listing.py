"""What can be told of a backend whose driver keeps no identity on its storage, by the published lists of what it has.

A driver that can list what could be managed names each volume of ours in that list by its row's id: so a row whose
volume is gone is found, and a size that differs. Whose the rest is, nobody wrote on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.errors import BackendFault
from penstock.ids import VolumeId, VolumeSnapshotId
from penstock.units import GIB
from penstock.volume.driver import BaseVD, capabilities_of
from penstock.volume.interface.mixins import ManageableSnapshotsVD, ManageableVD
from penstock.volume.inventory import Aspect, FoundVolume, FoundVolumeSnapshot, NotExamined, VolumeInventory
from penstock.volume.models import SnapshotModel, VolumeModel

MOST = 1_000_000
NO_IDENTITY = "its driver keeps no identity on its storage, so what has no row cannot be told from what is not ours"
NO_LIST = "its driver cannot list what it holds"
NO_SNAPSHOT_LIST = "its driver cannot list the snapshots it holds"
NO_EXPORTS = "its driver does not say whom it lets in"


def listed(driver: BaseVD, volumes: Sequence[VolumeModel], snapshots: Sequence[SnapshotModel]) -> VolumeInventory:
    """The inventory of what belongs to these rows, and what was not examined. Raises what the driver does, BackendFault
    for a list that is none."""
    missing = [NotExamined(aspect, NO_IDENTITY) for aspect in (Aspect.ORPHANS, Aspect.MARKS, Aspect.LEFTOVERS)]
    missing.append(NotExamined(Aspect.EXPORTS, NO_EXPORTS))
    found = _volumes(driver, volumes)
    if found is None:
        missing.append(NotExamined(Aspect.VOLUMES, NO_LIST))
    taken = _snapshots(driver, snapshots)
    if taken is None:
        missing.append(NotExamined(Aspect.SNAPSHOTS, NO_SNAPSHOT_LIST))
    pools = {volume.host.partition("#")[2] for volume in volumes}  # a volume is not looked for by its pool
    return VolumeInventory(tuple(sorted(pools)), found or (), taken or (), not_examined=tuple(sorted(missing)))


def _volumes(driver: BaseVD, volumes: Sequence[VolumeModel]) -> tuple[FoundVolume, ...] | None:
    """None when the driver has no list of its own; the published defaults are an empty one, or raise."""
    if not isinstance(driver, ManageableVD) or "get_manageable_volumes" not in capabilities_of(driver):
        return None
    try:
        rows = _checked(driver.get_manageable_volumes(volumes, None, MOST, 0, [], []))
    except NotImplementedError:
        return None
    models = {volume.id: volume for volume in volumes}
    found = []
    for row in rows:
        model = models.get(str(row.get("cinder_id")))
        if model is not None:
            size = row.get("size")
            found.append(
                FoundVolume(
                    id=VolumeId(model.name_id),
                    volume_id=VolumeId(model.id),
                    location=_name(row),
                    pool=model.host.partition("#")[2],
                    size_bytes=int(size) * GIB if isinstance(size, int | float) else 0,
                    is_size_exact=False,  # of what it lies on, rounded up
                )
            )
    return tuple(found)


def _snapshots(driver: BaseVD, snapshots: Sequence[SnapshotModel]) -> tuple[FoundVolumeSnapshot, ...] | None:
    """The same of snapshots."""
    if not isinstance(driver, ManageableSnapshotsVD) or "get_manageable_snapshots" not in capabilities_of(driver):
        return None
    try:
        rows = _checked(driver.get_manageable_snapshots(snapshots, None, MOST, 0, [], []))
    except NotImplementedError:
        return None
    models = {snapshot.id: snapshot for snapshot in snapshots}
    return tuple(
        FoundVolumeSnapshot(
            id=VolumeSnapshotId(model.id),
            volume_id=VolumeId(model.volume_id),
            parent=model.volume_name,
            location=_name(row),
            pool=model.host.partition("#")[2],
            size_gib=model.volume_size,
        )
        for row in rows
        if (model := models.get(str(row.get("cinder_id")))) is not None
    )


def _checked(rows: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise BackendFault(f"The driver listed what it holds as {type(rows).__name__}, not as a list of mappings.")
    return rows


def _name(row: Mapping[str, Any]) -> str:
    reference = row.get("reference")
    return " ".join(map(str, reference.values())) if isinstance(reference, Mapping) else str(reference)
