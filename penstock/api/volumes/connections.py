"""The older actions by which a volume is attached: reserve, connect, attach, detach."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Name, Strict
from penstock.api.http import ACCEPTED, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.domain.attachments import host_address
from penstock.errors import Invalid
from penstock.services.volumes import connections
from penstock.services.volumes.connections import Use

routes = Routes()

ACTION = "volumes/{volume_id}/action"
RULE = "volume_extension:volume_actions"


class Attach(Strict):
    """Who uses it."""

    instance_uuid: Name | None = None
    host_name: Name | None = None
    mountpoint: Name | None = None
    mode: str | None = None


class Detach(Strict):
    """Which use ends; a `connector` is known, not read: the attachment has its own."""

    attachment_id: Name | None = None
    connector: dict[str, Any] | None = None


class Connect(Strict):
    """What the initiator says of itself."""

    connector: dict[str, Any]


class Disconnect(Strict):
    """Which initiator; without one all of them."""

    connector: dict[str, Any] | None = None
    force: bool = False


@routes.action(ACTION, "os-reserve")
def reserve(request: ApiRequest) -> Answer:
    """Keep it for an attachment to come."""
    request.enforce(f"{RULE}:reserve")
    request.no_arguments()
    connections.reserve(request.plane, request.context, request.params["volume_id"])
    return ACCEPTED


@routes.action(ACTION, "os-unreserve")
def unreserve(request: ApiRequest) -> Answer:
    """Give the reservation up."""
    request.enforce(f"{RULE}:unreserve")
    request.no_arguments()
    connections.unreserve(request.plane, request.context, request.params["volume_id"])
    return ACCEPTED


@routes.action(ACTION, "os-begin_detaching")
def begin_detaching(request: ApiRequest) -> Answer:
    """Say that a detach is under way."""
    request.enforce(f"{RULE}:begin_detaching")
    request.no_arguments()
    connections.begin_detaching(request.plane, request.context, request.params["volume_id"])
    return ACCEPTED


@routes.action(ACTION, "os-roll_detaching")
def roll_detaching(request: ApiRequest) -> Answer:
    """Take that back."""
    request.enforce(f"{RULE}:roll_detaching")
    request.no_arguments()
    connections.roll_detaching(request.plane, request.context, request.params["volume_id"])
    return ACCEPTED


@routes.action(ACTION, "os-initialize_connection")
def initialize_connection(request: ApiRequest) -> Answer:
    """Let an initiator connect, and tell it how."""
    request.enforce(f"{RULE}:initialize_connection")
    connector = request.body_as(Connect).connector
    found = connections.initialize_connection(
        request.plane, request.context, request.params["volume_id"], checked_connector(connector)
    )
    return Answer({"connection_info": found})


@routes.action(ACTION, "os-terminate_connection")
def terminate_connection(request: ApiRequest) -> Answer:
    """Let an initiator connect no more."""
    request.enforce(f"{RULE}:terminate_connection")
    asked = request.body_as(Disconnect)
    connector = None if asked.connector is None else checked_connector(asked.connector)
    connections.terminate_connection(
        request.plane, request.context, request.params["volume_id"], connector, force=asked.force
    )
    return ACCEPTED


@routes.action(ACTION, "os-attach")
def attach(request: ApiRequest) -> Answer:
    """Say that it is used."""
    request.enforce(f"{RULE}:attach")
    asked = request.body_as(Attach)
    if asked.mode not in (None, "rw", "ro"):
        raise Invalid("'mode' must be 'rw' or 'ro'.")
    if asked.instance_uuid and asked.host_name:
        raise Invalid("A volume is attached to an 'instance_uuid' or to a 'host_name', not to both.")
    use = Use(asked.instance_uuid or None, asked.host_name or None, asked.mountpoint, asked.mode)
    connections.attach(request.plane, request.context, request.params["volume_id"], use)
    return ACCEPTED


@routes.action(ACTION, "os-detach")
def detach(request: ApiRequest) -> Answer:
    """Say that it is used no more."""
    request.enforce(f"{RULE}:detach")
    attachment_id = _asked_detach(request).attachment_id or None
    connections.detach(request.plane, request.context, request.params["volume_id"], attachment_id)
    return ACCEPTED


@routes.action(ACTION, "os-force_detach")
def force_detach(request: ApiRequest) -> Answer:
    """Forget a use, whatever the backend says."""
    request.enforce("volume_extension:volume_admin_actions:force_detach")
    attachment_id = _asked_detach(request).attachment_id or None
    connections.detach(request.plane, request.context, request.params["volume_id"], attachment_id, force=True)
    return ACCEPTED


def checked_connector(connector: dict[str, Any]) -> dict[str, Any]:
    """What an initiator says of itself, in form, its address in the form we keep. Raises Invalid, naming the key."""
    for key in ("initiator", "ip", "host", "platform", "os_type", "nqn", "mountpoint", "mode"):
        value = connector.get(key)
        if value is not None and (not isinstance(value, str) or len(value) > 255 or "\x00" in value):
            raise Invalid(f"The connector's '{key}' must be text of at most 255 characters.")
    if not connector.get("ip"):
        return connector
    try:
        return {**connector, "ip": host_address(connector["ip"])}
    except Invalid as err:
        raise Invalid(f"The connector's 'ip': {err.message}") from err


def _asked_detach(request: ApiRequest) -> Detach:
    return Detach() if request.payload.strip() == b"null" else request.body_as(Detach)
