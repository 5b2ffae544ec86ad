"""The resource ``volumes/{volume_id}/metadata``."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.api.request import ApiRequest
from penstock.api.volumes.metadata import MetadataResource
from penstock.services.volumes import volumes


def _read(request: ApiRequest, volume_id: str) -> Mapping[str, str]:
    return volumes.get(request.plane, request.context, volume_id).metadata


routes = MetadataResource(
    "volumes",
    "volume_id",
    volumes,
    _read,
    {name: f"volume:{name}_volume_metadata" for name in ("get", "create", "update", "delete")},
    etag_since="3.15",
).routes()
