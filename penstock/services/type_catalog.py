"""The types of one kind, which administrators keep and projects see and use: alike for every kind there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from penstock.context import RequestContext
from penstock.errors import Conflict, NotFound
from penstock.ids import is_uuid
from penstock.services.control_plane import ControlPlane
from penstock.store.database import Transaction
from penstock.store.type_rows import TypeRows


class AnyType(Protocol):
    """What there is of a type of any kind."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def is_public(self) -> bool: ...


class DescribedType(AnyType, Protocol):
    """A type that has a description, too."""

    @property
    def description(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class NewType:
    """What is asked for."""

    name: str
    description: str | None = None
    is_public: bool = True
    extra_specs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TypeChange:
    """What to change; None leaves it, an empty description removes it."""

    name: str | None = None
    description: str | None = None
    is_public: bool | None = None


T = TypeVar("T", bound=AnyType)
D = TypeVar("D", bound=DescribedType)


@dataclass(frozen=True, slots=True)
class TypeCatalog(Generic[T]):
    """Types of the kind that `rows` are of, called `kind` in sentences: ``share type``."""

    kind: str
    rows: TypeRows[T]

    def get(self, plane: ControlPlane, context: RequestContext, type_id: str) -> T:
        """The type by id, if it is open to the caller. Raises NotFound."""
        with plane.database.read() as tx:
            return self.opened(tx, context, self.rows.get(tx, type_id), type_id)

    def find(self, tx: Transaction, context: RequestContext, name_or_id: str) -> T:
        """The type called so, if it is open to the caller. Raises NotFound."""
        return self.opened(tx, context, self._called(tx, name_or_id), name_or_id)

    def find_any(self, tx: Transaction, name_or_id: str) -> T:
        """The type called so, whomever it is open to. Raises NotFound."""
        return self._there(self._called(tx, name_or_id), name_or_id)

    def known(self, tx: Transaction, type_id: str) -> T:
        """The type by id, whomever it is open to. Raises NotFound."""
        return self._there(self.rows.get(tx, type_id), type_id)

    def opened(self, tx: Transaction, context: RequestContext, found: T | None, called: str) -> T:
        """`found`, if it is there and open to the caller. Raises NotFound."""
        if found is None or not self.is_open(tx, context, found):
            raise self._missing(called)
        return found

    def configured(self, plane: ControlPlane, option: str) -> T:
        """The type that `option` names. Raises NotFound when it names none, or one that does not exist."""
        name = plane.conf[option]
        if name:
            with plane.database.read() as tx:
                found = self.rows.get_by_name(tx, name)
            if found is not None:
                return found
        raise NotFound(f"No default {self.kind} is configured ({option}), or it does not exist.")

    def list_types(self, plane: ControlPlane, context: RequestContext, *, is_public: bool | None) -> list[T]:
        """Types, oldest first. `is_public` True: those open to the caller's project, which is all that others than
        administrators ever see; False: the private ones; None: every one."""
        with plane.database.read() as tx:
            if is_public or not context.is_admin:
                return self.rows.list_types(tx, project_id=context.project_id or "")
            return self.rows.list_types(tx, is_public=is_public)

    def refuse_taken(self, tx: Transaction, name: str) -> None:
        """Raise Conflict when there is a type of that name."""
        if self.rows.get_by_name(tx, name) is not None:
            raise Conflict(f"There is a {self.kind} named '{name}' already.")

    def update(self: TypeCatalog[D], plane: ControlPlane, type_id: str, change: TypeChange) -> D:
        """Rename, describe, open or close. Raises NotFound, Conflict when the name is taken."""
        with plane.database.begin() as tx:
            found = self.known(tx, type_id)
            if change.name is not None and change.name != found.name:
                self.refuse_taken(tx, change.name)
            values = {
                "name": found.name if change.name is None else change.name,
                "description": found.description if change.description is None else (change.description or None),
                "is_public": found.is_public if change.is_public is None else change.is_public,
            }
            self.rows.update(tx, found.id, now=plane.clock.utc(), **values)
            return self.known(tx, type_id)

    def set_specs(self, plane: ControlPlane, type_id: str, specs: Mapping[str, str]) -> None:
        """Set these specs, keep the others. Raises NotFound."""
        with plane.database.begin() as tx:
            self.rows.set_specs(tx, self.known(tx, type_id).id, specs)

    def delete_spec(self, plane: ControlPlane, type_id: str, key: str) -> None:
        """Remove one spec. Raises NotFound."""
        with plane.database.begin() as tx:
            found = self.known(tx, type_id)
            if not self.rows.delete_spec(tx, found.id, key):
                raise NotFound(f"{self._named(found)} has no spec '{key[:64]}'.")

    def projects_of(self, plane: ControlPlane, type_id: str) -> list[str]:
        """The projects a private type is open to. Raises NotFound, also for a public type."""
        with plane.database.read() as tx:
            found = self.known(tx, type_id)
            if found.is_public:
                raise NotFound(f"{self._named(found)} is public: it has no list of projects.")
            return self.rows.projects_of(tx, found.id)

    def add_project(self, plane: ControlPlane, type_id: str, project_id: str) -> None:
        """Open a private type to a project. Raises NotFound, Conflict when it is open already or public."""
        with plane.database.begin() as tx:
            found = self._private(tx, type_id)
            if project_id in self.rows.projects_of(tx, found.id):
                raise Conflict(f"{self._named(found)} is open to project {project_id} already.")
            self.rows.add_project(tx, found.id, project_id)

    def remove_project(self, plane: ControlPlane, type_id: str, project_id: str) -> None:
        """Close a private type to a project. Raises NotFound, Conflict for a public type."""
        with plane.database.begin() as tx:
            found = self._private(tx, type_id)
            if not self.rows.remove_project(tx, found.id, project_id):
                raise NotFound(f"{self._named(found)} is not open to project {project_id}.")

    def is_open(self, tx: Transaction, context: RequestContext, found: T) -> bool:
        """May the caller see and use the type?"""
        return found.is_public or context.is_admin or context.project_id in self.rows.projects_of(tx, found.id)

    def _called(self, tx: Transaction, name_or_id: str) -> T | None:
        found = self.rows.get(tx, name_or_id) if is_uuid(name_or_id) else None
        return found or self.rows.get_by_name(tx, name_or_id)

    def _there(self, found: T | None, called: str) -> T:
        if found is None:
            raise self._missing(called)
        return found

    def _missing(self, called: str) -> NotFound:
        return NotFound(f"There is no {self.kind} '{called[:64]}'.")

    def _named(self, found: T) -> str:
        return f"{self.kind.capitalize()} '{found.name}'"

    def _private(self, tx: Transaction, type_id: str) -> T:
        found = self.known(tx, type_id)
        if found.is_public:
            raise Conflict(f"{self._named(found)} is public: it is open to every project.")
        return found
