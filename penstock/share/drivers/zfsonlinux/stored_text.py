"""Text of any length in ZFS user properties, which hold 1024 bytes everywhere (8 KiB only on newer OpenZFS).

``penstock:rules`` then holds ``<parts>:<crc32>:<text>`` and ``penstock:rules.1`` ... the rest. zfs-fuse sets one
property per command, so a crash can leave parts of two texts: the checksum tells, and `join` then answers None.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from penstock.zfs.names import MAX_USER_VALUE_BYTES
from penstock.zfs.properties import Property, local_value

MAX_PARTS = 64
_HEAD_BYTES = 16  # "64:ffffffff:" and some air


def split(name: str, text: str) -> dict[str, str]:
    """The properties that hold `text` (ASCII), the head last, so that a text half written is never believed.

    A text too long for `MAX_PARTS` is stored as one we could not keep; `join` answers None for it.
    """
    room = MAX_USER_VALUE_BYTES - _HEAD_BYTES
    pieces = [text[start : start + room] for start in range(0, len(text), room)] or [""]
    if len(pieces) > MAX_PARTS:
        return {name: "0::"}
    rest = {f"{name}.{part}": piece for part, piece in enumerate(pieces[1:], start=1)}
    return {**rest, name: f"{len(pieces)}:{zlib.crc32(text.encode()):08x}:{pieces[0]}"}


def further_names(name: str, properties: Mapping[str, Property]) -> tuple[str, ...]:
    """Names of the parts that have to be read beside the head in `properties`."""
    head = local_value(properties, name)
    count = _count(head) if head else 0
    return tuple(f"{name}.{part}" for part in range(1, count))


def join(name: str, properties: Mapping[str, Property]) -> str | None:
    """The text, None when there is none or it is not whole."""
    head = local_value(properties, name)
    if head is None or not _count(head):
        return None
    _, checksum, first = head.split(":", 2)
    rest = [local_value(properties, part) for part in further_names(name, properties)]
    text = first + "".join(piece or "" for piece in rest)
    return text if f"{zlib.crc32(text.encode()):08x}" == checksum else None


def _count(head: str) -> int:
    count, _, rest = head.partition(":")
    return min(int(count), MAX_PARTS) if count.isdecimal() and ":" in rest else 0
