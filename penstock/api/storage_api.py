"""A storage API under its path prefix: token, version, route, policy and handler, in that order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
import structlog

from penstock.api import bodies
from penstock.api.auth import Authenticator
from penstock.api.fault_bodies import MethodNotAllowed, UnsupportedMediaType, share_fault, status_of
from penstock.api.http import Answer, HttpRequest
from penstock.api.microversion import ApiVersion, Negotiation
from penstock.api.policy import Policy
from penstock.api.request import ApiRequest
from penstock.api.routing import Route, Routes, Table, choose
from penstock.context import RequestContext
from penstock.errors import Fault, Forbidden, Invalid, NotFound
from penstock.services.control_plane import ControlPlane

log = structlog.get_logger(__name__)

WITH_BODY = ("POST", "PUT", "PATCH")
_MEDIA = re.compile(r"application/(?:json|vnd\.openstack\.[a-z.-]+\+json)(?:\s*;.*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ApiKind:
    """What sets one storage API apart: its path, how it negotiates, and the document of its version.

    `experimental_header` is the header by which a client asks for experimental resources, where the API has any.
    """

    prefix: str  # without slashes, e.g. ``volume/v3``
    negotiation: Negotiation
    document: Callable[[HttpRequest], Answer]
    experimental_header: str | None = None


class StorageApi:
    """Serves the handlers of `resources`. Everything but the version document needs a token."""

    def __init__(
        self,
        kind: ApiKind,
        plane: ControlPlane,
        authenticator: Authenticator,
        policy: Policy,
        resources: Iterable[Routes],
    ) -> None:
        self._kind = kind
        self._plane = plane
        self._authenticator = authenticator
        self._policy = policy
        self._table = Table(resources)

    def handle(self, request: HttpRequest) -> Answer:
        """Answer in the published form, faults included; sets the version headers on every answer."""
        negotiation = self._kind.negotiation
        version = negotiation.oldest
        try:
            if not request.path:
                version = negotiation.negotiate(request.headers)
                if request.method not in ("GET", "HEAD"):
                    raise MethodNotAllowed("Only GET is possible here.", allowed=("GET",))
                return _with_headers(self._kind.document(request), negotiation.headers(version))
            context = self._authenticator.context(request.headers, request.request_id)
            structlog.contextvars.bind_contextvars(project_id=context.project_id, user_id=context.user_id)
            version = negotiation.negotiate(request.headers)
            return _with_headers(self._serve(request, context, version), negotiation.headers(version))
        except Fault as fault:
            if status_of(fault) >= 500:
                log.exception("request.failed", fault=type(fault).__name__)
            return _with_headers(share_fault(fault), negotiation.headers(version))

    def _serve(self, request: HttpRequest, context: RequestContext, version: ApiVersion) -> Answer:
        project_id, segments = self._split(request.segments)
        _check_project(project_id, context)
        routes, params = self._table.find(request.method, segments)
        _check_media(request)
        asks = self._kind.experimental_header
        experimental = asks is not None and request.headers.get(asks, "").lower() == "true"
        root = f"{request.base_url}/{self._kind.prefix}"
        route, payload = _select(routes, request, version, experimental=experimental)
        answer = route.handler(
            ApiRequest(
                plane=self._plane,
                context=context,
                version=version,
                policy=self._policy,
                method=request.method,
                path="/".join(segments),
                params=params,
                query=request.query,
                payload=payload,
                url=f"{root}/{project_id}" if project_id else root,
                http=request,
                is_experimental=experimental,
            )
        )
        name = f"/{self._kind.prefix}/{route.pattern}" + (f" {route.action}" if route.action else "")
        return Answer(answer.body, answer.status, answer.headers, name)

    def _split(self, segments: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
        """The project id, where the client put one first, and the rest of the path."""
        if len(segments) > 1 and not self._table.is_collection(segments[0]) and self._table.is_collection(segments[1]):
            return segments[0], segments[1:]
        return None, segments


def _check_project(project_id: str | None, context: RequestContext) -> None:
    if context.project_id is None:
        raise Forbidden("The token is not for a project; ask for one with a project scope.")
    if project_id is not None and project_id != context.project_id and not context.is_admin:
        raise Invalid("Malformed request URL: its project is not the one your token is for.")


def _check_media(request: HttpRequest) -> None:
    kind = request.headers.get("content-type", "")
    if request.body and kind and not _MEDIA.fullmatch(kind.strip()):
        raise UnsupportedMediaType(f"Unsupported Content-Type '{kind[:64]}': send application/json.")


def _select(
    routes: list[Route], request: HttpRequest, version: ApiVersion, *, experimental: bool
) -> tuple[Route, bytes]:
    """The route and what its handler reads: the body, or what the body holds under the action's name."""
    if not any(route.action for route in routes):
        route = choose(routes, version, experimental=experimental)
        return route, _checked(request)
    actions = bodies.parse(request.body, dict[str, msgspec.Raw])
    if len(actions) != 1:
        raise Invalid("An action request has exactly one action.")
    (name, payload), *_ = actions.items()
    return choose(routes, version, action=name, experimental=experimental), bytes(payload)


def _checked(request: HttpRequest) -> bytes:
    """The body, refused early when it is not JSON at all, whatever the handler reads of it."""
    if request.method in WITH_BODY and request.body.strip():
        bodies.parse(request.body, msgspec.Raw)
    return request.body


def _with_headers(answer: Answer, headers: dict[str, str]) -> Answer:
    return Answer(answer.body, answer.status, {**answer.headers, **headers}, answer.route)


def not_found(request: HttpRequest) -> Answer:
    """The answer where no API lives."""
    return share_fault(NotFound(f"There is nothing under /{request.path[:128]}."))
