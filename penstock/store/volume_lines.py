"""Volumes as flat lines of columns, for lists: a page of a thousand must not cost a thousand domain values.

As with shares (`share_lines`), a list in detail of 1,000 volumes is to take at most 30 ms of CPU altogether.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, bindparam, select

from penstock.domain.attachments import AttachStatus
from penstock.domain.volumes import Volume
from penstock.store.json_pairs import JsonPairs
from penstock.store.keyset import KeysetPage, paged
from penstock.store.schema import (
    volume_admin_metadata,
    volume_attachments,
    volume_image_metadata,
    volume_metadata,
    volumes,
)
from penstock.store.transaction import Transaction
from penstock.store.volumes import SORTABLE, VolumeFilter, narrow

VolumeLine = Sequence[Any]  # the columns of COLUMNS, in that order
# Who uses a volume, of one attachment: its id, the volume, the instance, the host, the device and since when.
UseLine = tuple[Any, ...]


def _pairs(table: Table) -> Any:
    mine = table.c.volume_id == volumes.c.id
    return select(JsonPairs(table.c.key, table.c.value)).where(mine).scalar_subquery()


# What a line holds, by the name the API publishes it under, and the attribute of a domain volume.
_FIELDS: tuple[tuple[str, Any, str], ...] = (
    ("id", volumes.c.id, "id"),
    ("name", volumes.c.display_name, "name"),
    ("description", volumes.c.display_description, "description"),
    ("size", volumes.c.size_gib, "size_gib"),
    ("status", volumes.c.status, "status"),
    ("availability_zone", volumes.c.availability_zone, "availability_zone"),
    ("user_id", volumes.c.user_id, "user_id"),
    ("volume_type_id", volumes.c.volume_type_id, "volume_type_id"),
    ("snapshot_id", volumes.c.snapshot_id, "snapshot_id"),
    ("source_volid", volumes.c.source_volid, "source_volid"),
    ("group_id", volumes.c.group_id, "group_id"),
    ("multiattach", volumes.c.is_multiattach, "is_multiattach"),
    ("replication_status", volumes.c.replication_status, "replication_status"),
    ("migration_status", volumes.c.migration_status, "migration_status"),
    ("provider_id", volumes.c.provider_id, "provider_id"),
    ("shared_targets", volumes.c.shared_targets, "shared_targets"),
    ("consumes_quota", volumes.c.uses_quota, "uses_quota"),
    ("os-vol-host-attr:host", volumes.c.host, "host"),
    ("os-vol-tenant-attr:tenant_id", volumes.c.project_id, "project_id"),
    ("os-vol-mig-status-attr:migstat", volumes.c.migration_status, "migration_status"),
    ("os-vol-mig-status-attr:name_id", volumes.c.name_id, "name_id"),
    ("bootable", volumes.c.is_bootable, "is_bootable"),
    ("encryption_key_id", volumes.c.encryption_key_id, "encryption_key_id"),
    ("created_at", volumes.c.created_at, "created_at"),
    ("updated_at", volumes.c.updated_at, "updated_at"),
    ("attach_status", volumes.c.attach_status, "attach_status"),
)
# Behind them: metadata, admin metadata and image metadata, each as JSON text, or None.
_NOTES = (
    (volume_metadata, "metadata"),
    (volume_admin_metadata, "admin_metadata"),
    (volume_image_metadata, "image_metadata"),
)
COLUMNS: tuple[str, ...] = (*(name for name, _, _ in _FIELDS), *(name for _, name in _NOTES))

_LINES = select(
    *(column.label(f"c{index}") for index, (_, column, _) in enumerate(_FIELDS)),
    *(_pairs(table).label(name) for table, name in _NOTES),
)
_LINE = _LINES.where(volumes.c.id == bindparam("id"))
_SUMMARY = select(volumes.c.id, volumes.c.display_name)
_USES = (
    select(
        volume_attachments.c.id,
        volume_attachments.c.volume_id,
        volume_attachments.c.instance_uuid,
        volume_attachments.c.attached_host,
        volume_attachments.c.mountpoint,
        volume_attachments.c.attach_time,
    )
    .where(
        volume_attachments.c.volume_id.in_(bindparam("ids", expanding=True)),
        volume_attachments.c.status == AttachStatus.ATTACHED,
    )
    .order_by(volume_attachments.c.created_at, volume_attachments.c.id)
)


def list_lines(tx: Transaction, wanted: VolumeFilter, page: KeysetPage) -> Sequence[VolumeLine]:
    """Lines of the volumes matching `wanted`, one page. Raises Invalid (a sort key), NotFound (the marker)."""
    return tx.execute(paged(tx, narrow(_LINES, wanted), page, SORTABLE, volumes.c.id, what="volume")).all()


def list_names(tx: Transaction, wanted: VolumeFilter, page: KeysetPage) -> Sequence[VolumeLine]:
    """Id and name of the volumes matching `wanted`, one page. Raises as `list_lines`."""
    return tx.execute(paged(tx, narrow(_SUMMARY, wanted), page, SORTABLE, volumes.c.id, what="volume")).all()


def line_by_id(tx: Transaction, volume_id: str) -> VolumeLine | None:
    """The line of one volume, or None."""
    return tx.execute(_LINE, {"id": volume_id}).first()


def line_of(volume: Volume) -> VolumeLine:
    """The line of one volume."""
    found = [getattr(volume, attribute) for _, _, attribute in _FIELDS]
    return (*found, *(json.dumps(getattr(volume, name)) for _, name in _NOTES))


def uses_of(tx: Transaction, volume_ids: Sequence[str]) -> dict[str, list[UseLine]]:
    """Who uses these volumes, by volume, oldest first, in one query (a few when there are thousands)."""
    found: dict[str, list[UseLine]] = {}
    for start in range(0, len(volume_ids), 10_000):  # SQLite takes at most 32,766 parameters
        for row in tx.execute(_USES, {"ids": list(volume_ids[start : start + 10_000])}):
            found.setdefault(row[1], []).append(tuple(row))
    return found
