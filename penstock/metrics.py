"""What is measured of ourselves, for ``/metrics``. One registry per process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

REQUESTS = Counter("penstock_api_requests_total", "Requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram("penstock_api_request_seconds", "Time to answer a request.", ["route", "method"])
OPERATIONS = Counter("penstock_operations_total", "Operations ended.", ["backend", "method", "outcome"])
OPERATION_SECONDS = Histogram(
    "penstock_operation_seconds",
    "Time an operation ran.",
    ["backend", "method"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)
OPERATION_WAIT_SECONDS = Histogram(
    "penstock_operation_wait_seconds",
    "Time from acceptance to the start of the first attempt.",
    ["backend"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30),
)
COMMAND_SECONDS = Histogram(
    "penstock_host_command_seconds",
    "Time a command ran on a storage host.",
    ["host", "program"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1, 3, 10, 60),
)
POOL_BYTES = Gauge("penstock_pool_bytes", "Capacity as last reported.", ["pool", "kind"])
EXPORTS_RESTORED = Counter(
    "penstock_exports_restored_total", "Exports found missing on a storage host and put back.", ["backend"]
)
BACKEND_READY = Gauge("penstock_backend_ready", "1 when the backend's worker is ready.", ["backend"])
REPLICA_LAG_SECONDS = Gauge("penstock_replica_lag_seconds", "Age of what a replica holds.", ["share", "replica"])
REPLICA_OBJECTIVE_SECONDS = Gauge(
    "penstock_replica_objective_seconds", "Recovery point objective of a replica.", ["share", "replica"]
)
REPLICA_BEHIND = Gauge("penstock_replica_behind", "1 when a replica breaks its objective.", ["share", "replica"])

VOLUME_REPLICA_LAG_SECONDS = Gauge(
    "penstock_volume_replica_lag_seconds", "Age of what a volume's copy holds.", ["volume", "target"]
)
VOLUME_REPLICAS_BEHIND = Gauge("penstock_volume_replicas_behind", "Copies that break their objective.", ["volume"])


def forget(gauge: Gauge, labels: Sequence[str]) -> None:
    """Show no more of what is gone."""
    with suppress(KeyError):
        gauge.remove(*labels)


def exposition() -> bytes:
    """The present values in Prometheus' text format."""
    return generate_latest(REGISTRY)
