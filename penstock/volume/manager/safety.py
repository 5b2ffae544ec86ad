"""The snapshot of before, while a volume is reverted by copying: the copy of a death in the middle is half old."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from penstock.context import RequestContext
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.errors import Conflict, Fault, Unsupported
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import volume_snapshots
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.updates import checked, snapshot_values
from penstock.volume.models import SnapshotModel, VolumeModel
from penstock.volume.records import Records

log = structlog.get_logger(__name__)


@contextmanager
def kept_before(
    backend: VolumeBackend, records: Records, context: RequestContext, volume: VolumeModel, going_to: SnapshotModel
) -> Iterator[None]:
    """Around the copying: where the driver asks for it, `volume` has a snapshot of before, of which no quota knows.

    It goes when the volume is reverted, or nothing was changed (Conflict, Unsupported). It stays for the next attempt,
    and after a failure for the owner, under a name that says what it is.
    """
    if not backend.driver.snapshot_revert_use_temp_snapshot():
        yield
        return
    kept = records.temporary_snapshot(context, volume, for_backup=None)
    if kept.status == VolumeSnapshotStatus.CREATING:  # else an earlier attempt took it, and may have begun to copy
        _take(backend, records, kept, going_to)
    try:
        yield
    except (Conflict, Unsupported):
        _discard(backend, records, kept)
        raise
    except Fault as fault:
        if is_final(fault):
            log.warning("volume.kept_before_revert", volume=volume.id, snapshot=kept.id)
        raise
    _discard(backend, records, kept)


def _take(backend: VolumeBackend, records: Records, kept: SnapshotModel, going_to: SnapshotModel) -> None:
    try:
        with driver_call("take snapshots"):
            update = checked(backend.driver.create_snapshot(kept))
    except Fault as fault:
        if is_final(fault):
            _discard(backend, records, kept)
        raise
    with backend.database.begin() as tx:  # durable: taken again after the copying began, it would be worth nothing
        row = volume_snapshots.get(tx, kept.id)
        if row is not None:
            name = f"before the revert to {going_to.id}"
            values = {"progress": "100%", "display_name": name, **snapshot_values(update)}
            volume_snapshots.move(tx, row, VolumeEvent.DONE, now=backend.now(), **values)


def _discard(backend: VolumeBackend, records: Records, kept: SnapshotModel) -> None:
    """One that the backend will not let go of stays in the lists, for its owner to delete."""
    try:
        with driver_call("delete snapshots"):
            backend.driver.delete_snapshot(records.snapshot(kept.id))
    except Fault as fault:
        if not is_final(fault):
            raise
        log.warning("volume_snapshot.left_behind", snapshot=kept.id, fault=str(fault))
        return
    records.forget_temporary_snapshot(kept.id)
