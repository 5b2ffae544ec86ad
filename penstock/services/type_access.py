"""Which projects a type that is not public is open to: alike for share types and share group types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from penstock.domain.group_types import ShareGroupType
from penstock.domain.types import ShareType
from penstock.errors import Conflict, NotFound
from penstock.services.control_plane import ControlPlane
from penstock.store.database import Transaction


class TypeRows(Protocol):
    """The store's queries of one kind of types."""

    def get(self, tx: Transaction, type_id: str, /) -> ShareType | ShareGroupType | None: ...
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

    def missing(self, type_id: str) -> NotFound:
        """There is no such type."""
        return NotFound(f"There is no {self.kind} {type_id[:64]}.")

    def _named(self, found: ShareType | ShareGroupType) -> str:
        return f"{self.kind.capitalize()} '{found.name}'"

    def _type(self, tx: Transaction, type_id: str) -> ShareType | ShareGroupType:
        found = self.rows.get(tx, type_id)
        if found is None:
            raise self.missing(type_id)
        return found

    def _private(self, tx: Transaction, type_id: str) -> ShareType | ShareGroupType:
        found = self._type(tx, type_id)
        if found.is_public:
            raise Conflict(f"{self._named(found)} is public: it is open to every project.")
        return found
