"""The resources ``volumes/{volume_id}/metadata`` and ``snapshots/{snapshot_id}/metadata``, which are alike.

Since 3.15 a volume's metadata come with an ``ETag``; with ``If-Match`` they are changed only while that is still so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from penstock.api.bodies import Strict
from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.volumes.volume_requests import check_metadata
from penstock.context import RequestContext
from penstock.errors import Changed, Invalid, NotFound
from penstock.services.control_plane import ControlPlane

Check = Callable[[Mapping[str, str]], None]


class MetadataUseCases(Protocol):
    """What can be done to the metadata of one kind of things."""

    def put_metadata(
        self,
        plane: ControlPlane,
        context: RequestContext,
        item_id: str,
        items: Mapping[str, str],
        /,
        *,
        replace: bool,
        check: Check | None = None,
    ) -> dict[str, str]: ...

    def delete_metadata(self, plane: ControlPlane, context: RequestContext, item_id: str, key: str, /) -> None: ...


class MetadataBody(Strict):
    """``{"metadata": {...}}``"""

    metadata: dict[str, Any]


class MetaBody(Strict):
    """``{"meta": {key: value}}``"""

    meta: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MetadataResource:
    """The handlers under ``<collection>/{<item>}/metadata``.

    `read` gives the metadata of one; `rules` are the policy rules by ``get``, ``create``, ``update`` and ``delete``.
    """

    collection: str
    item: str
    use_cases: MetadataUseCases
    read: Callable[[ApiRequest, str], Mapping[str, str]]
    rules: Mapping[str, str]
    etag_since: str | None = None

    def routes(self) -> Routes:
        """These handlers at their paths."""
        found = Routes()
        every = f"{self.collection}/{{{self.item}}}/metadata"
        found.get(every)(self.index)
        found.post(every)(self.create)
        found.put(every)(self.update_all)
        one = f"{every}/{{key}}"
        found.get(one)(self.show)
        found.put(one)(self.update)
        found.delete(one)(self.delete)
        return found

    def index(self, request: ApiRequest) -> Answer:
        """All pairs."""
        request.enforce(self.rules["get"])
        return self._answer(request, dict(self.read(request, request.params[self.item])))

    def create(self, request: ApiRequest) -> Answer:
        """Set some, keep the others."""
        request.enforce(self.rules["create"])
        return self._answer(request, self._put(request, request.body_as(MetadataBody).metadata, replace=False))

    def update_all(self, request: ApiRequest) -> Answer:
        """These, and no others."""
        request.enforce(self.rules["update"])
        return self._answer(request, self._put(request, request.body_as(MetadataBody).metadata, replace=True))

    def show(self, request: ApiRequest) -> Answer:
        """One pair."""
        request.enforce(self.rules["get"])
        key, known = request.params["key"], self.read(request, request.params[self.item])
        if key not in known:
            raise NotFound(f"There is no metadata key '{key[:64]}'.")
        return Answer({"meta": {key: known[key]}})

    def update(self, request: ApiRequest) -> Answer:
        """Set one pair; the body repeats its key."""
        request.enforce(self.rules["update"])
        key, meta = request.params["key"], request.body_as(MetaBody).meta
        if set(meta) != {key}:
            raise Invalid(f"The body must hold exactly the key of the path, '{key[:64]}'.")
        self._put(request, meta, replace=False)
        return Answer({"meta": meta})

    def delete(self, request: ApiRequest) -> Answer:
        """Remove one pair."""
        request.enforce(self.rules["delete"])
        item_id = request.params[self.item]
        self.use_cases.delete_metadata(request.plane, request.context, item_id, request.params["key"])
        return Answer(None, 200)

    def _has_etag(self, request: ApiRequest) -> bool:
        return self.etag_since is not None and request.version.at_least(self.etag_since)

    def _answer(self, request: ApiRequest, metadata: dict[str, str]) -> Answer:
        headers = {"ETag": _etag(metadata)} if self._has_etag(request) else {}
        return Answer({"metadata": metadata}, 200, headers)

    def _put(self, request: ApiRequest, items: dict[str, Any], *, replace: bool) -> dict[str, str]:
        expected = request.http.headers.get("if-match") if self._has_etag(request) else None
        return self.use_cases.put_metadata(
            request.plane,
            request.context,
            request.params[self.item],
            check_metadata(items),
            replace=replace,
            check=None if expected is None else _checker(expected),
        )


def _etag(metadata: Mapping[str, str]) -> str:
    content = msgspec.json.encode(dict(sorted(metadata.items())))
    return hashlib.sha256(content).hexdigest()[:32]


def _checker(expected: str) -> Check:
    """Refuses metadata that are not those the client saw."""
    known = {part.strip().removeprefix("W/").strip('"') for part in expected.split(",")}

    def check(metadata: Mapping[str, str]) -> None:
        if "*" not in known and _etag(metadata) not in known:
            raise Changed("The metadata have changed since they were read; read them again.")

    return check
