"""A volume that this backend refuses to make is tried at another: see `penstock.operations.refusals`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.domain.pools import PoolRef, service_host
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Fault, NotFound, Unavailable
from penstock.operations import refusals
from penstock.operations.attempt import done_with
from penstock.operations.driver_calls import driver_call
from penstock.operations.refusals import Moved, Refusal
from penstock.store import volumes
from penstock.store.database import Transaction
from penstock.volume.errors import VolumeNotFound
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import type_model, volume_model
from penstock.volume.manager.periodic import pools_in
from penstock.volume.models import VolumeModel

__all__ = ["Moved", "forget_refused", "tried"]

log = structlog.get_logger(__name__)

METHOD = "create_volume"
ABOUT = ("size_gib", "project_id", "user_id", "volume_type_id")


def tried(backend: VolumeBackend, context: RequestContext, volume: Volume) -> AbstractContextManager[None]:
    """Around the driver's making of the volume. A refusal becomes Moved, or the fault that ends the creation."""
    return refusals.tried(_Creation(backend, context, volume))


@dataclass(frozen=True, slots=True)
class _Creation:
    """`refusals.Creation` of a volume."""

    backend: VolumeBackend
    context: RequestContext
    volume: Volume
    method: str = METHOD

    @property
    def id(self) -> str:
        return self.volume.id

    @property
    def host(self) -> str | None:
        return self.volume.host

    @property
    def can_move(self) -> bool:
        return self.backend.placer is not None

    @property
    def most_attempts(self) -> int:
        found: int = self.backend.conf.scheduler_max_attempts
        return found

    def is_clean(self) -> bool:
        with self.backend.database.read() as tx:
            model = volume_model(tx, self.backend, self.volume)
        try:
            _delete(self.backend, model)
        except Fault as fault:
            if fault.retryable:
                raise
            log.warning("volume.not_tried_elsewhere", volume=self.volume.id, fault=str(fault))
            return False
        return True

    def place(self, refusal: Refusal) -> PoolRef | None:
        backend, placer = self.backend, self.backend.placer
        now = backend.now()
        with backend.database.begin() as tx:
            found = volumes.get(tx, self.volume.id)
            is_ours = found is not None and found.status is VolumeStatus.CREATING and found.host == self.volume.host
            if found is None or not is_ours or placer is None:
                return None
            pool, zone = placer(tx, found, refusal.asked, refusal.refused)
            done_with(tx, METHOD)  # run again it would know nothing of this refusal
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
            call = Call(pool.service_host, f"volume:{found.id}", METHOD, refusal.arguments)
            backend.queue.enqueue(tx, self.context, call)
            if refusal.is_silent:
                about = {name: getattr(found, name) for name in ABOUT}
                clean_up = {"volume_id": found.id, "host": self.volume.host, "about": about}
                # not in order with what is done to the volume where it is now
                call = Call(backend.host, f"refused:{found.id}", "forget_refused", clean_up)
                backend.queue.enqueue(tx, self.context, call)
        return pool


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
    with refusals.waiting():
        _require_pool(backend, host)
        _delete(backend, model)


def _require_pool(backend: VolumeBackend, host: str) -> None:
    """Nothing is found on a pool that is not imported, either. Raises Unavailable."""
    with driver_call("report its capacity"):
        stats = backend.driver.get_volume_stats(refresh=True)
    serving = {pool["pool_name"] for pool in pools_in(stats) if pool.get("backend_state", "up") == "up"}
    if PoolRef.parse(host).pool not in serving:
        raise Unavailable(f"The pool {host} is not there now.")


def _delete(backend: VolumeBackend, model: VolumeModel) -> None:
    with driver_call("delete volumes"):
        try:
            backend.driver.delete_volume(model)
        except (VolumeNotFound, NotFound):
            return


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
