"""The tables. Times are UTC without zone; ids are 36 character UUIDs; rows that are gone are deleted, not marked.

Quota usage and promised capacity are computed from these rows, never counted beside them, so they cannot drift.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
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
    text,
)

from penstock.store.backup_schema import volume_backup_metadata, volume_backups
from penstock.store.table_parts import ID, NAME, metadata, times
from penstock.store.volume_group_schema import (
    volume_group_snapshots,
    volume_group_type_projects,
    volume_group_type_specs,
    volume_group_types,
    volume_group_volume_types,
    volume_groups,
)
from penstock.store.volume_offer_schema import volume_transfers
from penstock.store.volume_schema import (
    volume_admin_metadata,
    volume_attachments,
    volume_image_metadata,
    volume_metadata,
    volume_quotas,
    volume_snapshot_image_metadata,
    volume_snapshot_metadata,
    volume_snapshots,
    volumes,
)
from penstock.store.volume_type_schema import (
    default_volume_types,
    qos_spec_items,
    qos_specs,
    volume_type_encryptions,
    volume_type_extra_specs,
    volume_type_projects,
    volume_types,
)

__all__ = [  # tables of other modules, which belong to the same database
    "default_volume_types",
    "metadata",
    "qos_spec_items",
    "qos_specs",
    "volume_admin_metadata",
    "volume_attachments",
    "volume_backup_metadata",
    "volume_backups",
    "volume_group_snapshots",
    "volume_group_type_projects",
    "volume_group_type_specs",
    "volume_group_types",
    "volume_group_volume_types",
    "volume_groups",
    "volume_image_metadata",
    "volume_metadata",
    "volume_quotas",
    "volume_snapshot_image_metadata",
    "volume_snapshot_metadata",
    "volume_snapshots",
    "volume_transfers",
    "volume_type_encryptions",
    "volume_type_extra_specs",
    "volume_type_projects",
    "volume_types",
    "volumes",
]

availability_zones = Table(
    "availability_zones",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    *times(),
)

services = Table(
    "services",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("binary", NAME, nullable=False),
    Column("host", NAME, nullable=False),
    Column("availability_zone", NAME, nullable=False),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("disabled_reason", String(255)),
    Column("ready", Boolean, nullable=False, default=False),
    Column("backend_info_hash", String(64)),
    Column("frozen", Boolean, nullable=False, server_default=false()),
    Column("replication_status", String(32)),
    Column("active_backend_id", NAME),
    *times(),
    UniqueConstraint("binary", "host"),
)

pools = Table(
    "pools",
    metadata,
    Column("ref", NAME, primary_key=True),  # host@backend#pool
    Column("backend", NAME, nullable=False, index=True),  # host@backend
    Column("capabilities", JSON, nullable=False),
    Column("reported_at", DateTime, nullable=False),
)

share_types = Table(
    "share_types",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("description", String(255)),
    Column("is_public", Boolean, nullable=False),
    *times(),
)

share_type_extra_specs = Table(
    "share_type_extra_specs",
    metadata,
    Column("share_type_id", ForeignKey("share_types.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", Text, nullable=False),
)

share_type_projects = Table(
    "share_type_projects",
    metadata,
    Column("share_type_id", ForeignKey("share_types.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", NAME, primary_key=True),
)

share_group_types = Table(
    "share_group_types",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("is_public", Boolean, nullable=False),
    *times(),
)

share_group_type_specs = Table(
    "share_group_type_specs",
    metadata,
    Column("share_group_type_id", ForeignKey("share_group_types.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", Text, nullable=False),
)

share_group_type_share_types = Table(
    "share_group_type_share_types",
    metadata,
    Column("share_group_type_id", ForeignKey("share_group_types.id", ondelete="CASCADE"), primary_key=True),
    Column("share_type_id", ForeignKey("share_types.id", ondelete="CASCADE"), primary_key=True, index=True),
)

share_group_type_projects = Table(
    "share_group_type_projects",
    metadata,
    Column("share_group_type_id", ForeignKey("share_group_types.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", NAME, primary_key=True),
)

shares = Table(
    "shares",
    metadata,
    Column("id", ID, primary_key=True),
    Column("instance_id", ID, nullable=False, unique=True),  # the instance that speaks for the share
    Column("display_name", NAME, index=True),
    Column("display_description", NAME),
    Column("size_gib", Integer, nullable=False),
    Column("size_target_gib", Integer),
    Column("project_id", NAME, nullable=False),
    Column("user_id", NAME, nullable=False),
    Column("share_proto", String(32), nullable=False),
    Column("share_type_id", ForeignKey("share_types.id"), index=True),
    Column("snapshot_id", ID, index=True),
    Column("is_public", Boolean, nullable=False, default=False),
    Column("snapshot_support", Boolean, nullable=False),
    Column("create_share_from_snapshot_support", Boolean, nullable=False),
    Column("revert_to_snapshot_support", Boolean, nullable=False),
    Column("mount_snapshot_support", Boolean, nullable=False),
    Column("replication_type", String(32)),
    Column("task_state", String(64)),
    Column("share_group_id", ID),
    Column("source_share_group_snapshot_member_id", ID),
    Column("mount_point_name", NAME),
    Column("used_bytes", BigInteger),
    Column("is_soft_deleted", Boolean, nullable=False, server_default=false()),
    Column("scheduled_to_be_deleted_at", DateTime),
    Column("last_epoch", Integer, nullable=False, server_default=text("1")),  # kept for a reign, begun or not
    *times(),
    Index("ix_shares_project_created", "project_id", "created_at", "id"),
    Index("ix_shares_created", "created_at", "id"),
)

share_metadata = Table(
    "share_metadata",
    metadata,
    Column("share_id", ForeignKey("shares.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", String(1023), nullable=False),
)

share_instances = Table(
    "share_instances",
    metadata,
    Column("id", ID, primary_key=True),
    Column("share_id", ForeignKey("shares.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("host", NAME, index=True),  # host@backend#pool
    Column("status", String(64), nullable=False),
    Column("access_rules_status", String(32), nullable=False),
    Column("replica_state", String(32)),
    Column("availability_zone", NAME),
    Column("share_network_id", ID),
    Column("share_server_id", ID),
    Column("share_type_id", ID),
    Column("cast_rules_to_readonly", Boolean, nullable=False, default=False),
    Column("progress", String(32)),
    Column("provider_location", String(1023)),
    Column("scheduled_at", DateTime),
    Column("launched_at", DateTime),
    Column("terminated_at", DateTime),
    Column("synced_at", DateTime),
    Column("lag_alarm", Boolean, nullable=False, server_default=false()),
    Column("epoch", Integer, nullable=False, server_default=text("1")),
    *times(),
    # Never two active replicas of a share.
    Index(
        "uq_share_instances_active_replica",
        "share_id",
        unique=True,
        sqlite_where=text("replica_state = 'active'"),
        postgresql_where=text("replica_state = 'active'"),
    ),
)

export_locations = Table(
    "export_locations",
    metadata,
    Column("id", ID, primary_key=True),
    Column("share_instance_id", ForeignKey("share_instances.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("path", String(2000), nullable=False),
    Column("is_admin_only", Boolean, nullable=False, default=False),
    Column("preferred", Boolean, nullable=False, default=False),
    Column("ordinal", Integer, nullable=False, default=0),
    *times(),
)

export_location_metadata = Table(
    "export_location_metadata",
    metadata,
    Column("export_location_id", ForeignKey("export_locations.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", String(1023), nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", ID, primary_key=True),
    Column("instance_id", ID, nullable=False, unique=True),
    Column("share_id", ForeignKey("shares.id"), nullable=False, index=True),
    Column("display_name", NAME),
    Column("display_description", NAME),
    Column("project_id", NAME, nullable=False),
    Column("user_id", NAME, nullable=False),
    Column("size_gib", Integer, nullable=False),
    Column("share_size_gib", Integer, nullable=False),
    Column("share_proto", String(32), nullable=False),
    *times(),
    Index("ix_snapshots_project_created", "project_id", "created_at", "id"),
)

snapshot_metadata = Table(
    "snapshot_metadata",
    metadata,
    Column("snapshot_id", ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", String(1023), nullable=False),
)

snapshot_instances = Table(
    "snapshot_instances",
    metadata,
    Column("id", ID, primary_key=True),
    Column("snapshot_id", ForeignKey("snapshots.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("share_instance_id", ForeignKey("share_instances.id"), nullable=False, index=True),
    Column("status", String(64), nullable=False),
    Column("progress", String(32), nullable=False),
    Column("provider_location", String(1023)),
    *times(),
    Index("uq_snapshot_instances_of_share_instance", "snapshot_id", "share_instance_id", unique=True),
)

access_rules = Table(
    "access_rules",
    metadata,
    Column("id", ID, primary_key=True),
    Column("share_id", ForeignKey("shares.id", ondelete="CASCADE"), nullable=False),
    Column("access_type", String(32), nullable=False),
    Column("access_to", String(255), nullable=False),
    Column("access_level", String(8), nullable=False),
    Column("access_key", String(255)),
    *times(),
    UniqueConstraint("share_id", "access_type", "access_to"),
)

access_rule_metadata = Table(
    "access_rule_metadata",
    metadata,
    Column("access_rule_id", ForeignKey("access_rules.id", ondelete="CASCADE"), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("value", String(1023), nullable=False),
)

instance_access_rules = Table(
    "instance_access_rules",
    metadata,
    Column("access_rule_id", ForeignKey("access_rules.id", ondelete="CASCADE"), primary_key=True),
    Column("share_instance_id", ForeignKey("share_instances.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("state", String(32), nullable=False),
    Column("updated_at", DateTime),
)

share_migrations = Table(
    "share_migrations",
    metadata,
    Column("share_id", ForeignKey("shares.id", ondelete="CASCADE"), primary_key=True),
    Column("source_instance_id", ID, nullable=False, index=True),
    Column("destination_instance_id", ID, nullable=False, index=True),
    Column("destination_host", NAME, nullable=False),
    Column("force_host_assisted", Boolean, nullable=False),
    Column("preserve_metadata", Boolean, nullable=False),
    Column("writable", Boolean, nullable=False),
    Column("nondisruptive", Boolean, nullable=False),
    Column("preserve_snapshots", Boolean, nullable=False),
    Column("new_share_type_id", ID),
    Column("is_unfinished", Boolean, nullable=False, index=True),
    Column("is_host_assisted", Boolean),
    Column("cancel_requested", Boolean, nullable=False),
    Column("moved_bytes", BigInteger),
    Column("total_bytes", BigInteger),
    Column("eta_s", BigInteger),
    Column("note", Text),
    Column("destination_connection", Text),
    *times(),
)

quotas = Table(
    "quotas",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    # 'class' (subject: class name), 'project', 'user' (subject: user id), 'type' (subject: share type id)
    Column("scope", String(16), nullable=False),
    Column("project_id", NAME, nullable=False, default=""),
    Column("subject", NAME, nullable=False, default=""),
    Column("resource", String(64), nullable=False),
    Column("hard_limit", Integer, nullable=False),
    *times(),
    UniqueConstraint("scope", "project_id", "subject", "resource"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", ID, primary_key=True),
    Column("project_id", NAME, nullable=False, index=True),
    Column("request_id", NAME, nullable=False),
    Column("resource_type", String(64), nullable=False),
    Column("resource_id", ID, nullable=False, index=True),
    Column("action_id", String(8), nullable=False),
    Column("detail_id", String(8), nullable=False),
    Column("level", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("expires_at", DateTime, nullable=False),
)

operations = Table(
    "operations",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),  # the order of a resource's calls
    Column("id", ID, nullable=False, unique=True),
    Column("backend", NAME, nullable=False),
    Column("resource_key", NAME, nullable=False),
    Column("method", String(64), nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("not_before", DateTime),
    Column("request_id", NAME, nullable=False),
    Column("user_id", NAME),
    Column("project_id", NAME),
    Column("progress", String(255)),
    Column("error", Text),
    Column("fault", String(32)),  # the kind of fault that `error` is the sentence of
    Column("answer", JSON(none_as_null=True)),  # of operations that only look
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("created_at", DateTime, nullable=False),
    Column("started_at", DateTime),
    Column("finished_at", DateTime),
    Index("ix_operations_pending", "backend", "state", "sequence"),
    Index("ix_operations_resource", "resource_key", "state"),
    Index("ix_operations_finished", "finished_at"),
)

worker_claims = Table(
    "worker_claims",
    metadata,
    Column("backend", NAME, primary_key=True),
    Column(
        "epoch", BigInteger, nullable=False
    ),  # grows whenever a process begins to serve: its writes are fenced by it
    Column("taken_at", DateTime, nullable=False),
)

identity_projects = Table(
    "identity_projects",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("description", String(255), nullable=False, default=""),
    Column("enabled", Boolean, nullable=False, default=True),
    *times(),
)

identity_users = Table(
    "identity_users",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("password_hash", String(255)),
    Column("default_project_id", NAME),
    Column("email", String(255)),
    Column("enabled", Boolean, nullable=False, default=True),
    *times(),
)

identity_roles = Table(
    "identity_roles",
    metadata,
    Column("id", NAME, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    *times(),
)

identity_grants = Table(
    "identity_grants",
    metadata,
    Column("user_id", ForeignKey("identity_users.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", ForeignKey("identity_projects.id", ondelete="CASCADE"), primary_key=True),
    Column("role_id", ForeignKey("identity_roles.id", ondelete="CASCADE"), primary_key=True),
)

identity_tokens = Table(
    "identity_tokens",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the token; the token itself is never stored
    Column("user_id", ForeignKey("identity_users.id", ondelete="CASCADE"), nullable=False),
    Column("project_id", NAME),
    Column("methods", JSON, nullable=False),
    Column("audit_id", String(32), nullable=False),
    Column("issued_at", DateTime, nullable=False),
    Column("expires_at", DateTime, nullable=False, index=True),
)

identity_application_credentials = Table(
    "identity_application_credentials",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", NAME, nullable=False),
    Column("user_id", ForeignKey("identity_users.id", ondelete="CASCADE"), nullable=False),
    Column("project_id", ForeignKey("identity_projects.id", ondelete="CASCADE"), nullable=False),
    Column("secret_hash", String(255), nullable=False),
    Column("expires_at", DateTime),
    *times(),
    UniqueConstraint("user_id", "name"),
)
