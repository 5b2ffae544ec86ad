"""Replicas: how far each is, and at most one active one of a share"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ACTIVE = "uq_share_instances_active_replica"
SNAPSHOTS = "uq_snapshot_instances_of_share_instance"


def upgrade() -> None:
    op.add_column("share_instances", sa.Column("synced_at", sa.DateTime(), nullable=True))
    op.add_column("share_instances", sa.Column("lag_alarm", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("share_instances", sa.Column("epoch", sa.Integer(), nullable=False, server_default=sa.text("1")))
    is_active = sa.text("replica_state = 'active'")
    op.create_index(
        ACTIVE, "share_instances", ["share_id"], unique=True, sqlite_where=is_active, postgresql_where=is_active
    )
    op.create_index(SNAPSHOTS, "snapshot_instances", ["snapshot_id", "share_instance_id"], unique=True)


def downgrade() -> None:
    op.drop_index(SNAPSHOTS, "snapshot_instances")
    op.drop_index(ACTIVE, "share_instances")
    op.drop_column("share_instances", "epoch")
    op.drop_column("share_instances", "lag_alarm")
    op.drop_column("share_instances", "synced_at")
