"""Snapshots: create and delete. Every function may be called again after a crash."""

from __future__ import annotations

import structlog

from penstock.context import RequestContext
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_message_codes import VolumeMessageAction
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes_at_work import TypedSnapshot
from penstock.errors import Fault
from penstock.operations.attempt import done_with, handed
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import volume_snapshots
from penstock.store.volumes_at_work import read_snapshot
from penstock.volume.errors import SnapshotIsBusy, SnapshotNotFound, VolumeNotFound
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import snapshot_model_of
from penstock.volume.manager.notices import tell_owner
from penstock.volume.manager.updates import checked, snapshot_values

log = structlog.get_logger(__name__)


def create(backend: VolumeBackend, context: RequestContext, snapshot_id: str) -> None:
    """Take the snapshot, unless that is done already."""
    found = handed(TypedSnapshot, "create_snapshot") or _read(backend, snapshot_id)
    if found is None or found.snapshot.status is not VolumeSnapshotStatus.CREATING:
        return
    snapshot, model = found.snapshot, snapshot_model_of(backend, found)
    try:
        with driver_call("take snapshots", waits=backend.waits):
            update = checked(backend.driver.create_snapshot(model))
    except Fault as fault:
        if is_final(fault):
            fail(backend, context, snapshot, VolumeEvent.FAILED, VolumeMessageAction.SNAPSHOT_CREATE, fault)
        raise
    with backend.database.begin(durable=False) as tx:
        done_with(tx, "create_snapshot")
        values = {"progress": "100%", **snapshot_values(update)}
        volume_snapshots.move(tx, snapshot, VolumeEvent.DONE, now=backend.now(), **values)


def delete(backend: VolumeBackend, context: RequestContext, snapshot_id: str, *, force: bool) -> None:
    """Destroy the snapshot and forget its row. With `force` the row goes even when the backend cannot do its part."""
    found = handed(TypedSnapshot, "delete_snapshot") or _read(backend, snapshot_id)
    if found is None or found.snapshot.status is not VolumeSnapshotStatus.DELETING:
        return
    snapshot, model = found.snapshot, snapshot_model_of(backend, found)
    try:
        with driver_call("delete snapshots"):
            try:
                backend.driver.delete_snapshot(model)
            except (SnapshotNotFound, VolumeNotFound):
                log.info("volume_snapshot.gone_already", snapshot=snapshot_id)
    except SnapshotIsBusy as fault:
        fail(backend, context, snapshot, VolumeEvent.REFUSED, VolumeMessageAction.SNAPSHOT_DELETE, fault)
        raise
    except Fault as fault:
        if not is_final(fault):
            raise
        if not force:
            fail(backend, context, snapshot, VolumeEvent.FAILED, VolumeMessageAction.SNAPSHOT_DELETE, fault)
            raise
        log.warning("volume_snapshot.left_behind", snapshot=snapshot_id, fault=str(fault))
    with backend.database.begin() as tx:
        done_with(tx, "delete_snapshot")
        volume_snapshots.move(tx, snapshot, VolumeEvent.DONE, now=backend.now())
        volume_snapshots.delete_snapshot(tx, snapshot.id)


def _read(backend: VolumeBackend, snapshot_id: str) -> TypedSnapshot | None:
    """Raises NotFound when its volume is gone."""
    with backend.database.read() as tx:
        snapshot = volume_snapshots.get(tx, snapshot_id)
        return None if snapshot is None else read_snapshot(tx, snapshot)


def fail(
    backend: VolumeBackend,
    context: RequestContext,
    snapshot: VolumeSnapshot,
    event: VolumeEvent,
    action: VolumeMessageAction,
    fault: Fault,
) -> None:
    """Write the state that `event` leads to and tell the owner why."""
    with backend.database.begin() as tx:
        volume_snapshots.move(tx, snapshot, event, now=backend.now())
        tell_owner(tx, backend, context, snapshot, action, fault)
