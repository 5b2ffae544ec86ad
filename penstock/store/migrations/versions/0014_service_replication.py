"""Volume backends that are frozen or failed over"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("services", sa.Column("frozen", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("services", sa.Column("replication_status", sa.String(32), nullable=True))
    op.add_column("services", sa.Column("active_backend_id", sa.String(255), nullable=True))


def downgrade() -> None:
    op.drop_column("services", "active_backend_id")
    op.drop_column("services", "replication_status")
    op.drop_column("services", "frozen")
