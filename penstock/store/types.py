"""Rows of share types, their extra specs and the projects they are open to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, insert, or_, select, update

from penstock.domain.types import ShareType
from penstock.ids import ShareTypeId
from penstock.store.json_pairs import pairs_of, parse_pairs
from penstock.store.schema import (
    share_group_type_share_types,
    share_type_extra_specs,
    share_type_projects,
    share_types,
    shares,
)

_SPECS_TEXT = pairs_of(share_type_extra_specs, share_type_extra_specs.c.share_type_id == share_types.c.id)
_ALL = select(*share_types.c, _SPECS_TEXT.label("extra_specs")).order_by(share_types.c.created_at, share_types.c.id)
_BY_ID = _ALL.where(share_types.c.id == bindparam("id"))
_NAMES = select(share_types.c.id, share_types.c.name)
_BY_NAME = _ALL.where(share_types.c.name == bindparam("name"))


def insert_type(tx: Connection, share_type: ShareType) -> None:
    """Store a new type with its extra specs."""
    tx.execute(
        insert(share_types).values(
            id=share_type.id,
            name=share_type.name,
            description=share_type.description,
            is_public=share_type.is_public,
            created_at=share_type.created_at,
            updated_at=share_type.updated_at,
        )
    )
    set_extra_specs(tx, share_type.id, share_type.extra_specs)


def get(tx: Connection, type_id: ShareTypeId | str) -> ShareType | None:
    """The type by id, or None."""
    found = _types(tx, _BY_ID, {"id": type_id})
    return found[0] if found else None


def get_by_name(tx: Connection, name: str) -> ShareType | None:
    """The type by name, or None."""
    found = _types(tx, _BY_NAME, {"name": name})
    return found[0] if found else None


def list_types(tx: Connection, *, project_id: str | None = None, is_public: bool | None = None) -> list[ShareType]:
    """Types, oldest first; with `project_id` those open to that project, with `is_public` only (non-)public ones."""
    query = _ALL
    if is_public is not None:
        query = query.where(share_types.c.is_public.is_(is_public))
    if project_id is not None:
        granted = exists().where(
            share_type_projects.c.share_type_id == share_types.c.id, share_type_projects.c.project_id == project_id
        )
        query = query.where(or_(share_types.c.is_public.is_(True), granted))
    return _types(tx, query)


def names(tx: Connection) -> dict[str, str]:
    """The name of every type, by id."""
    return {row.id: row.name for row in tx.execute(_NAMES)}


def is_open_to(tx: Connection, type_id: ShareTypeId | str, project_id: str) -> bool:
    """May the project use the type?"""
    return any(found.id == type_id for found in list_types(tx, project_id=project_id))


def in_use(tx: Connection, type_id: ShareTypeId | str) -> bool:
    """Do shares have this type, or do share group types name it?"""
    shared = exists().where(shares.c.share_type_id == type_id)
    grouped = exists().where(share_group_type_share_types.c.share_type_id == type_id)
    return bool(tx.execute(select(or_(shared, grouped))).scalar())


def update_type(tx: Connection, type_id: ShareTypeId | str, *, now: datetime, **values: Any) -> None:
    """Change ``name``, ``description`` or ``is_public``."""
    tx.execute(update(share_types).where(share_types.c.id == type_id).values(updated_at=now, **values))


def delete_type(tx: Connection, type_id: ShareTypeId | str) -> None:
    """Forget the type."""
    tx.execute(delete(share_types).where(share_types.c.id == type_id))


def set_extra_specs(tx: Connection, type_id: ShareTypeId | str, items: Mapping[str, str]) -> None:
    """Set these extra specs, keep the others."""
    table = share_type_extra_specs
    tx.execute(delete(table).where(table.c.share_type_id == type_id, table.c.key.in_(list(items))))
    if items:
        tx.execute(insert(table), [{"share_type_id": type_id, "key": k, "value": v} for k, v in items.items()])


def delete_extra_spec(tx: Connection, type_id: ShareTypeId | str, key: str) -> bool:
    """Remove one extra spec; False when it was not there."""
    table = share_type_extra_specs
    return tx.execute(delete(table).where(table.c.share_type_id == type_id, table.c.key == key)).rowcount > 0


def projects_of(tx: Connection, type_id: ShareTypeId | str) -> list[str]:
    """The projects a non-public type is open to."""
    table = share_type_projects
    query = select(table.c.project_id).where(table.c.share_type_id == type_id).order_by(table.c.project_id)
    return list(tx.execute(query).scalars())


def add_project(tx: Connection, type_id: ShareTypeId | str, project_id: str) -> None:
    """Open the type to a project. The caller has checked that it is not open yet."""
    tx.execute(insert(share_type_projects).values(share_type_id=type_id, project_id=project_id))


def remove_project(tx: Connection, type_id: ShareTypeId | str, project_id: str) -> bool:
    """Close the type to a project; False when it was not open."""
    table = share_type_projects
    gone = delete(table).where(table.c.share_type_id == type_id, table.c.project_id == project_id)
    return tx.execute(gone).rowcount > 0


def _types(tx: Connection, query: Any, of: Mapping[str, str] | None = None) -> list[ShareType]:
    return [
        ShareType(
            id=ShareTypeId(row.id),
            name=row.name,
            description=row.description,
            is_public=row.is_public,
            created_at=row.created_at,
            updated_at=row.updated_at,
            extra_specs=parse_pairs(row.extra_specs),
        )
        for row in tx.execute(query, of)
    ]
