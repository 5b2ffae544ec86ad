"""The resource ``messages``: why an accepted request ended as it did (since 3.3)."""

from __future__ import annotations

from typing import Any

from penstock.api.http import NO_CONTENT, Answer
from penstock.api.links import links
from penstock.api.paging import marked_links, marked_page_of
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.api.volumes.resource_filters import refuse_unknown
from penstock.domain.messages import Message
from penstock.errors import Invalid
from penstock.services import messages

routes = Routes()

ALL, ONE = "messages", "messages/{message_id}"
SORT_KEYS = (
    "id",
    "event_id",
    "resource_uuid",
    "message_level",
    "guaranteed_until",
    "request_id",
    "resource_type",
    "created_at",
)
_FIELDS = {"resource_uuid": "resource_id", "guaranteed_until": "expires_at", "event_id": "detail_id"}  # ours, by theirs
_FILTERS = ("resource_uuid", "resource_type", "request_id", "message_level")


@routes.get(ALL, "3.3")
def index(request: ApiRequest) -> Answer:
    """The project's messages about volumes; in parts since 3.5."""
    request.enforce("message:get_all")
    refuse_unknown(request, "message")
    equal, like = _filters(request)
    page = marked_page_of(request, SORT_KEYS, names=_FIELDS)
    found = messages.list_about_volumes(request.plane, request.context, page, equal, like)
    shown = [_view(message, request.url) for message in found]
    links_found = marked_links(request, page, shown, "messages") if request.version.at_least("3.5") else {}
    return Answer({"messages": shown, **links_found})


@routes.get(ONE, "3.3")
def show(request: ApiRequest) -> Answer:
    """One message."""
    request.enforce("message:get")
    found = messages.get(request.plane, request.context, request.params["message_id"], about_volumes=True)
    return Answer({"message": _view(found, request.url)})


@routes.delete(ONE, "3.3")
def delete(request: ApiRequest) -> Answer:
    """Forget one message."""
    request.enforce("message:delete")
    messages.delete(request.plane, request.context, request.params["message_id"], about_volumes=True)
    return NO_CONTENT


def _filters(request: ApiRequest) -> tuple[dict[str, str], dict[str, str]]:
    if not request.version.at_least("3.5"):
        return {}, {}
    equal = {_FIELDS.get(name, name): request.query[name] for name in _FILTERS if name in request.query}
    event = request.query.get("event_id")
    if event is not None:
        equal |= _event(event)
    if not request.version.at_least("3.34"):
        return equal, {}
    return equal, {_FIELDS.get(n, n): request.query[f"{n}~"] for n in _FILTERS if f"{n}~" in request.query}


def _event(text: str) -> dict[str, str]:
    """What ``VOLUME_<type>_<action>_<detail>`` is made of."""
    parts = text.removeprefix("VOLUME_").rsplit("_", 2)
    if not text.startswith("VOLUME_") or len(parts) != 3:
        raise Invalid(f"'event_id' is of the form VOLUME_VOLUME_001_002, not '{text[:64]}'.")
    return {"resource_type": parts[0], "action_id": parts[1], "detail_id": parts[2]}


def _view(message: Message, url: str) -> dict[str, Any]:
    return {
        "id": message.id,
        "event_id": f"VOLUME_{message.resource_type}_{message.action_id}_{message.detail_id}",
        "user_message": message.text,
        "message_level": message.level,
        "created_at": stamp(message.created_at),
        "guaranteed_until": stamp(message.expires_at),
        "request_id": message.request_id,
        "resource_type": message.resource_type,
        "resource_uuid": message.resource_id,
        "links": links(url, "messages", message.id),
    }
