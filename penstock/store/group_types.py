"""Rows of share group types: their group specs, their share types and the projects they are open to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, insert, select

from penstock.domain.group_types import ShareGroupType
from penstock.ids import ShareGroupTypeId, ShareTypeId
from penstock.store.json_pairs import parse_pairs
from penstock.store.schema import (
    share_group_type_projects,
    share_group_type_share_types,
    share_group_type_specs,
    share_group_types,
)
from penstock.store.transaction import Transaction
from penstock.store.type_rows import TypeRows


def _read(tx: Transaction, rows: Sequence[Row[Any]]) -> list[ShareGroupType]:
    table = share_group_type_share_types
    of_these = table.c.share_group_type_id.in_([row.id for row in rows])
    members: dict[str, list[ShareTypeId]] = {}
    for row in tx.execute(select(table).where(of_these).order_by(table.c.share_type_id)):
        members.setdefault(row.share_group_type_id, []).append(ShareTypeId(row.share_type_id))
    return [
        ShareGroupType(
            id=ShareGroupTypeId(row.id),
            name=row.name,
            is_public=row.is_public,
            created_at=row.created_at,
            updated_at=row.updated_at,
            share_type_ids=tuple(members.get(row.id, ())),
            group_specs=parse_pairs(row.specs),
        )
        for row in rows
    ]


ROWS = TypeRows(share_group_types, share_group_type_specs, share_group_type_projects, "share_group_type_id", _read)
get = ROWS.get
get_by_name = ROWS.get_by_name
list_types = ROWS.list_types
delete_type = ROWS.delete
set_specs = ROWS.set_specs
delete_spec = ROWS.delete_spec


def insert_type(tx: Transaction, made: ShareGroupType) -> None:
    """Store a new type with its group specs and its share types."""
    ROWS.insert(tx, made, made.group_specs)
    members = [{"share_group_type_id": made.id, "share_type_id": type_id} for type_id in made.share_type_ids]
    if members:
        tx.execute(insert(share_group_type_share_types), members)
