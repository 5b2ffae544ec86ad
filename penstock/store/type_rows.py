"""Rows of types of any kind: their specs, and the projects they are open to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, bindparam, delete, exists, insert, or_, select, update


class TypeRows:
    """The rows of one kind of types. Made once for each: building a statement costs more than running it.

    `types` has ``id``, ``name``, ``is_public`` and ``created_at``; `specs` (``key``, ``value``) and `projects`
    (``project_id``) name the type in the column `owner`.
    """

    def __init__(self, types: Table, specs: Table, projects: Table, owner: str) -> None:
        self._types, self._specs, self._projects = types, specs, projects
        self._spec_owner, self._project_owner = specs.c[owner], projects.c[owner]
        self.all: Select[Any] = select(types).order_by(types.c.created_at, types.c.id)
        self._by_id = self.all.where(types.c.id == bindparam("id"))
        self._by_name = self.all.where(types.c.name == bindparam("name"))
        self._names = select(types.c.id, types.c.name)
        self._specs_of = select(specs).where(self._spec_owner.in_(bindparam("ids", expanding=True)))

    def insert(self, tx: Connection, values: Mapping[str, Any], specs: Mapping[str, str]) -> None:
        """Store a new type with its specs."""
        tx.execute(insert(self._types), dict(values))
        self.set_specs(tx, values["id"], specs)

    def by_id(self, tx: Connection, type_id: str) -> Row[Any] | None:
        """The type's row, or None."""
        return tx.execute(self._by_id, {"id": type_id}).first()

    def by_name(self, tx: Connection, name: str) -> Row[Any] | None:
        """The type's row, or None."""
        return tx.execute(self._by_name, {"name": name}).first()

    def open_to(self, query: Select[Any], project_id: str | None, is_public: bool | None) -> Select[Any]:
        """`query` over types, only those open to a project, or only (non-)public ones; None means no matter."""
        if is_public is not None:
            query = query.where(self._types.c.is_public.is_(is_public))
        if project_id is not None:
            mine = self._projects.c.project_id == project_id
            granted = exists().where(self._project_owner == self._types.c.id, mine)
            query = query.where(or_(self._types.c.is_public.is_(True), granted))
        return query

    def names(self, tx: Connection) -> dict[str, str]:
        """The name of every type, by id."""
        return {row.id: row.name for row in tx.execute(self._names)}

    def update(self, tx: Connection, type_id: str, *, now: datetime, **values: Any) -> None:
        """Change columns of the type."""
        tx.execute(update(self._types).where(self._types.c.id == type_id).values(updated_at=now, **values))

    def delete(self, tx: Connection, type_id: str) -> None:
        """Forget the type with all that belongs to it."""
        tx.execute(delete(self._types).where(self._types.c.id == type_id))

    def specs_of(self, tx: Connection, type_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Specs by type, in one query."""
        found: dict[str, dict[str, str]] = {}
        owner = self._spec_owner.name
        for row in tx.execute(self._specs_of, {"ids": list(type_ids)}).mappings():
            found.setdefault(row[owner], {})[row["key"]] = row["value"]
        return found

    def set_specs(self, tx: Connection, type_id: str, items: Mapping[str, str]) -> None:
        """Set these specs, keep the others."""
        tx.execute(delete(self._specs).where(self._spec_owner == type_id, self._specs.c.key.in_(list(items))))
        if items:
            rows = [{self._spec_owner.name: type_id, "key": key, "value": value} for key, value in items.items()]
            tx.execute(insert(self._specs), rows)

    def delete_spec(self, tx: Connection, type_id: str, key: str) -> bool:
        """Remove one spec; False when it was not there."""
        mine = (self._spec_owner == type_id) & (self._specs.c.key == key)
        return tx.execute(delete(self._specs).where(mine)).rowcount > 0

    def projects_of(self, tx: Connection, type_id: str) -> list[str]:
        """The projects a non-public type is open to."""
        project_id = self._projects.c.project_id
        return list(tx.execute(select(project_id).where(self._project_owner == type_id).order_by(project_id)).scalars())

    def add_project(self, tx: Connection, type_id: str, project_id: str) -> None:
        """Open the type to a project. The caller has checked that it is not open yet."""
        tx.execute(insert(self._projects), {self._project_owner.name: type_id, "project_id": project_id})

    def remove_project(self, tx: Connection, type_id: str, project_id: str) -> bool:
        """Close the type to a project; False when it was not open."""
        mine = (self._project_owner == type_id) & (self._projects.c.project_id == project_id)
        return tx.execute(delete(self._projects).where(mine)).rowcount > 0
