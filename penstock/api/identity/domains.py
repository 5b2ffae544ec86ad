"""The one domain and the one region."""

from __future__ import annotations

from typing import Any

from penstock.api.http import Answer
from penstock.api.identity import views
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.domain.identity import DOMAIN_ID, DOMAIN_NAME
from penstock.errors import NotFound
from penstock.identity.plane import IdentityPlane


def routes(plane: IdentityPlane) -> Routes:
    """The handlers over `plane`."""
    found = Routes()

    @found.get("domains")
    def domains(request: ApiRequest) -> Answer:
        name = request.query.get("name", DOMAIN_NAME)
        shown = [_domain(request.url)] if name.lower() == DOMAIN_NAME.lower() else []
        return Answer(views.listed("domains", shown, f"{request.url}/domains"))

    @found.get("domains/{domain_id}")
    def domain(request: ApiRequest) -> Answer:
        if request.params["domain_id"] != DOMAIN_ID:
            raise NotFound(f"Could not find domain: {request.params['domain_id'][:64]}.")
        return Answer({"domain": _domain(request.url)})

    @found.get("regions")
    def regions(request: ApiRequest) -> Answer:
        return Answer(views.listed("regions", [_region(plane.region, request.url)], f"{request.url}/regions"))

    @found.get("regions/{region_id}")
    def region(request: ApiRequest) -> Answer:
        if request.params["region_id"] != plane.region:
            raise NotFound(f"Could not find region: {request.params['region_id'][:64]}.")
        return Answer({"region": _region(plane.region, request.url)})

    return found


def _domain(url: str) -> dict[str, Any]:
    return {
        "id": DOMAIN_ID,
        "name": DOMAIN_NAME,
        "description": "The one domain",
        "enabled": True,
        "tags": [],
        "options": {},
        "links": {"self": f"{url}/domains/{DOMAIN_ID}"},
    }


def _region(name: str, url: str) -> dict[str, Any]:
    return {"id": name, "description": "", "parent_region_id": None, "links": {"self": f"{url}/regions/{name}"}}
