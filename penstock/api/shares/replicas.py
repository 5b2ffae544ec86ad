"""``share-replicas`` with their actions and export locations. Experimental before 2.56.

For administrators, and for others who ask with ``with_lag=true`` in the query, the bodies hold beside what is published
how far a replica is: ``synced_at``, ``lag_seconds``, the ``recovery_point_objective_seconds`` it is held to, and the
``epoch`` it has seen. The field's own suite takes no more keys than the published ones from a member.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.api.bodies import Name, Strict, Whole, parse_whole
from penstock.api.http import ACCEPTED, Answer
from penstock.api.paging import page_of
from penstock.api.request import ApiRequest
from penstock.api.routing import Handler, Routes
from penstock.api.shares.share_filters import flag
from penstock.api.views import stamp
from penstock.domain.shares import ExportLocation, ShareInstance
from penstock.errors import Forbidden
from penstock.services import instances, replica_creation, replica_views, replicas
from penstock.services.replica_views import SeenReplica

routes = Routes()
ONE = "share-replicas/{replica_id}"
ACTION = f"{ONE}/action"
LOCATIONS = f"{ONE}/export-locations"
FIRST, LAST_EXPERIMENTAL, STABLE = "2.11", "2.55", "2.56"
LONGEST_QUIESCE_S = 24 * 3600


class SchedulerHints(Strict):
    """``only_host``, a pool's name: since 2.67 and not looked at before."""

    only_host: str | None = None


class CreateFields(Strict):
    """A new replica; ``share_network_id`` since 2.72, ``scheduler_hints`` since 2.67, and not looked at before."""

    share_id: Name
    availability_zone: Name | None = None
    share_network_id: Name | None = None
    scheduler_hints: SchedulerHints | None = None


class CreateBody(Strict):
    """``{"share_replica": {...}}``"""

    share_replica: CreateFields


class Promotion(Strict):
    """``{"quiesce_wait_time": 30}`` in seconds; since 2.75."""

    quiesce_wait_time: Whole | None = None


class NewStatus(Strict):
    """``{"status": "error"}``"""

    status: Name


class NewReplicaState(Strict):
    """``{"replica_state": "out_of_sync"}``"""

    replica_state: Name


def _action(name: str) -> Callable[[Handler], Handler]:
    """Serve an action of a replica, experimental where it was."""

    def add(handler: Handler) -> Handler:
        routes.action(ACTION, name, since=FIRST, until=LAST_EXPERIMENTAL, experimental=True)(handler)
        return routes.action(ACTION, name, since=STABLE)(handler)

    return add


@routes.get("share-replicas", since=FIRST, until=LAST_EXPERIMENTAL, experimental=True)
@routes.get("share-replicas", since=STABLE)
def list_summary(request: ApiRequest) -> Answer:
    """Replicas by id and state."""
    return Answer({"share_replicas": [_summary(item.instance) for item in _found(request)]})


@routes.get("share-replicas/detail", since=FIRST, until=LAST_EXPERIMENTAL, experimental=True)
@routes.get("share-replicas/detail", since=STABLE)
def list_detail(request: ApiRequest) -> Answer:
    """Replicas with all their fields."""
    return Answer({"share_replicas": [_detail(request, item) for item in _found(request)]})


@routes.post("share-replicas", since=FIRST, until=LAST_EXPERIMENTAL, experimental=True)
@routes.post("share-replicas", since=STABLE)
def create(request: ApiRequest) -> Answer:
    """Make a further replica of a share."""
    request.enforce("share_replica:create")
    asked = request.body_as(CreateBody).share_replica
    version = request.version
    wanted = replica_creation.NewReplica(
        share_id=asked.share_id,
        availability_zone=asked.availability_zone or None,
        share_network_id=(asked.share_network_id or None) if version.at_least("2.72") else None,
        only_host=_only_host(request, asked.scheduler_hints),
        checks_type_zones=version.at_least("2.48"),
    )
    made = replica_creation.create(request.plane, request.context, wanted)
    return Answer({"share_replica": _detail(request, made)}, 202)


@routes.get(ONE, since=FIRST, until=LAST_EXPERIMENTAL, experimental=True)
@routes.get(ONE, since=STABLE)
def show(request: ApiRequest) -> Answer:
    """One replica."""
    request.enforce("share_replica:show")
    found = replica_views.get(request.plane, request.context, request.params["replica_id"])
    return Answer({"share_replica": _detail(request, found)})


@routes.delete(ONE, since=FIRST, until=LAST_EXPERIMENTAL, experimental=True)
@routes.delete(ONE, since=STABLE)
def delete(request: ApiRequest) -> Answer:
    """Delete a replica that is not the active one."""
    request.enforce("share_replica:delete")
    replicas.delete(request.plane, request.context, request.params["replica_id"])
    return ACCEPTED


@_action("promote")
def promote(request: ApiRequest) -> Answer:
    """Let a replica become the active one."""
    request.enforce("share_replica:promote")
    wait_s = None
    if request.version.at_least("2.75") and request.payload.strip() != b"null":
        asked = request.body_as(Promotion).quiesce_wait_time
        if asked is not None:
            wait_s = parse_whole("quiesce_wait_time", asked, minimum=0, maximum=LONGEST_QUIESCE_S)
    replica, is_under_way = replicas.promote(
        request.plane, request.context, request.params["replica_id"], quiesce_wait_s=wait_s
    )
    if not is_under_way:
        return Answer(None, 200)
    return Answer({"share_replica": _detail(request, replica)}, 202)


@_action("resync")
def resync(request: ApiRequest) -> Answer:
    """Bring a replica up to date now."""
    request.enforce("share_replica:resync")
    is_under_way = replicas.resync(request.plane, request.context, request.params["replica_id"])
    return ACCEPTED if is_under_way else Answer(None, 200)


@_action("reset_status")
def reset_status(request: ApiRequest) -> Answer:
    """Write a state by hand."""
    request.enforce("share_replica:reset_status")
    status = request.body_as(NewStatus).status
    replicas.reset_status(request.plane, request.context, request.params["replica_id"], status)
    return ACCEPTED


@_action("reset_replica_state")
def reset_replica_state(request: ApiRequest) -> Answer:
    """Write a replication state by hand."""
    request.enforce("share_replica:reset_replica_state")
    state = request.body_as(NewReplicaState).replica_state
    replicas.reset_replica_state(request.plane, request.context, request.params["replica_id"], state)
    return ACCEPTED


@_action("force_delete")
def force_delete(request: ApiRequest) -> Answer:
    """Delete a replica in any state."""
    request.enforce("share_replica:force_delete")
    replicas.force_delete(request.plane, request.context, request.params["replica_id"])
    return ACCEPTED


@routes.get(LOCATIONS, since="2.47", until=LAST_EXPERIMENTAL, experimental=True)
@routes.get(LOCATIONS, since=STABLE)
def list_locations(request: ApiRequest) -> Answer:
    """Where a replica can be mounted."""
    request.enforce("share_replica_export_location:index")
    replica, found = replica_views.locations(request.plane, request.context, request.params["replica_id"])
    return Answer({"export_locations": [_location(request, replica, location) for location in found]})


@routes.get(f"{LOCATIONS}/{{location_id}}", since="2.47", until=LAST_EXPERIMENTAL, experimental=True)
@routes.get(f"{LOCATIONS}/{{location_id}}", since=STABLE)
def show_location(request: ApiRequest) -> Answer:
    """One export location of a replica."""
    request.enforce("share_replica_export_location:show")
    replica, found = replica_views.locations(request.plane, request.context, request.params["replica_id"])
    location = instances.one_location(found, request.params["location_id"])
    times = {
        "created_at": stamp(location.created_at),
        "updated_at": stamp(location.updated_at or location.created_at),  # published clients parse both
    }
    return Answer({"export_location": {**_location(request, replica, location), **times}})


def _found(request: ApiRequest) -> list[SeenReplica]:
    request.enforce("share_replica:get_all")
    page = page_of(request, ("created_at",))
    return replica_views.list_replicas(
        request.plane,
        request.context,
        share_id=request.query.get("share_id") or None,
        limit=page.limit,
        offset=page.offset,
    )


def _only_host(request: ApiRequest, asked: SchedulerHints | None) -> str | None:
    only_host = (asked.only_host or None) if asked is not None and request.version.at_least("2.67") else None
    if only_host is not None and not request.context.is_admin:
        raise Forbidden("Only an administrator may give the scheduler hint 'only_host'.")
    return only_host


def _summary(replica: ShareInstance) -> dict[str, Any]:
    return {
        "id": replica.id,
        "share_id": replica.share_id,
        "status": replica.status,
        "replica_state": replica.replica_state,
    }


def _detail(request: ApiRequest, item: SeenReplica) -> dict[str, Any]:
    replica = item.instance
    fields = {
        **_summary(replica),
        "availability_zone": replica.availability_zone,
        "created_at": stamp(replica.created_at),
        "updated_at": stamp(replica.updated_at),
        "share_network_id": replica.share_network_id,
    }
    if request.context.is_admin or flag(request, "with_lag"):
        fields |= {
            "synced_at": stamp(replica.synced_at),
            "lag_seconds": item.lag_s,
            "recovery_point_objective_seconds": item.objective_s,
            "epoch": replica.epoch,
        }
    if request.context.is_admin:
        fields |= {"host": replica.host, "share_server_id": replica.share_server_id}
        if request.version.at_least("2.30"):
            fields["cast_rules_to_readonly"] = replica.cast_rules_to_readonly
    return fields


def _location(request: ApiRequest, replica: ShareInstance, location: ExportLocation) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": location.id,
        "path": location.path,
        "preferred": location.preferred,
        "availability_zone": replica.availability_zone,
        "replica_state": replica.replica_state,
    }
    if request.context.is_admin:
        fields |= {"share_instance_id": location.share_instance_id, "is_admin_only": location.is_admin_only}
    return fields
