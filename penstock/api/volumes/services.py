"""The resources ``os-services``, ``os-hosts`` and ``os-availability-zone``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from penstock.api.bodies import Lenient, Name, Strict, Text
from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.errors import Invalid, NotFound
from penstock.services import backends as all_backends
from penstock.services.backends import VOLUMES, SeenService
from penstock.services.volumes import backends, replication
from penstock.services.volumes.backends import HostShare

routes = Routes()

UPDATE = "volume_extension:services:update"


class ServiceName(Lenient):
    """Which service; older clients say ``service`` for its binary."""

    host: Name
    binary: Name | None = None
    service: Name | None = None
    disabled_reason: Text | None = None
    backend_id: Name | None = None


class HostStatus(Strict):
    """``{"status": "enable"}``"""

    status: str


@routes.get("os-services")
def services(request: ApiRequest) -> Answer:
    """The volume services with their heartbeat."""
    request.enforce("volume_extension:services:index")
    found = backends.services(request.plane, host=request.query.get("host"), binary=request.query.get("binary"))
    return Answer({"services": [_service(request, item) for item in found]})


@routes.put("os-services/enable")
def enable(request: ApiRequest) -> Answer:
    """Let new volumes be placed there again."""
    return Answer({**_set_disabled(request, disabled=False), "disabled_reason": None})


@routes.put("os-services/disable")
def disable(request: ApiRequest) -> Answer:
    """Place no new volumes there."""
    return Answer(_set_disabled(request, disabled=True))


@routes.put("os-services/disable-log-reason")
def disable_with_reason(request: ApiRequest) -> Answer:
    """Place no new volumes there, and say why."""
    reason = request.body_as(ServiceName).disabled_reason
    if reason is None or not reason.strip():
        raise Invalid("Give the 'disabled_reason'.")
    return Answer({**_set_disabled(request, disabled=True, reason=reason), "disabled_reason": reason})


@routes.put("os-services/freeze")
def freeze(request: ApiRequest) -> Answer:
    """Have a backend change nothing."""
    request.enforce("volume:freeze_host")
    with _host_is_input():
        replication.freeze(request.plane, request.context, request.body_as(ServiceName).host)
    return Answer()


@routes.put("os-services/thaw")
def thaw(request: ApiRequest) -> Answer:
    """The end of a freeze."""
    request.enforce("volume:thaw_host")
    with _host_is_input():
        replication.thaw(request.plane, request.context, request.body_as(ServiceName).host)
    return Answer()


@routes.put("os-services/failover_host")
@routes.put("os-services/failover", since="3.26")
def failover(request: ApiRequest) -> Answer:
    """Serve the volumes of a backend from its replication target."""
    request.enforce("volume:failover_host")
    asked = request.body_as(ServiceName)
    replication.failover(request.plane, request.context, asked.host, asked.backend_id)
    return Answer(status=202)


@contextmanager
def _host_is_input() -> Iterator[None]:
    """A host that is not there is published as 400 here."""
    try:
        yield
    except NotFound as err:
        raise Invalid(err.message) from err


@routes.get("os-hosts")
def hosts(request: ApiRequest) -> Answer:
    """The hosts of volume services."""
    request.enforce("volume_extension:hosts")
    zone = request.query.get("zone")
    found = [item for item in backends.services(request.plane) if zone in (None, item.service.availability_zone)]
    return Answer({"hosts": [_host(item) for item in found]})


@routes.get("os-hosts/{host}")
def host(request: ApiRequest) -> Answer:
    """How much of whom is on a host."""
    request.enforce("volume_extension:hosts")
    name = request.params["host"]
    return Answer({"host": [_share(name, line) for line in backends.usage_of_host(request.plane, name)]})


@routes.put("os-hosts/{host}")
def update_host(request: ApiRequest) -> Answer:
    """Let new volumes be placed on the host, or not."""
    request.enforce("volume_extension:hosts")
    status = request.body_as(HostStatus).status.strip().lower()
    if status not in ("enable", "disable"):
        raise Invalid("'status' must be 'enable' or 'disable'.")
    name, disabled = request.params["host"], status == "disable"
    all_backends.set_disabled(request.plane, host=name, binary="cinder-volume", disabled=disabled, family=VOLUMES)
    return Answer({"host": name, "status": "disabled" if disabled else "enabled"})


@routes.get("os-availability-zone")
def zones(request: ApiRequest) -> Answer:
    """The availability zones that have volume services."""
    shown = [{"zoneName": name, "zoneState": {"available": up}} for name, up in backends.list_zones(request.plane)]
    return Answer({"availabilityZoneInfo": shown})


def _set_disabled(request: ApiRequest, *, disabled: bool, reason: str | None = None) -> dict[str, Any]:
    request.enforce(UPDATE)
    asked = request.body_as(ServiceName)
    binary = asked.binary or asked.service
    if binary is None:
        raise Invalid("Name the 'binary', such as 'cinder-volume', and the 'host'.")
    all_backends.set_disabled(
        request.plane, host=asked.host, binary=binary, disabled=disabled, reason=reason, family=VOLUMES
    )
    status = "disabled" if disabled else "enabled"
    return {"host": asked.host, "service": binary, "binary": binary, "disabled": disabled, "status": status}


def _service(request: ApiRequest, item: SeenService) -> dict[str, Any]:
    service = item.service
    view: dict[str, Any] = {
        "binary": service.binary,
        "host": service.host,
        "zone": service.availability_zone,
        "status": "disabled" if service.disabled else "enabled",
        "state": "up" if item.is_up else "down",
        "updated_at": stamp(service.updated_at or service.created_at),
        "disabled_reason": service.disabled_reason,
    }
    if request.version.at_least("3.7"):
        view["cluster"] = None
    if service.binary == "cinder-volume":
        view |= {
            "replication_status": service.replication_status or "disabled",
            "active_backend_id": service.active_backend_id,
            "frozen": service.frozen,
        }
        if request.version.at_least("3.49"):
            view["backend_state"] = "up" if service.ready else "down"
    return view


def _host(item: SeenService) -> dict[str, Any]:
    service = item.service
    return {
        "host_name": service.host,
        "service": service.binary,
        "zone": service.availability_zone,
        "service-status": "available" if item.is_up else "unavailable",
        "service-state": "disabled" if service.disabled else "enabled",
        "last-update": stamp(service.updated_at),
    }


def _share(name: str, line: HostShare) -> dict[str, Any]:
    resource = {
        "host": name,
        "project": line.project_id or "(total)",
        "volume_count": str(line.volumes),
        "total_volume_gb": str(line.volume_gib),
        "snapshot_count": str(line.snapshots),
        "total_snapshot_gb": str(line.snapshot_gib),
    }
    return {"resource": resource}
