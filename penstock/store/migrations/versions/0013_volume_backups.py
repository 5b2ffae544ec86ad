"""Backups of volumes"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "volume_backups",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("volume_id", sa.String(36), nullable=False),
        sa.Column("snapshot_id", sa.String(36), nullable=True),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("availability_zone", sa.String(255), nullable=True),
        sa.Column("name", sa.String(255), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("container", sa.String(255), nullable=True),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("fail_reason", sa.Text(), nullable=True),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("object_count", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.String(36), nullable=True),
        sa.Column("data_timestamp", sa.DateTime(), nullable=False),
        sa.Column("encryption_key_id", sa.String(36), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["parent_id"], ["volume_backups.id"], name=op.f("fk_volume_backups_parent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volume_backups")),
    )
    op.create_index(op.f("ix_volume_backups_host"), "volume_backups", ["host"], unique=False)
    op.create_index(op.f("ix_volume_backups_parent_id"), "volume_backups", ["parent_id"], unique=False)
    op.create_index(
        "ix_volume_backups_project_created", "volume_backups", ["project_id", "created_at", "id"], unique=False
    )
    op.create_index(op.f("ix_volume_backups_snapshot_id"), "volume_backups", ["snapshot_id"], unique=False)
    op.create_index(op.f("ix_volume_backups_volume_id"), "volume_backups", ["volume_id"], unique=False)
    op.create_table(
        "volume_backup_metadata",
        sa.Column("backup_id", sa.String(36), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(
            ["backup_id"], ["volume_backups.id"], name=op.f("fk_volume_backup_metadata_backup_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("backup_id", "key", name=op.f("pk_volume_backup_metadata")),
    )


def downgrade() -> None:
    op.drop_table("volume_backup_metadata")
    op.drop_index(op.f("ix_volume_backups_volume_id"), table_name="volume_backups")
    op.drop_index(op.f("ix_volume_backups_snapshot_id"), table_name="volume_backups")
    op.drop_index("ix_volume_backups_project_created", table_name="volume_backups")
    op.drop_index(op.f("ix_volume_backups_parent_id"), table_name="volume_backups")
    op.drop_index(op.f("ix_volume_backups_host"), table_name="volume_backups")
    op.drop_table("volume_backups")
