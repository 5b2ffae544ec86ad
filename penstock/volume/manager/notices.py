"""Telling the owner of a volume why an operation ended in error, as a user message."""

from __future__ import annotations

from datetime import timedelta

from penstock.context import RequestContext
from penstock.domain.messages import Message
from penstock.domain.volume_message_codes import (
    VolumeMessageAction,
    VolumeMessageDetail,
    VolumeMessageResource,
    volume_sentence,
)
from penstock.domain.volume_snapshots import VolumeSnapshot
from penstock.domain.volumes import Volume
from penstock.errors import BackendFault, Fault, Unavailable
from penstock.ids import MessageId, new_id
from penstock.operations.owner_words import told
from penstock.store import messages
from penstock.store.database import Transaction
from penstock.volume.errors import SnapshotIsBusy, VolumeIsBusy
from penstock.volume.manager.backend import VolumeBackend

_BY_ACTION = {
    VolumeMessageAction.CREATE_VOLUME_FROM_BACKEND: VolumeMessageDetail.DRIVER_FAILED_CREATE,
    VolumeMessageAction.EXTEND_VOLUME: VolumeMessageDetail.DRIVER_FAILED_EXTEND,
    VolumeMessageAction.SNAPSHOT_CREATE: VolumeMessageDetail.SNAPSHOT_CREATE_ERROR,
    VolumeMessageAction.SNAPSHOT_DELETE: VolumeMessageDetail.SNAPSHOT_DELETE_ERROR,
    VolumeMessageAction.COPY_VOLUME_TO_IMAGE: VolumeMessageDetail.FAILED_TO_UPLOAD_VOLUME,
    VolumeMessageAction.BACKUP_CREATE: VolumeMessageDetail.BACKUP_CREATE_DRIVER_ERROR,
    VolumeMessageAction.BACKUP_DELETE: VolumeMessageDetail.BACKUP_DELETE_DRIVER_ERROR,
    VolumeMessageAction.BACKUP_RESTORE: VolumeMessageDetail.BACKUP_RESTORE_ERROR,
}

LOOK_INTO = "An administrator can look into it with the request id"


def tell_owner(
    tx: Transaction,
    backend: VolumeBackend,
    context: RequestContext,
    resource: Volume | VolumeSnapshot,
    action: VolumeMessageAction,
    fault: Fault,
    *,
    detail: VolumeMessageDetail | None = None,
) -> None:
    """Store a message to the owner's project, in the transaction that writes the error state."""
    is_snapshot = isinstance(resource, VolumeSnapshot)
    kind = VolumeMessageResource.VOLUME_SNAPSHOT if is_snapshot else VolumeMessageResource.VOLUME
    tell_project(tx, backend, context, resource.project_id, kind, resource.id, action, fault, detail=detail)


def tell_project(
    tx: Transaction,
    backend: VolumeBackend,
    context: RequestContext,
    project_id: str,
    kind: VolumeMessageResource,
    resource_id: str,
    action: VolumeMessageAction,
    fault: Fault,
    *,
    detail: VolumeMessageDetail | None = None,
) -> None:
    """`tell_owner` for a resource of any kind."""
    now = backend.now()
    code = detail or _detail(action, fault)
    messages.insert_message(
        tx,
        Message(
            id=MessageId(new_id()),
            project_id=project_id,  # type: ignore[arg-type]
            request_id=context.request_id,
            resource_type=kind,
            resource_id=resource_id,
            action_id=action,
            detail_id=code,
            level="ERROR",
            text=volume_sentence(code, _reason(context, fault)),
            created_at=now,
            expires_at=now + timedelta(seconds=backend.conf.message_ttl),
        ),
    )


def _reason(context: RequestContext, fault: Fault) -> str:
    """What the owner may know: not the commands and names of the storage host."""
    if isinstance(fault, BackendFault):
        return f"{LOOK_INTO} {context.request_id}."
    if isinstance(fault, Unavailable):
        return "The storage backend did not answer for too long; try again later."
    return (told(fault) or f"{LOOK_INTO} {context.request_id}.") if fault.quotes_host else fault.message


def _detail(action: VolumeMessageAction, fault: Fault) -> VolumeMessageDetail:
    if isinstance(fault, VolumeIsBusy):
        return VolumeMessageDetail.VOLUME_IS_BUSY
    if isinstance(fault, SnapshotIsBusy):
        return VolumeMessageDetail.SNAPSHOT_IS_BUSY
    return _BY_ACTION.get(action, VolumeMessageDetail.UNKNOWN_ERROR)
