"""The tables of groups of volumes: their types, the groups, and snapshots of all of a group.

`store.schema` names them beside all others. Which volumes a group has, the volumes say.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, String, Table, Text

from penstock.store.table_parts import ID, NAME, metadata, times

volume_group_types = Table(
    "volume_group_types",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("description", String(255)),
    Column("is_public", Boolean, nullable=False),
    *times(),
)

volume_group_type_specs = Table(
    "volume_group_type_specs",
    metadata,
    Column("group_type_id", ForeignKey("volume_group_types.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", Text, nullable=False),
)

volume_group_type_projects = Table(
    "volume_group_type_projects",
    metadata,
    Column("group_type_id", ForeignKey("volume_group_types.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", NAME, primary_key=True),
)

volume_groups = Table(
    "volume_groups",
    metadata,
    Column("id", ID, primary_key=True),
    Column("display_name", NAME),
    Column("display_description", Text),
    Column("project_id", NAME, nullable=False),
    Column("user_id", NAME, nullable=False),
    Column("group_type_id", ForeignKey("volume_group_types.id"), nullable=False, index=True),
    Column("host", NAME, index=True),  # host@backend#pool
    Column("availability_zone", NAME),
    Column("status", String(64), nullable=False),
    Column("group_snapshot_id", ID),
    Column("source_group_id", ID),
    Column("replication_status", String(32)),
    *times(),
    Index("ix_volume_groups_project_created", "project_id", "created_at", "id"),
)

volume_group_volume_types = Table(
    "volume_group_volume_types",
    metadata,
    Column("group_id", ForeignKey("volume_groups.id", ondelete="CASCADE"), primary_key=True),
    Column("volume_type_id", ForeignKey("volume_types.id"), primary_key=True, index=True),
)

volume_group_snapshots = Table(
    "volume_group_snapshots",
    metadata,
    Column("id", ID, primary_key=True),
    Column("group_id", ForeignKey("volume_groups.id"), nullable=False, index=True),
    Column("display_name", NAME),
    Column("display_description", Text),
    Column("project_id", NAME, nullable=False),
    Column("user_id", NAME, nullable=False),
    Column("group_type_id", ID, nullable=False),
    Column("status", String(64), nullable=False),
    *times(),
    Index("ix_volume_group_snapshots_project_created", "project_id", "created_at", "id"),
)
