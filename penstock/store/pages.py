"""Lists in parts by marker: the rows behind one row, in an order of several keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, or_

from penstock.errors import NotFound


@dataclass(frozen=True, slots=True)
class MarkedPage:
    """Which part of a list, in which order: `limit` items behind the one whose id is `marker`, less `offset`.

    `sort` holds keys of the resource's SORTABLE and whether they descend, the most important first.
    """

    limit: int
    offset: int = 0
    marker: str | None = None
    sort: tuple[tuple[str, bool], ...] = (("created_at", True),)


def paged(
    tx: Connection, query: Select[Any], page: MarkedPage, *, sortable: Mapping[str, Any], key: ColumnElement[str]
) -> Select[Any]:
    """`query` cut down to the page. `sortable` gives expressions that are never NULL; `key` is the id's column.

    Raises NotFound when the marker is not among what `query` finds.
    """
    order = [(sortable[name], descending) for name, descending in page.sort]
    order.append((key, page.sort[-1][1] if page.sort else False))
    if page.marker is not None:
        query = query.where(_behind(order, _values(tx, query, page.marker, order, key)))
    query = query.order_by(*(column.desc() if descending else column for column, descending in order))
    return query.limit(page.limit).offset(page.offset)


def _values(
    tx: Connection, query: Select[Any], marker: str, order: list[tuple[Any, bool]], key: ColumnElement[str]
) -> tuple[Any, ...]:
    found = tx.execute(query.with_only_columns(*(column for column, _ in order)).where(key == marker)).first()
    if found is None:
        raise NotFound(f"There is nothing in this list whose id is the marker '{marker[:64]}'.")
    return tuple(found)


def _behind(order: list[tuple[Any, bool]], values: tuple[Any, ...]) -> ColumnElement[bool]:
    """Rows that come after the one with `values`: equal in the first keys, and further in the next."""
    parts: list[ColumnElement[bool]] = []
    for index, (column, descending) in enumerate(order):
        same = [earlier == value for (earlier, _), value in zip(order[:index], values[:index], strict=True)]
        further = column < values[index] if descending else column > values[index]
        parts.append(and_(*same, further))
    return or_(*parts)
