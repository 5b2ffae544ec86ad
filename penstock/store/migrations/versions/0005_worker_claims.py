"""Who works on a backend: a number that grows with every taking"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "worker_claims",
        sa.Column("backend", sa.String(length=255), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("backend", name="pk_worker_claims"),
    )


def downgrade() -> None:
    op.drop_table("worker_claims")
