"""Soft deletion of shares"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shares", sa.Column("is_soft_deleted", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("shares", sa.Column("scheduled_to_be_deleted_at", sa.DateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("shares", "scheduled_to_be_deleted_at")
    op.drop_column("shares", "is_soft_deleted")
