"""Actions that only name a resource, or a state for it: alike for shares and snapshots."""

from __future__ import annotations

import re
from collections.abc import Callable

from penstock.api.bodies import Lenient, Name, Strict
from penstock.api.http import ACCEPTED, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Handler, Routes
from penstock.context import RequestContext
from penstock.services.control_plane import ControlPlane

_PARAMETER = re.compile(r"\{(\w+)\}")


class NewStatus(Strict):
    """``{"status": "error"}``"""

    status: Name


class NewStatusAndMore(Lenient):
    """The same where other fields were always let through."""

    status: Name


def plain_action(
    routes: Routes,
    pattern: str,
    name: str,
    rule: str,
    serve: Callable[[ControlPlane, RequestContext, str], None],
    *,
    since: str = "2.7",
    has_old_name: bool = False,
) -> Handler:
    """Serve the action `name` by calling `serve` with the id in the path, where policy `rule` allows it.

    Before 2.7 the names of those that there were (`has_old_name`) begin with ``os-``.
    """
    parameter = _parameter(pattern)

    def handle(request: ApiRequest) -> Answer:
        request.enforce(rule)
        serve(request.plane, request.context, request.params[parameter])
        return ACCEPTED

    return _register(routes, pattern, name, handle, since=since, has_old_name=has_old_name)


def status_action(
    routes: Routes,
    pattern: str,
    rule: str,
    serve: Callable[[ControlPlane, RequestContext, str, str], None],
    body: type[NewStatus] | type[NewStatusAndMore] = NewStatus,
) -> Handler:
    """The same for ``reset_status``, whose argument `serve` gets too."""
    parameter = _parameter(pattern)

    def handle(request: ApiRequest) -> Answer:
        request.enforce(rule)
        serve(request.plane, request.context, request.params[parameter], request.body_as(body).status)
        return ACCEPTED

    return _register(routes, pattern, "reset_status", handle, since="2.7", has_old_name=True)


def _parameter(pattern: str) -> str:
    (name,) = _PARAMETER.findall(pattern)
    return str(name)


def _register(routes: Routes, pattern: str, name: str, handle: Handler, *, since: str, has_old_name: bool) -> Handler:
    routes.action(pattern, name, since=since)(handle)
    if has_old_name:
        routes.action(pattern, f"os-{name}", until="2.6")(handle)
    return handle
