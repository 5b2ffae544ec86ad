"""The application: every API of this process on one port."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.api import health
from penstock.api.auth import Authenticator, TokenChecker
from penstock.api.edge import Edge
from penstock.api.fault_bodies import MethodNotAllowed, share_fault
from penstock.api.http import Answer, Api, HttpRequest
from penstock.api.identity_api import IdentityApi, IdentityRoot, token_checker
from penstock.api.policy import Policy
from penstock.api.routing import Routes
from penstock.api.share_api import SHARE_API
from penstock.api.shares.routes import RESOURCES
from penstock.api.storage_api import StorageApi, not_found
from penstock.api.versions import all_versions
from penstock.api.volume_api import VOLUME_API, VolumeRoot
from penstock.api.volumes.routes import RESOURCES as VOLUME_RESOURCES
from penstock.identity.plane import identity_plane
from penstock.services.control_plane import ControlPlane


def make_app(
    plane: ControlPlane,
    *,
    tokens: TokenChecker | None = None,
    policy: Policy | None = None,
    resources: Sequence[Routes] = RESOURCES,
) -> Edge:
    """An ASGI application over `plane`.

    `tokens` says which tokens are good; by default what ``auth_strategy`` names: the built-in identity, which is then
    served under ``/v3`` and ``/identity/v3`` too, or a Keystone.
    """
    conf = plane.conf
    policy = policy or Policy(conf, plane.clock)
    identity = identity_plane(plane.database, plane.clock, conf)
    authenticator = Authenticator(tokens or token_checker(plane, identity), policy, plane.clock)
    kinds = ((SHARE_API, resources), (VOLUME_API, VOLUME_RESOURCES))
    apis: list[tuple[str, Api]] = [
        (kind.prefix, StorageApi(kind, plane, authenticator, policy, served)) for kind, served in kinds
    ]
    apis.append(("volume", VolumeRoot()))
    if conf.auth_strategy == "builtin":
        v3 = IdentityApi(plane, identity, authenticator, policy)
        apis += [("v3", v3), ("identity/v3", v3), ("identity", IdentityRoot())]
    apis += [("healthz", health.Health(plane)), ("metrics", health.Metrics()), ("", Root())]
    return Edge(
        apis,
        most_body_bytes=conf.oslo_middleware.max_request_body_size,
        public_url=conf.identity.public_endpoint or conf.osapi_share_base_URL,
    )


class Root:
    """``/`` and every path that belongs to no API."""

    def handle(self, request: HttpRequest) -> Answer:
        """The list of versions, or 404."""
        if request.path:
            return not_found(request)
        if request.method not in ("GET", "HEAD"):
            return share_fault(MethodNotAllowed("Only GET is possible here.", allowed=("GET",)))
        return all_versions(request)
