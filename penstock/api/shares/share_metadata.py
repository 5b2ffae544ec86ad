"""Metadata of one share."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Strict, check_pairs
from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import Invalid, NotFound
from penstock.services import share_metadata

routes = Routes()
ALL = "shares/{share_id}/metadata"
ONE = "shares/{share_id}/metadata/{key}"


class MetadataBody(Strict):
    """``{"metadata": {"key": "value"}}``"""

    metadata: dict[str, Any]


class ItemBody(Strict):
    """One pair, as ``{"metadata": {...}}`` or ``{"meta": {...}}``."""

    metadata: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None


@routes.get(ALL)
def show_all(request: ApiRequest) -> Answer:
    """All pairs."""
    request.enforce("share:get_share_metadata")
    return Answer({"metadata": share_metadata.get(request.plane, request.context, request.params["share_id"])})


@routes.post(ALL)
def add(request: ApiRequest) -> Answer:
    """Set pairs, keep the others."""
    request.enforce("share:update_share_metadata")
    return _put(request, check_pairs("metadata", request.body_as(MetadataBody).metadata), replace=False)


@routes.put(ALL)
def replace(request: ApiRequest) -> Answer:
    """Set pairs, remove the others."""
    request.enforce("share:update_share_metadata")
    return _put(request, check_pairs("metadata", request.body_as(MetadataBody).metadata), replace=True)


@routes.get(ONE)
def show_one(request: ApiRequest) -> Answer:
    """One pair."""
    request.enforce("share:get_share_metadata")
    share_id, key = request.params["share_id"], request.params["key"]
    found = share_metadata.get(request.plane, request.context, share_id)
    if key not in found:
        raise NotFound(f"Share {share_id} has no metadata key '{key}'.")
    return Answer({"meta": {key: found[key]}})


@routes.put(ONE)
def put_one(request: ApiRequest) -> Answer:
    """Set one pair."""
    request.enforce("share:update_share_metadata")
    return _put(request, one_pair(request), replace=False)


@routes.delete(ONE)
def delete_one(request: ApiRequest) -> Answer:
    """Remove one pair."""
    request.enforce("share:delete_share_metadata")
    share_metadata.delete(
        request.plane,
        request.context,
        request.params["share_id"],
        request.params["key"],
        may_set_reserved=request.allows("share:update_admin_only_metadata"),
    )
    return Answer(None, 200)


def one_pair(request: ApiRequest) -> dict[str, str]:
    """The one pair of an ItemBody. Raises Invalid when it is not that of the path."""
    body = request.body_as(ItemBody)
    items = check_pairs("metadata", body.metadata or body.meta or {})
    if list(items) != [request.params["key"]]:
        raise Invalid(f"The body must have the key '{request.params['key'][:64]}' of the path, and no other.")
    return items


def _put(request: ApiRequest, items: dict[str, str], *, replace: bool) -> Answer:
    found = share_metadata.put(
        request.plane,
        request.context,
        request.params["share_id"],
        items,
        replace=replace,
        may_set_reserved=request.allows("share:update_admin_only_metadata"),
    )
    return Answer({"metadata": found})
