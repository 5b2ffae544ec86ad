"""The resource ``snapshots/{snapshot_id}/metadata``."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.api.request import ApiRequest
from penstock.api.volumes.metadata import MetadataResource
from penstock.services.volumes import snapshots


def _read(request: ApiRequest, snapshot_id: str) -> Mapping[str, str]:
    return snapshots.get(request.plane, request.context, snapshot_id).metadata


routes = MetadataResource(
    "snapshots",
    "snapshot_id",
    snapshots,
    _read,
    {
        "get": "volume:get_snapshot_metadata",
        "create": "volume:update_snapshot_metadata",
        "update": "volume:update_snapshot_metadata",
        "delete": "volume:delete_snapshot_metadata",
    },
).routes()
