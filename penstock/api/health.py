"""``/healthz`` and ``/metrics``: for monitors, without a token and without anything secret."""

from __future__ import annotations

from penstock import metrics
from penstock.api.http import Answer, HttpRequest
from penstock.services import health
from penstock.services.control_plane import ControlPlane


class Health:
    """200 while this process can serve, else 503."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def handle(self, request: HttpRequest) -> Answer:  # noqa: ARG002 - an Api
        """Look now."""
        seen = health.look(self._plane)
        body = {"status": "ok" if seen.is_serving else "failing", "problem": seen.problem, "backends": seen.backends}
        return Answer(body, 200 if seen.is_serving else 503, route="/healthz")


class Metrics:
    """Prometheus' text format."""

    def handle(self, request: HttpRequest) -> Answer:  # noqa: ARG002 - an Api
        """The present values."""
        kind = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return Answer(metrics.exposition(), 200, kind, "/metrics")
