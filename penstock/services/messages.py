"""User messages: told by the use cases and the manager, read and deleted by their project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from penstock.context import RequestContext
from penstock.domain.messages import Message
from penstock.errors import NotFound
from penstock.ids import MessageId, ProjectId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.paging import KeysetPage, Page
from penstock.services.visibility import owns
from penstock.store import messages as rows
from penstock.store.database import Transaction

SORT_KEYS = frozenset(rows.SORTABLE)
FILTERS = frozenset(rows.FILTERS)
ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """What a list is narrowed to: FILTERS names to values, and a span of time, both ends included."""

    equal: dict[str, str] = field(default_factory=dict)
    created_since: datetime | None = None
    created_before: datetime | None = None


def add(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    *,
    resource_type: str,
    resource_id: str,
    action: str,
    detail: str,
    text: str,
    project_id: str | None = None,
) -> None:
    """Tell the project (default: the caller's) in this transaction. Kept for ``message_ttl`` seconds.

    The codes are those of `domain.message_codes` or `domain.volume_message_codes`.
    """
    now = plane.clock.utc()
    rows.insert_message(
        tx,
        Message(
            id=MessageId(new_id()),
            project_id=ProjectId(project_id or context.project_id or ""),
            request_id=context.request_id,
            resource_type=resource_type,
            resource_id=resource_id,
            action_id=action,
            detail_id=detail,
            level=ERROR,
            text=text,
            created_at=now,
            expires_at=now + timedelta(seconds=plane.conf.message_ttl),
        ),
    )


def list_messages(plane: ControlPlane, context: RequestContext, wanted: MessageFilter, page: Page) -> list[Message]:
    """The caller's project's messages, one page."""
    with plane.database.read() as tx:
        return rows.list_messages(
            tx,
            project_id=context.project_id,
            filters=wanted.equal,
            page=page,
            created_since=wanted.created_since,
            created_before=wanted.created_before,
        )


def list_about_volumes(
    plane: ControlPlane,
    context: RequestContext,
    page: KeysetPage,
    equal: Mapping[str, str],
    like: Mapping[str, str],
) -> list[Message]:
    """The caller's project's messages about volumes with these FILTERS names and substrings, one page.

    Raises NotFound (the marker).
    """
    with plane.database.read() as tx:
        return rows.list_about_volumes(tx, project_id=context.project_id, filters=equal, like_filters=like, page=page)


def get(plane: ControlPlane, context: RequestContext, message_id: str, *, about_volumes: bool = False) -> Message:
    """One message, about shares or about volumes. Raises NotFound, also for other projects' messages."""
    with plane.database.read() as tx:
        return _mine(tx, context, message_id, about_volumes=about_volumes)


def delete(plane: ControlPlane, context: RequestContext, message_id: str, *, about_volumes: bool = False) -> None:
    """Forget one message, about shares or about volumes. Raises NotFound, also for other projects' messages."""
    with plane.database.begin() as tx:
        rows.delete_message(tx, _mine(tx, context, message_id, about_volumes=about_volumes).id)


def prune(plane: ControlPlane) -> int:
    """Forget messages whose time is over; returns how many. For the daemon's periodic work."""
    with plane.database.begin() as tx:
        return rows.prune(tx, expired_before=plane.clock.utc())


def _mine(tx: Transaction, context: RequestContext, message_id: str, *, about_volumes: bool) -> Message:
    message = rows.get(tx, message_id)
    if message is None or not owns(context, message.project_id) or message.is_about_volumes is not about_volumes:
        raise NotFound(f"There is no message {message_id[:64]}.")
    return message
