"""Snapshots as the API shows them."""

from __future__ import annotations

from typing import Any

from penstock.api.links import links
from penstock.api.request import ApiRequest
from penstock.api.views import stamp
from penstock.domain.snapshots import Snapshot


def summary(request: ApiRequest, snapshot: Snapshot) -> dict[str, Any]:
    """One snapshot in a list without detail."""
    return {
        "id": snapshot.id,
        "name": snapshot.name,
        "links": links(request.url, "snapshots", snapshot.id),
    }


def detail(request: ApiRequest, snapshot: Snapshot) -> dict[str, Any]:
    """One snapshot with all its fields."""
    fields: dict[str, Any] = {
        "id": snapshot.id,
        "name": snapshot.name,
        "description": snapshot.description,
        "share_id": snapshot.share_id,
        "share_size": snapshot.share_size_gib,
        "share_proto": snapshot.share_protocol,
        "size": snapshot.size_gib,
        "status": snapshot.aggregate_status,
        "created_at": stamp(snapshot.created_at),
        "links": links(request.url, "snapshots", snapshot.id),
    }
    if request.context.is_admin and request.version.at_least("2.12"):
        fields["provider_location"] = snapshot.instance.provider_location
    if request.version.at_least("2.17"):
        fields["user_id"] = snapshot.user_id
        fields["project_id"] = snapshot.project_id
    if request.version.at_least("2.73"):
        fields["metadata"] = snapshot.metadata
    return fields


def one(request: ApiRequest, snapshot: Snapshot) -> dict[str, Any]:
    """The body with one snapshot."""
    return {"snapshot": detail(request, snapshot)}
