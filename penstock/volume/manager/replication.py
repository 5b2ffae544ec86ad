"""The whole backend: freeze, thaw, fail over to a replication target and back. Each may be called again after a crash.

Volumes that are not replicated are in error while another place serves, because nothing serves them, and are what they
were when the backend is back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.attachments import attach_status_of
from penstock.domain.operations import Call
from penstock.domain.volume_lifecycle import RESTING, VOLUME_TRANSITIONAL, VolumeEvent, at_rest
from penstock.domain.volume_message_codes import VolumeMessageAction, VolumeMessageDetail
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.domain.volumes import HOME, ReplicationStatus, Volume, VolumeStatus, driver_values
from penstock.errors import BackendFault, Conflict, Fault, Unsupported
from penstock.operations.attempt import done_with
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import backends, operations, volume_snapshots, volumes
from penstock.store.backends import Service
from penstock.store.database import Transaction
from penstock.volume.errors import InvalidReplicationTarget
from penstock.volume.inventory import HasVolumeInventory
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.connections import CONNECTED
from penstock.volume.manager.models import volume_models
from penstock.volume.manager.notices import tell_owner
from penstock.volume.manager.periodic import BINARY
from penstock.volume.manager.updates import put_notes
from penstock.volume.models import VolumeModel
from penstock.volume.replication import REASON, RECOVERY_POINT, SNAPSHOTS, ChoosesTarget, OlderCopy, TakesOlder

log = structlog.get_logger(__name__)

FROZEN, FAILED_OVER, NOT_FAILED_OVER = "frozen", "failed-over", "not failed over"
FAILOVER, THAW, TOWARDS = "failover_host", "thaw_host", "to "
REPLICATED = (
    ReplicationStatus.ENABLING,
    ReplicationStatus.ENABLED,
    ReplicationStatus.FAILED_OVER,
    ReplicationStatus.ERROR,
)


def freeze(backend: VolumeBackend, context: RequestContext) -> None:
    """Place nothing new here, and have the storage change nothing."""
    with driver_call("be frozen"):
        if not backend.driver.freeze_backend(context):
            raise BackendFault(f"The storage of {backend.host} would not be frozen.")
    with backend.database.begin() as tx:
        done_with(tx, "freeze_host")
        values = {"frozen": True, "disabled": True, "disabled_reason": FROZEN}
        backends.update_service(tx, _service(tx, backend).id, **values)


def thaw(backend: VolumeBackend, context: RequestContext) -> None:
    """The end of `freeze`, and of a failover that broke before another place served."""
    with driver_call("be thawed"):
        if not backend.driver.thaw_backend(context):
            raise BackendFault(f"The storage of {backend.host} would not be thawed.")
    if thaw_fails_back(backend):
        _serve_from(backend, context, HOME)  # what had made way is served again
    with backend.database.begin() as tx:
        done_with(tx, THAW)
        values: dict[str, Any] = {"frozen": False, "disabled": False, "disabled_reason": None}
        backends.update_service(tx, _service(tx, backend).id, **values)


def thaw_fails_back(backend: VolumeBackend) -> bool:
    """Will a thaw have served again what had made way for a failover that broke? Nothing runs beside that one."""
    with backend.database.read() as tx:
        service = _service(tx, backend)
    return service.replication_status == ReplicationStatus.FAILOVER_ERROR and service.active_backend_id is None


def asked_target(backend: VolumeBackend) -> tuple[str | None] | None:
    """The target of a failover that was asked for and has not ended; None without one."""
    with backend.database.read() as tx:
        if _service_status(tx, backend) != ReplicationStatus.FAILING_OVER:
            return None
        pending = operations.pending(tx, resource_key=f"host:{backend.host}")
        asked = [item for item in pending if item.call.method == FAILOVER]
    return (asked[-1].call.arguments.get("secondary_backend_id"),) if asked else None


def failover(
    backend: VolumeBackend, context: RequestContext, secondary_id: str | None, *, is_starting: bool = False
) -> None:
    """Serve the volumes from the target; without such a target, or a driver that can, everything is as it was.

    `is_starting`: whoever asked will be called again, so that what may succeed later is not the end of it.
    """
    with backend.database.read() as tx:
        if _service_status(tx, backend) != ReplicationStatus.FAILING_OVER:
            return
    _serve_from(backend, context, secondary_id, is_starting=is_starting)


def _serve_from(
    backend: VolumeBackend, context: RequestContext, secondary_id: str | None, *, is_starting: bool = False
) -> None:
    with backend.database.read() as tx:
        service = _service(tx, backend)
        here = volumes.of_backend(tx, backend.host)
        replicated = [volume for volume in here if volume.replication_status in REPLICATED]
        handed = {volume.id for volume in replicated}
        models = volume_models(tx, backend, replicated)
    try:
        with driver_call("fail over"):
            secondary_id = _target(backend, models, secondary_id)
            active_id, of_volumes, _ = backend.driver.failover_host(
                context, models, secondary_id=secondary_id, groups=[]
            )
    except (InvalidReplicationTarget, Unsupported) as fault:  # nothing was changed
        _end(backend, _stayed(service, fault))
        raise
    except Fault as fault:
        if is_final(fault) and not (is_starting and fault.retryable):
            broken = {
                "replication_status": ReplicationStatus.FAILOVER_ERROR,
                "disabled": True,
                "disabled_reason": fault.message[:255],
            }
            _end(backend, broken)
        raise
    is_back = HOME in (secondary_id, active_id)
    with backend.database.begin() as tx:
        done_with(tx, FAILOVER)
        # as they are now: the driver took its time, and the API went on
        here = volumes.of_backend(tx, backend.host)
        replicated = [volume for volume in here if volume.id in handed]
        _store(tx, backend, context, replicated, of_volumes)
        for volume in here:
            if volume.id not in handed:
                _set_aside(tx, backend, context, volume, is_back=is_back)
        values = {
            "replication_status": ReplicationStatus.ENABLED if is_back else ReplicationStatus.FAILED_OVER,
            "active_backend_id": None if is_back else str(active_id),
            "disabled": not is_back,
            "disabled_reason": None if is_back else FAILED_OVER,
        }
        backends.update_service(tx, service.id, **values)
        unserved = {
            item.get("volume_id")
            for item in of_volumes or ()
            if (item.get("updates") or {}).get("status") == VolumeStatus.ERROR
        }
        served = [volume for volume in replicated if volume.id not in unserved]
        _connect_again(tx, backend, context, served)
        for volume in served:
            # who was let in where it lay, while nobody served it, may have gone since
            if _was_unserved(volume) or (is_back and volume.replication_status is not ReplicationStatus.FAILED_OVER):
                _settle_export(tx, backend, context, volume)
    backend.driver.active_backend_id = None if is_back else str(active_id)
    log.warning("backend.failed_over", backend=backend.host, to=active_id, volumes=len(replicated))


def _target(backend: VolumeBackend, models: Sequence[VolumeModel], secondary_id: str | None) -> str | None:
    """Where it goes: without a named target where an attempt before this one went, else what the driver chooses, which
    is written down first."""
    if secondary_id is not None or not isinstance(backend.driver, ChoosesTarget):
        return secondary_id
    with backend.database.read() as tx:
        pending = operations.pending(tx, resource_key=f"host:{backend.host}")
    asked = [item for item in pending if item.call.method == FAILOVER]
    if asked and asked[-1].progress is not None:
        return asked[-1].progress.removeprefix(TOWARDS)
    try:
        chosen = backend.driver.failover_target(models)
    except InvalidReplicationTarget as fault:  # the driver says what that means for what was begun before
        log.warning("backend.no_target", backend=backend.host, fault=fault.message)
        return None
    if asked:
        with backend.database.begin() as tx:
            operations.set_progress(tx, asked[-1].id, f"{TOWARDS}{chosen}")
    return chosen


def older_copies(backend: VolumeBackend, side: str, *, accept: bool = False) -> list[OlderCopy]:
    """What a failover to the side would refuse, because it is older than the volumes were; with `accept` it is taken by
    the next one. Safe to repeat. Raises Unsupported (the driver), InvalidReplicationTarget, Unavailable."""
    driver = backend.driver
    if not isinstance(driver, TakesOlder):
        raise Unsupported(f"The driver of {backend.host} does not tell older copies from later ones.")
    with backend.database.read() as tx:
        here = volumes.of_backend(tx, backend.host)
        models = volume_models(tx, backend, [one for one in here if one.replication_status in REPLICATED])
    with driver_call("look at older copies"):
        return driver.accept_older(models, side) if accept else driver.older_copies(models, side)


def active_backend_id(backend: VolumeBackend) -> str | None:
    """Where the backend is failed over to, as the rows say."""
    with backend.database.read() as tx:
        found = backends.list_services(tx, binary=BINARY, host=backend.host)
        return found[0].active_backend_id if found else None


def _connect_again(
    tx: Transaction, backend: VolumeBackend, context: RequestContext, replicated: Sequence[Volume]
) -> None:
    """Have whoever is connected let in where the volume is served now; the attachment then says where that is."""
    for volume in replicated:
        for attachment in volume.attachments:
            if attachment.connector is not None and attachment.connection_info is not None:
                method = "attachment_update" if attachment.status in CONNECTED else "initialize_connection"
                arguments = {"volume_id": volume.id, "attachment_id": attachment.id}
                backend.queue.enqueue(tx, context, Call(backend.host, f"volume:{volume.id}", method, arguments))


def _store(
    tx: Transaction,
    backend: VolumeBackend,
    context: RequestContext,
    replicated: Sequence[Volume],
    updates: Sequence[Mapping[str, Any]] | None,
) -> None:
    """What the driver says of each volume; a status ``error`` among it is written too, and its end. What was lost is
    told to the owner."""
    known = {volume.id: volume for volume in replicated}
    now = backend.now()
    for item in updates or ():
        volume = known.get(item.get("volume_id", ""))
        update = item.get("updates") or {}
        if volume is None:
            continue
        values: dict[str, Any] = driver_values(update)
        if update.get("status") == VolumeStatus.ERROR:
            if volume.status not in VOLUME_TRANSITIONAL:  # else it is its operation's to end
                was = volume.previous_status if volume.status is VolumeStatus.ERROR else volume.status
                values |= {"status": VolumeStatus.ERROR, "previous_status": was}
            _tell(tx, backend, context, volume, VolumeMessageDetail.NOT_FAILED_OVER, "")
        elif _was_unserved(volume):
            values |= {"status": _rests(volume), "previous_status": None}
        if update.get(RECOVERY_POINT) is not None:
            log.error(
                "volume.data_lost", volume=volume.id, since=str(update[RECOVERY_POINT]), reason=update.get(REASON)
            )
            since = f"What was written after {update[RECOVERY_POINT]:%Y-%m-%d %H:%M:%S} UTC is not in it."
            lost = _lose_snapshots(tx, backend, volume, update.get(SNAPSHOTS))
            since += f" Nor are its snapshots {', '.join(lost)}." if lost else ""
            _tell(tx, backend, context, volume, VolumeMessageDetail.FAILED_OVER_WITH_LOSS, since)
        volumes.reset(tx, volume.id, now=now, **values)
        put_notes(tx, volume.id, update)


def _lose_snapshots(tx: Transaction, backend: VolumeBackend, volume: Volume, kept: Collection[str] | None) -> list[str]:
    """Put those in error that are not where the volume is served from now; None is not known. Returns their ids."""
    if kept is None:
        return []
    here = volume_snapshots.of_volume(tx, volume.id)
    lost: list[str] = []
    for one in here:
        if one.status is VolumeSnapshotStatus.AVAILABLE and one.id not in kept:
            try:
                volume_snapshots.move(tx, one, VolumeEvent.LOST, now=backend.now())
            except Conflict as changed:  # somebody deletes it: then its operation ends it
                log.info("volume_snapshot.changed_meanwhile", snapshot=one.id, fault=changed.message)
                continue
            log.error("volume_snapshot.lost", snapshot=one.id, volume=volume.id)
            lost.append(one.id)
    return lost


def _was_unserved(volume: Volume) -> bool:
    """Is it in error because an earlier failover found nobody to serve it?"""
    is_error = volume.status is VolumeStatus.ERROR and volume.replication_status is ReplicationStatus.ERROR
    return is_error and volume.previous_status is not None


def _tell(
    tx: Transaction,
    backend: VolumeBackend,
    context: RequestContext,
    volume: Volume,
    detail: VolumeMessageDetail,
    sentence: str,
) -> None:
    tell_owner(tx, backend, context, volume, VolumeMessageAction.FAIL_OVER, Fault(sentence), detail=detail)


def _set_aside(
    tx: Transaction, backend: VolumeBackend, context: RequestContext, volume: Volume, *, is_back: bool
) -> None:
    """One that is on its way keeps its state: its operation ends it, truthfully. Who was let in before it was set aside
    may have gone since, so that its export follows its attachments when it is back."""
    now, values = backend.now(), dict[str, Any]()
    if is_back and volume.replication_status is ReplicationStatus.NOT_CAPABLE:
        values = {"replication_status": None}
        if volume.status is VolumeStatus.ERROR and volume.previous_status is not None:
            values |= {"status": _rests(volume), "previous_status": None}
        volumes.reset(tx, volume.id, now=now, **values)
        _settle_export(tx, backend, context, volume)
    elif not is_back and volume.replication_status is not ReplicationStatus.NOT_CAPABLE:
        values = {"replication_status": ReplicationStatus.NOT_CAPABLE}
        if volume.status not in VOLUME_TRANSITIONAL:
            values |= {"status": VolumeStatus.ERROR, "previous_status": volume.status}
        volumes.reset(tx, volume.id, now=now, **values)


def _settle_export(tx: Transaction, backend: VolumeBackend, context: RequestContext, volume: Volume) -> None:
    """Have its export follow its attachments, where the driver can tell who is let in."""
    if isinstance(backend.driver, HasVolumeInventory):
        call = Call(backend.host, f"volume:{volume.id}", "settle_export", {"volume_id": volume.id})
        backend.queue.enqueue(tx, context, call)


def _rests(volume: Volume) -> VolumeStatus | None:
    """What it was before it was set aside, or what its attachments make of it since."""
    was = volume.previous_status
    return at_rest(attach_status_of(volume.attachments)) if was in RESTING else was


def _stayed(service: Service, fault: Fault) -> dict[str, Any]:
    """Whoever asked was answered before anybody had looked: why nothing came of it stands where services are listed,
    until they are enabled, thawed or failed over. The reason of somebody who disabled it himself stays."""
    if service.active_backend_id is not None:
        reason = f"{FAILED_OVER}; then {NOT_FAILED_OVER}: {fault.message}"
        return {"replication_status": ReplicationStatus.FAILED_OVER, "disabled_reason": reason[:255]}
    said = {} if service.disabled else {"disabled_reason": f"{NOT_FAILED_OVER}: {fault.message}"[:255]}
    return {"replication_status": ReplicationStatus.ENABLED, **said}


def _end(backend: VolumeBackend, values: Mapping[str, Any]) -> None:
    with backend.database.begin() as tx:
        backends.update_service(tx, _service(tx, backend).id, **values)


def _service_status(tx: Transaction, backend: VolumeBackend) -> str | None:
    found = backends.list_services(tx, binary=BINARY, host=backend.host)
    return found[0].replication_status if found else None


def _service(tx: Transaction, backend: VolumeBackend) -> Service:
    return backends.list_services(tx, binary=BINARY, host=backend.host)[0]
