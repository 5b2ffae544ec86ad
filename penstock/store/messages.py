"""Rows of user messages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select

from penstock.domain.messages import Message
from penstock.ids import MessageId, ProjectId
from penstock.store.keyset import KeysetPage, paged
from penstock.store.lists import Page, like
from penstock.store.schema import messages
from penstock.store.transaction import Transaction

_ABOUT_VOLUMES = messages.c.resource_type.startswith("VOLUME", autoescape=True)
SORTABLE = {
    "id": messages.c.id,
    "project_id": messages.c.project_id,
    "request_id": messages.c.request_id,
    "resource_type": messages.c.resource_type,
    "action_id": messages.c.action_id,
    "detail_id": messages.c.detail_id,
    "resource_id": messages.c.resource_id,
    "message_level": messages.c.level,
    "created_at": messages.c.created_at,
    "expires_at": messages.c.expires_at,
}
FILTERS = {
    "request_id": messages.c.request_id,
    "resource_type": messages.c.resource_type,
    "resource_id": messages.c.resource_id,
    "action_id": messages.c.action_id,
    "detail_id": messages.c.detail_id,
    "message_level": messages.c.level,
}


def insert_message(tx: Transaction, message: Message) -> None:
    """Store a message."""
    tx.execute(insert(messages).values({name: getattr(message, name) for name in Message.__dataclass_fields__}))


def get(tx: Transaction, message_id: MessageId | str) -> Message | None:
    """The message, or None."""
    row = tx.execute(select(messages).where(messages.c.id == message_id)).first()
    return None if row is None else _message(row)


def list_messages(
    tx: Transaction,
    *,
    project_id: str | None,
    filters: dict[str, str],
    page: Page,
    created_since: datetime | None = None,
    created_before: datetime | None = None,
) -> list[Message]:
    """Messages about shares of a project (None: of all), narrowed by FILTERS names, one page."""
    order = SORTABLE[page.sort_key]
    query = select(messages).order_by(order.desc() if page.descending else order, messages.c.id)
    query = query.where(~_ABOUT_VOLUMES)
    if project_id is not None:
        query = query.where(messages.c.project_id == project_id)
    for name, value in filters.items():
        query = query.where(FILTERS[name] == value)
    if created_since is not None:
        query = query.where(messages.c.created_at >= created_since)
    if created_before is not None:
        query = query.where(messages.c.created_at <= created_before)
    if page.limit is not None:
        query = query.limit(page.limit)
    return [_message(row) for row in tx.execute(query.offset(page.offset))]


def list_about_volumes(
    tx: Transaction,
    *,
    project_id: str | None,
    filters: Mapping[str, str],
    like_filters: Mapping[str, str],
    page: KeysetPage,
) -> list[Message]:
    """Messages about volumes of a project (None: of all), narrowed by FILTERS names and by substrings, one page.

    Raises NotFound (the marker).
    """
    query = select(messages).where(_ABOUT_VOLUMES)
    if project_id is not None:
        query = query.where(messages.c.project_id == project_id)
    for name, value in filters.items():
        query = query.where(FILTERS[name] == value)
    for name, value in like_filters.items():
        query = query.where(like(FILTERS[name], value))
    query = paged(tx, query, page, SORTABLE, messages.c.id, what="message")
    return [_message(row) for row in tx.execute(query)]


def count_messages(tx: Transaction, project_id: str | None) -> int:
    """How many messages the project has."""
    query = select(func.count()).select_from(messages)
    if project_id is not None:
        query = query.where(messages.c.project_id == project_id)
    return tx.execute(query).scalar_one()


def delete_message(tx: Transaction, message_id: MessageId | str) -> None:
    """Forget the message."""
    tx.execute(delete(messages).where(messages.c.id == message_id))


def prune(tx: Transaction, *, expired_before: datetime) -> int:
    """Forget messages whose time is over; returns how many."""
    return tx.execute(delete(messages).where(messages.c.expires_at < expired_before)).rowcount


def _message(row: Row[Any]) -> Message:
    values = dict(row._mapping)  # noqa: SLF001 - the published name of SQLAlchemy's mapping view
    return Message(**{**values, "id": MessageId(row.id), "project_id": ProjectId(row.project_id)})
