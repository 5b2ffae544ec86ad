"""Moving a volume to another pool: by the driver, else by a copy through this machine.

A copy goes to a volume made for it at the destination. When it is complete the two change places in one transaction:
the volume is then what the copy was, and what it was before is deleted as that other volume. Until then nothing of it
has changed. Each call finds how far the last one came by the rows, so it may be repeated after a crash.
"""

from __future__ import annotations

from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.domain.pools import service_host
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_message_codes import VolumeMessageAction
from penstock.domain.volumes import UPDATABLE, MigrationStatus, Volume, VolumeStatus, driver_values
from penstock.errors import BackendFault, Fault, Unavailable
from penstock.operations.attempt import done_with
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import backends, volumes
from penstock.store.database import Transaction
from penstock.volume.fallback.volume_copy import Remote, copy_volume_data
from penstock.volume.manager import marking
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import volume_model
from penstock.volume.manager.notices import tell_owner
from penstock.volume.manager.temporary import MIGRATION_OF, migration_target, temporary
from penstock.volume.manager.updates import put_notes

log = structlog.get_logger(__name__)

WAIT_S = 20.0  # for the destination; then the operation comes back later
SWAPPED = (*UPDATABLE, "host", "availability_zone")


def migrate(
    backend: VolumeBackend, context: RequestContext, volume_id: str, host: str, *, force_host_copy: bool
) -> None:
    """Move the volume to the pool `host`; a failure leaves it where it is, and tells its owner."""
    with backend.database.read() as tx:
        volume = volumes.get(tx, volume_id)
        if volume is None or not volume.is_migrating:
            return
        model = volume_model(tx, backend, volume)
        reports = {str(report.ref): report.capabilities for report in backends.list_pools(tx)}
        is_begun = migration_target(tx, volume.id) is not None
    try:
        if not (force_host_copy or is_begun or volume.attachments):
            target = {"host": host, "capabilities": dict(reports.get(host, {}))}
            with driver_call("move volumes"):
                moved, update = backend.driver.migrate_volume(context, model, target)
            if moved:
                _moved(backend, volume, host, update)
                return
        copied(backend, context, volume, host)
        with backend.database.begin() as tx:
            done_with(tx, "migrate_volume")
            current = swap(tx, backend, context, volume.id)
            if current is not None and current.status is VolumeStatus.MAINTENANCE:
                volumes.move(tx, current, VolumeEvent.DONE, now=backend.now())
    except Fault as fault:
        if is_final(fault):
            give_up(backend, context, volume.id, fault)
        raise


def copied(backend: VolumeBackend, context: RequestContext, volume: Volume, host: str) -> None:
    """Make the volume's copy on the pool `host`, whole. Raises Unavailable while it is being made."""
    target = _target(backend, context, volume, host)
    if target.status is VolumeStatus.CREATING:
        raise Unavailable(f"The destination of volume {volume.id} is being made.")
    if target.status is not VolumeStatus.AVAILABLE:
        raise BackendFault(f"The destination of volume {volume.id} could not be made: it is '{target.status}'.")
    with backend.database.begin(durable=False) as tx:
        volumes.update_volume(tx, volume.id, now=backend.now(), migration_status=MigrationStatus.MIGRATING)
    with backend.database.read() as tx:
        source_model, target_model = volume_model(tx, backend, volume), volume_model(tx, backend, target)
    is_here = service_host(host) == backend.host
    remote = None if is_here else "dest"
    with backend.copying(), driver_call("copy volumes"):
        backend.driver.before_volume_copy(context, source_model, target_model, remote=remote)
        try:
            copy_volume_data(
                backend.driver, context, source_model, target_model, remote=Remote.NONE if is_here else Remote.TARGET
            )
        finally:
            backend.driver.after_volume_copy(context, source_model, target_model, remote=remote)


def swap(tx: Transaction, backend: VolumeBackend, context: RequestContext, volume_id: str) -> Volume | None:
    """Let the volume and its copy change places, and queue the deletion of what it was; returns the volume then.

    Raises BackendFault when the copy is not there to be used any more: the volume stays what it was.
    """
    volume, target = volumes.get(tx, volume_id), migration_target(tx, volume_id)
    if volume is None:
        return None
    if target is None or target.status is not VolumeStatus.AVAILABLE:
        state = "gone" if target is None else f"'{target.status}'"
        raise BackendFault(f"The copy of volume {volume_id} is {state}: it cannot take the volume's place.")
    now = backend.now()
    of_target: dict[str, Any] = {name: getattr(target, name) for name in SWAPPED}
    of_volume: dict[str, Any] = {name: getattr(volume, name) for name in SWAPPED}
    of_target |= {"name_id": target.name_id or target.id, "migration_status": MigrationStatus.SUCCESS}
    of_volume |= {"name_id": volume.name_id or volume.id, "size_gib": volume.size_gib}
    volumes.update_volume(tx, volume.id, now=now, **of_target)
    volumes.update_volume(tx, target.id, now=now, **of_volume)
    _discard(tx, backend, context, target, at=backend.host)
    marking.queue_identity(tx, backend, context, volume_id, at=service_host(target.host or backend.host))
    return volumes.get(tx, volume_id)


def give_up(backend: VolumeBackend, context: RequestContext, volume_id: str, fault: Fault) -> None:
    """Leave the volume where it is, delete what was made of its copy, and tell the owner."""
    with backend.database.begin() as tx:
        volume = volumes.get(tx, volume_id)
        if volume is None:
            return
        forget_target(tx, backend, context, volume.id)
        volumes.update_volume(tx, volume.id, now=backend.now(), migration_status=MigrationStatus.ERROR)
        if volume.status is VolumeStatus.MAINTENANCE:
            volumes.move(tx, volume, VolumeEvent.REFUSED, now=backend.now())
        tell_owner(tx, backend, context, volume, VolumeMessageAction.MIGRATE_VOLUME, fault)


def forget_target(tx: Transaction, backend: VolumeBackend, context: RequestContext, volume_id: str) -> None:
    """Queue the deletion of the copy that a migration had begun, if there is one."""
    target = migration_target(tx, volume_id)
    if target is not None and target.host is not None:
        _discard(tx, backend, context, target, at=service_host(target.host))


def _moved(backend: VolumeBackend, volume: Volume, host: str, update: Any) -> None:
    now = backend.now()
    with backend.database.begin() as tx:
        done_with(tx, "migrate_volume")
        values = {"host": host, "migration_status": MigrationStatus.SUCCESS, **driver_values(update)}
        services = backends.list_services(tx, host=service_host(host))
        if services:
            values["availability_zone"] = services[0].availability_zone
        volumes.update_volume(tx, volume.id, now=now, **values)
        put_notes(tx, volume.id, update or {})
        if volume.status is VolumeStatus.MAINTENANCE:
            volumes.move(tx, volume, VolumeEvent.DONE, now=now)


def _target(backend: VolumeBackend, context: RequestContext, volume: Volume, host: str) -> Volume:
    """The volume that the copy goes to, made now when it is not there; waited for a little."""
    with backend.database.begin() as tx:
        found = migration_target(tx, volume.id)
        if found is not None:
            return found
        found = temporary(volume, now=backend.now(), host=host, notes={MIGRATION_OF: volume.id})
        volumes.insert_volume(tx, found)
        call = Call(service_host(host), f"volume:{found.id}", "create_volume", {"volume_id": found.id})
        operation_id = backend.queue.enqueue(tx, context, call)
    backend.queue.wait(backend.database, operation_id, timeout_s=WAIT_S)
    with backend.database.read() as tx:
        return volumes.get(tx, found.id) or found


def _discard(tx: Transaction, backend: VolumeBackend, context: RequestContext, target: Volume, *, at: str) -> None:
    current = volumes.get(tx, target.id)
    if current is None or current.status is VolumeStatus.DELETING:
        return
    volumes.ADMIN_METADATA.remove(tx, target.id, MIGRATION_OF)
    volumes.move(tx, current, VolumeEvent.FORCE_DELETE, now=backend.now())
    call = Call(at, f"volume:{target.id}", "delete_volume", {"volume_id": target.id})
    backend.queue.enqueue(tx, context, call)
    log.info("volume.copy_discarded", volume=target.id, at=at)
