"""The resource ``attachments`` (since 3.27): who uses a volume, and how it is reached."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Name, Strict, check_name
from penstock.api.http import NO_CONTENT, Answer
from penstock.api.paging import marked_links, marked_page_of
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.api.volumes.connections import checked_connector
from penstock.api.volumes.resource_filters import refuse_unknown
from penstock.api.volumes.volume_filters import all_projects
from penstock.domain.attachments import Attachment
from penstock.errors import Invalid
from penstock.services.volumes import attachments
from penstock.services.volumes.attachments import AttachmentFilter, NewAttachment

routes = Routes()

ALL, ONE = "attachments", "attachments/{attachment_id}"
_FILTERS = {"volume_id": "volume_id", "instance_id": "instance_uuid", "status": "status", "attach_status": "status"}
_ALSO = frozenset({"id", "project_id", "attached_host"})


class CreateFields(Strict):
    """Of which volume, for whom; `mode` since 3.54. ``instance_uuid`` may be any id, and absent."""

    volume_uuid: Name
    instance_uuid: Name | None = None
    instance: Name | None = None  # openstacksdk
    connector: dict[str, Any] | None = None
    mode: str | None = None


class CreateBody(Strict):
    """``{"attachment": {...}}``"""

    attachment: CreateFields


class UpdateFields(Strict):
    """Who connects."""

    connector: dict[str, Any]


class UpdateBody(Strict):
    """``{"attachment": {...}}``"""

    attachment: UpdateFields


@routes.get(ALL, "3.27")
def index(request: ApiRequest) -> Answer:
    """Attachments by id."""
    return _list(request, _summary)


@routes.get("attachments/detail", "3.27")
def detail(request: ApiRequest) -> Answer:
    """Attachments with how they are reached."""
    return _list(request, _view)


@routes.get("attachments/summary", "3.27")
def summary(request: ApiRequest) -> Answer:
    """The same as the list by id."""
    return _list(request, _summary)


@routes.post(ALL, "3.27")
def create(request: ApiRequest) -> Answer:
    """Reserve a volume, and with a connector connect it."""
    request.enforce("volume:attachment_create")
    asked = request.body_as(CreateBody).attachment
    if asked.mode is not None and not request.version.at_least("3.54"):
        raise Invalid("Attachments have a 'mode' since API version 3.54.")
    if asked.mode not in (None, "rw", "ro"):
        raise Invalid("'mode' must be 'rw' or 'ro'.")
    wanted = NewAttachment(
        volume_id=asked.volume_uuid,
        instance_uuid=asked.instance_uuid or asked.instance or None,
        connector=checked_connector(asked.connector) if asked.connector else None,
        mode=asked.mode,
    )
    return Answer({"attachment": _view(attachments.create(request.plane, request.context, wanted))})


@routes.get(ONE, "3.27")
def show(request: ApiRequest) -> Answer:
    """One attachment."""
    found = attachments.get(request.plane, request.context, request.params["attachment_id"])
    return Answer({"attachment": _view(found)})


@routes.put(ONE, "3.27")
def update(request: ApiRequest) -> Answer:
    """Connect."""
    request.enforce("volume:attachment_update")
    connector = checked_connector(request.body_as(UpdateBody).attachment.connector)
    found = attachments.update(request.plane, request.context, request.params["attachment_id"], connector)
    return Answer({"attachment": _view(found)})


@routes.action("attachments/{attachment_id}/action", "os-complete", "3.44")
def complete(request: ApiRequest) -> Answer:
    """The initiator uses it now."""
    request.enforce("volume:attachment_complete")
    attachments.complete(request.plane, request.context, request.params["attachment_id"])
    return NO_CONTENT


@routes.delete(ONE, "3.27")
def delete(request: ApiRequest) -> Answer:
    """End it; the answer are those that the volume has left."""
    request.enforce("volume:attachment_delete")
    left = attachments.delete(request.plane, request.context, request.params["attachment_id"])
    return Answer({"attachments": [_summary(item) for item in left]})


def _list(request: ApiRequest, view: Any) -> Answer:
    refuse_unknown(request, "attachment", _ALSO)
    query = request.query
    wanted: dict[str, str | None] = {
        field: check_name(name, query[name]) for name, field in _FILTERS.items() if name in query
    }
    if request.context.is_admin:
        wanted |= {name: query[name] for name in ("project_id", "attached_host") if name in query}
    page = marked_page_of(request, attachments.SORT_KEYS)
    found = attachments.list_attachments(
        request.plane, request.context, AttachmentFilter(**wanted), page, all_projects=all_projects(request)
    )
    items = [view(item) for item in found]
    return Answer({"attachments": items, **marked_links(request, page, items, "attachments")})


def _summary(found: Attachment) -> dict[str, Any]:
    return {
        "id": found.id,
        "status": found.status,
        "instance": found.instance_uuid,
        "volume_id": found.volume_id,
    }


def _view(found: Attachment) -> dict[str, Any]:
    return {
        **_summary(found),
        "attached_at": stamp(found.attach_time),
        "detached_at": stamp(found.detach_time),
        "attach_mode": found.mode,
        "connection_info": found.connection_info or {},
    }
