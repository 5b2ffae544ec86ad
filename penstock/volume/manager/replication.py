"""The whole backend: freeze, thaw, fail over to a replication target and back. Each may be called again after a crash.

Volumes that are not replicated are in error while another place serves, because nothing serves them, and are what they
were when the backend is back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.volumes import ReplicationStatus, Volume, VolumeStatus, driver_values
from penstock.errors import BackendFault, Fault, Unsupported
from penstock.operations.attempt import done_with
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import backends, volumes
from penstock.store.backends import Service
from penstock.store.database import Transaction
from penstock.volume.errors import InvalidReplicationTarget
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import volume_models
from penstock.volume.manager.periodic import BINARY
from penstock.volume.manager.updates import put_notes

log = structlog.get_logger(__name__)

DEFAULT = "default"  # the target that is the way back
FROZEN, FAILED_OVER = "frozen", "failed-over"
REPLICATED = (ReplicationStatus.ENABLED, ReplicationStatus.FAILED_OVER, ReplicationStatus.ERROR)


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
    with backend.database.begin() as tx:
        done_with(tx, "thaw_host")
        service = _service(tx, backend)
        values: dict[str, Any] = {"frozen": False, "disabled": False, "disabled_reason": None}
        if service.replication_status == ReplicationStatus.FAILOVER_ERROR and service.active_backend_id is None:
            values |= _stayed(service)
        backends.update_service(tx, service.id, **values)


def failover(backend: VolumeBackend, context: RequestContext, secondary_id: str | None) -> None:
    """Serve the volumes from the target; without such a target, or a driver that can, everything is as it was."""
    with backend.database.read() as tx:
        service = _service(tx, backend)
        if service.replication_status != ReplicationStatus.FAILING_OVER:
            return
        here = volumes.of_backend(tx, backend.host)
        replicated = [volume for volume in here if volume.replication_status in REPLICATED]
        models = volume_models(tx, backend, replicated)
    try:
        with driver_call("fail over"):
            active_id, of_volumes, _ = backend.driver.failover_host(
                context, models, secondary_id=secondary_id, groups=[]
            )
    except (InvalidReplicationTarget, Unsupported):  # nothing was changed
        _end(backend, _stayed(service))
        raise
    except Fault as fault:
        if is_final(fault):
            broken = {
                "replication_status": ReplicationStatus.FAILOVER_ERROR,
                "disabled": True,
                "disabled_reason": fault.message[:255],
            }
            _end(backend, broken)
        raise
    is_back = secondary_id == DEFAULT
    with backend.database.begin() as tx:
        done_with(tx, "failover_host")
        _store(tx, backend, replicated, of_volumes)
        for volume in here:
            if volume not in replicated:
                _set_aside(tx, backend, volume, is_back=is_back)
        values = {
            "replication_status": ReplicationStatus.ENABLED if is_back else ReplicationStatus.FAILED_OVER,
            "active_backend_id": None if is_back else str(active_id),
            "disabled": not is_back,
            "disabled_reason": None if is_back else FAILED_OVER,
        }
        backends.update_service(tx, service.id, **values)
    backend.driver.active_backend_id = None if is_back else str(active_id)
    log.warning("backend.failed_over", backend=backend.host, to=active_id, volumes=len(replicated))


def active_backend_id(backend: VolumeBackend) -> str | None:
    """Where the backend is failed over to, as the rows say."""
    with backend.database.read() as tx:
        found = backends.list_services(tx, binary=BINARY, host=backend.host)
        return found[0].active_backend_id if found else None


def _store(
    tx: Transaction, backend: VolumeBackend, replicated: Sequence[Volume], updates: Sequence[Mapping[str, Any]] | None
) -> None:
    """What the driver says of each volume; a status ``error`` among it is written too."""
    known = {volume.id: volume for volume in replicated}
    now = backend.now()
    for item in updates or ():
        volume = known.get(item.get("volume_id", ""))
        update = item.get("updates") or {}
        if volume is None:
            continue
        values: dict[str, Any] = driver_values(update)
        if update.get("status") == VolumeStatus.ERROR:
            values |= {"status": VolumeStatus.ERROR, "previous_status": volume.status}
        volumes.reset(tx, volume.id, now=now, **values)
        put_notes(tx, volume.id, update)


def _set_aside(tx: Transaction, backend: VolumeBackend, volume: Volume, *, is_back: bool) -> None:
    now, values = backend.now(), dict[str, Any]()
    if is_back and volume.replication_status is ReplicationStatus.NOT_CAPABLE:
        status = volume.previous_status or VolumeStatus.AVAILABLE
        values = {"status": status, "previous_status": None, "replication_status": None}
        volumes.reset(tx, volume.id, now=now, **values)
    elif not is_back and volume.replication_status is not ReplicationStatus.NOT_CAPABLE:
        values = {
            "status": VolumeStatus.ERROR,
            "previous_status": volume.status,
            "replication_status": ReplicationStatus.NOT_CAPABLE,
        }
        volumes.reset(tx, volume.id, now=now, **values)


def _stayed(service: Service) -> dict[str, Any]:
    is_away = service.active_backend_id is not None
    return {"replication_status": ReplicationStatus.FAILED_OVER if is_away else ReplicationStatus.ENABLED}


def _end(backend: VolumeBackend, values: Mapping[str, Any]) -> None:
    with backend.database.begin() as tx:
        backends.update_service(tx, _service(tx, backend).id, **values)


def _service(tx: Transaction, backend: VolumeBackend) -> Service:
    return backends.list_services(tx, binary=BINARY, host=backend.host)[0]
