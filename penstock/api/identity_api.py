"""Identity v3 under ``/v3`` and ``/identity/v3``: the subset that clients of storage use."""

from __future__ import annotations

import structlog

from penstock.api import bodies
from penstock.api.auth import Authenticator, TokenChecker
from penstock.api.fault_bodies import MethodNotAllowed, identity_fault, status_of
from penstock.api.http import Answer, HttpRequest
from penstock.api.identity import catalogue, credentials, domains, grants, own, projects, roles, tokens, users
from penstock.api.microversion import SHARES
from penstock.api.policy import Policy
from penstock.api.request import ApiRequest
from penstock.api.routing import Table, choose
from penstock.api.versions import identity_version
from penstock.context import RequestContext
from penstock.errors import Fault, NotFound
from penstock.identity.plane import IdentityPlane
from penstock.identity.tokens import BuiltinTokens
from penstock.services.control_plane import ControlPlane

log = structlog.get_logger(__name__)

LOGIN = ("POST", "auth/tokens")


def token_checker(plane: ControlPlane, identity: IdentityPlane) -> TokenChecker:
    """Who checks tokens, by ``auth_strategy``."""
    if plane.conf.auth_strategy != "keystone":
        return BuiltinTokens(identity)
    # The middleware is a sixth of what a start imports, and few need it.
    from penstock.identity.keystone import KeystoneTokens

    return KeystoneTokens(plane.conf)


class IdentityApi:
    """Serves Identity v3. The version document and logging in are open, all else needs a token."""

    def __init__(
        self, plane: ControlPlane, identity: IdentityPlane, authenticator: Authenticator, policy: Policy
    ) -> None:
        self._plane = plane
        self._authenticator = authenticator
        self._policy = policy
        modules = (tokens, projects, users, own, roles, grants, credentials, domains, catalogue)
        self._table = Table([module.routes(identity) for module in modules])

    def handle(self, request: HttpRequest) -> Answer:
        """Answer in the published form, faults included."""
        try:
            if not request.path:
                return _version(request)
            return self._serve(request)
        except Fault as fault:
            if status_of(fault) >= 500:
                log.exception("request.failed", fault=type(fault).__name__)
            return identity_fault(fault)

    def _serve(self, request: HttpRequest) -> Answer:
        if (request.method, request.path) == LOGIN:
            context = RequestContext(None, None, request_id=request.request_id)
        else:
            context = self._authenticator.context(request.headers, request.request_id)
        structlog.contextvars.bind_contextvars(project_id=context.project_id, user_id=context.user_id)
        found, params = self._table.find(request.method, request.segments)
        route = choose(found, SHARES.oldest)
        if request.body.strip() and request.method in ("POST", "PUT", "PATCH"):
            bodies.parse(request.body, dict[str, object])
        answer = route.handler(
            ApiRequest(
                plane=self._plane,
                context=context,
                version=SHARES.oldest,
                policy=self._policy,
                method=request.method,
                path=request.path,
                params=params,
                query=request.query,
                payload=request.body,
                url=f"{request.base_url}/v3",
                http=request,
            )
        )
        if request.method not in ("GET", "HEAD") and (request.method, request.path) != LOGIN:
            self._authenticator.forget_all()  # a token, user or grant may be gone
        headers = {"Vary": "X-Auth-Token", **answer.headers}
        return Answer(answer.body, answer.status, headers, f"/v3/{route.pattern}")


class IdentityRoot:
    """``/identity``: which versions there are."""

    def handle(self, request: HttpRequest) -> Answer:
        """The list of versions, or 404."""
        if request.path:
            return identity_fault(NotFound("There is nothing under this path."))
        if request.method not in ("GET", "HEAD"):
            return identity_fault(MethodNotAllowed("Only GET is possible here.", allowed=("GET",)))
        version = identity_version(f"{request.base_url}/identity/v3")
        return Answer({"versions": {"values": [version]}}, 300, {"Vary": "X-Auth-Token"}, "/identity")


def _version(request: HttpRequest) -> Answer:
    if request.method not in ("GET", "HEAD"):
        raise MethodNotAllowed("Only GET is possible here.", allowed=("GET",))
    return Answer({"version": identity_version(f"{request.base_url}/v3")}, 200, {"Vary": "X-Auth-Token"}, "/v3")
