"""The table of handlers: method, path, version range and, where one path serves many actions, the action's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.api.fault_bodies import MethodNotAllowed
from penstock.api.http import Answer
from penstock.api.microversion import MIN, ApiVersion, VersionRange, versions
from penstock.errors import Invalid, NotFound

if TYPE_CHECKING:
    from penstock.api.request import ApiRequest

Handler = Callable[["ApiRequest"], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """One handler. `pattern` is like ``shares/{share_id}/action``; `action` is the key of the body it takes."""

    method: str
    pattern: str
    handler: Handler
    versions: VersionRange
    action: str | None = None
    is_experimental: bool = False


class Routes:
    """Handlers of one resource, collected by decorators; an API is made of several of these."""

    def __init__(self) -> None:
        self.all: list[Route] = []

    def get(
        self, pattern: str, since: str = MIN, until: str | None = None, *, experimental: bool = False
    ) -> Callable[[Handler], Handler]:
        """Serve GET (and HEAD)."""
        return self._adder("GET", pattern, since, until, None, experimental)

    def post(
        self, pattern: str, since: str = MIN, until: str | None = None, *, experimental: bool = False
    ) -> Callable[[Handler], Handler]:
        """Serve POST."""
        return self._adder("POST", pattern, since, until, None, experimental)

    def put(
        self, pattern: str, since: str = MIN, until: str | None = None, *, experimental: bool = False
    ) -> Callable[[Handler], Handler]:
        """Serve PUT."""
        return self._adder("PUT", pattern, since, until, None, experimental)

    def patch(self, pattern: str) -> Callable[[Handler], Handler]:
        """Serve PATCH."""
        return self._adder("PATCH", pattern, MIN, None, None, False)

    def delete(
        self, pattern: str, since: str = MIN, until: str | None = None, *, experimental: bool = False
    ) -> Callable[[Handler], Handler]:
        """Serve DELETE."""
        return self._adder("DELETE", pattern, since, until, None, experimental)

    def action(
        self, pattern: str, name: str, since: str = MIN, until: str | None = None, *, experimental: bool = False
    ) -> Callable[[Handler], Handler]:
        """Serve POST with a body ``{"<name>": ...}``; the handler's `request.payload` is what `name` holds."""
        return self._adder("POST", pattern, since, until, name, experimental)

    def _adder(
        self, method: str, pattern: str, since: str, until: str | None, action: str | None, experimental: bool
    ) -> Callable[[Handler], Handler]:
        def add(handler: Handler) -> Handler:
            route = Route(method, pattern.strip("/"), handler, versions(since, until), action, experimental)
            self.all.append(route)
            return handler

        return add


class _Node:
    """One segment of the paths: fixed names first, else the one variable part."""

    __slots__ = ("fixed", "name", "routes", "variable")

    @property
    def is_variable(self) -> bool:
        """Does this part of the path stand for any id?"""
        return bool(self.name)

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.variable: _Node | None = None
        self.name = ""
        self.routes: dict[str, list[Route]] = {}


class Table:
    """All routes of an API by path. Raises ValueError when two handlers claim the same request."""

    def __init__(self, resources: Iterable[Routes]) -> None:
        self._root = _Node()
        for routes in resources:
            for route in routes.all:
                self._add(route)

    def is_collection(self, segment: str) -> bool:
        """Do paths of this API begin with `segment`? (Otherwise it may be a project id.)"""
        return segment in self._root.fixed

    def find(self, method: str, segments: tuple[str, ...]) -> tuple[list[Route], dict[str, str]]:
        """The routes of that path and method in all versions, and what the path's variable parts are.

        Raises NotFound, MethodNotAllowed.
        """
        params: dict[str, str] = {}
        node = self._walk(self._root, segments, params)
        if node is None or not node.routes:
            raise NotFound("There is nothing under this path.")
        routes = node.routes.get("GET" if method == "HEAD" else method)
        if routes is None and method == "POST" and node.is_variable:
            raise NotFound("There is nothing under this path.")  # published: no item, and no way to create in one
        if routes is None:
            allowed = tuple(sorted(node.routes))
            raise MethodNotAllowed(f"{method} is not possible here; {', '.join(allowed)} would be.", allowed=allowed)
        return routes, params

    def _walk(self, node: _Node, segments: tuple[str, ...], params: dict[str, str]) -> _Node | None:
        if not segments:
            return node
        head, rest = segments[0], segments[1:]
        fixed = node.fixed.get(head)
        if fixed is not None:
            found = self._walk(fixed, rest, params)
            if found is not None and found.routes:
                return found
        if node.variable is not None and head:
            params[node.variable.name] = head
            return self._walk(node.variable, rest, params)
        return None

    def _add(self, route: Route) -> None:
        node = self._root
        for part in route.pattern.split("/"):
            if not part.startswith("{"):
                node = node.fixed.setdefault(part, _Node())
                continue
            name = part[1:-1]
            if node.variable is None:
                node.variable = _Node()
                node.variable.name = name
            if node.variable.name != name:
                raise ValueError(f"{route.pattern}: this part is called {node.variable.name} elsewhere")
            node = node.variable
        mine = node.routes.setdefault(route.method, [])
        for other in mine:
            if other.action == route.action and other.versions.overlaps(route.versions):
                raise ValueError(f"{route.method} {route.pattern} {route.action or ''} is claimed twice")
        mine.append(route)


def choose(routes: list[Route], version: ApiVersion, *, action: str | None = None, experimental: bool = False) -> Route:
    """The one route for this version. Raises NotFound when the resource or action is not in this version,
    Invalid when no version has such an action."""
    named = [route for route in routes if route.action == action]
    if not named and action is not None:
        raise Invalid(f"There is no such action: {action[:64]}.")
    for route in named:
        if version in route.versions and (experimental or not route.is_experimental):
            return route
    raise NotFound(f"API version {version} does not have this resource.")
