"""What is asked of volume types and of group types alike: a name, a description, who sees them, an order."""

from __future__ import annotations

from typing import Protocol

from penstock.api.bodies import Flag, parse_flag
from penstock.errors import Invalid
from penstock.services.type_catalog import TypeChange

SORT_KEYS = ("id", "name", "description", "created_at", "updated_at", "is_public")


class Changes(Protocol):
    """The fields of a body; None leaves what it is about."""

    @property
    def name(self) -> str | None: ...

    @property
    def description(self) -> str | None: ...

    @property
    def is_public(self) -> Flag: ...


def name_of(kind: str, name: str | None) -> str:
    """The name of a ``volume type`` or ``group type`` (`kind`). Raises Invalid."""
    if name is None or not name.strip():
        raise Invalid(f"A {kind} needs a 'name' of 1 to 255 characters.")
    return name.strip()


def change_of(kind: str, asked: Changes) -> TypeChange:
    """What is to change. Raises Invalid when that is nothing, or the name is none."""
    change = TypeChange(
        name=None if asked.name is None else name_of(kind, asked.name),
        description=asked.description,
        is_public=None if asked.is_public is None else parse_flag("is_public", asked.is_public),
    )
    if change == TypeChange():
        raise Invalid("Give a 'name', a 'description' or 'is_public' to change.")
    return change
