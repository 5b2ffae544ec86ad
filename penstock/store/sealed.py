"""Columns that hold secrets: what is written is sealed with the key of the database, what is read is opened.

A text without the mark is as it was before there were keys, and read as it is; it is sealed when it is next written.
Columns are sealed one by one, so there is nothing to compare in SQL.
"""

from __future__ import annotations

import json
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from sqlalchemy import JSON, Dialect, Engine, Text
from sqlalchemy.types import TypeDecorator

from penstock.errors import Invalid

MARK = "sealed:"


class Sealer(Protocol):
    """Seals texts and opens them."""

    def seal(self, secret: str) -> str:
        """A text that says nothing without the key."""

    def open(self, sealed: str) -> str:
        """The secret. Raises Invalid when it was sealed with another key."""


_SEALERS: WeakKeyDictionary[Dialect, Sealer] = WeakKeyDictionary()  # an engine has a dialect of its own


def seal_with(engine: Engine, sealer: Sealer) -> None:
    """Have the secrets that go through `engine` sealed and opened by `sealer`."""
    _SEALERS[engine.dialect] = sealer


class SealedText(TypeDecorator[str]):
    """A text that is a secret."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value if value is None else _sealed(value, dialect)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return _opened(value, dialect) if _is_sealed(value) else value


class SealedJson(TypeDecorator[Any]):
    """An object as JSON that has secrets in it: all of it is sealed, and stored as a JSON text."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value if value is None or dialect not in _SEALERS else _sealed(json.dumps(value), dialect)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return json.loads(_opened(value, dialect)) if _is_sealed(value) else value


def _sealed(secret: str, dialect: Dialect) -> str:
    sealer = _SEALERS.get(dialect)
    return secret if sealer is None or not secret else MARK + sealer.seal(secret)


def _is_sealed(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(MARK)


def _opened(value: Any, dialect: Dialect) -> str:
    sealer = _SEALERS.get(dialect)
    if sealer is None:
        raise Invalid("A secret in the database is sealed, and it was opened without a key.")
    return sealer.open(str(value).removeprefix(MARK))
