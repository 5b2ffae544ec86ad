"""Rows of share group types: their group specs, their share types and the projects they are open to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, exists, insert, or_, select

from penstock.domain.group_types import ShareGroupType
from penstock.ids import ShareGroupTypeId, ShareTypeId
from penstock.store.schema import (
    share_group_type_projects,
    share_group_type_share_types,
    share_group_type_specs,
    share_group_types,
)

_ALL = select(share_group_types).order_by(share_group_types.c.created_at, share_group_types.c.id)


def insert_type(tx: Connection, made: ShareGroupType) -> None:
    """Store a new type with its group specs and its share types."""
    tx.execute(
        insert(share_group_types).values(
            id=made.id,
            name=made.name,
            is_public=made.is_public,
            created_at=made.created_at,
            updated_at=made.updated_at,
        )
    )
    members = [{"share_group_type_id": made.id, "share_type_id": type_id} for type_id in made.share_type_ids]
    if members:
        tx.execute(insert(share_group_type_share_types), members)
    set_specs(tx, made.id, made.group_specs)


def get(tx: Connection, type_id: str) -> ShareGroupType | None:
    """The type by id, or None."""
    found = _types(tx, _ALL.where(share_group_types.c.id == type_id))
    return found[0] if found else None


def get_by_name(tx: Connection, name: str) -> ShareGroupType | None:
    """The type by name, or None."""
    found = _types(tx, _ALL.where(share_group_types.c.name == name))
    return found[0] if found else None


def list_types(tx: Connection, *, project_id: str | None = None, is_public: bool | None = None) -> list[ShareGroupType]:
    """Types, oldest first; with `project_id` those open to that project, with `is_public` only (non-)public ones."""
    query = _ALL
    if is_public is not None:
        query = query.where(share_group_types.c.is_public.is_(is_public))
    if project_id is not None:
        grants = share_group_type_projects.c
        granted = exists().where(grants.share_group_type_id == share_group_types.c.id, grants.project_id == project_id)
        query = query.where(or_(share_group_types.c.is_public.is_(True), granted))
    return _types(tx, query)


def delete_type(tx: Connection, type_id: str) -> None:
    """Forget the type."""
    tx.execute(delete(share_group_types).where(share_group_types.c.id == type_id))


def set_specs(tx: Connection, type_id: str, items: Mapping[str, str]) -> None:
    """Set these group specs, keep the others."""
    table = share_group_type_specs
    tx.execute(delete(table).where(table.c.share_group_type_id == type_id, table.c.key.in_(list(items))))
    if items:
        tx.execute(insert(table), [{"share_group_type_id": type_id, "key": k, "value": v} for k, v in items.items()])


def delete_spec(tx: Connection, type_id: str, key: str) -> bool:
    """Remove one group spec; False when it was not there."""
    table = share_group_type_specs
    return tx.execute(delete(table).where(table.c.share_group_type_id == type_id, table.c.key == key)).rowcount > 0


def projects_of(tx: Connection, type_id: str) -> list[str]:
    """The projects a non-public type is open to."""
    table = share_group_type_projects
    query = select(table.c.project_id).where(table.c.share_group_type_id == type_id).order_by(table.c.project_id)
    return list(tx.execute(query).scalars())


def add_project(tx: Connection, type_id: str, project_id: str) -> None:
    """Open the type to a project. The caller has checked that it is not open yet."""
    tx.execute(insert(share_group_type_projects).values(share_group_type_id=type_id, project_id=project_id))


def remove_project(tx: Connection, type_id: str, project_id: str) -> bool:
    """Close the type to a project; False when it was not open."""
    table = share_group_type_projects
    gone = delete(table).where(table.c.share_group_type_id == type_id, table.c.project_id == project_id)
    return tx.execute(gone).rowcount > 0


def _types(tx: Connection, query: Any) -> list[ShareGroupType]:
    rows = tx.execute(query).all()
    ids = [row.id for row in rows]
    specs: dict[str, dict[str, str]] = {}
    for row in tx.execute(select(share_group_type_specs).where(share_group_type_specs.c.share_group_type_id.in_(ids))):
        specs.setdefault(row.share_group_type_id, {})[row.key] = row.value
    members: dict[str, list[ShareTypeId]] = {}
    table = share_group_type_share_types
    for row in tx.execute(select(table).where(table.c.share_group_type_id.in_(ids)).order_by(table.c.share_type_id)):
        members.setdefault(row.share_group_type_id, []).append(ShareTypeId(row.share_type_id))
    return [
        ShareGroupType(
            id=ShareGroupTypeId(row.id),
            name=row.name,
            is_public=row.is_public,
            created_at=row.created_at,
            updated_at=row.updated_at,
            share_type_ids=tuple(members.get(row.id, ())),
            group_specs=specs.get(row.id, {}),
        )
        for row in rows
    ]
