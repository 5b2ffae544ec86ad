"""Rows of volumes with their attachments and metadata."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Integer,
    Row,
    Select,
    String,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from penstock.domain.attachments import Attachment, AttachStatus, attach_status_of, most_in_use
from penstock.domain.volume_lifecycle import RESTING, VolumeEvent, advance_volume, at_rest
from penstock.domain.volumes import MigrationStatus, ReplicationStatus, Volume, VolumeStatus
from penstock.errors import Conflict
from penstock.ids import AttachmentId, ProjectId, UserId, VolumeId, VolumeSnapshotId, VolumeTypeId
from penstock.store import attachments
from penstock.store.json_pairs import pairs_of, parse_pairs
from penstock.store.keyset import FIRST_PAGE, KeysetPage, paged
from penstock.store.lists import like
from penstock.store.notes import Notes
from penstock.store.statements import delete_row, update_row
from penstock.store.transaction import Transaction
from penstock.store.volume_schema import (
    volume_admin_metadata,
    volume_attachments,
    volume_image_metadata,
    volume_metadata,
    volume_snapshots,
    volumes,
)

METADATA = Notes(volume_metadata, "volume_id")
ADMIN_METADATA = Notes(volume_admin_metadata, "volume_id")
IMAGE_METADATA = Notes(volume_image_metadata, "volume_id")

IS_ON_BACKEND = func.substr(volumes.c.host, 1, bindparam("prefix_length", type_=Integer)) == bindparam("prefix")

# Statements that run for every operation are built once: building one costs more than running it.
_ADD = insert(volumes)
# A volume with its pairs in one row: of a single volume, each further query would cost a third of the first.
_VOLUMES = select(
    *volumes.c,
    *(
        pairs_of(table, table.c.volume_id == volumes.c.id).label(label)
        for table, label in (
            (volume_metadata, "notes"),
            (volume_admin_metadata, "private"),
            (volume_image_metadata, "of_image"),
        )
    ),
)
_BY_ID = _VOLUMES.where(volumes.c.id == bindparam("id"))
_OF_ATTACHMENT = _VOLUMES.where(
    volumes.c.id
    == select(volume_attachments.c.volume_id).where(volume_attachments.c.id == bindparam("id")).scalar_subquery()
)
_HOST = select(volumes.c.host).where(volumes.c.id == bindparam("id"))
_BY_IDS = _VOLUMES.where(volumes.c.id.in_(bindparam("ids", expanding=True)))
_ON_BACKEND = _VOLUMES.where(IS_ON_BACKEND).order_by(volumes.c.created_at, volumes.c.id)
_FOLLOW = (
    update(volumes)
    .where(volumes.c.id == bindparam("of_id"))
    .values(
        status=case((volumes.c.status.in_(RESTING), bindparam("rests", type_=String)), else_=volumes.c.status),
        attach_status=bindparam("of_attach_status"),
        updated_at=bindparam("now"),
    )
)
_GROWING = select(volumes.c.id).where(volumes.c.status == VolumeStatus.CREATING)
_GROWING_FROM_SNAPSHOT = _GROWING.where(volumes.c.snapshot_id == bindparam("of"))
_GROWING_FROM_VOLUME = _GROWING.where(volumes.c.source_volid == bindparam("of"))
_ON_BACKEND_IN = _ON_BACKEND.where(volumes.c.status.in_(bindparam("statuses", expanding=True)))

SORTABLE = {
    "id": volumes.c.id,
    "name": volumes.c.display_name,
    "display_name": volumes.c.display_name,
    "status": volumes.c.status,
    "size": volumes.c.size_gib,
    "host": volumes.c.host,
    "bootable": volumes.c.is_bootable,
    "availability_zone": volumes.c.availability_zone,
    "user_id": volumes.c.user_id,
    "project_id": volumes.c.project_id,
    "volume_type_id": volumes.c.volume_type_id,
    "created_at": volumes.c.created_at,
    "updated_at": volumes.c.updated_at,
}
TIMES = {"created_at": volumes.c.created_at, "updated_at": volumes.c.updated_at}


@dataclass(frozen=True, slots=True)
class VolumeFilter:
    """What a list of volumes is narrowed to; None means no matter. `*_like` are substrings.

    `times` are conditions such as ``("created_at", "gte", moment)`` with ``lt lte eq neq gte gt``.
    """

    project_id: str | None = None
    ids: Sequence[str] | None = None
    name: str | None = None
    name_like: str | None = None
    description: str | None = None
    description_like: str | None = None
    status: str | Sequence[str] | None = None
    attach_status: str | None = None
    migration_status: str | None = None
    replication_status: str | None = None
    host: str | None = None  # a pool, or ``host@backend`` for all its pools
    availability_zone: str | None = None
    user_id: str | None = None
    size_gib: int | None = None
    volume_type_id: str | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    group_id: str | None = None
    is_bootable: bool | None = None
    is_multiattach: bool | None = None
    is_encrypted: bool | None = None
    uses_quota: bool | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    image_metadata: Mapping[str, str] = field(default_factory=dict)
    times: Sequence[tuple[str, str, datetime]] = ()


@dataclass(frozen=True, slots=True)
class VolumeSummary:
    """How many volumes there are, their GiB together, and which values their metadata have."""

    count: int
    gib: int
    metadata: dict[str, list[str]]


def insert_volume(tx: Transaction, volume: Volume) -> None:
    """Store a new volume with its metadata."""
    columns = {column.name for column in volumes.c} - {"display_name", "display_description"}
    row = {name: getattr(volume, name) for name in columns}
    tx.execute(_ADD, {**row, "display_name": volume.name, "display_description": volume.description})
    METADATA.put(tx, volume.id, volume.metadata)
    ADMIN_METADATA.put(tx, volume.id, volume.admin_metadata)
    IMAGE_METADATA.put(tx, volume.id, volume.image_metadata)


def get(tx: Transaction, volume_id: VolumeId | str) -> Volume | None:
    """The volume with its attachments and metadata, or None."""
    found = _volumes(tx, tx.execute(_BY_ID, {"id": volume_id}).all())
    return found[0] if found else None


def of_attachment(tx: Transaction, attachment_id: AttachmentId | str) -> Volume | None:
    """The volume that has the attachment, with all it has; None when there is no such attachment."""
    found = _volumes(tx, tx.execute(_OF_ATTACHMENT, {"id": attachment_id}).all())
    return found[0] if found else None


def host_of(tx: Transaction, volume_id: VolumeId | str) -> str | None:
    """The pool the volume is on; None when it is on none, or there is no such volume."""
    host: str | None = tx.execute(_HOST, {"id": volume_id}).scalar()
    return host


def by_admin_metadata(tx: Transaction, key: str, value: str) -> Volume | None:
    """The oldest volume with that pair in its admin metadata, or None."""
    query = _VOLUMES.where(ADMIN_METADATA.has(volumes.c.id, key, value)).order_by(volumes.c.created_at)
    found = _volumes(tx, tx.execute(query.limit(1)).all())
    return found[0] if found else None


def by_ids(tx: Transaction, volume_ids: Sequence[str]) -> dict[str, Volume]:
    """Volumes by id."""
    found: dict[str, Volume] = {}
    for start in range(0, len(volume_ids), 10_000):  # SQLite takes at most 32,766 parameters
        rows = tx.execute(_BY_IDS, {"ids": list(volume_ids[start : start + 10_000])}).all()
        found |= {volume.id: volume for volume in _volumes(tx, rows)}
    return found


def of_backend(tx: Transaction, backend: str, *, statuses: Sequence[VolumeStatus] | None = None) -> list[Volume]:
    """Volumes on any pool of ``host@backend``, oldest first."""
    prefix = f"{backend}#"
    of: dict[str, Any] = {"prefix": prefix, "prefix_length": len(prefix)}
    if statuses is None:
        return _volumes(tx, tx.execute(_ON_BACKEND, of).all())
    return _volumes(tx, tx.execute(_ON_BACKEND_IN, {**of, "statuses": list(statuses)}).all())


def list_volumes(tx: Transaction, wanted: VolumeFilter, page: KeysetPage = FIRST_PAGE) -> list[Volume]:
    """Volumes matching `wanted`, one page; a fixed number of queries. Raises Invalid, NotFound (the marker)."""
    query = paged(tx, narrow(_VOLUMES, wanted), page, SORTABLE, volumes.c.id, what="volume")
    return _volumes(tx, tx.execute(query).all())


def count_volumes(tx: Transaction, wanted: VolumeFilter) -> int:
    """How many volumes match, whatever the page."""
    return int(tx.execute(narrow(select(func.count()).select_from(volumes), wanted)).scalar_one())


def summary(tx: Transaction, wanted: VolumeFilter) -> VolumeSummary:
    """What the matching volumes come to."""
    totals = select(func.count(), func.coalesce(func.sum(volumes.c.size_gib), 0)).select_from(volumes)
    count, gib = tx.execute(narrow(totals, wanted)).one()
    pairs = select(volume_metadata.c.key, volume_metadata.c.value).distinct()
    pairs = pairs.select_from(volumes.join(volume_metadata, volume_metadata.c.volume_id == volumes.c.id))
    found: dict[str, list[str]] = {}
    for key, value in tx.execute(narrow(pairs, wanted).order_by(volume_metadata.c.key, volume_metadata.c.value)):
        found.setdefault(key, []).append(value)
    return VolumeSummary(int(count), int(gib), found)


def move(tx: Transaction, volume: Volume, event: VolumeEvent, *, now: datetime, **values: Any) -> VolumeStatus:
    """Advance the stored status of `volume` by `event`, with further columns in the same statement.

    What an operation leads back to is what the attachments in the database say, not those of `volume`. Raises Conflict
    when somebody moved it since we read it, Invalid when the state does not take the event.
    """
    attach_status = most_in_use(attachments.statuses_of(tx, volume.id))
    status = advance_volume(volume.status, event, attach_status)
    row = {"status": status, "attach_status": attach_status, "updated_at": now, **values}
    statement = update_row(volumes, tuple(row), from_status=True)
    done = tx.execute(statement, {**row, "of_id": volume.id, "of_status": volume.status})
    if done.rowcount != 1:
        raise Conflict(f"Volume {volume.id} is no longer '{volume.status}'.")
    return status


def moved(tx: Transaction, volume: Volume, event: VolumeEvent, *, now: datetime, **values: Any) -> Volume:
    """`move` a volume that this transaction has read; how it is then. Raises as that."""
    status = move(tx, volume, event, now=now, **values)
    attach_status = attach_status_of(volume.attachments)
    return replace(volume, status=status, attach_status=attach_status, updated_at=now, **values)


def follow_attachments(
    tx: Transaction,
    volume_id: VolumeId | str,
    *,
    now: datetime,
    statuses: Collection[AttachStatus] | None = None,
) -> None:
    """Write what the attachments in the database make of the volume; a state of work under way stays.

    `statuses` are theirs, for a caller who has just read and written them in this transaction.
    """
    found = attachments.statuses_of(tx, volume_id) if statuses is None else statuses
    attach_status = most_in_use(found)
    tx.execute(
        _FOLLOW,
        {"of_id": volume_id, "rests": at_rest(attach_status).value, "of_attach_status": attach_status, "now": now},
    )


def reset(tx: Transaction, volume_id: VolumeId | str, *, now: datetime, **values: Any) -> None:
    """Write states by hand: an administrator's decision, outside the lifecycle table."""
    tx.execute(update(volumes).where(volumes.c.id == volume_id).values(updated_at=now, **values))


def update_volume(tx: Transaction, volume_id: VolumeId | str, *, now: datetime, **values: Any) -> None:
    """Change columns other than the status (``display_name``, ``size_gib``, ``provider_location`` ...)."""
    if "status" in values:
        raise ValueError("a status is written by store.volumes.move")
    row = {"updated_at": now, **values}
    tx.execute(update_row(volumes, tuple(row)), {**row, "of_id": volume_id})


def delete_volume(tx: Transaction, volume_id: VolumeId | str) -> None:
    """Forget the volume with its attachments and metadata."""
    tx.execute(delete_row(volumes), {"of_id": volume_id})


def has_snapshots(tx: Transaction, volume_id: VolumeId | str) -> bool:
    """Does the volume have snapshots, in whatever state?"""
    return bool(tx.execute(select(exists().where(volume_snapshots.c.volume_id == volume_id))).scalar())


def growing_from_snapshot(tx: Transaction, snapshot_id: str) -> list[VolumeId]:
    """Volumes that are being made from that snapshot, and are not there yet."""
    return [VolumeId(found) for found in tx.execute(_GROWING_FROM_SNAPSHOT, {"of": snapshot_id}).scalars()]


def growing_from_volume(tx: Transaction, volume_id: str) -> list[VolumeId]:
    """Volumes that are being made from that volume, and are not there yet."""
    return [VolumeId(found) for found in tx.execute(_GROWING_FROM_VOLUME, {"of": volume_id}).scalars()]


def uses_type(tx: Transaction, type_id: str) -> bool:
    """Is there a volume of that type?"""
    return bool(tx.execute(select(exists().where(volumes.c.volume_type_id == type_id))).scalar())


def narrow(query: Select[Any], wanted: VolumeFilter) -> Select[Any]:
    """`query` over volumes, with the conditions of `wanted`."""
    for where in _conditions(wanted):
        query = query.where(where)
    return query


def _conditions(wanted: VolumeFilter) -> list[Any]:
    equal = {
        volumes.c.project_id: wanted.project_id,
        volumes.c.display_name: wanted.name,
        volumes.c.display_description: wanted.description,
        volumes.c.attach_status: wanted.attach_status,
        volumes.c.migration_status: wanted.migration_status,
        volumes.c.replication_status: wanted.replication_status,
        volumes.c.availability_zone: wanted.availability_zone,
        volumes.c.user_id: wanted.user_id,
        volumes.c.size_gib: wanted.size_gib,
        volumes.c.volume_type_id: wanted.volume_type_id,
        volumes.c.snapshot_id: wanted.snapshot_id,
        volumes.c.source_volid: wanted.source_volid,
        volumes.c.group_id: wanted.group_id,
        volumes.c.is_bootable: wanted.is_bootable,
        volumes.c.is_multiattach: wanted.is_multiattach,
        volumes.c.uses_quota: wanted.uses_quota,
    }
    found: list[Any] = [column == value for column, value in equal.items() if value is not None]
    if isinstance(wanted.status, str):
        found.append(volumes.c.status == wanted.status)
    elif wanted.status is not None:
        found.append(volumes.c.status.in_(list(wanted.status)))
    if wanted.host is not None:
        prefix = f"{wanted.host}#"
        found.append(or_(volumes.c.host == wanted.host, func.substr(volumes.c.host, 1, len(prefix)) == prefix))
    if wanted.ids is not None:
        found.append(volumes.c.id.in_(list(wanted.ids)))
    if wanted.is_encrypted is not None:
        has_key = volumes.c.encryption_key_id.is_not(None)
        found.append(has_key if wanted.is_encrypted else ~has_key)
    if wanted.name_like is not None:
        found.append(like(volumes.c.display_name, wanted.name_like))
    if wanted.description_like is not None:
        found.append(like(volumes.c.display_description, wanted.description_like))
    found += [METADATA.has(volumes.c.id, key, value) for key, value in wanted.metadata.items()]
    found += [IMAGE_METADATA.has(volumes.c.id, key, value) for key, value in wanted.image_metadata.items()]
    return found + [compared(TIMES[name], operator, moment) for name, operator, moment in wanted.times]


def compared(column: Any, operator: str, moment: datetime) -> Any:
    """The condition of a filter by time, such as ``gte``."""
    return {
        "lt": column < moment,
        "lte": column <= moment,
        "eq": column == moment,
        "neq": column != moment,
        "gte": column >= moment,
        "gt": column > moment,
    }[operator]


def _volumes(tx: Transaction, rows: Sequence[Row[Any]]) -> list[Volume]:
    """Volumes of these rows of `_VOLUMES`, with their attachments, in one more query."""
    attached = attachments.of_volumes(tx, [row.id for row in rows])
    return [_volume(row, attached.get(row.id, ())) for row in rows]


def _volume(row: Row[Any], attached: Sequence[Attachment]) -> Volume:
    return Volume(
        id=VolumeId(row.id),
        name_id=None if row.name_id is None else VolumeId(row.name_id),
        name=row.display_name,
        description=row.display_description,
        size_gib=row.size_gib,
        size_target_gib=row.size_target_gib,
        project_id=ProjectId(row.project_id),
        user_id=UserId(row.user_id),
        host=row.host,
        availability_zone=row.availability_zone,
        status=VolumeStatus(row.status),
        previous_status=None if row.previous_status is None else VolumeStatus(row.previous_status),
        attach_status=AttachStatus(row.attach_status),
        migration_status=None if row.migration_status is None else MigrationStatus(row.migration_status),
        volume_type_id=None if row.volume_type_id is None else VolumeTypeId(row.volume_type_id),
        snapshot_id=None if row.snapshot_id is None else VolumeSnapshotId(row.snapshot_id),
        source_volid=None if row.source_volid is None else VolumeId(row.source_volid),
        group_id=row.group_id,
        is_bootable=row.is_bootable,
        is_multiattach=row.is_multiattach,
        uses_quota=row.uses_quota,
        shared_targets=row.shared_targets,
        encryption_key_id=row.encryption_key_id,
        provider_location=row.provider_location,
        provider_id=row.provider_id,
        provider_auth=row.provider_auth,
        provider_geometry=row.provider_geometry,
        replication_status=None if row.replication_status is None else ReplicationStatus(row.replication_status),
        replication_extended_status=row.replication_extended_status,
        replication_driver_data=row.replication_driver_data,
        scheduled_at=row.scheduled_at,
        launched_at=row.launched_at,
        terminated_at=row.terminated_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        metadata=parse_pairs(row.notes),
        admin_metadata=parse_pairs(row.private),
        image_metadata=parse_pairs(row.of_image),
        attachments=tuple(attached),
    )


def is_attached_anywhere(tx: Transaction, volume_id: VolumeId | str) -> bool:
    """Does the volume have attachments, in whatever state?"""
    return bool(tx.execute(select(exists().where(volume_attachments.c.volume_id == volume_id))).scalar())
