"""Services and endpoints: fixed by the configuration, readable through the API."""

from __future__ import annotations

from typing import Any

from penstock.api.http import Answer
from penstock.api.identity import views
from penstock.api.identity.access import require_admin
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import NotFound
from penstock.identity.catalogue import SERVICES, Endpoint, Service, endpoints
from penstock.identity.plane import IdentityPlane


def routes(plane: IdentityPlane) -> Routes:
    """The handlers over `plane`."""
    found = Routes()

    @found.get("services")
    def services(request: ApiRequest) -> Answer:
        require_admin(request)
        wanted = {key: request.query[key] for key in ("type", "name") if key in request.query}
        shown = [_service(item, request.url) for item in SERVICES]
        shown = [item for item in shown if all(item[key] == value for key, value in wanted.items())]
        return Answer(views.listed("services", shown, f"{request.url}/services"))

    @found.get("services/{service_id}")
    def service(request: ApiRequest) -> Answer:
        require_admin(request)
        for item in SERVICES:
            if item.id == request.params["service_id"]:
                return Answer({"service": _service(item, request.url)})
        raise NotFound(f"Could not find service: {request.params['service_id'][:64]}.")

    @found.get("endpoints")
    def listing(request: ApiRequest) -> Answer:
        require_admin(request)
        wanted = {key: request.query[key] for key in ("interface", "service_id", "region_id") if key in request.query}
        shown = [_endpoint(item, request.url) for item in endpoints(request.http.base_url, plane.region)]
        shown = [item for item in shown if all(item[key] == value for key, value in wanted.items())]
        return Answer(views.listed("endpoints", shown, f"{request.url}/endpoints"))

    @found.get("endpoints/{endpoint_id}")
    def endpoint(request: ApiRequest) -> Answer:
        require_admin(request)
        for item in endpoints(request.http.base_url, plane.region):
            if item.id == request.params["endpoint_id"]:
                return Answer({"endpoint": _endpoint(item, request.url)})
        raise NotFound(f"Could not find endpoint: {request.params['endpoint_id'][:64]}.")

    return found


def _service(item: Service, url: str) -> dict[str, Any]:
    return {
        "id": item.id,
        "type": item.type,
        "name": item.name,
        "enabled": True,
        "links": {"self": f"{url}/services/{item.id}"},
    }


def _endpoint(item: Endpoint, url: str) -> dict[str, Any]:
    return {
        "id": item.id,
        "service_id": item.service.id,
        "interface": item.interface,
        "region": item.region,
        "region_id": item.region,
        "url": item.url,
        "enabled": True,
        "links": {"self": f"{url}/endpoints/{item.id}"},
    }
