"""The resources ``services``, ``availability-zones``, ``scheduler-stats/pools`` and ``extensions``."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Lenient, Name
from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.domain.pools import PoolReport
from penstock.services import backends
from penstock.services.backends import PoolFilter, SeenService, ServiceFilter

routes = Routes()


class ServiceName(Lenient):
    """Which service."""

    host: Name
    binary: Name


@routes.get("os-services", "2.0", "2.6")
@routes.get("services", "2.7")
def services(request: ApiRequest) -> Answer:
    """The services with their heartbeat."""
    request.enforce("service:index")
    query = request.query
    wanted = ServiceFilter(
        query.get("host"), query.get("binary"), query.get("zone"), query.get("state"), query.get("status")
    )
    return Answer({"services": [_service(item) for item in backends.list_services(request.plane, wanted)]})


@routes.put("os-services/enable", "2.0", "2.6")
@routes.put("services/enable", "2.7")
def enable(request: ApiRequest) -> Answer:
    """Let new shares be placed there again."""
    return _set_disabled(request, disabled=False)


@routes.put("os-services/disable", "2.0", "2.6")
@routes.put("services/disable", "2.7")
def disable(request: ApiRequest) -> Answer:
    """Place no new shares there."""
    return _set_disabled(request, disabled=True)


@routes.get("os-availability-zone", "2.0", "2.6")
@routes.get("availability-zones", "2.7")
def zones(request: ApiRequest) -> Answer:
    """The availability zones."""
    request.enforce("availability_zone:index")
    shown = [
        {
            "id": zone.id,
            "name": zone.name,
            "created_at": stamp(zone.created_at),
            "updated_at": stamp(zone.updated_at),
        }
        for zone in backends.list_zones(request.plane)
    ]
    return Answer({"availability_zones": shown})


@routes.get("scheduler-stats/pools")
def pools(request: ApiRequest) -> Answer:
    """The pools by name."""
    request.enforce("scheduler_stats:pools:index")
    return Answer({"pools": [_pool(report) for report in _pools(request)]})


@routes.get("scheduler-stats/pools/detail")
def pools_detail(request: ApiRequest) -> Answer:
    """The pools with what they reported."""
    request.enforce("scheduler_stats:pools:detail")
    shown: list[dict[str, Any]] = [
        {**_pool(report), "capabilities": {**report.capabilities, "timestamp": stamp(report.reported_at)}}
        for report in _pools(request)
    ]
    return Answer({"pools": shown})


@routes.get("extensions")
def extensions(_request: ApiRequest) -> Answer:
    """What is optional in this API: nothing any more."""
    return Answer({"extensions": []})


def _set_disabled(request: ApiRequest, *, disabled: bool) -> Answer:
    request.enforce("service:update")
    wanted = request.body_as(ServiceName)
    backends.set_disabled(request.plane, host=wanted.host, binary=wanted.binary, disabled=disabled)
    return Answer({"host": wanted.host, "service": wanted.binary, "disabled": disabled})


def _service(item: SeenService) -> dict[str, Any]:
    service = item.service
    return {
        "id": service.id,
        "binary": service.binary,
        "host": service.host,
        "zone": service.availability_zone,
        "status": "disabled" if service.disabled else "enabled",
        "state": "up" if item.is_up else "down",
        "updated_at": stamp(service.updated_at),
    }


def _pools(request: ApiRequest) -> list[PoolReport]:
    query = request.query
    share_type = query.get("share_type") if request.version.at_least("2.23") else None
    wanted = PoolFilter(query.get("host"), query.get("backend"), query.get("pool"), share_type)
    return backends.list_pools(request.plane, wanted)


def _pool(report: PoolReport) -> dict[str, Any]:
    ref = report.ref
    return {"name": str(ref), "host": ref.host, "backend": ref.backend, "pool": ref.pool}
