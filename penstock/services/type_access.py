"""Which projects a type that is not public is open to: alike for every kind of types there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from penstock.context import RequestContext
from penstock.errors import Conflict, NotFound
from penstock.services.control_plane import ControlPlane
from penstock.store.database import Transaction


class OpenedType(Protocol):
    """What there is of a type of any kind."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def is_public(self) -> bool: ...


class TypeRows(Protocol):
    """The store's queries of one kind of types."""

    def get(self, tx: Transaction, type_id: str, /) -> OpenedType | None: ...
    def projects_of(self, tx: Transaction, type_id: str, /) -> list[str]: ...
    def add_project(self, tx: Transaction, type_id: str, project_id: str, /) -> None: ...
    def remove_project(self, tx: Transaction, type_id: str, project_id: str, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class TypeAccess:
    """Access to types of the kind that `rows` are of, called `kind` in sentences: ``share type``."""

    kind: str
    rows: TypeRows

    def projects_of(self, plane: ControlPlane, type_id: str) -> list[str]:
        """The projects a private type is open to. Raises NotFound, also for a public type."""
        with plane.database.read() as tx:
            found = self._type(tx, type_id)
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

    def is_open(self, tx: Transaction, context: RequestContext, found: OpenedType) -> bool:
        """May the caller see and use the type?"""
        return found.is_public or context.is_admin or context.project_id in self.rows.projects_of(tx, found.id)

    def missing(self, type_id: str) -> NotFound:
        """There is no such type."""
        return NotFound(f"There is no {self.kind} {type_id[:64]}.")

    def _named(self, found: OpenedType) -> str:
        return f"{self.kind.capitalize()} '{found.name}'"

    def _type(self, tx: Transaction, type_id: str) -> OpenedType:
        found = self.rows.get(tx, type_id)
        if found is None:
            raise self.missing(type_id)
        return found

    def _private(self, tx: Transaction, type_id: str) -> OpenedType:
        found = self._type(tx, type_id)
        if found.is_public:
            raise Conflict(f"{self._named(found)} is public: it is open to every project.")
        return found
