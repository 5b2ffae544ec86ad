"""The tables of block volumes: volumes, snapshots, attachments, and quotas of them.

`store.schema` names them beside all others, and its rules hold here: usage and promises are computed from these rows.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

from penstock.store.sealed import SealedJson, SealedText
from penstock.store.table_parts import ID, NAME, metadata, times

volumes = Table(
    "volumes",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name_id", ID),
    Column("display_name", NAME, index=True),
    Column("display_description", Text),
    Column("size_gib", Integer, nullable=False),
    Column("size_target_gib", Integer),
    Column("project_id", NAME, nullable=False),
    Column("user_id", NAME, nullable=False),
    Column("host", NAME, index=True),  # host@backend#pool
    Column("availability_zone", NAME),
    Column("status", String(64), nullable=False),
    Column("previous_status", String(64)),
    Column("attach_status", String(32), nullable=False),
    Column("migration_status", String(32)),
    Column("volume_type_id", ForeignKey("volume_types.id"), index=True),
    Column("snapshot_id", ID, index=True),
    Column("source_volid", ID, index=True),
    Column("group_id", ID, index=True),
    Column("is_bootable", Boolean, nullable=False, server_default=false()),
    Column("is_multiattach", Boolean, nullable=False, server_default=false()),
    Column("uses_quota", Boolean, nullable=False, server_default=true()),
    Column("shared_targets", Boolean, nullable=False, server_default=true()),
    Column("encryption_key_id", ID),
    Column("provider_location", Text),
    Column("provider_id", NAME, index=True),
    Column("provider_auth", SealedText),  # CHAP secrets
    Column("provider_geometry", NAME),
    Column("replication_status", String(32)),
    Column("replication_extended_status", NAME),
    Column("replication_driver_data", Text),
    Column("scheduled_at", DateTime),
    Column("launched_at", DateTime),
    Column("terminated_at", DateTime),
    *times(),
    Index("ix_volumes_project_created", "project_id", "created_at", "id"),
    Index("ix_volumes_created", "created_at", "id"),
)

volume_metadata = Table(
    "volume_metadata",
    metadata,
    Column("volume_id", ForeignKey("volumes.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", String(255), nullable=False),
)

volume_admin_metadata = Table(
    "volume_admin_metadata",
    metadata,
    Column("volume_id", ForeignKey("volumes.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", Text, nullable=False),
)

volume_image_metadata = Table(
    "volume_image_metadata",
    metadata,
    Column("volume_id", ForeignKey("volumes.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", Text, nullable=False),
)

volume_snapshots = Table(
    "volume_snapshots",
    metadata,
    Column("id", ID, primary_key=True),
    Column("volume_id", ForeignKey("volumes.id"), nullable=False, index=True),
    Column("display_name", NAME),
    Column("display_description", Text),
    Column("project_id", NAME, nullable=False),
    Column("user_id", NAME, nullable=False),
    Column("volume_size_gib", Integer, nullable=False),
    Column("status", String(64), nullable=False),
    Column("progress", String(32)),
    Column("volume_type_id", ForeignKey("volume_types.id"), index=True),
    Column("group_snapshot_id", ID, index=True),
    Column("encryption_key_id", ID),
    Column("uses_quota", Boolean, nullable=False, server_default=true()),
    Column("provider_location", Text),
    Column("provider_id", NAME),
    Column("provider_auth", SealedText),  # CHAP secrets
    *times(),
    Index("ix_volume_snapshots_project_created", "project_id", "created_at", "id"),
)

volume_snapshot_metadata = Table(
    "volume_snapshot_metadata",
    metadata,
    Column("snapshot_id", ForeignKey("volume_snapshots.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", String(255), nullable=False),
)

volume_snapshot_image_metadata = Table(
    "volume_snapshot_image_metadata",
    metadata,
    Column("snapshot_id", ForeignKey("volume_snapshots.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", Text, nullable=False),
)

volume_attachments = Table(
    "volume_attachments",
    metadata,
    Column("id", ID, primary_key=True),
    Column("volume_id", ForeignKey("volumes.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("project_id", NAME, nullable=False, index=True),
    Column("instance_uuid", NAME, index=True),
    Column("attached_host", NAME),
    Column("mountpoint", NAME),
    Column("mode", String(8), nullable=False),
    Column("status", String(32), nullable=False),
    Column("connector", JSON(none_as_null=True)),
    Column("connection_info", SealedJson(none_as_null=True)),  # CHAP secrets
    Column("attach_time", DateTime),
    Column("detach_time", DateTime),
    *times(),
)

volume_quotas = Table(
    "volume_quotas",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("scope", String(16), nullable=False),  # 'class' (subject: class name) or 'project' (subject: project id)
    Column("subject", NAME, nullable=False),
    Column("resource", String(300), nullable=False),  # also ``volumes_<name of a type>``
    Column("hard_limit", Integer, nullable=False),
    *times(),
    UniqueConstraint("scope", "subject", "resource"),
)
