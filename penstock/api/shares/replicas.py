"""``share-replicas``, for reading: clients look for replicas before they delete a share. Experimental before 2.56."""

from __future__ import annotations

from typing import Any

from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.domain.shares import ShareInstance
from penstock.services import instances

routes = Routes()


@routes.get("share-replicas", since="2.11", until="2.55", experimental=True)
@routes.get("share-replicas", since="2.56")
def list_summary(request: ApiRequest) -> Answer:
    """Replicas by id and state."""
    return Answer({"share_replicas": [_summary(item) for item in _found(request)]})


@routes.get("share-replicas/detail", since="2.11", until="2.55", experimental=True)
@routes.get("share-replicas/detail", since="2.56")
def list_detail(request: ApiRequest) -> Answer:
    """Replicas with all their fields."""
    return Answer({"share_replicas": [_detail(request, item) for item in _found(request)]})


@routes.get("share-replicas/{replica_id}", since="2.11", until="2.55", experimental=True)
@routes.get("share-replicas/{replica_id}", since="2.56")
def show(request: ApiRequest) -> Answer:
    """One replica."""
    request.enforce("share_replica:show")
    found = instances.replica(request.plane, request.context, request.params["replica_id"])
    return Answer({"share_replica": _detail(request, found)})


def _found(request: ApiRequest) -> list[ShareInstance]:
    request.enforce("share_replica:get_all")
    return instances.replicas(request.plane, request.context, share_id=request.query.get("share_id"))


def _summary(replica: ShareInstance) -> dict[str, Any]:
    return {
        "id": replica.id,
        "share_id": replica.share_id,
        "status": replica.status,
        "replica_state": replica.replica_state,
    }


def _detail(request: ApiRequest, replica: ShareInstance) -> dict[str, Any]:
    fields = {
        **_summary(replica),
        "availability_zone": replica.availability_zone,
        "created_at": stamp(replica.created_at),
        "updated_at": stamp(replica.updated_at),
        "share_network_id": replica.share_network_id,
    }
    if request.context.is_admin:
        fields |= {"host": replica.host, "share_server_id": replica.share_server_id}
        if request.version.at_least("2.30"):
            fields["cast_rules_to_readonly"] = replica.cast_rules_to_readonly
    return fields
