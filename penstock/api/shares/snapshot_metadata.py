"""Metadata of one snapshot, since 2.73: the same requests as for shares."""

from __future__ import annotations

from penstock.api.bodies import check_pairs
from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.shares.share_metadata import MetadataBody, one_pair
from penstock.errors import NotFound
from penstock.services import snapshot_metadata

routes = Routes()
ALL = "snapshots/{snapshot_id}/metadata"
ONE = "snapshots/{snapshot_id}/metadata/{key}"
SINCE = "2.73"


@routes.get(ALL, since=SINCE)
def show_all(request: ApiRequest) -> Answer:
    """All pairs."""
    return Answer({"metadata": _get(request)})


@routes.post(ALL, since=SINCE)
def add(request: ApiRequest) -> Answer:
    """Set pairs, keep the others."""
    return _put(request, check_pairs("metadata", request.body_as(MetadataBody).metadata), replace=False)


@routes.put(ALL, since=SINCE)
def replace(request: ApiRequest) -> Answer:
    """Set pairs, remove the others."""
    return _put(request, check_pairs("metadata", request.body_as(MetadataBody).metadata), replace=True)


@routes.get(ONE, since=SINCE)
def show_one(request: ApiRequest) -> Answer:
    """One pair."""
    found, key = _get(request), request.params["key"]
    if key not in found:
        raise NotFound(f"Snapshot {request.params['snapshot_id']} has no metadata key '{key}'.")
    return Answer({"meta": {key: found[key]}})


@routes.put(ONE, since=SINCE)
def put_one(request: ApiRequest) -> Answer:
    """Set one pair."""
    return _put(request, one_pair(request), replace=False)


@routes.delete(ONE, since=SINCE)
def delete_one(request: ApiRequest) -> Answer:
    """Remove one pair."""
    request.enforce("share_snapshot:delete_metadata")
    snapshot_id, key = request.params["snapshot_id"], request.params["key"]
    snapshot_metadata.delete(request.plane, request.context, snapshot_id, key)
    return Answer(None, 200)


def _get(request: ApiRequest) -> dict[str, str]:
    request.enforce("share_snapshot:get_metadata")
    return snapshot_metadata.get(request.plane, request.context, request.params["snapshot_id"])


def _put(request: ApiRequest, items: dict[str, str], *, replace: bool) -> Answer:
    request.enforce("share_snapshot:update_metadata")
    snapshot_id = request.params["snapshot_id"]
    found = snapshot_metadata.put(request.plane, request.context, snapshot_id, items, replace=replace)
    return Answer({"metadata": found})
