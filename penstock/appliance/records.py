"""Small documents kept in the user properties of one dataset: there is no other database.

A property holds at most 1,024 bytes, so that a document is its digest, and the pieces are properties beside it: written
before the digest is, and removed after it, a crash leaves the old document or the new one.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.appliance.names import PREFIX
from penstock.errors import BackendFault
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset
from penstock.zfs.properties import local_value

RECORD = PREFIX + "record."
PIECE_CHARACTERS = 900

Document = dict[str, Any]


class Records:
    """Documents by kind and id. Threads may share it; one process at a time owns the dataset."""

    def __init__(self, zfs: Zfs, dataset: Dataset) -> None:
        self._zfs = zfs
        self._dataset = dataset
        self._lock = threading.RLock()
        self._known: dict[tuple[str, str], Document] | None = None

    def all(self, kind: str) -> dict[str, Document]:
        """Every document of a kind by its id, sorted."""
        with self._lock:
            return {key: dict(found) for (of, key), found in sorted(self._load().items()) if of == kind}

    def get(self, kind: str, key: str) -> Document | None:
        """One document, None when there is none."""
        with self._lock:
            found = self._load().get((kind, key))
            return None if found is None else dict(found)

    def put(self, kind: str, key: str, document: Mapping[str, Any]) -> None:
        """Write it over whatever was there; on disk when this returns."""
        with self._lock:
            known = self._load()
            before = known.get((kind, key))
            self._known = None  # until all is written, only the dataset knows
            base = _base(kind, key)
            text = _text(kind, key, document)
            digest = _digest(text)
            pieces = _pieces(base, digest, text)
            self._zfs.set(self._dataset, {**pieces, base: f"{digest}.{len(pieces)}"})
            if before is not None and (old := _text(kind, key, before)) != text:
                self._forget(_pieces(base, _digest(old), old))
            known[(kind, key)] = dict(document)
            self._known = known

    def remove(self, kind: str, key: str) -> None:
        """Forget it. Safe to repeat."""
        with self._lock:
            known = self._load()
            before = known.get((kind, key))
            if before is None:
                return
            self._known = None
            base = _base(kind, key)
            self._zfs.inherit(self._dataset, base)
            text = _text(kind, key, before)
            self._forget(_pieces(base, _digest(text), text))
            del known[(kind, key)]
            self._known = known

    def _forget(self, pieces: Mapping[str, str]) -> None:
        for name in pieces:
            self._zfs.inherit(self._dataset, name)

    def _load(self) -> dict[tuple[str, str], Document]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> dict[tuple[str, str], Document]:
        properties = self._zfs.get(self._dataset, ["all"])
        found: dict[tuple[str, str], Document] = {}
        for name in properties:
            value = local_value(properties, name)
            if value is None or not name.startswith(RECORD) or name.count(".") != RECORD.count("."):
                continue
            digest, _, count = value.partition(".")
            texts = [local_value(properties, f"{name}.{digest}.{n}") for n in range(int(count))]
            text = "".join(each or "" for each in texts)
            if _digest(text) != digest:
                raise BackendFault(f"{self._dataset}: the record {name} is damaged")
            kind, key, document = msgspec.json.decode(text, type=tuple[str, str, dict[str, Any]])
            found[(kind, key)] = document
        return found


def _text(kind: str, key: str, document: Mapping[str, Any]) -> str:
    """ASCII, so that bytes are characters and ZFS prints what it was given."""
    data = msgspec.json.encode([kind, key, dict(sorted(document.items()))]).decode()
    return "".join(letter if letter.isascii() and letter != "\x7f" else _escaped(letter) for letter in data)


def _escaped(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(units[n : n + 2]):04x}" for n in range(0, len(units), 2))


def _base(kind: str, key: str) -> str:
    return f"{RECORD}{hashlib.sha256(f'{kind}/{key}'.encode()).hexdigest()[:32]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pieces(base: str, digest: str, text: str) -> dict[str, str]:
    starts = range(0, len(text), PIECE_CHARACTERS)
    return {f"{base}.{digest}.{n}": text[start : start + PIECE_CHARACTERS] for n, start in enumerate(starts)}
