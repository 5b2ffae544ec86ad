"""Rows of types of volume groups: their group specs, and the projects they are open to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, exists, select

from penstock.domain.volume_groups import VolumeGroupType
from penstock.ids import VolumeGroupTypeId
from penstock.store.json_pairs import parse_pairs
from penstock.store.schema import (
    volume_group_type_projects,
    volume_group_type_specs,
    volume_group_types,
    volume_groups,
)
from penstock.store.transaction import Transaction
from penstock.store.type_rows import TypeRows


def _read(_tx: Transaction, rows: Sequence[Row[Any]]) -> list[VolumeGroupType]:
    return [
        VolumeGroupType(
            id=VolumeGroupTypeId(row.id),
            name=row.name,
            description=row.description,
            is_public=row.is_public,
            created_at=row.created_at,
            updated_at=row.updated_at,
            group_specs=parse_pairs(row.specs),
        )
        for row in rows
    ]


ROWS = TypeRows(volume_group_types, volume_group_type_specs, volume_group_type_projects, "group_type_id", _read)
get = ROWS.get
get_by_name = ROWS.get_by_name
list_types = ROWS.list_types
delete_type = ROWS.delete
set_specs = ROWS.set_specs
delete_spec = ROWS.delete_spec


def insert_type(tx: Transaction, made: VolumeGroupType) -> None:
    """Store a new type with its group specs."""
    ROWS.insert(tx, made, made.group_specs)


def in_use(tx: Transaction, type_id: str) -> bool:
    """Do groups have this type?"""
    return bool(tx.execute(select(exists().where(volume_groups.c.group_type_id == type_id))).scalar())
