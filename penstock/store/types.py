"""Rows of share types, their extra specs and the projects they are open to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, exists, or_, select

from penstock.domain.types import ShareType
from penstock.ids import ShareTypeId
from penstock.store.json_pairs import parse_pairs
from penstock.store.schema import (
    share_group_type_share_types,
    share_type_extra_specs,
    share_type_projects,
    share_types,
    shares,
)
from penstock.store.transaction import Transaction
from penstock.store.type_rows import TypeRows


def _read(_tx: Transaction, rows: Sequence[Row[Any]]) -> list[ShareType]:
    return [
        ShareType(
            id=ShareTypeId(row.id),
            name=row.name,
            description=row.description,
            is_public=row.is_public,
            created_at=row.created_at,
            updated_at=row.updated_at,
            extra_specs=parse_pairs(row.specs),
        )
        for row in rows
    ]


ROWS = TypeRows(share_types, share_type_extra_specs, share_type_projects, "share_type_id", _read)
get = ROWS.get
get_by_name = ROWS.get_by_name
list_types = ROWS.list_types
names = ROWS.names
update_type = ROWS.update
delete_type = ROWS.delete
set_extra_specs = ROWS.set_specs
delete_extra_spec = ROWS.delete_spec


def insert_type(tx: Transaction, made: ShareType) -> None:
    """Store a new type with its extra specs."""
    ROWS.insert(tx, made, made.extra_specs)


def in_use(tx: Transaction, type_id: ShareTypeId | str) -> bool:
    """Do shares have this type, or do share group types name it?"""
    shared = exists().where(shares.c.share_type_id == type_id)
    grouped = exists().where(share_group_type_share_types.c.share_type_id == type_id)
    return bool(tx.execute(select(or_(shared, grouped))).scalar())
