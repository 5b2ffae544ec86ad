"""Migrations of shares: what was asked for, and how far each is"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "share_migrations",
        sa.Column(
            "share_id", sa.String(36), sa.ForeignKey("shares.id", ondelete="CASCADE"), primary_key=True, nullable=False
        ),
        sa.Column("source_instance_id", sa.String(36), nullable=False),
        sa.Column("destination_instance_id", sa.String(36), nullable=False),
        sa.Column("destination_host", sa.String(255), nullable=False),
        sa.Column("force_host_assisted", sa.Boolean(), nullable=False),
        sa.Column("preserve_metadata", sa.Boolean(), nullable=False),
        sa.Column("writable", sa.Boolean(), nullable=False),
        sa.Column("nondisruptive", sa.Boolean(), nullable=False),
        sa.Column("preserve_snapshots", sa.Boolean(), nullable=False),
        sa.Column("new_share_type_id", sa.String(36), nullable=True),
        sa.Column("is_unfinished", sa.Boolean(), nullable=False),
        sa.Column("is_host_assisted", sa.Boolean(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("moved_bytes", sa.BigInteger(), nullable=True),
        sa.Column("total_bytes", sa.BigInteger(), nullable=True),
        sa.Column("eta_s", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("destination_connection", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
    )
    for column in ("source_instance_id", "destination_instance_id", "is_unfinished"):
        op.create_index(f"ix_share_migrations_{column}", "share_migrations", [column])


def downgrade() -> None:
    op.drop_table("share_migrations")
