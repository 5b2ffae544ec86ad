"""Freeze, thaw and fail over a whole volume backend: an administrator's decisions, carried out by its worker."""

from __future__ import annotations

from typing import Any

from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.domain.volume_types import REPLICATION_SPEC
from penstock.domain.volumes import HOME, ReplicationStatus
from penstock.errors import Invalid, NotFound
from penstock.ids import OperationId
from penstock.scheduler.capabilities import unmet
from penstock.services.control_plane import ControlPlane
from penstock.services.volumes.answers import await_end
from penstock.services.volumes.placement import VOLUME_BINARY
from penstock.store import backends, operations
from penstock.store.backends import Service
from penstock.store.database import Transaction, hold

AT_HOME = (ReplicationStatus.ENABLED, ReplicationStatus.DISABLED, ReplicationStatus.NOT_CAPABLE)
THAWABLE = (None, ReplicationStatus.ENABLED, ReplicationStatus.FAILOVER_ERROR)


def freeze(plane: ControlPlane, context: RequestContext, host: str) -> None:
    """Take no new volumes on ``host@backend``, and have its storage change nothing. Safe to repeat.

    Raises NotFound, Unavailable (no answer in time: it goes on), and what the driver raises.
    """
    await_end(plane, _ask(plane, context, host, "freeze_host", {}))


def thaw(plane: ControlPlane, context: RequestContext, host: str) -> None:
    """The end of `freeze`, and of a failover that broke while nothing else served yet. Safe to repeat.

    Raises Invalid when it is failed over, or being so, and as `freeze`.
    """
    with plane.database.read() as tx:
        service = _service(tx, host)
        is_at_home = service.active_backend_id is None and service.replication_status in THAWABLE
        if not is_at_home:
            raise Invalid(f"'{host}' is failed over; fail it back to 'default' before it is thawed.")
    await_end(plane, _ask(plane, context, host, "thaw_host", {}))


def failover(plane: ControlPlane, context: RequestContext, host: str, backend_id: str | None) -> None:
    """Accept to serve the volumes of ``host@backend`` from its replication target `backend_id`.

    None lets the driver choose, ``default`` is the way back. Raises NotFound, Invalid (it is failing over already; by
    what it reports it replicates nothing, or has no such target).
    """
    _ask(plane, context, host, "failover_host", {"secondary_backend_id": backend_id})


def _ask(
    plane: ControlPlane, context: RequestContext, host: str, method: str, arguments: dict[str, Any]
) -> OperationId:
    with plane.database.begin() as tx:
        hold(tx, f"host {host}")
        service = _service(tx, host)
        if method == "failover_host":
            pending = operations.pending(tx, resource_key=f"host:{host}")
            if service.replication_status == ReplicationStatus.FAILING_OVER and any(
                item.call.method == method for item in pending
            ):  # one whose operation ended without a word, because the database was away, is asked for again
                raise Invalid(f"'{host}' is failing over already.")
            _refuse_nowhere(tx, service, arguments["secondary_backend_id"])
            backends.update_service(tx, service.id, replication_status=ReplicationStatus.FAILING_OVER)
        return plane.operations.enqueue(tx, context, Call(host, f"host:{host}", method, arguments))


def _refuse_nowhere(tx: Transaction, service: Service, target: str | None) -> None:
    """Raises Invalid where a failover would change nothing and nobody be told. One that began has a way back, whatever
    the backend reports; one that never reported anything may have what it takes."""
    said = [pool.capabilities for pool in backends.list_pools(tx) if pool.ref.service_host == service.host]
    is_away = service.active_backend_id is not None or service.replication_status not in (None, *AT_HOME)
    if not said or is_away:
        return
    if all(unmet({REPLICATION_SPEC: "<is> True"}, one) for one in said):
        raise Invalid(f"'{service.host}' replicates nothing, so there is nowhere to fail over to.")
    targets = sorted({str(name) for one in said for name in one.get("replication_targets") or ()})
    if targets and target not in (None, HOME, *targets):
        raise Invalid(f"'{service.host}' has no replication target '{str(target)[:128]}'; it has {', '.join(targets)}.")


def _service(tx: Transaction, host: str) -> Service:
    found = backends.list_services(tx, binary=VOLUME_BINARY, host=host)
    if not found:
        raise NotFound(f"There is no volume service '{host[:128]}'.")
    return found[0]
