"""What ``zfs get`` says: parsed strictly, with where each value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.errors import BackendFault
from penstock.zfs.names import check_property

GET_COLUMNS = "name,property,value,source"
UNSET = "-"

_SPACE = frozenset({"quota", "refquota", "reservation", "refreservation"})
_SOURCES = frozenset({"local", "default", "temporary", "received", "none", UNSET})


@dataclass(frozen=True, slots=True)
class Property:
    """A value as ZFS prints it with ``-p`` (bytes as digits), and its source.

    `source` is ``local``, ``default``, ``received``, ``temporary``, ``-`` or ``inherited from <dataset>``.
    """

    value: str
    source: str

    @property
    def is_local(self) -> bool:
        """True when set on this very dataset or snapshot."""
        return self.source == "local"

    @property
    def is_set(self) -> bool:
        """False for ``-``: the property does not apply or was never set."""
        return self.value != UNSET


Properties = dict[str, Property]


def is_user_property(name: str) -> bool:
    """User properties, and only they, have a colon in their name (zfsprops(7)); ``userquota@`` ones do not count."""
    return ":" in name and "@" not in name


def never_mounts(name: str) -> bool:
    """Is the property one whose change leaves all mounts alone? (A changed mountpoint, and some others, remount.)"""
    return is_user_property(name) or name in _SPACE


def parse_get(text: str) -> dict[str, Properties]:
    """``zfs get -Hp -o name,property,value,source`` as target → property → value. Raises BackendFault on surprises."""
    found: dict[str, Properties] = {}
    for line in text.splitlines():
        columns = line.split("\t")
        if len(columns) != 4:
            raise BackendFault(f"zfs get printed {len(columns)} columns instead of 4: {line!r}")
        target, name, value, source = columns
        if source not in _SOURCES and not source.startswith("inherited from "):
            raise BackendFault(f"zfs get printed an unknown source: {line!r}")
        found.setdefault(target, {})[name] = Property(value, source)
    return found


def local_value(properties: Mapping[str, Property], name: str) -> str | None:
    """The value when it was set on this very target, else None.

    The only way to believe a user property: inherited ones belong to an ancestor, received ones to another host.
    """
    found = properties.get(name)
    return found.value if found is not None and found.is_local else None


def bytes_of(properties: Mapping[str, Property], name: str) -> int:
    """A size in bytes; ``none`` and ``-`` are 0. Raises BackendFault when it is missing or not a number."""
    found = properties.get(name)
    if found is None:
        raise BackendFault(f"zfs get did not answer {name}")
    if found.value in ("none", UNSET):
        return 0
    if not found.value.isdecimal():
        raise BackendFault(f"{name} is not a number of bytes: {found.value!r}")
    return int(found.value)


def assignments(properties: Mapping[str, str]) -> list[str]:
    """``name=value`` of each. Raises InvalidName."""
    for name, value in properties.items():
        check_property(name, value)
    return [f"{name}={value}" for name, value in properties.items()]


def options(properties: Mapping[str, str]) -> list[str]:
    """``-o name=value`` of each. Raises InvalidName."""
    return [word for pair in assignments(properties) for word in ("-o", pair)]
