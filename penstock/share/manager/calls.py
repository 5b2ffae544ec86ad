"""Calling a share driver: what it raises becomes a Fault, what it returns becomes values we can store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.errors import BackendFault
from penstock.operations.driver_calls import driver_call, is_final

__all__ = ["driver_call", "is_final", "locations_in"]


def locations_in(answer: Any) -> list[dict[str, Any]]:
    """The export locations in a driver's answer: a path, a mapping with ``path``, or a sequence of either; None is
    none.

    Raises BackendFault for anything else.
    """
    if answer is None:
        return []
    items = [answer] if isinstance(answer, str | Mapping) else answer
    if not isinstance(items, Sequence):
        raise BackendFault(f"The driver answered with export locations of the type {type(answer).__name__}.")
    return [_location(item) for item in items]


def _location(item: Any) -> dict[str, Any]:
    if isinstance(item, str):
        return {"path": item}
    if isinstance(item, Mapping) and isinstance(item.get("path"), str):
        metadata = {str(key): str(value) for key, value in (item.get("metadata") or {}).items()}
        return {
            "path": item["path"],
            "is_admin_only": bool(item.get("is_admin_only", False)),
            "preferred": bool(item.get("preferred", False)),
            "metadata": metadata,
        }
    raise BackendFault(f"The driver answered with an export location without a path: {item!r}.")
