"""Share group types"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TYPE_ID = "share_group_type_id"


def upgrade() -> None:
    op.create_table(
        "share_group_types",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_share_group_types"),
        sa.UniqueConstraint("name", name="uq_share_group_types_name"),
    )
    _create_part("share_group_type_specs", "key", sa.Column("value", sa.Text(), nullable=False))
    _create_part("share_group_type_projects", "project_id")
    op.create_table(
        "share_group_type_share_types",
        sa.Column(TYPE_ID, sa.String(length=36), nullable=False),
        sa.Column("share_type_id", sa.String(length=36), nullable=False),
        _of_type("share_group_type_share_types"),
        sa.ForeignKeyConstraint(
            ["share_type_id"],
            ["share_types.id"],
            name="fk_share_group_type_share_types_share_type_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(TYPE_ID, "share_type_id", name="pk_share_group_type_share_types"),
    )
    op.create_index("ix_share_group_type_share_types_share_type_id", "share_group_type_share_types", ["share_type_id"])


def downgrade() -> None:
    op.drop_table("share_group_type_share_types")
    op.drop_table("share_group_type_projects")
    op.drop_table("share_group_type_specs")
    op.drop_table("share_group_types")


def _create_part(table: str, key: str, *columns: sa.Column[str]) -> None:
    """A table with what a type has many of, by its `key`."""
    op.create_table(
        table,
        sa.Column(TYPE_ID, sa.String(length=36), nullable=False),
        sa.Column(key, sa.String(length=255), nullable=False),
        *columns,
        _of_type(table),
        sa.PrimaryKeyConstraint(TYPE_ID, key, name=f"pk_{table}"),
    )


def _of_type(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [TYPE_ID], ["share_group_types.id"], name=f"fk_{table}_{TYPE_ID}", ondelete="CASCADE"
    )
