"""Rows of types of volume groups: their group specs, and the projects they are open to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, exists, select

from penstock.domain.volume_groups import VolumeGroupType
from penstock.ids import VolumeGroupTypeId
from penstock.store.schema import (
    volume_group_type_projects,
    volume_group_type_specs,
    volume_group_types,
    volume_groups,
)
from penstock.store.type_rows import TypeRows

_ROWS = TypeRows(volume_group_types, volume_group_type_specs, volume_group_type_projects, "group_type_id")
names = _ROWS.names
update_type = _ROWS.update
delete_type = _ROWS.delete
set_specs = _ROWS.set_specs
delete_spec = _ROWS.delete_spec
projects_of = _ROWS.projects_of
add_project = _ROWS.add_project
remove_project = _ROWS.remove_project


def insert_type(tx: Connection, made: VolumeGroupType) -> None:
    """Store a new type with its group specs."""
    row = {column.name: getattr(made, column.name) for column in volume_group_types.c}
    _ROWS.insert(tx, row, made.group_specs)


def get(tx: Connection, type_id: str) -> VolumeGroupType | None:
    """The type by id, or None."""
    return _one(tx, _ROWS.by_id(tx, type_id))


def get_by_name(tx: Connection, name: str) -> VolumeGroupType | None:
    """The type by name, or None."""
    return _one(tx, _ROWS.by_name(tx, name))


def list_types(
    tx: Connection, *, project_id: str | None = None, is_public: bool | None = None
) -> list[VolumeGroupType]:
    """Types, oldest first; with `project_id` those open to that project, with `is_public` only (non-)public ones."""
    return _types(tx, tx.execute(_ROWS.open_to(_ROWS.all, project_id, is_public)).all())


def in_use(tx: Connection, type_id: str) -> bool:
    """Do groups have this type?"""
    return bool(tx.execute(select(exists().where(volume_groups.c.group_type_id == type_id))).scalar())


def _one(tx: Connection, row: Row[Any] | None) -> VolumeGroupType | None:
    return None if row is None else _types(tx, [row])[0]


def _types(tx: Connection, rows: Sequence[Row[Any]]) -> list[VolumeGroupType]:
    specs = _ROWS.specs_of(tx, [row.id for row in rows])
    return [
        VolumeGroupType(
            id=VolumeGroupTypeId(row.id),
            name=row.name,
            description=row.description,
            is_public=row.is_public,
            created_at=row.created_at,
            updated_at=row.updated_at,
            group_specs=specs.get(row.id, {}),
        )
        for row in rows
    ]
