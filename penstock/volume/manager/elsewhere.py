"""A creation that this backend refuses, for a reason of its own, is tried at another: published services do so.

What was begun here is taken away first, or, where the storage does not answer, by an operation that waits for it:
so there is never a second copy. The row moves and the next attempt is queued in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.operations import Call, Operation
from penstock.domain.pools import PoolRef, service_host
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import (
    BackendFault,
    Displaced,
    Fault,
    InsufficientCapacity,
    NotFound,
    Postponed,
    Unavailable,
    Unsupported,
)
from penstock.operations.attempt import current, done_with, is_last
from penstock.operations.driver_calls import driver_call
from penstock.store import volumes
from penstock.store.database import Transaction
from penstock.volume.errors import VolumeNotFound
from penstock.volume.manager.backend import Placer, VolumeBackend
from penstock.volume.manager.models import type_model, volume_model
from penstock.volume.manager.notices import told
from penstock.volume.manager.periodic import pools_in
from penstock.volume.models import VolumeModel

log = structlog.get_logger(__name__)

PATIENCE_ATTEMPTS = 3  # a storage host that only restarts a daemon answers again by then
ABOUT = ("size_gib", "project_id", "user_id", "volume_type_id")
REFUSALS = (InsufficientCapacity, Unsupported, BackendFault, NotFound)


class Moved(Exception):
    """The creation goes on at another backend, or on another pool; nothing is left to do here."""

    def __init__(self, pool: PoolRef, reason: str) -> None:
        super().__init__(f"It was refused here, and is tried at {pool}: {reason}")


@contextmanager
def tried(backend: VolumeBackend, context: RequestContext, volume: Volume) -> Iterator[None]:
    """Around the driver's making of the volume. A refusal becomes Moved, or the fault that ends the creation."""
    try:
        yield
    except Fault as refusal:
        fault = _move_on(backend, context, volume, refusal)
        if fault is refusal:
            raise
        raise fault from refusal


def _move_on(backend: VolumeBackend, context: RequestContext, volume: Volume, fault: Fault) -> Fault:
    """Raise Moved when it is tried elsewhere after `fault`.

    Else returns the fault that ends the creation, with the reasons of all that refused, or `fault` itself where it is
    to be tried here again. A volume that must be where it is has no place that was asked for in its arguments.
    """
    operation = current()
    placer = backend.placer
    if operation is None or placer is None or operation.call.method != "create_volume" or volume.host is None:
        return fault
    asked = operation.call.arguments.get("asked")
    if asked is None or not _is_refusal(fault, operation):
        return fault
    can_wait = isinstance(fault, Unavailable) and not is_last()
    # a pool that is not imported says that there is no parent: what an earlier attempt began on it cannot be seen
    is_silent = isinstance(fault, Unavailable | NotFound)
    before: dict[str, str] = operation.call.arguments.get("refused") or {}
    refused = {**before, backend.host if is_silent else volume.host: _reason(fault)}
    if len(refused) >= backend.conf.scheduler_max_attempts:
        return fault if can_wait else _told(fault, refused, "")
    if not is_silent and not _is_clean(backend, volume):
        return fault
    try:
        pool = _placed(backend, context, placer, volume, operation, asked, refused, is_silent=is_silent)
    except InsufficientCapacity as full:
        return fault if can_wait else _told(fault, refused, full.message)
    if pool is None:
        return fault
    log.warning("volume.tried_elsewhere", volume=volume.id, refused_by=volume.host, pool=str(pool), fault=str(fault))
    raise Moved(pool, fault.message) from fault


def forget_refused(backend: VolumeBackend, volume_id: str, host: str, about: Mapping[str, Any]) -> None:
    """Take away what a creation may have begun on the pool `host` before its storage fell silent.

    It is fine when there is nothing, and nothing is done when the volume itself has come here since. Raises Postponed
    until the storage answers and has that pool. `about` is what the row said.

    While this is queued the volume cannot come back (`services.volumes.retyping`): it would itself be taken away.
    """
    with backend.database.read() as tx:
        row = volumes.get(tx, volume_id)
        if row is not None and row.host is not None and service_host(row.host) == backend.host:
            return
        model = _model(tx, backend, volume_id, host, about)
    try:
        _require_pool(backend, host)
        _delete(backend, model)
    except Fault as fault:
        if fault.retryable:
            raise Postponed(fault.message) from fault
        raise


def _require_pool(backend: VolumeBackend, host: str) -> None:
    """Nothing is found on a pool that is not imported, either. Raises Unavailable."""
    with driver_call("report its capacity"):
        stats = backend.driver.get_volume_stats(refresh=True)
    serving = {pool["pool_name"] for pool in pools_in(stats) if pool.get("backend_state", "up") == "up"}
    if PoolRef.parse(host).pool not in serving:
        raise Unavailable(f"The pool {host} is not there now.")


def _is_refusal(fault: Fault, operation: Operation) -> bool:
    if isinstance(fault, Postponed | Displaced):
        return False
    if isinstance(fault, Unavailable):
        return operation.attempts >= PATIENCE_ATTEMPTS or is_last()
    return isinstance(fault, REFUSALS)


def _is_clean(backend: VolumeBackend, volume: Volume) -> bool:
    """Is nothing left of it here? What cannot be taken away keeps the volume here, in error, with its owner."""
    with backend.database.read() as tx:
        model = volume_model(tx, backend, volume)
    try:
        _delete(backend, model)
    except Fault as fault:
        if fault.retryable:
            raise
        log.warning("volume.not_tried_elsewhere", volume=volume.id, fault=str(fault))
        return False
    return True


def _delete(backend: VolumeBackend, model: VolumeModel) -> None:
    with driver_call("delete volumes"):
        try:
            backend.driver.delete_volume(model)
        except (VolumeNotFound, NotFound):
            return


def _placed(
    backend: VolumeBackend,
    context: RequestContext,
    placer: Placer,
    volume: Volume,
    operation: Operation,
    asked: Mapping[str, Any],
    refused: Mapping[str, str],
    *,
    is_silent: bool,
) -> PoolRef | None:
    """Move the row and queue the next attempt; None when somebody moved or ended it meanwhile."""
    now = backend.now()
    with backend.database.begin() as tx:
        found = volumes.get(tx, volume.id)
        if found is None or found.status is not VolumeStatus.CREATING or found.host != volume.host:
            return None
        pool, zone = placer(tx, found, asked, refused)
        done_with(tx, "create_volume")  # run again it would know nothing of this refusal
        volumes.update_volume(
            tx,
            found.id,
            now=now,
            host=str(pool),
            availability_zone=zone,
            scheduled_at=now,
            provider_id=None,
            provider_location=None,
            provider_auth=None,
        )
        arguments = {**operation.call.arguments, "refused": dict(refused)}
        call = Call(pool.service_host, f"volume:{found.id}", "create_volume", arguments)
        backend.queue.enqueue(tx, context, call)
        if is_silent:
            about = {name: getattr(found, name) for name in ABOUT}
            clean_up = {"volume_id": found.id, "host": volume.host, "about": about}
            # not in order with what is done to the volume where it is now
            call = Call(backend.host, f"refused:{found.id}", "forget_refused", clean_up)
            backend.queue.enqueue(tx, context, call)
    return pool


def _model(tx: Transaction, backend: VolumeBackend, volume_id: str, host: str, about: Mapping[str, Any]) -> VolumeModel:
    return VolumeModel(
        id=volume_id,
        name=backend.conf.volume_name_template % volume_id,
        name_id=volume_id,
        size=about["size_gib"],
        status=VolumeStatus.DELETING.value,
        host=host,
        project_id=about["project_id"],
        user_id=about["user_id"],
        volume_type_id=about["volume_type_id"],
        volume_type=type_model(tx, about["volume_type_id"]),
    )


def _reason(fault: Fault) -> str:
    """What an owner may know: not the commands and names of the storage host."""
    if isinstance(fault, Unavailable):
        return "it did not answer"
    if not isinstance(fault, BackendFault) and not fault.quotes_host:
        return fault.message
    return (told(fault) or "it failed, as an administrator can look into").rstrip(".")


def _told(fault: Fault, refused: Mapping[str, str], rest: str) -> Fault:
    """What ends the creation: nobody takes it. The owner learns who refused it, and why the others were not asked."""
    if len(refused) == 1:
        return fault
    reasons = "; ".join(f"{where}: {reason}" for where, reason in refused.items())
    sentence = f"It was refused by {len(refused)} of the pools: {reasons}"
    return InsufficientCapacity(f"{sentence}. {rest}".strip())
