"""What is ours says so by user properties, which this writes and reads: see the `identity` of each driver.

Only values whose source is ``local`` count: inherited ones belong to an ancestor, received ones to another host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from urllib.parse import quote, unquote

from penstock.zfs.names import MAX_USER_VALUE_BYTES
from penstock.zfs.properties import Property, local_value

PREFIX = "penstock:"
KIND = f"{PREFIX}kind"
ID = f"{PREFIX}id"
_ENCODED = frozenset({"name", "type_name"})


def encode_name(name: str) -> str:
    """Percent-encoded, cut to what a property holds, never ``-`` (which means unset) nor in the middle of a letter."""
    text = "%2D" if name == "-" else quote(name, safe="!#$&'()*+,/:;=?@[]")
    while len(text) > MAX_USER_VALUE_BYTES:
        name = name[:-1]
        text = quote(name, safe="!#$&'()*+,/:;=?@[]")
    return text


def decode_name(text: str) -> str:
    """The name that `encode_name` wrote."""
    return unquote(text)


class Marks:
    """To and from user properties: the field ``share_id`` is ``penstock:share_id``."""

    __slots__ = ()

    def properties(self, kind: StrEnum) -> dict[str, str]:
        """The user properties that say so, ``penstock:kind`` last. Absent values are left out."""
        marks: dict[str, str] = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is not None and value != "":
                marks[PREFIX + field.name] = encode_name(value) if field.name in _ENCODED else str(value)
        return {**marks, KIND: kind.value}

    @classmethod
    def read_marks(cls, properties: Mapping[str, Property]) -> dict[str, str | None]:
        found = {field.name: local_value(properties, PREFIX + field.name) for field in fields(cls)}  # type: ignore[arg-type]
        return {name: decode_name(v) if v is not None and name in _ENCODED else v for name, v in found.items()}
