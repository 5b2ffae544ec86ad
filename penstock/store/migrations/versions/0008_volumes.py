"""Volumes with their snapshots, attachments and quotas; the kind of fault that ended an operation"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "volume_quotas",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("resource", sa.String(300), nullable=False),
        sa.Column("hard_limit", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volume_quotas")),
        sa.UniqueConstraint("scope", "subject", "resource", name=op.f("uq_volume_quotas_scope_subject_resource")),
    )
    op.create_table(
        "volumes",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name_id", sa.String(36), nullable=True),
        sa.Column("display_name", sa.String(255), nullable=True),
        sa.Column("display_description", sa.Text(), nullable=True),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("size_target_gib", sa.Integer(), nullable=True),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("host", sa.String(255), nullable=True),
        sa.Column("availability_zone", sa.String(255), nullable=True),
        sa.Column("status", sa.String(64), nullable=False),
        sa.Column("previous_status", sa.String(64), nullable=True),
        sa.Column("attach_status", sa.String(32), nullable=False),
        sa.Column("migration_status", sa.String(32), nullable=True),
        sa.Column("volume_type_id", sa.String(36), nullable=True),
        sa.Column("snapshot_id", sa.String(36), nullable=True),
        sa.Column("source_volid", sa.String(36), nullable=True),
        sa.Column("group_id", sa.String(36), nullable=True),
        sa.Column("is_bootable", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("is_multiattach", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("uses_quota", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("shared_targets", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("encryption_key_id", sa.String(36), nullable=True),
        sa.Column("provider_location", sa.Text(), nullable=True),
        sa.Column("provider_id", sa.String(255), nullable=True),
        sa.Column("provider_auth", sa.Text(), nullable=True),
        sa.Column("provider_geometry", sa.String(255), nullable=True),
        sa.Column("replication_status", sa.String(32), nullable=True),
        sa.Column("replication_extended_status", sa.String(255), nullable=True),
        sa.Column("replication_driver_data", sa.Text(), nullable=True),
        sa.Column("scheduled_at", sa.DateTime(), nullable=True),
        sa.Column("launched_at", sa.DateTime(), nullable=True),
        sa.Column("terminated_at", sa.DateTime(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["volume_type_id"], ["volume_types.id"], name=op.f("fk_volumes_volume_type_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volumes")),
    )
    op.create_index("ix_volumes_created", "volumes", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_volumes_display_name"), "volumes", ["display_name"], unique=False)
    op.create_index(op.f("ix_volumes_group_id"), "volumes", ["group_id"], unique=False)
    op.create_index(op.f("ix_volumes_host"), "volumes", ["host"], unique=False)
    op.create_index("ix_volumes_project_created", "volumes", ["project_id", "created_at", "id"], unique=False)
    op.create_index(op.f("ix_volumes_provider_id"), "volumes", ["provider_id"], unique=False)
    op.create_index(op.f("ix_volumes_snapshot_id"), "volumes", ["snapshot_id"], unique=False)
    op.create_index(op.f("ix_volumes_source_volid"), "volumes", ["source_volid"], unique=False)
    op.create_index(op.f("ix_volumes_volume_type_id"), "volumes", ["volume_type_id"], unique=False)
    op.create_table(
        "volume_admin_metadata",
        sa.Column("volume_id", sa.String(36), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["volume_id"], ["volumes.id"], name=op.f("fk_volume_admin_metadata_volume_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("volume_id", "key", name=op.f("pk_volume_admin_metadata")),
    )
    op.create_table(
        "volume_attachments",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("volume_id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("instance_uuid", sa.String(255), nullable=True),
        sa.Column("attached_host", sa.String(255), nullable=True),
        sa.Column("mountpoint", sa.String(255), nullable=True),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("connector", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("connection_info", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("attach_time", sa.DateTime(), nullable=True),
        sa.Column("detach_time", sa.DateTime(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["volume_id"], ["volumes.id"], name=op.f("fk_volume_attachments_volume_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volume_attachments")),
    )
    op.create_index(op.f("ix_volume_attachments_instance_uuid"), "volume_attachments", ["instance_uuid"], unique=False)
    op.create_index(op.f("ix_volume_attachments_project_id"), "volume_attachments", ["project_id"], unique=False)
    op.create_index(op.f("ix_volume_attachments_volume_id"), "volume_attachments", ["volume_id"], unique=False)
    op.create_table(
        "volume_image_metadata",
        sa.Column("volume_id", sa.String(36), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["volume_id"], ["volumes.id"], name=op.f("fk_volume_image_metadata_volume_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("volume_id", "key", name=op.f("pk_volume_image_metadata")),
    )
    op.create_table(
        "volume_metadata",
        sa.Column("volume_id", sa.String(36), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(
            ["volume_id"], ["volumes.id"], name=op.f("fk_volume_metadata_volume_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("volume_id", "key", name=op.f("pk_volume_metadata")),
    )
    op.create_table(
        "volume_snapshots",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("volume_id", sa.String(36), nullable=False),
        sa.Column("display_name", sa.String(255), nullable=True),
        sa.Column("display_description", sa.Text(), nullable=True),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("volume_size_gib", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(64), nullable=False),
        sa.Column("progress", sa.String(32), nullable=True),
        sa.Column("volume_type_id", sa.String(36), nullable=True),
        sa.Column("group_snapshot_id", sa.String(36), nullable=True),
        sa.Column("encryption_key_id", sa.String(36), nullable=True),
        sa.Column("uses_quota", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("provider_location", sa.Text(), nullable=True),
        sa.Column("provider_id", sa.String(255), nullable=True),
        sa.Column("provider_auth", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["volume_id"], ["volumes.id"], name=op.f("fk_volume_snapshots_volume_id")),
        sa.ForeignKeyConstraint(
            ["volume_type_id"], ["volume_types.id"], name=op.f("fk_volume_snapshots_volume_type_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volume_snapshots")),
    )
    op.create_index(
        op.f("ix_volume_snapshots_group_snapshot_id"), "volume_snapshots", ["group_snapshot_id"], unique=False
    )
    op.create_index(
        "ix_volume_snapshots_project_created", "volume_snapshots", ["project_id", "created_at", "id"], unique=False
    )
    op.create_index(op.f("ix_volume_snapshots_volume_id"), "volume_snapshots", ["volume_id"], unique=False)
    op.create_index(op.f("ix_volume_snapshots_volume_type_id"), "volume_snapshots", ["volume_type_id"], unique=False)
    op.create_table(
        "volume_snapshot_image_metadata",
        sa.Column("snapshot_id", sa.String(36), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["snapshot_id"],
            ["volume_snapshots.id"],
            name=op.f("fk_volume_snapshot_image_metadata_snapshot_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("snapshot_id", "key", name=op.f("pk_volume_snapshot_image_metadata")),
    )
    op.create_table(
        "volume_snapshot_metadata",
        sa.Column("snapshot_id", sa.String(36), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(
            ["snapshot_id"],
            ["volume_snapshots.id"],
            name=op.f("fk_volume_snapshot_metadata_snapshot_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("snapshot_id", "key", name=op.f("pk_volume_snapshot_metadata")),
    )
    op.add_column("operations", sa.Column("fault", sa.String(32), nullable=True))


def downgrade() -> None:
    op.drop_column("operations", "fault")
    op.drop_table("volume_snapshot_metadata")
    op.drop_table("volume_snapshot_image_metadata")
    op.drop_index(op.f("ix_volume_snapshots_volume_type_id"), table_name="volume_snapshots")
    op.drop_index(op.f("ix_volume_snapshots_volume_id"), table_name="volume_snapshots")
    op.drop_index("ix_volume_snapshots_project_created", table_name="volume_snapshots")
    op.drop_index(op.f("ix_volume_snapshots_group_snapshot_id"), table_name="volume_snapshots")
    op.drop_table("volume_snapshots")
    op.drop_table("volume_metadata")
    op.drop_table("volume_image_metadata")
    op.drop_index(op.f("ix_volume_attachments_volume_id"), table_name="volume_attachments")
    op.drop_index(op.f("ix_volume_attachments_project_id"), table_name="volume_attachments")
    op.drop_index(op.f("ix_volume_attachments_instance_uuid"), table_name="volume_attachments")
    op.drop_table("volume_attachments")
    op.drop_table("volume_admin_metadata")
    op.drop_index(op.f("ix_volumes_volume_type_id"), table_name="volumes")
    op.drop_index(op.f("ix_volumes_source_volid"), table_name="volumes")
    op.drop_index(op.f("ix_volumes_snapshot_id"), table_name="volumes")
    op.drop_index(op.f("ix_volumes_provider_id"), table_name="volumes")
    op.drop_index("ix_volumes_project_created", table_name="volumes")
    op.drop_index(op.f("ix_volumes_host"), table_name="volumes")
    op.drop_index(op.f("ix_volumes_group_id"), table_name="volumes")
    op.drop_index(op.f("ix_volumes_display_name"), table_name="volumes")
    op.drop_index("ix_volumes_created", table_name="volumes")
    op.drop_table("volumes")
    op.drop_table("volume_quotas")
