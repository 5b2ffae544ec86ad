"""The part of a list a client asks for, as the use cases take it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from penstock.errors import NotFound
from penstock.store.keyset import KeysetPage
from penstock.store.lists import Page

__all__ = ["KeysetPage", "Page", "part_of"]

Item = TypeVar("Item")


def part_of(items: Sequence[Item], page: KeysetPage, *, value_of: Callable[[Item, str], Any]) -> list[Item]:
    """The page of a short list that is in memory. `value_of` gives an item's value by a sort key, and its ``id``.

    Raises NotFound when the marker is not in the list.
    """
    ordered = sorted(items, key=lambda item: str(value_of(item, "id")))
    for key, descending in reversed(page.sort):
        ordered.sort(key=lambda item, key=key: _comparable(value_of(item, key)), reverse=descending)  # type: ignore[misc]
    start = 0
    if page.marker is not None:
        ids = [value_of(item, "id") for item in ordered]
        if page.marker not in ids:
            raise NotFound(f"There is nothing in this list whose id is the marker '{page.marker[:64]}'.")
        start = ids.index(page.marker) + 1
    start += page.offset
    end = None if page.limit is None else start + page.limit
    return list(ordered[start:end])


def _comparable(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else "")
