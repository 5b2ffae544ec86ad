"""The resource ``messages``: why an accepted request ended as it did."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from penstock.api.http import NO_CONTENT, Answer
from penstock.api.links import links
from penstock.api.paging import next_links, page_of
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.domain.messages import Message
from penstock.errors import Invalid
from penstock.services import messages
from penstock.services.messages import MessageFilter

routes = Routes()


@routes.get("messages", "2.37")
def index(request: ApiRequest) -> Answer:
    """The project's messages, one page."""
    request.enforce("message:get_all")
    page = page_of(request, messages.SORT_KEYS)
    found = messages.list_messages(request.plane, request.context, _filter(request), page)
    shown = [_view(message, request.url) for message in found]
    return Answer({"messages": shown, **next_links(request, page, shown, "messages")})


@routes.get("messages/{message_id}", "2.37")
def show(request: ApiRequest) -> Answer:
    """One message."""
    request.enforce("message:get")
    message = messages.get(request.plane, request.context, request.params["message_id"])
    return Answer({"message": _view(message, request.url)})


@routes.delete("messages/{message_id}", "2.37")
def delete(request: ApiRequest) -> Answer:
    """Forget one message."""
    request.enforce("message:delete")
    messages.delete(request.plane, request.context, request.params["message_id"])
    return NO_CONTENT


def _filter(request: ApiRequest) -> MessageFilter:
    equal = {name: request.query[name] for name in messages.FILTERS if name in request.query}
    if not request.version.at_least("2.52"):
        return MessageFilter(equal)
    return MessageFilter(equal, _moment(request, "created_since"), _moment(request, "created_before"))


def _moment(request: ApiRequest, name: str) -> datetime | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as err:
        raise Invalid(f"'{name}' must be a time such as 2026-11-21T12:00:00, not '{text[:64]}'.") from err
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _view(message: Message, url: str) -> dict[str, Any]:
    return {
        "id": message.id,
        "project_id": message.project_id,
        "action_id": message.action_id,
        "detail_id": message.detail_id,
        "message_level": message.level,
        "request_id": message.request_id,
        "resource_type": message.resource_type,
        "resource_id": message.resource_id,
        "user_message": message.text,
        "created_at": stamp(message.created_at),
        "expires_at": stamp(message.expires_at),
        "links": links(url, "messages", message.id),
    }
