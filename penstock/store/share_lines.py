"""Shares as flat lines of columns, for lists: a page of a thousand must not cost a thousand domain values.

A list in detail of 1,000 shares is to take at most 30 ms of CPU altogether, and a domain `Share` with its instance
costs several times a line. Everything but lists works on `Share`; `line_of` gives the same line of one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from penstock.domain.shares import Share
from penstock.store.aggregates import access_rules_status, has_replicas
from penstock.store.lists import Page
from penstock.store.schema import share_instances, shares
from penstock.store.share_filter import SORTABLE, ShareFilter, narrow
from penstock.store.shares import METADATA_TEXT
from penstock.store.transaction import Transaction

ShareLine = Sequence[Any]  # the columns of COLUMNS, in that order


# What a line holds, by the name the API publishes it under, and where a domain share has it.
_FIELDS: tuple[tuple[str, Any, str], ...] = (
    ("id", shares.c.id, "id"),
    ("instance_id", shares.c.instance_id, "instance.id"),
    ("name", shares.c.display_name, "name"),
    ("description", shares.c.display_description, "description"),
    ("size", shares.c.size_gib, "size_gib"),
    ("project_id", shares.c.project_id, "project_id"),
    ("user_id", shares.c.user_id, "user_id"),
    ("share_proto", shares.c.share_proto, "protocol"),
    ("share_type", shares.c.share_type_id, "share_type_id"),
    ("snapshot_id", shares.c.snapshot_id, "snapshot_id"),
    ("is_public", shares.c.is_public, "is_public"),
    ("snapshot_support", shares.c.snapshot_support, "snapshot_support"),
    (
        "create_share_from_snapshot_support",
        shares.c.create_share_from_snapshot_support,
        "create_share_from_snapshot_support",
    ),
    ("revert_to_snapshot_support", shares.c.revert_to_snapshot_support, "revert_to_snapshot_support"),
    ("mount_snapshot_support", shares.c.mount_snapshot_support, "mount_snapshot_support"),
    ("replication_type", shares.c.replication_type, "replication_type"),
    ("task_state", shares.c.task_state, "task_state"),
    ("share_group_id", shares.c.share_group_id, "share_group_id"),
    (
        "source_share_group_snapshot_member_id",
        shares.c.source_share_group_snapshot_member_id,
        "source_share_group_snapshot_member_id",
    ),
    ("created_at", shares.c.created_at, "created_at"),
    ("is_soft_deleted", shares.c.is_soft_deleted, "is_soft_deleted"),
    ("scheduled_to_be_deleted_at", shares.c.scheduled_to_be_deleted_at, "scheduled_to_be_deleted_at"),
    ("status", share_instances.c.status, "instance.status"),
    ("access_rules_status", access_rules_status, "access_rules_status"),
    ("has_replicas", has_replicas, "has_replicas"),
    ("availability_zone", share_instances.c.availability_zone, "instance.availability_zone"),
    ("share_network_id", share_instances.c.share_network_id, "instance.share_network_id"),
    ("share_server_id", share_instances.c.share_server_id, "instance.share_server_id"),
    ("host", share_instances.c.host, "instance.host"),
    ("progress", share_instances.c.progress, "instance.progress"),
)
COLUMNS: tuple[str, ...] = (*(name for name, _, _ in _FIELDS), "metadata")  # metadata: JSON text, or None
ID = COLUMNS.index("id")
INSTANCE_ID = COLUMNS.index("instance_id")
TYPE_ID = COLUMNS.index("share_type")
CREATED_AT = COLUMNS.index("created_at")
METADATA = COLUMNS.index("metadata")

_LINES = select(*(column for _, column, _ in _FIELDS), METADATA_TEXT).join(
    share_instances, share_instances.c.id == shares.c.instance_id
)


def list_lines(tx: Transaction, wanted: ShareFilter, page: Page) -> Sequence[ShareLine]:
    """Lines of the shares matching `wanted`, one page, in one query."""
    order = SORTABLE[page.sort_key]
    tie = shares.c.id
    query = narrow(_LINES, wanted).order_by(*((order.desc(), tie.desc()) if page.descending else (order, tie)))
    if page.limit is not None:
        query = query.limit(page.limit)
    if page.offset:
        query = query.offset(page.offset)
    return tx.execute(query).all()


def line_of(share: Share) -> ShareLine:
    """The line of one share."""
    found: list[Any] = []
    for _, _, path in _FIELDS:
        owner, _, attribute = path.rpartition(".")
        found.append(getattr(share.instance if owner else share, attribute))
    return (*found, json.dumps(share.metadata))
