"""Volume types: extra specs, projects, encryption, QoS specs, and the types projects have by default"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "qos_specs",
        sa.Column("id", sa.String(36), primary_key=True, nullable=False),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("consumer", sa.String(16), nullable=False),
        *_times(),
    )
    op.create_table(
        "qos_spec_items",
        sa.Column("qos_specs_id", sa.String(36), sa.ForeignKey("qos_specs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.create_table(
        "volume_types",
        sa.Column("id", sa.String(36), primary_key=True, nullable=False),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("description", sa.String(255), nullable=True),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("qos_specs_id", sa.String(36), sa.ForeignKey("qos_specs.id"), nullable=True),
        *_times(),
    )
    op.create_index("ix_volume_types_qos_specs_id", "volume_types", ["qos_specs_id"])
    op.create_table(
        "volume_type_extra_specs",
        _of_type(primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.create_table(
        "volume_type_projects", _of_type(primary_key=True), sa.Column("project_id", sa.String(255), primary_key=True)
    )
    op.create_table(
        "volume_type_encryptions",
        _of_type(primary_key=True),
        sa.Column("encryption_id", sa.String(36), nullable=False, unique=True),
        sa.Column("provider", sa.String(255), nullable=False),
        sa.Column("control_location", sa.String(16), nullable=False),
        sa.Column("cipher", sa.String(255), nullable=True),
        sa.Column("key_size", sa.Integer(), nullable=True),
        *_times(),
    )
    op.create_table(
        "default_volume_types",
        sa.Column("project_id", sa.String(255), primary_key=True),
        _of_type(primary_key=False),
        *_times(),
    )
    op.create_index("ix_default_volume_types_volume_type_id", "default_volume_types", ["volume_type_id"])


def _times() -> tuple[sa.Column[object], sa.Column[object]]:
    return sa.Column("created_at", sa.DateTime(), nullable=False), sa.Column("updated_at", sa.DateTime())


def _of_type(*, primary_key: bool) -> sa.Column[object]:
    return sa.Column(
        "volume_type_id",
        sa.String(36),
        sa.ForeignKey("volume_types.id", ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=False,
    )


def downgrade() -> None:
    for table in (
        "default_volume_types",
        "volume_type_encryptions",
        "volume_type_projects",
        "volume_type_extra_specs",
        "volume_types",
        "qos_spec_items",
        "qos_specs",
    ):
        op.drop_table(table)
