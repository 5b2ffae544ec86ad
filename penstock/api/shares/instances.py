"""``share_instances`` and ``snapshot-instances``: an administrator's view of where things are."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Name, Strict
from penstock.api.http import ACCEPTED, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.shares.share_filters import flag
from penstock.api.shares.share_views import old_rules_status
from penstock.api.views import stamp
from penstock.services import instances

routes = Routes()
ACTION = "share_instances/{instance_id}/action"


class NewStatus(Strict):
    """``{"status": "error"}``"""

    status: Name


@routes.get("share_instances", since="2.3")
def list_all(request: ApiRequest) -> Answer:
    """All instances of all shares."""
    request.enforce("share_instance:index")
    query = request.query if request.version.at_least("2.35") else {}
    found = instances.list_instances(
        request.plane,
        export_location_id=query.get("export_location_id"),
        export_location_path=query.get("export_location_path"),
        is_soft_deleted=request.version.at_least("2.69") and flag(request, "is_soft_deleted"),
    )
    return Answer({"share_instances": [_share_instance(request, item) for item in found]})


@routes.get("shares/{share_id}/instances", since="2.3")
def of_share(request: ApiRequest) -> Answer:
    """The instances of one share."""
    request.enforce("share_instance:index")
    found = instances.of_share(request.plane, request.params["share_id"])
    return Answer({"share_instances": [_share_instance(request, item) for item in found]})


@routes.get("share_instances/{instance_id}", since="2.3")
def show(request: ApiRequest) -> Answer:
    """One instance."""
    request.enforce("share_instance:show")
    found = instances.get(request.plane, request.params["instance_id"])
    return Answer({"share_instance": _share_instance(request, found)})


@routes.action(ACTION, "os-reset_status", since="2.3", until="2.6")
@routes.action(ACTION, "reset_status", since="2.7")
def reset_status(request: ApiRequest) -> Answer:
    """Write a state by hand."""
    request.enforce("share_instance:reset_status")
    instances.reset_status(request.plane, request.params["instance_id"], request.body_as(NewStatus).status)
    return ACCEPTED


@routes.action(ACTION, "os-force_delete", since="2.3", until="2.6")
@routes.action(ACTION, "force_delete", since="2.7")
def force_delete(request: ApiRequest) -> Answer:
    """Delete an instance in any state."""
    request.enforce("share_instance:force_delete")
    instances.force_delete(request.plane, request.context, request.params["instance_id"])
    return ACCEPTED


@routes.get("snapshot-instances", since="2.19")
def list_snapshot_instances(request: ApiRequest) -> Answer:
    """Instances of snapshots by id and state."""
    request.enforce("share_snapshot_instance:index")
    found = instances.list_snapshot_instances(request.plane, snapshot_id=request.query.get("snapshot_id"))
    return Answer({"snapshot_instances": [_snapshot_summary(item) for item in found]})


@routes.get("snapshot-instances/detail", since="2.19")
def detail_snapshot_instances(request: ApiRequest) -> Answer:
    """Instances of snapshots with all their fields."""
    request.enforce("share_snapshot_instance:detail")
    found = instances.list_snapshot_instances(request.plane, snapshot_id=request.query.get("snapshot_id"))
    return Answer({"snapshot_instances": [_snapshot_detail(item) for item in found]})


@routes.get("snapshot-instances/{instance_id}", since="2.19")
def show_snapshot_instance(request: ApiRequest) -> Answer:
    """One instance of a snapshot."""
    request.enforce("share_snapshot_instance:show")
    found = instances.get_snapshot_instance(request.plane, request.params["instance_id"])
    return Answer({"snapshot_instance": _snapshot_detail(found)})


@routes.action("snapshot-instances/{instance_id}/action", "reset_status", since="2.19")
def reset_snapshot_instance(request: ApiRequest) -> Answer:
    """Write a state by hand."""
    request.enforce("share_snapshot_instance:reset_status")
    status = request.body_as(NewStatus).status
    instances.reset_snapshot_instance(request.plane, request.params["instance_id"], status)
    return ACCEPTED


def _share_instance(request: ApiRequest, item: instances.InstanceWithPaths) -> dict[str, Any]:
    instance, locations = item
    version = request.version
    status = instance.access_rules_status
    since: dict[str, dict[str, Any]] = {
        "2.10": {"access_rules_status": status if version.at_least("2.28") else old_rules_status(status)},
        "2.11": {"replica_state": instance.replica_state},
        "2.22": {"share_type_id": instance.share_type_id},
        "2.30": {"cast_rules_to_readonly": instance.cast_rules_to_readonly},
        "2.54": {"progress": instance.progress},
        "2.71": {"updated_at": stamp(instance.updated_at)},
    }
    fields: dict[str, Any] = {
        "id": instance.id,
        "share_id": instance.share_id,
        "availability_zone": instance.availability_zone,
        "created_at": stamp(instance.created_at),
        "host": instance.host,
        "status": instance.status,
        "share_network_id": instance.share_network_id,
        "share_server_id": instance.share_server_id,
    }
    for first, more in since.items():
        if version.at_least(first):
            fields |= more
    if not version.at_least("2.9"):
        paths = [location.path for location in locations]
        fields["export_location"] = paths[0] if paths else None
        fields["export_locations"] = paths
    return fields


def _snapshot_summary(item: instances.SnapshotInstanceOfShare) -> dict[str, Any]:
    instance = item.instance
    return {"id": instance.id, "snapshot_id": instance.snapshot_id, "status": instance.status}


def _snapshot_detail(item: instances.SnapshotInstanceOfShare) -> dict[str, Any]:
    instance = item.instance
    return {
        **_snapshot_summary(item),
        "share_id": item.share_id,
        "share_instance_id": instance.share_instance_id,
        "progress": instance.progress,
        "provider_location": instance.provider_location,
        "created_at": stamp(instance.created_at),
        "updated_at": stamp(instance.updated_at),
    }
