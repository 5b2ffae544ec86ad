"""What a volume backend does again and again: say that it lives, and what it can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from penstock import metrics
from penstock.domain.pools import PoolRef, PoolReport
from penstock.errors import Fault
from penstock.operations.driver_calls import driver_call
from penstock.store import backends, volume_placement
from penstock.store.backends import Placed
from penstock.units import GIB
from penstock.volume.manager.backend import VolumeBackend

log = structlog.get_logger(__name__)

BINARY = "cinder-volume"
AUTO = "auto"
MOST_PROMISED = 20.0  # times over, while nothing is used yet that would tell


def heartbeat(backend: VolumeBackend, *, is_ready: bool) -> None:
    """Register the service, or say that it lives, and whether it takes requests."""
    with backend.database.begin() as tx:
        backends.heartbeat(tx, binary=BINARY, host=backend.host, zone=backend.zone, ready=is_ready, now=backend.now())


def publish_capabilities(backend: VolumeBackend) -> None:
    """Ask the driver for its pools and store what it reports."""
    reported_at = backend.now()  # before the look: a volume made while it lasts is not in what it shows
    with driver_call("report its capacity"):
        stats = backend.driver.get_volume_stats(refresh=True)
        functions = {
            "filter_function": backend.driver.get_filter_function(),
            "goodness_function": backend.driver.get_goodness_function(),
        }
    with backend.database.begin() as tx:
        placed = volume_placement.placed(tx)
        reports = [_report(backend, pool, placed, reported_at) for pool in pools_in({**functions, **stats})]
        backends.put_pools(tx, backend.host, reports)
    for report in reports:
        for kind in ("total", "free"):
            value = report.capabilities.get(f"{kind}_capacity_gb")
            if isinstance(value, int | float):
                metrics.POOL_BYTES.labels(str(report.ref), kind).set(value * GIB)


def publish_growth(backend: VolumeBackend) -> None:
    """Publish anew after a volume has grown: the last report has that space as free, and would have it promised again.

    What cannot be had now comes with the next report.
    """
    try:
        publish_capabilities(backend)
    except Fault as fault:
        log.warning("backend.not_reported", backend=backend.host, fault=str(fault))


def pools_in(stats: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One capabilities dictionary per pool: what the backend says, overridden by what the pool says.

    A backend without pools is one pool with the backend's name.
    """
    common = {key: value for key, value in stats.items() if key != "pools"}
    own = stats.get("pools") or [{"pool_name": common["volume_backend_name"]}]
    return [{**common, **{key: value for key, value in pool.items() if value is not None}} for pool in own]


def _report(
    backend: VolumeBackend, said: Mapping[str, Any], placed: Mapping[str, Placed], reported_at: Any
) -> PoolReport:
    ref = PoolRef.parse(f"{backend.host}#{said['pool_name']}")
    provisioned = placed.get(str(ref), Placed(0, 0)).provisioned_gib
    found = {
        "reserved_percentage": backend.configuration.safe_get("reserved_percentage") or 0,
        "thin_provisioning_support": False,
        "thick_provisioning_support": True,
        "multiattach": False,
        **said,
        "allocated_capacity_gb": provisioned,
    }
    found.setdefault("provisioned_capacity_gb", provisioned)
    ratio = said.get("max_over_subscription_ratio") or backend.configuration.safe_get("max_over_subscription_ratio")
    found["max_over_subscription_ratio"] = _ratio(ratio, found)
    return PoolReport(ref, found, reported_at)


def _ratio(configured: Any, said: Mapping[str, Any]) -> float:
    """How many times over a thin pool may be promised; ``auto``: as now, where something is used already."""
    if configured != AUTO:
        return float(configured or 1.0)
    total, free = said.get("total_capacity_gb"), said.get("free_capacity_gb")
    if not isinstance(total, int | float) or not isinstance(free, int | float) or total <= free:
        return MOST_PROMISED
    return 1.0 + float(said["provisioned_capacity_gb"]) / (total - free)
