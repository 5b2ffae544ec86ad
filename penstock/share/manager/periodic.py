"""What a backend does again and again: say that it lives, what it can hold, how far its shares are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from penstock import metrics
from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction, MessageDetail
from penstock.domain.pools import PoolRef, PoolReport
from penstock.domain.shares import Share, ShareStatus
from penstock.errors import BackendFault, Fault
from penstock.share.manager import instances as instance_theme
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call, locations_in
from penstock.share.manager.ensure import BINARY
from penstock.share.manager.models import share_model, share_models
from penstock.store import backends, shares
from penstock.units import GIB

log = structlog.get_logger(__name__)


def heartbeat(backend: Backend, *, is_ready: bool) -> None:
    """Register the service, or say that it lives, and whether it takes requests."""
    with backend.database.begin() as tx:
        backends.heartbeat(tx, binary=BINARY, host=backend.host, zone=backend.zone, ready=is_ready, now=backend.now())


def publish_capabilities(backend: Backend) -> None:
    """Ask the driver for its pools and store what it reports."""
    reported_at = backend.now()  # before the look: a share made while it lasts is not in what it shows
    with driver_call("report its capacity"):
        stats = backend.driver.get_share_stats(refresh=True)
    reports = [PoolReport(_ref(backend, capabilities), capabilities, reported_at) for capabilities in pools_in(stats)]
    with backend.database.begin() as tx:
        backends.put_pools(tx, backend.host, reports)
    for report in reports:
        for kind in ("total", "free"):
            value = report.capabilities[f"{kind}_capacity_gb"]
            if isinstance(value, int | float):
                metrics.POOL_BYTES.labels(str(report.ref), kind).set(value * GIB)


def pools_in(stats: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One capabilities dictionary per pool: what the backend says, overridden by what the pool says.

    A backend without pools is one pool with the backend's name.
    """
    common = {key: value for key, value in stats.items() if key != "pools"}
    common.setdefault("thin_provisioning", False)
    own = stats.get("pools") or [{"pool_name": common["share_backend_name"]}]
    return [{**common, **pool} for pool in own]


def _ref(backend: Backend, capabilities: Mapping[str, Any]) -> PoolRef:
    return PoolRef.parse(f"{backend.host}#{capabilities['pool_name']}")


def update_usage(backend: Backend, context: RequestContext) -> None:
    """Store how much of each share is in use, as far as the driver can tell."""
    with backend.database.read() as tx:
        found = shares.of_backend(tx, backend.host, statuses=[ShareStatus.AVAILABLE])
        models = share_models(tx, backend, found)
    with driver_call("tell how much its shares use"):
        answers = backend.driver.update_share_usage_size(context, models) or ()
    by_instance = {share.instance.id: share for share in found}
    changed: dict[str, int] = {}
    for answer in answers:
        share = by_instance.get(answer["id"])
        used_bytes = _bytes(answer["used_size"])
        if share is not None and share.used_bytes != used_bytes:
            changed[share.id] = used_bytes
    if changed:
        with backend.database.begin() as tx:
            for share_id, used_bytes in changed.items():
                shares.update_share(tx, share_id, now=backend.now(), used_bytes=used_bytes)


def _bytes(size_gib: object) -> int:
    try:
        return int(float(str(size_gib)) * GIB)
    except ValueError as err:
        raise BackendFault(f"The driver answered with the used size {size_gib!r}.") from err


def update_statuses(backend: Backend, context: RequestContext) -> None:
    """Ask how far the shares are that are being made from snapshots in the background."""
    with backend.database.read() as tx:
        found = shares.of_backend(tx, backend.host, statuses=[ShareStatus.CREATING_FROM_SNAPSHOT])
    for share in found:
        try:
            _update_status(backend, context, share)
        except Fault as fault:
            log.warning("share.status_unknown", share=share.id, fault=str(fault))


def _update_status(backend: Backend, context: RequestContext, share: Share) -> None:
    with backend.database.read() as tx:
        model = share_model(tx, backend, share)
    try:
        with driver_call("tell how far a share is"):
            answer = backend.driver.get_share_status(model, share_server=None)
        status = instance_theme.created_status(answer)
        if status is ShareStatus.ERROR:
            raise BackendFault("The driver could not finish the share.")
        locations = locations_in(answer.get("export_locations"))
    except Fault as fault:
        if not fault.retryable:
            detail = MessageDetail.DRIVER_FAILED_CREATING_FROM_SNAPSHOT
            instance_theme.fail(backend, context, share, Event.FAILED, MessageAction.CREATE, fault, detail=detail)
        raise
    instance_theme.finish_creation(backend, share, status, locations, answer.get("progress"))
