"""Pairs of a side table (metadata, extra specs) as one value of the row they belong to: no second query for them.

A page of a thousand with its metadata must be one query; and of a single row a query more costs a tenth of a
millisecond, though nearly nothing has metadata.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, FunctionElement, Table, Text, select
from sqlalchemy.ext.compiler import compiles


class JsonPairs(FunctionElement[str]):
    """The pairs of two columns as the text of a JSON object: one value a row instead of a row a pair."""

    type = Text()
    inherit_cache = True


@compiles(JsonPairs, "sqlite")
def _pairs_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"json_group_object({compiler.process(element.clauses, **kw)})"


@compiles(JsonPairs, "postgresql")
def _pairs_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return f"json_object_agg({compiler.process(element.clauses, **kw)})::text"


def pairs_of(table: Table, belongs: ColumnElement[bool]) -> ColumnElement[Any]:
    """The columns ``key`` and ``value`` of those rows of `table` where `belongs`, as JSON text; see `parse_pairs`."""
    return select(JsonPairs(table.c.key, table.c.value)).where(belongs).scalar_subquery()


def parse_pairs(text: str | None) -> dict[str, str]:
    """What `pairs_of` found. PostgreSQL finds NULL where there are none, SQLite an empty object."""
    return {} if text is None or text == "{}" else json.loads(text)
