"""What the tables are made of: one collection of them, names of indexes and keys, and the columns they all have."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, MetaData, String

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID = String(36)
NAME = String(255)


def times() -> tuple[Column[object], Column[object]]:
    """``created_at`` and ``updated_at``."""
    return Column("created_at", DateTime, nullable=False), Column("updated_at", DateTime)
