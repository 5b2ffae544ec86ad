"""What ``dbus-send --print-reply`` prints, as the values it was made from: texts, numbers, tuples. Parsed strictly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from penstock.errors import BackendFault

Values = tuple[Any, ...]

HEADER = re.compile(r"method return .*")
NUMBER = re.compile(r"(?:byte|u?int(?:16|32|64)) (-?\d+)")
STRING = re.compile(r'string "(.*)')
BOOLEAN = re.compile(r"boolean (true|false)")
OPENED = {"array [": "]", "struct {": "}"}


def read_answer(text: str) -> Values:
    """The values of one answer. Raises BackendFault for what `dbus-send` does not print."""
    lines = iter(text.splitlines())
    if not HEADER.fullmatch(next(lines, "")):
        raise BackendFault(f"dbus-send answered {text[:200]!r}")
    return tuple(_values(lines, None))


def _values(lines: Iterator[str], end: str | None) -> Iterator[Any]:
    for line in lines:
        word = line.strip()
        if word == end:
            return
        if word in OPENED:
            yield tuple(_values(lines, OPENED[word]))
        elif found := NUMBER.fullmatch(word):
            yield int(found[1])
        elif found := STRING.fullmatch(line.lstrip()):
            yield _string(found[1], lines)
        elif found := BOOLEAN.fullmatch(word):
            yield found[1] == "true"
        else:
            raise BackendFault(f"dbus-send printed what we cannot read: {line!r}")
    if end is not None:
        raise BackendFault(f"dbus-send ended before {end!r}")


def _string(begun: str, lines: Iterator[str]) -> str:
    """A text may have several lines (Ganesha's complaints have); the quotation mark at the end of one ends it."""
    parts = [begun]
    while not parts[-1].endswith('"'):
        following = next(lines, None)
        if following is None:
            raise BackendFault(f"dbus-send ended inside a text: {begun!r}")
        parts.append(following)
    return "\n".join(parts)[:-1]
