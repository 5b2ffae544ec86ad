"""Statements that are built once: building one costs several times what running it does."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Delete, Insert, Select, Table, Update, bindparam, delete, insert, select, update


@cache
def insert_into(table: Table) -> Insert:
    """Insert a row given as the parameters."""
    return insert(table)


@cache
def row_of(table: Table) -> Select[Any]:
    """The row ``of_id``."""
    return select(table).where(table.c.id == bindparam("of_id"))


@cache
def delete_row(table: Table) -> Delete:
    """Take the row ``of_id`` away."""
    return delete(table).where(table.c.id == bindparam("of_id"))


@cache
def update_row(table: Table, columns: tuple[str, ...], *, from_status: bool = False) -> Update:
    """Set `columns` of the row ``of_id``; with `from_status` only while its status is still ``of_status``."""
    statement = update(table).where(table.c.id == bindparam("of_id"))
    if from_status:
        statement = statement.where(table.c.status == bindparam("of_status"))
    return statement.values({column: bindparam(column) for column in columns})
