"""Export locations of shares and of their instances (2.9; before, they are fields of the share)."""

from __future__ import annotations

from typing import Any

from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.domain.shares import ExportLocation
from penstock.services import instances

routes = Routes()


@routes.get("shares/{share_id}/export_locations", since="2.9")
def list_of_share(request: ApiRequest) -> Answer:
    """Where a share can be mounted."""
    request.enforce("share_export_location:index")
    found = _of_share(request)
    return Answer({"export_locations": [_summary(request, location) for location in found]})


@routes.get("shares/{share_id}/export_locations/{location_id}", since="2.9")
def show_of_share(request: ApiRequest) -> Answer:
    """One export location of a share."""
    request.enforce("share_export_location:show")
    found = _of_share(request)
    return Answer({"export_location": _detail(request, instances.one_location(found, request.params["location_id"]))})


@routes.get("share_instances/{instance_id}/export_locations", since="2.9")
def list_of_instance(request: ApiRequest) -> Answer:
    """Where an instance can be mounted."""
    request.enforce("share_instance_export_location:index")
    found = instances.instance_locations(request.plane, request.params["instance_id"])
    return Answer({"export_locations": [_summary(request, location) for location in found]})


@routes.get("share_instances/{instance_id}/export_locations/{location_id}", since="2.9")
def show_of_instance(request: ApiRequest) -> Answer:
    """One export location of an instance."""
    request.enforce("share_instance_export_location:show")
    found = instances.instance_locations(request.plane, request.params["instance_id"])
    return Answer({"export_location": _detail(request, instances.one_location(found, request.params["location_id"]))})


def _of_share(request: ApiRequest) -> list[ExportLocation]:
    return instances.share_locations(
        request.plane,
        request.context,
        request.params["share_id"],
        with_replicas=not request.version.at_least("2.47"),
    )


def _summary(request: ApiRequest, location: ExportLocation) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": location.id, "path": location.path}
    if request.version.at_least("2.14"):
        fields["preferred"] = location.preferred
    if request.context.is_admin:
        fields["share_instance_id"] = location.share_instance_id
        fields["is_admin_only"] = location.is_admin_only
    return fields


def _detail(request: ApiRequest, location: ExportLocation) -> dict[str, Any]:
    return {
        **_summary(request, location),
        "created_at": stamp(location.created_at),
        "updated_at": stamp(location.updated_at or location.created_at),  # published clients parse both
    }
