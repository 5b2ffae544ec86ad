"""What rebuilt rows name and the database may have lost: types, projects, users. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from penstock.ids import new_id


class Typed(Protocol):
    """What was found on storage, with what it says of its type."""

    @property
    def id(self) -> str: ...

    @property
    def type_id(self) -> str | None: ...

    @property
    def type_name(self) -> str | None: ...

    @property
    def created_at(self) -> datetime | None: ...


class Named(Protocol):
    """A type."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...


class Owned(Protocol):
    """What a project and a user have."""

    @property
    def project_id(self) -> str: ...

    @property
    def user_id(self) -> str: ...


T = TypeVar("T", bound=Named)


@dataclass(frozen=True, slots=True)
class Types(Generic[T]):
    """The type of each thing found, by its id, None for what has none; and those that have to be `made` for them."""

    of: Mapping[str, T | None]
    made: tuple[T, ...]


def types_of(found: Iterable[Typed], known: Sequence[T], make: Callable[[str, str, datetime], T]) -> Types[T]:
    """Known by id, else by name, else made again under that id and name: `make` is given them, and since when."""
    by_id = {one.id: one for one in known}
    by_name = {one.name: one for one in known}
    chosen: dict[str, T | None] = {}
    made: list[T] = []
    for thing in found:
        if thing.type_id is None and thing.type_name is None:
            chosen[thing.id] = None
            continue
        of_thing = by_id.get(thing.type_id or "") or by_name.get(thing.type_name or "")
        if of_thing is None:
            type_id = thing.type_id or new_id()
            name = thing.type_name or f"recovered-{type_id[:8]}"
            made_at = thing.created_at or datetime.min  # noqa: DTZ901 - naive UTC, replaced by whoever stores it
            of_thing = make(type_id, name, made_at)
            by_id[of_thing.id] = by_name[name] = of_thing
            made.append(of_thing)
        chosen[thing.id] = of_thing
    return Types(chosen, tuple(made))


def lost_owners(
    owned: Iterable[Owned], project_ids: frozenset[str], user_ids: frozenset[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The projects and the users of `owned` that are not among the known ones."""
    things = list(owned)
    projects = _missing((one.project_id for one in things), project_ids)
    return projects, _missing((one.user_id for one in things), user_ids)


def _missing(wanted: Iterable[str], known: frozenset[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for item in wanted if item and item not in known))
