"""Names the appliance takes, as datasets and properties have them; checked once, at the edge."""

from __future__ import annotations

import re

from penstock.appliance.faults import InvalidArgument
from penstock.zfs.names import Dataset

PREFIX = "penstock.appliance:"
KIND = PREFIX + "kind"
CUSTOM = PREFIX + "custom."
WIRE_CUSTOM = "custom:"

SETTINGS, PACKAGES = ".settings", ".packages"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")  # no spaces or commas: paths go to target servers
_PROPERTY = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,255}")


def object_name(text: object, what: str) -> str:
    """A project's, LUN's or snapshot's name. Raises InvalidArgument."""
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise InvalidArgument(f"{text!r:.140} is not a name for a {what}: letters, digits, _ . : -, at most 128")
    return text


def schema_name(text: object) -> str:
    """A schema property's name. Raises InvalidArgument."""
    if not isinstance(text, str) or not _PROPERTY.fullmatch(text):
        raise InvalidArgument(f"{text!r:.80} is not a property: lower-case letters, digits, _, at most 64")
    return text


def label(text: object, what: str) -> str:
    """The name of a group, or an alias: any printable text. Raises InvalidArgument."""
    if not isinstance(text, str) or not _TEXT.fullmatch(text):
        raise InvalidArgument(f"the {what} is not text of 1 to 255 characters")
    return text


def below(parent: Dataset, name: str, what: str) -> Dataset:
    """The dataset of that name. Raises InvalidArgument, InvalidName (too long together)."""
    return parent.child(object_name(name, what))
