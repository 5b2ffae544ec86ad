"""Reverting a volume to its snapshot by copying, for drivers that cannot do it themselves."""

from __future__ import annotations

from penstock.errors import Fault
from penstock.volume.driver import BaseVD
from penstock.volume.errors import InvalidSnapshot
from penstock.volume.fallback.volume_copy import copy_volume_data
from penstock.volume.interface.values import Context
from penstock.volume.models import SnapshotModel, VolumeModel
from penstock.volume.records import Records


def revert_by_copy(
    driver: BaseVD, records: Records, context: Context, volume: VolumeModel, snapshot: SnapshotModel
) -> None:
    """Give `volume`, which nobody has attached, the contents of `snapshot` by way of a temporary volume. Repeatable.

    A failure after the copying began leaves the volume half old, half new: the caller keeps a snapshot of before, where
    `snapshot_revert_use_temp_snapshot` says so. Raises InvalidSnapshot when the sizes differ.
    """
    if snapshot.volume_size != volume.size:
        raise InvalidSnapshot(
            f"Volume {volume.id} has {volume.size} GiB now, and had {snapshot.volume_size} when the snapshot was taken."
        )
    temporary = records.temporary_volume(context, volume, for_backup=None)
    try:
        update = driver.create_volume_from_snapshot(temporary, snapshot)
        temporary = records.update_volume(temporary.id, {**(update or {}), "status": "available"})
        copy_volume_data(driver, context, temporary, volume)
    except Fault:
        _discard(driver, records, temporary)
        raise
    _discard(driver, records, temporary)


def _discard(driver: BaseVD, records: Records, temporary: VolumeModel) -> None:
    """Should the driver fail here, the row stays: the next revert of the volume finds it, and so does an operator."""
    driver.delete_volume(temporary)
    records.forget_temporary_volume(temporary.id)
