"""Identifiers: one type per kind of thing, so that they cannot be swapped."""

from __future__ import annotations

import uuid
from typing import NewType

ShareId = NewType("ShareId", str)
InstanceId = NewType("InstanceId", str)
SnapshotId = NewType("SnapshotId", str)
SnapshotInstanceId = NewType("SnapshotInstanceId", str)
AccessRuleId = NewType("AccessRuleId", str)
ExportLocationId = NewType("ExportLocationId", str)
ShareTypeId = NewType("ShareTypeId", str)
ShareGroupTypeId = NewType("ShareGroupTypeId", str)
VolumeId = NewType("VolumeId", str)
VolumeSnapshotId = NewType("VolumeSnapshotId", str)
AttachmentId = NewType("AttachmentId", str)
VolumeTypeId = NewType("VolumeTypeId", str)
QosSpecsId = NewType("QosSpecsId", str)
VolumeGroupTypeId = NewType("VolumeGroupTypeId", str)
VolumeGroupId = NewType("VolumeGroupId", str)
GroupSnapshotId = NewType("GroupSnapshotId", str)
OperationId = NewType("OperationId", str)
MessageId = NewType("MessageId", str)
ProjectId = NewType("ProjectId", str)
UserId = NewType("UserId", str)


def new_id() -> str:
    """A random UUID in its 36 character form."""
    return str(uuid.uuid4())


def new_request_id() -> str:
    """``req-`` and a UUID, as every client of these APIs expects in ``x-openstack-request-id``."""
    return f"req-{uuid.uuid4()}"


def is_uuid(text: str) -> bool:
    """Is `text` a UUID in its canonical, lower-case form?"""
    try:
        return str(uuid.UUID(text)) == text
    except (ValueError, AttributeError):
        return False
