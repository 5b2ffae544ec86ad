"""The resources ``clusters`` (since 3.7), of which there are none, and ``workers/cleanup`` (since 3.24)."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Flag, Name, Strict, Whole, check_name
from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import NotFound

routes = Routes()


class Cleanup(Strict):
    """Whose unfinished work is to be cleaned up."""

    service_id: Whole | None = None
    cluster_name: Name | None = None
    host: Name | None = None
    binary: Name | None = None
    is_up: Flag = None
    disabled: Flag = None
    resource_type: Name | None = None
    resource_id: Name | None = None


@routes.get("clusters", "3.7")
@routes.get("clusters/detail", "3.7")
def index(request: ApiRequest) -> Answer:
    """None: a backend is served by one process at a time, and another takes it over with its queue."""
    request.enforce("clusters:get_all")
    return Answer({"clusters": []})


@routes.get("clusters/{name}", "3.7")
def show(request: ApiRequest) -> Answer:
    """There is no such cluster."""
    request.enforce("clusters:get")
    raise NotFound(f"There is no cluster '{request.params['name'][:64]}'.")


@routes.put("clusters/enable", "3.7")
@routes.put("clusters/disable", "3.7")
def update(request: ApiRequest) -> Answer:
    """There is no such cluster."""
    request.enforce("clusters:update")
    body = request.body_as(dict[str, Any])
    raise NotFound(f"There is no cluster '{check_name('name', str(body.get('name', '')))}'.")


@routes.post("workers/cleanup", "3.24")
def cleanup(request: ApiRequest) -> Answer:
    """Nothing is left to be cleaned up by hand: interrupted operations are queued, and go on by themselves."""
    request.enforce("workers:cleanup")
    if request.payload.strip():
        request.body_as(Cleanup)
    return Answer({"cleaning": [], "unavailable": []}, 202)
