"""Rows of types of any kind: their specs, and the projects they are open to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    Executable,
    Row,
    Select,
    Table,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)

from penstock.store.json_pairs import pairs_of
from penstock.store.transaction import Transaction

T = TypeVar("T")


class TypeRows(Generic[T]):
    """The rows of one kind of types. Made once for each: building a statement costs more than running it.

    `types` has ``id``, ``name``, ``is_public`` and ``created_at``; `specs` (``key``, ``value``) and `projects`
    (``project_id``) name the type in the column `owner`. `read` makes the values of rows of `types`, which have their
    specs as ``specs``, for `parse_pairs`.
    """

    def __init__(
        self,
        types: Table,
        specs: Table,
        projects: Table,
        owner: str,
        read: Callable[[Transaction, Sequence[Row[Any]]], list[T]],
    ) -> None:
        self._types, self._specs, self._projects, self._read = types, specs, projects, read
        self._spec_owner, self._project_owner = specs.c[owner], projects.c[owner]
        specs_text = pairs_of(specs, self._spec_owner == types.c.id).label("specs")
        self.all: Select[Any] = select(*types.c, specs_text).order_by(types.c.created_at, types.c.id)
        self.by_id = self.all.where(types.c.id == bindparam("id"))
        self._by_name = self.all.where(types.c.name == bindparam("name"))
        self._names = select(types.c.id, types.c.name)

    def insert(self, tx: Transaction, made: Any, specs: Mapping[str, str]) -> None:
        """Store a new type, whose attributes are called as the columns, with its specs."""
        tx.execute(insert(self._types), {column.name: getattr(made, column.name) for column in self._types.c})
        self.set_specs(tx, made.id, specs)

    def get(self, tx: Transaction, type_id: str) -> T | None:
        """The type by id, or None."""
        return self._one(tx, self.by_id, {"id": type_id})

    def get_by_name(self, tx: Transaction, name: str) -> T | None:
        """The type by name, or None."""
        return self._one(tx, self._by_name, {"name": name})

    def list_types(self, tx: Transaction, *, project_id: str | None = None, is_public: bool | None = None) -> list[T]:
        """Types, oldest first; with `project_id` those open to that project, with `is_public` only (non-)public."""
        return self.found(tx, self.open_to(self.all, project_id, is_public))

    def found(self, tx: Transaction, query: Select[Any]) -> list[T]:
        """The types of a query made from `all`."""
        return self._read(tx, tx.execute(query).all())

    def open_to(self, query: Select[Any], project_id: str | None, is_public: bool | None) -> Select[Any]:
        """`query` over types, only those open to a project, or only (non-)public ones; None means no matter."""
        if is_public is not None:
            query = query.where(self._types.c.is_public.is_(is_public))
        if project_id is not None:
            mine = self._projects.c.project_id == project_id
            granted = exists().where(self._project_owner == self._types.c.id, mine)
            query = query.where(or_(self._types.c.is_public.is_(True), granted))
        return query

    def names(self, tx: Transaction) -> dict[str, str]:
        """The name of every type, by id."""
        return {row.id: row.name for row in tx.execute(self._names)}

    def update(self, tx: Transaction, type_id: str, *, now: datetime, **values: Any) -> None:
        """Change columns of the type."""
        tx.execute(update(self._types).where(self._types.c.id == type_id).values(updated_at=now, **values))

    def delete(self, tx: Transaction, type_id: str) -> None:
        """Forget the type with all that belongs to it."""
        tx.execute(delete(self._types).where(self._types.c.id == type_id))

    def set_specs(self, tx: Transaction, type_id: str, items: Mapping[str, str]) -> None:
        """Set these specs, keep the others."""
        tx.execute(delete(self._specs).where(self._spec_owner == type_id, self._specs.c.key.in_(list(items))))
        if items:
            rows = [{self._spec_owner.name: type_id, "key": key, "value": value} for key, value in items.items()]
            tx.execute(insert(self._specs), rows)

    def delete_spec(self, tx: Transaction, type_id: str, key: str) -> bool:
        """Remove one spec; False when it was not there."""
        mine = (self._spec_owner == type_id) & (self._specs.c.key == key)
        return tx.execute(delete(self._specs).where(mine)).rowcount > 0

    def projects_of(self, tx: Transaction, type_id: str) -> list[str]:
        """The projects a non-public type is open to."""
        project_id = self._projects.c.project_id
        return list(tx.execute(select(project_id).where(self._project_owner == type_id).order_by(project_id)).scalars())

    def add_project(self, tx: Transaction, type_id: str, project_id: str) -> None:
        """Open the type to a project. The caller has checked that it is not open yet."""
        tx.execute(insert(self._projects), {self._project_owner.name: type_id, "project_id": project_id})

    def remove_project(self, tx: Transaction, type_id: str, project_id: str) -> bool:
        """Close the type to a project; False when it was not open."""
        mine = (self._project_owner == type_id) & (self._projects.c.project_id == project_id)
        return tx.execute(delete(self._projects).where(mine)).rowcount > 0

    def _one(self, tx: Transaction, query: Executable, of: Mapping[str, str]) -> T | None:
        row = tx.execute(query, of).first()
        return None if row is None else self._read(tx, [row])[0]
