"""A share that this backend refuses to make is tried at another: see `penstock.operations.refusals`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.domain.pools import PoolRef, service_host
from penstock.domain.shares import Share, ShareStatus
from penstock.errors import Fault, NotFound, Unavailable
from penstock.operations import refusals
from penstock.operations.attempt import done_with
from penstock.operations.refusals import Moved, Refusal
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call
from penstock.share.manager.models import share_model
from penstock.share.models import ShareModel
from penstock.store import instances, shares, types
from penstock.store.database import Transaction

__all__ = ["Moved", "forget_refused", "tried"]

log = structlog.get_logger(__name__)

METHOD = "create_share_instance"
ABOUT = ("id", "size_gib", "protocol", "project_id", "user_id", "share_type_id")


def tried(backend: Backend, context: RequestContext, share: Share) -> AbstractContextManager[None]:
    """Around the driver's making of the share. A refusal becomes Moved, or the fault that ends the creation."""
    return refusals.tried(_Creation(backend, context, share))


@dataclass(frozen=True, slots=True)
class _Creation:
    """`refusals.Creation` of a share's first instance."""

    backend: Backend
    context: RequestContext
    share: Share
    method: str = METHOD

    @property
    def id(self) -> str:
        return self.share.id

    @property
    def host(self) -> str | None:
        return self.share.instance.host

    @property
    def can_move(self) -> bool:
        return self.backend.placer is not None

    @property
    def most_attempts(self) -> int:
        return self.backend.most_attempts

    def is_clean(self) -> bool:
        with self.backend.database.read() as tx:
            model = share_model(tx, self.backend, self.share)
        try:
            _delete(self.backend, self.context, model)
        except Fault as fault:
            if fault.retryable:
                raise
            log.warning("share.not_tried_elsewhere", share=self.share.id, fault=str(fault))
            return False
        return True

    def place(self, refusal: Refusal) -> PoolRef | None:
        backend, placer, instance = self.backend, self.backend.placer, self.share.instance
        now = backend.now()
        with backend.database.begin() as tx:
            found = shares.get_by_instance(tx, instance.id)
            if found is None or found.status is not ShareStatus.CREATING or placer is None:
                return None
            if found.instance.host != instance.host:
                return None
            pool, zone = placer(tx, found, refusal.asked, refusal.refused)
            done_with(tx, METHOD)  # run again it would know nothing of this refusal
            instances.update_instance(
                tx,
                instance.id,
                now=now,
                host=str(pool),
                availability_zone=zone,
                scheduled_at=now,
                provider_location=None,
            )
            backend.enqueue(tx, self.context, Call(pool.service_host, f"share:{found.id}", METHOD, refusal.arguments))
            if refusal.is_silent:
                about = {name: getattr(found, name) for name in ABOUT}
                clean_up = {"share_instance_id": instance.id, "host": instance.host, "about": about}
                # not in order with what is done to the share where it is now
                call = Call(backend.host, f"refused:{instance.id}", "forget_refused", clean_up)
                backend.enqueue(tx, self.context, call)
        return pool


def forget_refused(
    backend: Backend, context: RequestContext, instance_id: str, host: str, about: Mapping[str, Any]
) -> None:
    """Take away what a creation may have begun on the pool `host` before its storage fell silent.

    It is fine when there is nothing, and nothing is done when the instance itself has come here since. Raises Postponed
    until the storage answers and has that pool. `about` is what the row said.
    """
    with backend.database.read() as tx:
        row = shares.get_by_instance(tx, instance_id)
        if row is not None and row.instance.host is not None and service_host(row.instance.host) == backend.host:
            return
        model = _model(tx, backend, instance_id, host, about)
    with refusals.waiting():
        _require_pool(backend, host)
        _delete(backend, context, model)


def _require_pool(backend: Backend, host: str) -> None:
    """Nothing is found on a pool that is not imported, either. Raises Unavailable."""
    with driver_call("report its capacity"):
        stats = backend.driver.get_share_stats(refresh=True)
    found = stats.get("pools") or [{"pool_name": PoolRef.parse(host).pool}]  # a driver without pools is one
    if PoolRef.parse(host).pool not in {pool["pool_name"] for pool in found}:
        raise Unavailable(f"The pool {host} is not there now.")


def _delete(backend: Backend, context: RequestContext, model: ShareModel) -> None:
    with driver_call("delete shares"):
        try:
            backend.driver.delete_share(context, model, share_server=None)
        except NotFound:
            return


def _model(tx: Transaction, backend: Backend, instance_id: str, host: str, about: Mapping[str, Any]) -> ShareModel:
    share_type = None if about["share_type_id"] is None else types.get(tx, about["share_type_id"])
    return ShareModel(
        id=instance_id,
        share_id=about["id"],
        name=backend.share_name_template % instance_id,
        display_name=None,
        size=about["size_gib"],
        share_proto=about["protocol"],
        project_id=about["project_id"],
        user_id=about["user_id"],
        host=host,
        status=ShareStatus.DELETING.value,
        share_type_id=about["share_type_id"],
        extra_specs={} if share_type is None else dict(share_type.extra_specs),
        share_type_name=None if share_type is None else share_type.name,
        is_only_begun=True,
    )
