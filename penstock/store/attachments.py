"""Rows of attachments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, Row, Select, bindparam, delete, func, select

from penstock.domain.attachments import Attachment, AttachMode, AttachStatus
from penstock.errors import Conflict
from penstock.ids import AttachmentId, ProjectId, VolumeId
from penstock.store.keyset import FIRST_PAGE, KeysetPage, paged
from penstock.store.statements import insert_into, update_row
from penstock.store.transaction import Transaction
from penstock.store.volume_schema import volume_attachments, volumes

_ORDER = (volume_attachments.c.created_at, volume_attachments.c.id)
_BY_ID = select(volume_attachments).where(volume_attachments.c.id == bindparam("id"))
_ON_BACKEND = (
    select(volume_attachments)
    .join(volumes, volumes.c.id == volume_attachments.c.volume_id)
    .where(func.substr(volumes.c.host, 1, bindparam("prefix_length", type_=Integer)) == bindparam("prefix"))
    .order_by(*_ORDER)
)
_OF_VOLUMES = (
    select(volume_attachments)
    .where(volume_attachments.c.volume_id.in_(bindparam("ids", expanding=True)))
    .order_by(*_ORDER)
)
_OF_VOLUME = (
    select(volume_attachments).where(volume_attachments.c.volume_id == bindparam("volume_id")).order_by(*_ORDER)
)
_STATUSES = select(volume_attachments.c.status).where(volume_attachments.c.volume_id == bindparam("volume_id"))
_DELETE = delete(volume_attachments).where(volume_attachments.c.id == bindparam("of_id"))

COLUMNS = tuple(column.name for column in volume_attachments.c)
SORTABLE = {
    "id": volume_attachments.c.id,
    "volume_id": volume_attachments.c.volume_id,
    "instance_uuid": volume_attachments.c.instance_uuid,
    "instance_id": volume_attachments.c.instance_uuid,
    "attach_status": volume_attachments.c.status,
    "status": volume_attachments.c.status,
    "attached_host": volume_attachments.c.attached_host,
    "created_at": volume_attachments.c.created_at,
    "updated_at": volume_attachments.c.updated_at,
}


@dataclass(frozen=True, slots=True)
class AttachmentFilter:
    """What a list of attachments is narrowed to; None means no matter."""

    project_id: str | None = None
    volume_id: str | None = None
    instance_uuid: str | None = None
    attached_host: str | None = None
    status: str | None = None


def insert_attachment(tx: Transaction, attachment: Attachment) -> None:
    """Store a new attachment."""
    tx.execute(insert_into(volume_attachments), {name: getattr(attachment, name) for name in COLUMNS})


def get(tx: Transaction, attachment_id: AttachmentId | str) -> Attachment | None:
    """The attachment, or None."""
    row = tx.execute(_BY_ID, {"id": attachment_id}).first()
    return None if row is None else _attachment(row)


def of_volume(tx: Transaction, volume_id: VolumeId | str) -> list[Attachment]:
    """All attachments of a volume, oldest first."""
    return [_attachment(row) for row in tx.execute(_OF_VOLUME, {"volume_id": volume_id})]


def statuses_of(tx: Transaction, volume_id: VolumeId | str) -> set[AttachStatus]:
    """The statuses that a volume's attachments have."""
    return {AttachStatus(status) for status in tx.execute(_STATUSES, {"volume_id": volume_id}).scalars()}


def of_volumes(tx: Transaction, volume_ids: Sequence[str]) -> dict[str, list[Attachment]]:
    """Attachments by volume, oldest first, in one query (a few when there are thousands)."""
    if len(volume_ids) == 1:  # a list of parameters is put into the statement anew each time
        return {volume_ids[0]: of_volume(tx, volume_ids[0])}
    found: dict[str, list[Attachment]] = {}
    for start in range(0, len(volume_ids), 10_000):  # SQLite takes at most 32,766 parameters
        for row in tx.execute(_OF_VOLUMES, {"ids": list(volume_ids[start : start + 10_000])}):
            found.setdefault(row.volume_id, []).append(_attachment(row))
    return found


def of_backend(tx: Transaction, backend: str) -> list[Attachment]:
    """Attachments of the volumes on any pool of ``host@backend``, oldest first."""
    prefix = f"{backend}#"
    rows = tx.execute(_ON_BACKEND, {"prefix": prefix, "prefix_length": len(prefix)})
    return [_attachment(row) for row in rows]


def list_attachments(tx: Transaction, wanted: AttachmentFilter, page: KeysetPage = FIRST_PAGE) -> list[Attachment]:
    """Attachments matching `wanted`, one page. Raises Invalid, NotFound (the marker)."""
    query = _narrow(select(volume_attachments), wanted)
    query = paged(tx, query, page, SORTABLE, volume_attachments.c.id, what="attachment")
    return [_attachment(row) for row in tx.execute(query)]


def change(tx: Transaction, attachment: Attachment, status: AttachStatus, *, now: datetime, **values: Any) -> None:
    """Write its status, with further columns. Raises Conflict when its status changed, or it went, since we read it."""
    row = {"status": status, "updated_at": now, **values}
    statement = update_row(volume_attachments, tuple(row), from_status=True)
    done = tx.execute(statement, {**row, "of_id": attachment.id, "of_status": attachment.status})
    if done.rowcount != 1:
        raise Conflict(f"Attachment {attachment.id} is no longer '{attachment.status}'.")


def update_attachment(tx: Transaction, attachment_id: AttachmentId | str, *, now: datetime, **values: Any) -> None:
    """Change columns other than the status."""
    if "status" in values:
        raise ValueError("a status is written by store.attachments.change")
    row = {"updated_at": now, **values}
    tx.execute(update_row(volume_attachments, tuple(row)), {**row, "of_id": attachment_id})


def delete_attachment(tx: Transaction, attachment_id: AttachmentId | str) -> None:
    """Forget the attachment. Safe to repeat."""
    tx.execute(_DELETE, {"of_id": attachment_id})


def _narrow(query: Select[Any], wanted: AttachmentFilter) -> Select[Any]:
    equal = {
        volume_attachments.c.project_id: wanted.project_id,
        volume_attachments.c.volume_id: wanted.volume_id,
        volume_attachments.c.instance_uuid: wanted.instance_uuid,
        volume_attachments.c.attached_host: wanted.attached_host,
        volume_attachments.c.status: wanted.status,
    }
    for column, value in equal.items():
        if value is not None:
            query = query.where(column == value)
    return query


def _attachment(row: Row[Any]) -> Attachment:
    return Attachment(
        id=AttachmentId(row.id),
        volume_id=VolumeId(row.volume_id),
        project_id=ProjectId(row.project_id),
        instance_uuid=row.instance_uuid,
        attached_host=row.attached_host,
        mountpoint=row.mountpoint,
        mode=AttachMode(row.mode),
        status=AttachStatus(row.status),
        connector=row.connector,
        connection_info=row.connection_info,
        attach_time=row.attach_time,
        detach_time=row.detach_time,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
