"""Pages of a list by the last item seen (``marker``), in an order of several keys.

A page begins right behind its marker, also when items before it came or went since the page before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, or_, select

from penstock.errors import Invalid, NotFound
from penstock.store.transaction import Transaction

NEWEST_FIRST = (("created_at", True),)


@dataclass(frozen=True, slots=True)
class KeysetPage:
    """Which part of a list. `sort` are names with whether they descend; `marker` is the id of the item before."""

    limit: int | None = None
    offset: int = 0
    marker: str | None = None
    sort: tuple[tuple[str, bool], ...] = NEWEST_FIRST


FIRST_PAGE = KeysetPage()


def paged(
    tx: Transaction,
    query: Select[Any],
    page: KeysetPage,
    sortable: Mapping[str, ColumnElement[Any]],
    id_column: ColumnElement[Any],
    *,
    what: str,
) -> Select[Any]:
    """`query` in the page's order and from its marker on. Values that are missing come last.

    Raises Invalid for a key that is not one of `sortable`, NotFound when there is no `what` with the marker's id.
    """
    order = _order(page, sortable, id_column)
    if page.marker is not None:
        query = query.where(_behind(tx, order, page.marker, id_column, what))
    for column, descending in order:
        if _may_be_missing(column):
            query = query.order_by(column.is_(None))
        query = query.order_by(column.desc() if descending else column)
    if page.limit is not None:
        query = query.limit(page.limit)
    return query.offset(page.offset) if page.offset else query


def _order(
    page: KeysetPage, sortable: Mapping[str, ColumnElement[Any]], id_column: ColumnElement[Any]
) -> list[tuple[ColumnElement[Any], bool]]:
    unknown = [name for name, _ in page.sort if name not in sortable]
    if unknown:
        raise Invalid(f"'{unknown[0][:64]}' is not a key to sort by; use one of {', '.join(sorted(sortable))}.")
    order = [(sortable[name], descending) for name, descending in page.sort]
    return [*order, (id_column, order[-1][1] if order else True)]


def _behind(
    tx: Transaction,
    order: list[tuple[ColumnElement[Any], bool]],
    marker: str,
    id_column: ColumnElement[Any],
    what: str,
) -> ColumnElement[bool]:
    row = tx.execute(select(*(column for column, _ in order)).where(id_column == marker)).first()
    if row is None:
        raise NotFound(f"There is no {what} {marker[:64]}, by which the page was to begin.")
    same: list[ColumnElement[bool]] = []
    behind: list[ColumnElement[bool]] = []
    for (column, descending), value in zip(order, row, strict=True):
        behind.append(and_(*same, _later(column, value, descending=descending)))
        same.append(column.is_not_distinct_from(value))
    return or_(*behind)


def _later(column: ColumnElement[Any], value: Any, *, descending: bool) -> ColumnElement[bool]:
    if value is None:
        return false()  # missing ones are last
    further = column < value if descending else column > value
    return or_(column.is_(None), further) if _may_be_missing(column) else further


def _may_be_missing(column: ColumnElement[Any]) -> bool:
    """Can it be NULL? Where it cannot, nothing is said of NULL: an index gives the order, and nothing is sorted."""
    return getattr(column, "nullable", True)
