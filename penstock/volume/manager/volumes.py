"""Volumes: create, delete, extend, revert.

Each function may be called again after a crash at any point: what is done already is found by the state of the row, and
the driver's calls are repeatable. A fault that ends the operation leaves the volume in a truthful state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_message_codes import VolumeMessageAction
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.domain.volumes import Volume, VolumeStatus, driver_values
from penstock.domain.volumes_at_work import Source, TypedSnapshot, TypedVolume, VolumeToDelete, VolumeToMake
from penstock.errors import Conflict, Fault, InsufficientCapacity, NotFound, Unsupported
from penstock.operations.attempt import done_with, handed, looked
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import volume_snapshots, volumes
from penstock.store.database import hold
from penstock.store.volumes_at_work import read_snapshot, read_typed
from penstock.volume.driver import capabilities_of
from penstock.volume.errors import SnapshotIsBusy, VolumeIsBusy, VolumeNotFound
from penstock.volume.fallback.revert import revert_by_copy
from penstock.volume.looking import LooksAhead
from penstock.volume.manager import connections, elsewhere
from penstock.volume.manager import snapshots as snapshot_theme
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import model_of, snapshot_model, snapshot_model_of
from penstock.volume.manager.notices import tell_owner
from penstock.volume.manager.periodic import publish_growth
from penstock.volume.manager.safety import kept_before
from penstock.volume.manager.updates import checked, put_notes
from penstock.volume.models import SnapshotModel, VolumeModel
from penstock.volume.records import Records

log = structlog.get_logger(__name__)


def create(backend: VolumeBackend, context: RequestContext, volume_id: str) -> None:
    """Make the volume on the backend, empty or from its source, unless that is done already."""
    told = handed(VolumeToMake, "create_volume")
    found = _read(backend, volume_id) if told is None else told.made
    if found is None or found.volume.status is not VolumeStatus.CREATING or not backend.holds(found.volume):
        return
    volume = found.volume
    try:
        with elsewhere.tried(backend, context, volume):
            update = make(backend, model_of(backend, found), _source(backend, volume) if told is None else told.source)
    except Fault as fault:
        if is_final(fault):
            fail(backend, context, volume, VolumeEvent.FAILED, VolumeMessageAction.CREATE_VOLUME_FROM_BACKEND, fault)
        raise
    created(backend, volume, update)


def look_ahead(backend: VolumeBackend, about: VolumeToMake) -> Callable[[], Any] | None:
    """What the driver can look at before a volume is sure to be made; None where it has no such look."""
    driver, source = backend.driver, about.source
    if not isinstance(source, TypedSnapshot) or not isinstance(driver, LooksAhead):
        return None
    return lambda: driver.look_at_source(snapshot_model_of(backend, source))


def make(backend: VolumeBackend, model: VolumeModel, source: Source | None) -> Mapping[str, Any]:
    """Have the driver make it. Returns the model update."""
    if isinstance(source, TypedSnapshot):
        taken = snapshot_model_of(backend, source)
        looks = {"looked": looked()} if backend.waits else {}
        with driver_call("create volumes from snapshots", waits=backend.waits):
            return checked(backend.driver.create_volume_from_snapshot(model, taken, **looks))
    if source is not None:
        origin = model_of(backend, source)
        with driver_call("create volumes from volumes", waits=backend.waits):
            return checked(backend.driver.create_cloned_volume(model, origin))
    with driver_call("create volumes", waits=backend.waits):
        return checked(backend.driver.create_volume(model))


def _read(backend: VolumeBackend, volume_id: str) -> TypedVolume | None:
    with backend.database.read() as tx:
        volume = volumes.get(tx, volume_id)
        return None if volume is None else read_typed(tx, volume)


def _source(backend: VolumeBackend, volume: Volume) -> Source | None:
    """What it is made from. Raises NotFound when that is gone."""
    if volume.snapshot_id is None and volume.source_volid is None:
        return None
    with backend.database.read() as tx:
        if volume.snapshot_id is not None:
            snapshot = volume_snapshots.get(tx, volume.snapshot_id)
            if snapshot is None:
                raise NotFound(f"Snapshot {volume.snapshot_id}, which it was to be made from, does not exist any more.")
            return read_snapshot(tx, snapshot)
        parent = volumes.get(tx, str(volume.source_volid))
        if parent is None:
            raise NotFound(f"Volume {volume.source_volid}, which it was to be made from, does not exist any more.")
        return read_typed(tx, parent)


def created(backend: VolumeBackend, volume: Volume, update: Mapping[str, Any]) -> None:
    """Write that the volume is there."""
    now = backend.now()
    with backend.database.begin(durable=False) as tx:
        done_with(tx, "create_volume")
        volumes.move(tx, volume, VolumeEvent.DONE, now=now, launched_at=now, **driver_values(update))
        put_notes(tx, volume.id, update)


def delete(backend: VolumeBackend, context: RequestContext, volume_id: str, *, cascade: bool, force: bool) -> None:
    """Destroy the volume, with `cascade` its snapshots before, and forget its rows.

    With `force` the rows go even when the backend cannot do its part.
    """
    found = handed(VolumeToDelete, "delete_volume") or _to_delete(backend, volume_id)
    if found is None or found.gone.volume.status is not VolumeStatus.DELETING:
        return
    volume, model = found.gone.volume, model_of(backend, found.gone)
    try:
        _refuse_snapshots(volume, found.snapshots, cascade=cascade)
        for snapshot_id in found.snapshots:
            snapshot_theme.delete(backend, context, snapshot_id, force=force)
        for attachment in volume.attachments:
            connections.end(backend, context, volume.id, attachment.id, force=force)
        connections.remove_export(backend, context, model)
        with driver_call("delete volumes"):
            try:
                backend.driver.delete_volume(model)
            except VolumeNotFound:
                log.info("volume.gone_already", volume=volume.id)
    except (VolumeIsBusy, SnapshotIsBusy) as fault:
        fail(backend, context, volume, VolumeEvent.REFUSED, VolumeMessageAction.DELETE_VOLUME, fault)
        raise
    except Fault as fault:
        if not is_final(fault):
            raise
        if not force:
            fail(backend, context, volume, VolumeEvent.FAILED, VolumeMessageAction.DELETE_VOLUME, fault)
            raise
        log.warning("volume.left_behind", volume=volume.id, fault=str(fault))
    with backend.database.begin() as tx:
        done_with(tx, "delete_volume")
        volumes.move(tx, volume, VolumeEvent.DONE, now=backend.now())
        volumes.delete_volume(tx, volume.id)


def _to_delete(backend: VolumeBackend, volume_id: str) -> VolumeToDelete | None:
    with backend.database.read() as tx:
        volume = volumes.get(tx, volume_id)
        if volume is None:
            return None
        found = volume_snapshots.of_volume(tx, volume.id)
        return VolumeToDelete(read_typed(tx, volume), tuple(snapshot.id for snapshot in found))


def _refuse_snapshots(volume: Volume, found: Sequence[str], *, cascade: bool) -> None:
    if found and not cascade:
        raise VolumeIsBusy(f"Volume {volume.id} has {len(found)} snapshots.")


def extend(backend: VolumeBackend, context: RequestContext, volume_id: str, new_size: int) -> None:
    """Let the volume hold `new_size` GiB, unless that is done already.

    Where an administrator wrote another status by hand meanwhile that stays, and it is done all the same: it was
    accepted, and a process that died may have done it before. Of an extension that was accepted since then, which comes
    after this one, status and promise stay.
    """
    found = handed(TypedVolume, "extend_volume") or _read(backend, volume_id)
    if found is None:
        return
    volume, model = found.volume, model_of(backend, found)
    if volume.status is not VolumeStatus.EXTENDING and volume.size_target_gib is None:
        return
    wanted = max(new_size, volume.size_gib)  # larger already by one that was accepted before
    try:
        with driver_call("extend volumes"):
            backend.driver.extend_volume(model, wanted)
    except (Unsupported, InsufficientCapacity) as fault:  # nothing was changed
        _extended(backend, context, volume, new_size, VolumeEvent.REFUSED, volume.size_gib, fault)
        raise
    except Fault as fault:
        if is_final(fault):
            _extended(backend, context, volume, new_size, VolumeEvent.FAILED, volume.size_gib, fault)
        raise
    _extended(backend, context, volume, new_size, VolumeEvent.DONE, wanted, None)
    publish_growth(backend)


def _extended(
    backend: VolumeBackend,
    context: RequestContext,
    volume: Volume,
    new_size: int,
    event: VolumeEvent,
    size_gib: int,
    fault: Fault | None,
) -> None:
    """Write the end of the extension to `new_size`, after which the backend holds `size_gib`.

    Status and promise only where they still are those of this one.
    """
    now = backend.now()
    with backend.database.begin(durable=fault is not None) as tx:
        hold(tx, f"volume {volume.id}")  # as who accepts a request about it does
        if fault is None:
            done_with(tx, "extend_volume")
        found = volumes.get(tx, volume.id)
        if found is None:
            return
        values: dict[str, Any] = {"size_gib": size_gib}
        is_ours = found.size_target_gib in (new_size, None)  # none: what `penstock doctor` asked for
        if is_ours:
            values["size_target_gib"] = None
        if is_ours and found.status is VolumeStatus.EXTENDING:
            volumes.move(tx, found, event, now=now, **values)
        else:
            log.info("volume.extension_left_status", volume=volume.id, status=found.status, size_gib=size_gib)
            volumes.update_volume(tx, volume.id, now=now, **values)
        if fault is not None:
            tell_owner(tx, backend, context, found, VolumeMessageAction.EXTEND_VOLUME, fault)


def revert(backend: VolumeBackend, records: Records, context: RequestContext, volume_id: str, snapshot_id: str) -> None:
    """Put the volume back to its snapshot, unless that is done already. The volume keeps its size."""
    with backend.database.read() as tx:
        volume = volumes.get(tx, volume_id)
        snapshot = volume_snapshots.get(tx, snapshot_id)
        if volume is None or volume.status is not VolumeStatus.REVERTING:
            return
        source = None if snapshot is None else snapshot_model(tx, backend, snapshot)
    if source is None:
        gone = NotFound(f"Snapshot {snapshot_id} does not exist any more.")
        _reverted(backend, context, volume, snapshot_id, VolumeEvent.REFUSED, gone)
        raise gone
    try:
        with driver_call("revert volumes to snapshots"):
            if not _driver_reverts(backend, context, source):
                with backend.copying(), kept_before(backend, records, context, source.volume, source):
                    revert_by_copy(backend.driver, records, context, source.volume, source)
    except (Conflict, Unsupported) as fault:
        _reverted(backend, context, volume, snapshot_id, VolumeEvent.REFUSED, fault)
        raise
    except Fault as fault:
        if is_final(fault):
            _reverted(backend, context, volume, snapshot_id, VolumeEvent.FAILED, fault)
        raise
    _reverted(backend, context, volume, snapshot_id, VolumeEvent.DONE, None)


def _driver_reverts(backend: VolumeBackend, context: RequestContext, source: SnapshotModel) -> bool:
    """Have the driver revert the volume; False when it cannot at all, or not this one."""
    if "revert_to_snapshot" not in capabilities_of(backend.driver):
        return False
    try:
        backend.driver.revert_to_snapshot(context, source.volume, source)
    except NotImplementedError as err:
        log.info("volume.reverted_by_copy", volume=source.volume.id, why=str(err))
        return False
    return True


def _reverted(
    backend: VolumeBackend,
    context: RequestContext,
    volume: Volume,
    snapshot_id: str,
    event: VolumeEvent,
    fault: Fault | None,
) -> None:
    """Write the end of a revert to the volume, and to the snapshot unless its deletion was forced meanwhile."""
    now = backend.now()
    with backend.database.begin() as tx:  # durable: a revert that came about twice would lose what was written since
        if fault is None:
            done_with(tx, "revert_to_snapshot")
        volumes.move(tx, volume, event, now=now)
        snapshot = volume_snapshots.get(tx, snapshot_id)
        if snapshot is not None and snapshot.status is VolumeSnapshotStatus.RESTORING:
            volume_snapshots.move(tx, snapshot, event, now=now)
        if fault is not None:
            tell_owner(tx, backend, context, volume, VolumeMessageAction.REVERT_VOLUME, fault)


def fail(
    backend: VolumeBackend,
    context: RequestContext,
    volume: Volume,
    event: VolumeEvent,
    action: VolumeMessageAction,
    fault: Fault,
) -> None:
    """Write the state that `event` leads to, let go of a promised size, and tell the owner why."""
    with backend.database.begin() as tx:
        volumes.move(tx, volume, event, now=backend.now(), size_target_gib=None)
        tell_owner(tx, backend, context, volume, action, fault)
