"""What a handler gets: the use cases' first arguments, the version, the path, the query and the body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from starlette.datastructures import QueryParams

from penstock.api import bodies
from penstock.api.http import HttpRequest
from penstock.api.microversion import ApiVersion
from penstock.api.policy import Policy
from penstock.context import RequestContext
from penstock.services.control_plane import ControlPlane

Body = TypeVar("Body")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request to a resource. `params` are the variable parts of the path; `payload` is the JSON body, or for an
    action what the body holds under the action's name; `url` is the API's address as this client writes it, with
    the project id where the client put one, e.g. ``http://10.0.0.5:8786/v2``; `http` is the request as it came."""

    plane: ControlPlane
    context: RequestContext
    version: ApiVersion
    policy: Policy
    method: str
    path: str
    params: Mapping[str, str]
    query: QueryParams
    payload: bytes
    url: str
    http: HttpRequest
    is_experimental: bool = False

    def body_as(self, wanted: type[Body]) -> Body:
        """The payload as that type. Raises Invalid with a sentence that names the field."""
        return bodies.parse(self.payload, wanted)

    def no_arguments(self) -> None:
        """Refuse arguments where an action has none. Raises Invalid."""
        bodies.parse_nothing(self.payload)

    def enforce(self, rule: str, target: Mapping[str, object] | None = None) -> None:
        """Go on only when policy allows. `target` names the owner of the resource; default: the caller's own.

        Raises Forbidden.
        """
        self.policy.enforce(self.context, rule, target)

    def allows(self, rule: str, target: Mapping[str, object] | None = None) -> bool:
        """Would `enforce` let this through?"""
        return self.policy.allows(self.context, rule, target)
