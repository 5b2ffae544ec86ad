"""Statements that are built once: building one costs several times what running it does."""

from __future__ import annotations

from functools import cache

from sqlalchemy import Insert, Table, Update, bindparam, insert, update


@cache
def insert_into(table: Table) -> Insert:
    """Insert a row given as the parameters."""
    return insert(table)


@cache
def update_row(table: Table, columns: tuple[str, ...], *, from_status: bool = False) -> Update:
    """Set `columns` of the row ``of_id``; with `from_status` only while its status is still ``of_status``."""
    statement = update(table).where(table.c.id == bindparam("of_id"))
    if from_status:
        statement = statement.where(table.c.status == bindparam("of_status"))
    return statement.values({column: bindparam(column) for column in columns})
