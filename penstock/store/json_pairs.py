"""Pairs of two columns as one value, for lists: a page of a thousand with its metadata must be one query."""

from __future__ import annotations

from typing import Any

from sqlalchemy import FunctionElement, Text
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
