"""The calls of the share manager, by the names and arguments it is known by, for one share's instance."""

from __future__ import annotations

from typing import Any

from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.domain.pools import service_host
from penstock.domain.shares import Share, ShareInstance
from penstock.domain.snapshots import SnapshotOf
from penstock.errors import Invalid
from penstock.services.control_plane import ControlPlane
from penstock.store.database import Transaction


def enqueue(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    instance: ShareInstance,
    method: str,
    arguments: dict[str, Any],
    *,
    resource_key: str | None = None,
    about: Share | SnapshotOf | None = None,
) -> None:
    """Queue `method` at the backend of `instance`, after everything queued for its share (or `resource_key`) before.

    `about` is what it is about, for a method that asks for that: see `OperationQueue.enqueue`.
    """
    key = resource_key or f"share:{instance.share_id}"
    call = Call(service_host(placed_on(instance)), key, method, arguments)
    plane.operations.enqueue(tx, context, call, about=about)


def replica_key(replica: ShareInstance) -> str:
    """Under which syncs of the replica are queued: long copies do not keep its share waiting."""
    return f"replica:{replica.id}"


def placed_on(instance: ShareInstance) -> str:
    """The pool the instance is on. Raises Invalid when it was never placed."""
    if instance.host is None:
        raise Invalid(f"Share {instance.share_id} is on no pool; it can only be deleted.")
    return instance.host
