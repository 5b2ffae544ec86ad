"""Groups of volumes: their types, the groups, and snapshots of all of a group"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "volume_group_types",
        _id("id"),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("description", sa.String(255), nullable=True),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        *_times(),
    )
    op.create_table(
        "volume_group_type_specs",
        _of("group_type_id", "volume_group_types.id"),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.create_table(
        "volume_group_type_projects",
        _of("group_type_id", "volume_group_types.id"),
        sa.Column("project_id", sa.String(255), primary_key=True),
    )
    op.create_table(
        "volume_groups",
        _id("id"),
        *_owned(),
        sa.Column("group_type_id", sa.String(36), sa.ForeignKey("volume_group_types.id"), nullable=False),
        sa.Column("host", sa.String(255), nullable=True),
        sa.Column("availability_zone", sa.String(255), nullable=True),
        sa.Column("status", sa.String(64), nullable=False),
        sa.Column("group_snapshot_id", sa.String(36), nullable=True),
        sa.Column("source_group_id", sa.String(36), nullable=True),
        sa.Column("replication_status", sa.String(32), nullable=True),
        *_times(),
    )
    op.create_index("ix_volume_groups_group_type_id", "volume_groups", ["group_type_id"])
    op.create_index("ix_volume_groups_host", "volume_groups", ["host"])
    op.create_index("ix_volume_groups_project_created", "volume_groups", ["project_id", "created_at", "id"])
    op.create_table(
        "volume_group_volume_types",
        _of("group_id", "volume_groups.id"),
        sa.Column("volume_type_id", sa.String(36), sa.ForeignKey("volume_types.id"), primary_key=True),
    )
    op.create_index("ix_volume_group_volume_types_volume_type_id", "volume_group_volume_types", ["volume_type_id"])
    op.create_table(
        "volume_group_snapshots",
        _id("id"),
        sa.Column("group_id", sa.String(36), sa.ForeignKey("volume_groups.id"), nullable=False),
        *_owned(),
        sa.Column("group_type_id", sa.String(36), nullable=False),
        sa.Column("status", sa.String(64), nullable=False),
        *_times(),
    )
    op.create_index("ix_volume_group_snapshots_group_id", "volume_group_snapshots", ["group_id"])
    op.create_index(
        "ix_volume_group_snapshots_project_created", "volume_group_snapshots", ["project_id", "created_at", "id"]
    )


def _id(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.String(36), primary_key=True, nullable=False)


def _of(name: str, owner: str) -> sa.Column[object]:
    return sa.Column(name, sa.String(36), sa.ForeignKey(owner, ondelete="CASCADE"), primary_key=True)


def _owned() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("display_name", sa.String(255), nullable=True),
        sa.Column("display_description", sa.Text(), nullable=True),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
    )


def _times() -> tuple[sa.Column[object], sa.Column[object]]:
    return sa.Column("created_at", sa.DateTime(), nullable=False), sa.Column("updated_at", sa.DateTime())


def downgrade() -> None:
    for table in (
        "volume_group_snapshots",
        "volume_group_volume_types",
        "volume_groups",
        "volume_group_type_projects",
        "volume_group_type_specs",
        "volume_group_types",
    ):
        op.drop_table(table)
