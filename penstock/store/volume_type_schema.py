"""The tables of volume types: extra specs, projects, encryption, QoS specs and the types projects have by default.

`store.schema` names them beside all others.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table, Text

from penstock.store.table_parts import ID, NAME, metadata, times

qos_specs = Table(
    "qos_specs",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("consumer", String(16), nullable=False),
    *times(),
)

qos_spec_items = Table(
    "qos_spec_items",
    metadata,
    Column("qos_specs_id", ForeignKey("qos_specs.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", Text, nullable=False),
)

volume_types = Table(
    "volume_types",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("description", String(255)),
    Column("is_public", Boolean, nullable=False),
    Column("qos_specs_id", ForeignKey("qos_specs.id"), index=True),
    *times(),
)

volume_type_extra_specs = Table(
    "volume_type_extra_specs",
    metadata,
    Column("volume_type_id", ForeignKey("volume_types.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", Text, nullable=False),
)

volume_type_projects = Table(
    "volume_type_projects",
    metadata,
    Column("volume_type_id", ForeignKey("volume_types.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", NAME, primary_key=True),
)

volume_type_encryptions = Table(
    "volume_type_encryptions",
    metadata,
    Column("volume_type_id", ForeignKey("volume_types.id", ondelete="CASCADE"), primary_key=True),
    Column("encryption_id", ID, nullable=False, unique=True),
    Column("provider", NAME, nullable=False),
    Column("control_location", String(16), nullable=False),
    Column("cipher", NAME),
    Column("key_size", Integer),
    *times(),
)

default_volume_types = Table(
    "default_volume_types",
    metadata,
    Column("project_id", NAME, primary_key=True),
    Column("volume_type_id", ForeignKey("volume_types.id", ondelete="CASCADE"), nullable=False, index=True),
    *times(),
)
