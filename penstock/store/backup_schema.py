"""The tables of backups. `store.schema` names them beside all others."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, ForeignKey, Index, Integer, String, Table, Text

from penstock.store.table_parts import ID, NAME, metadata, times

# A backup outlives its volume: no foreign key to that.
volume_backups = Table(
    "volume_backups",
    metadata,
    Column("id", ID, primary_key=True),
    Column("volume_id", ID, nullable=False, index=True),
    Column("snapshot_id", ID, index=True),
    Column("project_id", NAME, nullable=False),
    Column("user_id", NAME, nullable=False),
    Column("host", NAME, nullable=False, index=True),  # host@backend
    Column("availability_zone", NAME),
    Column("name", NAME),
    Column("description", Text),
    Column("container", NAME),
    Column("status", String(32), nullable=False),
    Column("fail_reason", Text),
    Column("size_gib", Integer, nullable=False),
    Column("object_count", Integer, nullable=False),
    Column("parent_id", ForeignKey("volume_backups.id"), index=True),
    Column("data_timestamp", DateTime, nullable=False),
    Column("encryption_key_id", ID),
    *times(),
    Index("ix_volume_backups_project_created", "project_id", "created_at", "id"),
)

volume_backup_metadata = Table(
    "volume_backup_metadata",
    metadata,
    Column("backup_id", ForeignKey("volume_backups.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", String(255), nullable=False),
)
