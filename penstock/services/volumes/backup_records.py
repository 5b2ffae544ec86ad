"""Backups as records that can be kept elsewhere and brought back: all that the database knows of one.

The bytes are in the archive; a record brings a backup back where the same archive is.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from penstock.context import RequestContext
from penstock.domain.backups import Backup, BackupStatus
from penstock.domain.volume_quotas import VolumeResource
from penstock.errors import Conflict, Invalid
from penstock.ids import ProjectId, UserId, VolumeId, VolumeSnapshotId, is_uuid
from penstock.services import backends as services
from penstock.services.backends import VOLUMES, ServiceFilter
from penstock.services.control_plane import ControlPlane
from penstock.services.visibility import owner_of
from penstock.services.volumes import backups, quotas
from penstock.store import backups as rows

SERVICE = "penstock.backups.archive"
LONGEST_RECORD = 65_536
MOST_GIB = 2**31 - 1


class Record(msgspec.Struct, forbid_unknown_fields=True):
    """What a record says of a backup."""

    id: str
    volume_id: str
    snapshot_id: str | None
    host: str
    availability_zone: str | None
    name: str | None
    description: str | None
    container: str | None
    size_gib: int
    object_count: int
    parent_id: str | None
    data_timestamp: datetime
    created_at: datetime
    metadata: dict[str, str]


_decode = msgspec.json.Decoder(Record).decode
_FIELDS = Record.__struct_fields__


def export(plane: ControlPlane, context: RequestContext, backup_id: str) -> tuple[str, str]:
    """The name of the service that can read it, and the record. Raises NotFound, Invalid (a state)."""
    backup = backups.get(plane, context, backup_id)
    if backup.status is not BackupStatus.AVAILABLE:
        raise Invalid(f"Backup {backup.id} is '{backup.status}'; it can be exported when 'available'.")
    if backup.encryption_key_id is not None:
        raise Invalid(f"Backup {backup.id} is of an encrypted volume; its key is in no record.")
    content = msgspec.json.encode({name: getattr(backup, name) for name in _FIELDS})
    return SERVICE, base64.urlsafe_b64encode(content).decode()


def bring_back(plane: ControlPlane, context: RequestContext, service: str, text: str) -> Backup:
    """The backup of a record, of the caller's project, ``available``.

    Raises Invalid (another service's, not a record, a backend or a parent that is not here), Conflict (it is here),
    QuotaExceeded.
    """
    if service != SERVICE:
        raise Invalid(f"The record is of '{service[:128]}'; only those of '{SERVICE}' can be read.")
    record = _parsed(text)
    project_id, user_id = owner_of(context)
    known = {item.service.host for item in services.list_services(plane, ServiceFilter(family=VOLUMES))}
    if record.host not in known:
        raise Invalid(f"The backend '{record.host[:128]}', which the record names, is not here.")
    with plane.database.begin() as tx:
        more = {VolumeResource.BACKUPS: 1, VolumeResource.BACKUP_GIGABYTES: record.size_gib}
        quotas.check(tx, plane, project_id, None, more)
        if rows.get(tx, record.id) is not None:
            raise Conflict(f"Backup {record.id} is here already.")
        if record.parent_id is not None and rows.get(tx, record.parent_id) is None:
            raise Invalid(f"It builds on backup {record.parent_id}, which is not here; bring that back first.")
        made = Backup(
            **_values(record),
            project_id=ProjectId(project_id),
            user_id=UserId(user_id),
            status=BackupStatus.AVAILABLE,
            fail_reason=None,
            encryption_key_id=None,
            updated_at=plane.clock.utc(),
        )
        rows.insert_backup(tx, made)
        return made


def _values(record: Record) -> Mapping[str, Any]:
    found = {name: getattr(record, name) for name in _FIELDS}
    found["volume_id"] = VolumeId(record.volume_id)
    found["snapshot_id"] = None if record.snapshot_id is None else VolumeSnapshotId(record.snapshot_id)
    return found


def _parsed(text: str) -> Record:
    if len(text) > LONGEST_RECORD:
        raise Invalid("The record is too long.")
    try:
        record = _decode(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, msgspec.MsgspecError) as err:
        raise Invalid(f"The record cannot be read: {err}.") from err
    ids = [record.id, record.volume_id, *(one for one in (record.parent_id, record.snapshot_id) if one is not None)]
    short = (record.host, record.name or "", record.description or "", record.container or "")
    moments = (record.data_timestamp, record.created_at)
    if (
        not all(is_uuid(one) for one in ids)
        or not 0 < record.size_gib <= MOST_GIB
        or not 0 <= record.object_count <= MOST_GIB
        or any(len(one) > 255 or "\x00" in one for one in short)
        or any(moment.tzinfo is not None for moment in moments)
    ):
        raise Invalid("The record says what no backup can be.")
    return record
