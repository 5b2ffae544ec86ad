"""At start: exports of volumes that are in use are made anew, and what is on its way without an operation is ended.

The API answers meanwhile. A volume found missing on the backend is put in error, truthfully, and its owner told.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog

from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.domain.volume_lifecycle import SNAPSHOT_TRANSITIONAL, VOLUME_TRANSITIONAL, VolumeEvent
from penstock.domain.volume_message_codes import VolumeMessageAction, VolumeMessageDetail
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes import TEMPORARY, Volume, VolumeStatus
from penstock.errors import BackendFault, Conflict, Fault, NotFound
from penstock.operations.driver_calls import driver_call
from penstock.store import attachments, operations, volume_groups, volume_snapshots, volumes
from penstock.store.database import Transaction
from penstock.volume.manager import groups, migration
from penstock.volume.manager import snapshots as snapshot_theme
from penstock.volume.manager import volumes as volume_theme
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.image_cache import CACHED_IMAGE
from penstock.volume.manager.models import snapshot_model, volume_models
from penstock.volume.manager.notices import tell_owner
from penstock.volume.manager.temporary import MIGRATION_OF, WORK_FOR
from penstock.volume.manager.updates import checked, store_of_snapshot, store_of_volume

log = structlog.get_logger(__name__)

INTERRUPTED = "The operation was interrupted and its end is not known."
_ACTIONS = {
    VolumeStatus.DELETING: VolumeMessageAction.DELETE_VOLUME,
    VolumeStatus.EXTENDING: VolumeMessageAction.EXTEND_VOLUME,
    VolumeStatus.RETYPING: VolumeMessageAction.RETYPE_VOLUME,
    VolumeStatus.REVERTING: VolumeMessageAction.REVERT_VOLUME,
    VolumeStatus.UPLOADING: VolumeMessageAction.COPY_VOLUME_TO_IMAGE,
    VolumeStatus.BACKING_UP: VolumeMessageAction.BACKUP_CREATE,
    VolumeStatus.RESTORING_BACKUP: VolumeMessageAction.BACKUP_RESTORE,
    VolumeStatus.MAINTENANCE: VolumeMessageAction.MIGRATE_VOLUME,
    VolumeStatus.UNMANAGING: VolumeMessageAction.UNMANAGE_VOLUME,
}
_SNAPSHOT_ACTIONS = {
    VolumeSnapshotStatus.DELETING: VolumeMessageAction.SNAPSHOT_DELETE,
    VolumeSnapshotStatus.UNMANAGING: VolumeMessageAction.SNAPSHOT_DELETE,
    VolumeSnapshotStatus.RESTORING: VolumeMessageAction.REVERT_VOLUME,
}


def ensure_exports(
    backend: VolumeBackend, context: RequestContext, volume_ids: Collection[str] | None = None
) -> list[str]:
    """Make the exports of all connected volumes, or of those of `volume_ids`, anew.

    Called while no operation runs, or in that of the one volume: an export made of attachments that end meanwhile would
    let in again whom the end of one has shut out. Returns the ids of those whose backend could not do it now. A volume
    that is not there any more is put in error.
    """
    with backend.database.read() as tx:
        wanted = _connected(tx, backend, volume_ids)
        found = list(volumes.by_ids(tx, sorted(wanted)).values())
        models = volume_models(tx, backend, found)
    left: list[str] = []
    for volume, model in zip(found, models, strict=True):
        try:
            with driver_call("export volumes"):
                update = checked(backend.driver.ensure_export(context, model))
            if update:
                with backend.database.begin(durable=False) as tx:
                    store_of_volume(tx, volume.id, update, now=backend.now())
        except NotFound as fault:
            _lose(backend, context, volume, fault)
        except Fault as fault:
            log.warning("volume.not_exported", volume=volume.id, fault=str(fault))
            left.append(volume.id)
    return left


def queue_exports(backend: VolumeBackend, context: RequestContext, volume_ids: Collection[str] | None = None) -> None:
    """Have `ensure_exports` done for each of those volumes among its other operations."""
    with backend.database.begin() as tx:
        for volume_id in sorted(_connected(tx, backend, volume_ids)):
            call = Call(backend.host, f"volume:{volume_id}", "ensure_export", {"volume_id": volume_id})
            backend.queue.enqueue(tx, context, call)


def _connected(tx: Transaction, backend: VolumeBackend, volume_ids: Collection[str] | None) -> set[str]:
    found: set[str] = {one.volume_id for one in attachments.of_backend(tx, backend.host) if one.connector is not None}
    return found if volume_ids is None else found & set(volume_ids)


def update_provider_info(backend: VolumeBackend) -> None:
    """Let the driver correct what it keeps of its volumes and snapshots."""
    with backend.database.read() as tx:
        models = volume_models(tx, backend, volumes.of_backend(tx, backend.host))
        taken = [snapshot_model(tx, backend, one) for one in volume_snapshots.of_backend(tx, backend.host)]
    with driver_call("tell what it keeps of its volumes"):
        of_volumes, of_snapshots = backend.driver.update_provider_info(models, taken)
    if not of_volumes and not of_snapshots:
        return
    with backend.database.begin() as tx:
        for update in of_volumes or ():
            store_of_volume(tx, str(update["id"]), update, now=backend.now())
        for update in of_snapshots or ():
            store_of_snapshot(tx, str(update["id"]), update, now=backend.now())


def settle(backend: VolumeBackend, context: RequestContext) -> None:
    """Put what is stranded in a truthful state. Called while no operation runs.

    Rows and operations are committed together, so this is only what an operation that ended could not write, because
    the database went away at that moment, or what an administrator set by hand.
    """
    with backend.database.read() as tx:
        awaited = {item.call.resource_key for item in operations.pending(tx)}
        late = volumes.of_backend(tx, backend.host, statuses=list(VOLUME_TRANSITIONAL))
        late_snapshots = volume_snapshots.of_backend(tx, backend.host, statuses=list(SNAPSHOT_TRANSITIONAL))
        grouped = {
            snapshot.group_snapshot_id: volume_groups.get_snapshot(tx, snapshot.group_snapshot_id)
            for snapshot in late_snapshots
            if snapshot.group_snapshot_id is not None
        }
    for snapshot in late_snapshots:
        if _is_awaited(awaited, snapshot.volume_id) or snapshot.status is VolumeSnapshotStatus.UPDATING:
            continue
        of_group = grouped.get(snapshot.group_snapshot_id or "")
        if of_group is not None and f"volume-group:{of_group.group_id}" in awaited:
            continue
        end_snapshot(backend, context, snapshot)
    for volume in late:
        if _is_awaited(awaited, volume.id) or TEMPORARY in volume.admin_metadata:
            continue
        if f"volume-group:{volume.group_id}" in awaited:
            continue
        end_volume(backend, context, volume)
    groups.settle(backend, context, awaited)


def end_volume(backend: VolumeBackend, context: RequestContext, volume: Volume) -> None:
    """Put a volume that is on its way, and that nothing works on, in a truthful state, and tell its owner.

    Raises Conflict when it is no longer what it was when we read it.
    """
    log.warning("volume.stranded", volume=volume.id, status=volume.status.value)
    action = _ACTIONS.get(volume.status, VolumeMessageAction.CREATE_VOLUME_FROM_BACKEND)
    event = VolumeEvent.REFUSED if volume.status is VolumeStatus.MAINTENANCE else VolumeEvent.FAILED
    volume_theme.fail(backend, context, volume, event, action, BackendFault(INTERRUPTED))


def end_snapshot(backend: VolumeBackend, context: RequestContext, snapshot: VolumeSnapshot) -> None:
    """The same for a snapshot."""
    log.warning("volume_snapshot.stranded", snapshot=snapshot.id, status=snapshot.status.value)
    action = _SNAPSHOT_ACTIONS.get(snapshot.status, VolumeMessageAction.SNAPSHOT_CREATE)
    snapshot_theme.fail(backend, context, snapshot, VolumeEvent.FAILED, action, BackendFault(INTERRUPTED))


def settle_temporary(backend: VolumeBackend, context: RequestContext) -> None:
    """Give up migrations that no operation carries on, and delete what was made for an operation that is over."""
    with backend.database.read() as tx:
        pending = operations.pending(tx)
        awaited = {item.call.resource_key for item in pending} | {f"volume:{item.id}" for item in pending}
        here = volumes.of_backend(tx, backend.host)
    for volume in here:
        if volume.is_migrating and not _is_awaited(awaited, volume.id):
            end_migration(backend, context, volume)
    for volume in here:
        if TEMPORARY in volume.admin_metadata and not is_needed(volume, awaited):
            discard_temporary(backend, context, volume)


def end_migration(backend: VolumeBackend, context: RequestContext, volume: Volume) -> None:
    """Give up a migration that no operation carries on."""
    fault = BackendFault("The migration was interrupted and cannot be taken up again.")
    migration.give_up(backend, context, volume.id, fault)


def discard_temporary(backend: VolumeBackend, context: RequestContext, volume: Volume) -> None:
    """Queue the deletion of what was made for an operation that is over, unless something is queued for it."""
    log.info("volume.not_needed", volume=volume.id, status=volume.status.value)
    with backend.database.begin() as tx:
        current = volumes.get(tx, volume.id)
        if current is not None and not operations.pending(tx, resource_key=f"volume:{volume.id}"):
            volumes.move(tx, current, VolumeEvent.FORCE_DELETE, now=backend.now())
            call = Call(backend.host, f"volume:{volume.id}", "delete_volume", {"volume_id": volume.id})
            backend.queue.enqueue(tx, context, call)


def is_needed(volume: Volume, awaited: Collection[str]) -> bool:
    """Is an operation on its way that this temporary volume is for, or is it one to be kept?

    `awaited` are the resource keys of operations to come, and ``volume:`` with the ids of these operations.
    """
    notes = volume.admin_metadata
    works = [notes[key] for key in (WORK_FOR, MIGRATION_OF) if key in notes]
    is_kept = CACHED_IMAGE in notes and volume.status is VolumeStatus.AVAILABLE
    return is_kept or any(_is_awaited(awaited, one) for one in (volume.id, *works))


def _is_awaited(awaited: Collection[str], volume_id: str) -> bool:
    return f"volume:{volume_id}" in awaited


def _lose(backend: VolumeBackend, context: RequestContext, volume: Volume, fault: Fault) -> None:
    log.error("volume.lost", volume=volume.id, fault=str(fault))
    try:
        with backend.database.begin() as tx:
            volumes.move(tx, volume, VolumeEvent.LOST, now=backend.now())
            action, detail = VolumeMessageAction.LOOK_AT_VOLUME, VolumeMessageDetail.VOLUME_LOST
            tell_owner(tx, backend, context, volume, action, fault, detail=detail)
    except Conflict as changed:
        log.info("volume.changed_meanwhile", volume=volume.id, fault=str(changed))
