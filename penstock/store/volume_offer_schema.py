"""The table of transfers of volumes to other projects. `store.schema` names it beside all others."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, String, Table

from penstock.store.table_parts import ID, NAME, metadata, times

volume_transfers = Table(
    "volume_transfers",
    metadata,
    Column("id", ID, primary_key=True),
    Column("volume_id", ForeignKey("volumes.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("display_name", NAME),
    Column("salt", String(64), nullable=False),
    Column("key_hash", String(64), nullable=False),
    Column("no_snapshots", Boolean, nullable=False),
    Column("source_project_id", NAME, nullable=False, index=True),
    *times(),
)
