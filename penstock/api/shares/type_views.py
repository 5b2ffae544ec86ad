"""How share types are written, version by version. ``volume_type`` repeats it all for the oldest clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.api.request import ApiRequest
from penstock.domain.types import REQUIRED_SPEC, SNAPSHOT_SPECS, ShareType

# What a project may know of a type: it decides what its shares can do, not where they go.
VISIBLE_SPECS = frozenset({REQUIRED_SPEC, *SNAPSHOT_SPECS, "replication_type", "availability_zones"})

SNAPSHOT_SPECS_SINCE = {
    "snapshot_support": "2.0",
    "create_share_from_snapshot_support": "2.24",
    "revert_to_snapshot_support": "2.27",
    "mount_snapshot_support": "2.32",
}


def one(request: ApiRequest, share_type: ShareType) -> dict[str, Any]:
    """The body for one type."""
    shown = _view(request, share_type)
    return {"share_type": shown, "volume_type": shown}


def many(request: ApiRequest, share_types: Sequence[ShareType]) -> dict[str, Any]:
    """The body for a list."""
    shown = [_view(request, share_type) for share_type in share_types]
    return {"share_types": shown, "volume_types": shown}


def _view(request: ApiRequest, share_type: ShareType) -> dict[str, Any]:
    version = request.version
    specs = share_type.extra_specs
    if not request.allows("share_types_extra_spec:index"):
        specs = {key: value for key, value in specs.items() if key in VISIBLE_SPECS}
        implied = {key: "False" for key, since in SNAPSHOT_SPECS_SINCE.items() if version.at_least(since)}
        specs = {**implied, **specs}  # what a type does not claim its shares cannot do
    required = (REQUIRED_SPEC,) if version.at_least("2.24") else (REQUIRED_SPEC, "snapshot_support")
    prefix = "share_type_access" if version.at_least("2.7") else "os-share-type-access"
    view: dict[str, Any] = {
        "id": share_type.id,
        "name": share_type.name,
        f"{prefix}:is_public": share_type.is_public,
        "extra_specs": specs,
        "required_extra_specs": {key: specs[key] for key in required if key in specs},
    }
    if version.at_least("2.41"):
        view["description"] = share_type.description
    if version.at_least("2.46"):
        view["is_default"] = share_type.name == request.plane.conf.default_share_type
    return view
