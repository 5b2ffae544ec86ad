"""Frozen values that can also be read as a mapping, because published drivers write ``share['id']``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Record:
    """Mix into a frozen dataclass: ``value.name``, ``value['name']`` and ``value.get('name')`` are the same thing."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        try:
            return getattr(self, key)
        except AttributeError:
            raise KeyError(key) from None

    def get(self, key: str, default: Any = None) -> Any:
        """The field, or `default` where there is none of that name."""
        return getattr(self, key, default)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and hasattr(self, key)

    def keys(self) -> Iterator[str]:
        """The field names, so that ``dict(value)`` works."""
        return iter(self.__dataclass_fields__)  # type: ignore[attr-defined]
