"""Adopting what exists on the backend, and letting it go. Every function may be called again after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.context import RequestContext
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_message_codes import VolumeMessageAction
from penstock.domain.volume_quotas import VolumeResource, configured
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes import Volume, VolumeStatus, driver_values
from penstock.errors import BackendFault, Fault, Unsupported
from penstock.operations.attempt import done_with
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import volume_quotas, volume_snapshots, volumes
from penstock.store.database import Transaction
from penstock.volume.driver import ManageableSnapshotsVD, ManageableVD
from penstock.volume.manager import snapshots as snapshot_theme
from penstock.volume.manager import volumes as volume_theme
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import snapshot_model, volume_model, volume_models
from penstock.volume.manager.updates import checked, put_notes, snapshot_values


def manage_volume(backend: VolumeBackend, context: RequestContext, volume_id: str, ref: Mapping[str, Any]) -> None:
    """Take over as a volume what `ref` names, with the size the driver finds."""
    with backend.database.read() as tx:
        volume = volumes.get(tx, volume_id)
        if volume is None or volume.status is not VolumeStatus.MANAGING:
            return
        model = volume_model(tx, backend, volume)
    try:
        driver = _manageable(backend)
        with driver_call("take over existing volumes"):
            size_gib = _size(driver.manage_existing_get_size(model, ref))
            with backend.database.begin(durable=False) as tx:  # before anything is changed there; and again at the end
                _check_volume(tx, backend, volume, size_gib)
            update = checked(driver.manage_existing(model.updated({"size": size_gib}), ref))
        now = backend.now()
        with backend.database.begin() as tx:
            _check_volume(tx, backend, volume, size_gib)
            done_with(tx, "manage_existing")
            values = {"size_gib": size_gib, "launched_at": now, **driver_values(update)}
            volumes.move(tx, volume, VolumeEvent.DONE, now=now, **values)
            put_notes(tx, volume.id, update)
    except Fault as fault:
        if is_final(fault):
            action = VolumeMessageAction.CREATE_VOLUME_FROM_BACKEND
            volume_theme.fail(backend, context, volume, VolumeEvent.FAILED, action, fault)
        raise


def unmanage_volume(backend: VolumeBackend, context: RequestContext, volume_id: str) -> None:
    """Forget the volume and leave it on the backend."""
    with backend.database.read() as tx:
        volume = volumes.get(tx, volume_id)
        if volume is None or volume.status is not VolumeStatus.UNMANAGING:
            return
        model = volume_model(tx, backend, volume)
    try:
        with driver_call("let volumes go"):
            backend.driver.unmanage(model)
    except Fault as fault:
        if is_final(fault):
            action = VolumeMessageAction.UNMANAGE_VOLUME
            volume_theme.fail(backend, context, volume, VolumeEvent.FAILED, action, fault)
        raise
    with backend.database.begin() as tx:
        done_with(tx, "unmanage")
        volumes.move(tx, volume, VolumeEvent.DONE, now=backend.now())
        volumes.delete_volume(tx, volume.id)


def manage_snapshot(backend: VolumeBackend, context: RequestContext, snapshot_id: str, ref: Mapping[str, Any]) -> None:
    """Take over as a snapshot what `ref` names, with the size the driver finds."""
    with backend.database.read() as tx:
        snapshot = volume_snapshots.get(tx, snapshot_id)
        if snapshot is None or snapshot.status is not VolumeSnapshotStatus.MANAGING:
            return
        model = snapshot_model(tx, backend, snapshot)
    try:
        driver = _manageable_snapshots(backend)
        with driver_call("take over existing snapshots"):
            size_gib = _size(driver.manage_existing_snapshot_get_size(model, ref) or model.volume_size)
            with backend.database.begin(durable=False) as tx:
                _check_snapshot(tx, backend, snapshot, size_gib)
            update = checked(driver.manage_existing_snapshot(model.updated({"volume_size": size_gib}), ref))
        with backend.database.begin() as tx:
            _check_snapshot(tx, backend, snapshot, size_gib)
            done_with(tx, "manage_existing_snapshot")
            values = {"volume_size_gib": size_gib, "progress": "100%", **snapshot_values(update)}
            volume_snapshots.move(tx, snapshot, VolumeEvent.DONE, now=backend.now(), **values)
    except Fault as fault:
        if is_final(fault):
            action = VolumeMessageAction.SNAPSHOT_CREATE
            snapshot_theme.fail(backend, context, snapshot, VolumeEvent.FAILED, action, fault)
        raise


def unmanage_snapshot(backend: VolumeBackend, context: RequestContext, snapshot_id: str) -> None:
    """Forget the snapshot and leave it on the backend."""
    with backend.database.read() as tx:
        snapshot = volume_snapshots.get(tx, snapshot_id)
        if snapshot is None or snapshot.status is not VolumeSnapshotStatus.UNMANAGING:
            return
        model = snapshot_model(tx, backend, snapshot)
    try:
        with driver_call("let snapshots go"):
            if isinstance(backend.driver, ManageableSnapshotsVD):
                backend.driver.unmanage_snapshot(model)
    except Fault as fault:
        if is_final(fault):
            action = VolumeMessageAction.SNAPSHOT_DELETE
            snapshot_theme.fail(backend, context, snapshot, VolumeEvent.FAILED, action, fault)
        raise
    with backend.database.begin() as tx:
        done_with(tx, "unmanage_snapshot")
        volume_snapshots.move(tx, snapshot, VolumeEvent.DONE, now=backend.now())
        volume_snapshots.delete_snapshot(tx, snapshot.id)


def manageable_volumes(
    backend: VolumeBackend,
    marker: Mapping[str, Any] | None,
    limit: int,
    offset: int,
    sort_keys: list[str],
    sort_dirs: list[str],
) -> list[dict[str, Any]]:
    """What of the backend could be taken over as volumes."""
    with backend.database.read() as tx:
        models = volume_models(tx, backend, volumes.of_backend(tx, backend.host))
    driver = _manageable(backend)
    with driver_call("list what could be taken over"):
        return list(driver.get_manageable_volumes(models, marker, limit, offset, sort_keys, sort_dirs))


def manageable_snapshots(
    backend: VolumeBackend,
    marker: Mapping[str, Any] | None,
    limit: int,
    offset: int,
    sort_keys: list[str],
    sort_dirs: list[str],
) -> list[dict[str, Any]]:
    """What of the backend could be taken over as snapshots."""
    with backend.database.read() as tx:
        models = [snapshot_model(tx, backend, found) for found in volume_snapshots.of_backend(tx, backend.host)]
    driver = _manageable_snapshots(backend)
    with driver_call("list what could be taken over"):
        return list(driver.get_manageable_snapshots(models, marker, limit, offset, sort_keys, sort_dirs))


def _check_volume(tx: Transaction, backend: VolumeBackend, volume: Volume, size_gib: int) -> None:
    """Raise QuotaExceeded unless a volume whose row has no size yet may be that large."""
    more = {VolumeResource.GIGABYTES: size_gib, VolumeResource.PER_VOLUME_GIGABYTES: size_gib}
    volume_quotas.check(tx, configured(backend.conf), volume.project_id, volume.volume_type_id, more)


def _check_snapshot(tx: Transaction, backend: VolumeBackend, snapshot: VolumeSnapshot, size_gib: int) -> None:
    """Raise QuotaExceeded unless a snapshot that is counted with its volume's size may be that large."""
    rules = configured(backend.conf)
    if rules.counts_snapshot_gib:
        more = {VolumeResource.GIGABYTES: size_gib - snapshot.volume_size_gib}
        volume_quotas.check(tx, rules, snapshot.project_id, snapshot.volume_type_id, more)


def _manageable(backend: VolumeBackend) -> ManageableVD:
    if not isinstance(backend.driver, ManageableVD):
        raise Unsupported("This storage backend cannot take over existing volumes.")
    return backend.driver


def _manageable_snapshots(backend: VolumeBackend) -> ManageableSnapshotsVD:
    if not isinstance(backend.driver, ManageableSnapshotsVD):
        raise Unsupported("This storage backend cannot take over existing snapshots.")
    return backend.driver


def _size(answer: Any) -> int:
    """A size in GiB as a driver answers it."""
    if isinstance(answer, bool) or not isinstance(answer, int | float) or answer < 1:
        raise BackendFault(f"The driver told no size in GiB: {answer!r}.")
    return int(-(-answer // 1))
