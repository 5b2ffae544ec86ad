"""Attachments (since 3.27): reserve, connect, complete, end.

Reserving and completing are rows only. Connecting and ending need the backend: the request commits what it wants, waits
for the operation, and answers with what that stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from penstock.context import RequestContext
from penstock.domain.attachments import Attachment, AttachMode, AttachStatus, same_initiator, told_again
from penstock.domain.volume_lifecycle import RESTING, followed
from penstock.domain.volumes import ATTACHED_MODE, Volume, VolumeStatus
from penstock.errors import Conflict, Invalid
from penstock.ids import AttachmentId, OperationId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.volumes import calls
from penstock.services.volumes.answers import await_end
from penstock.services.volumes.visibility import (
    attached_volume_to_change,
    attachment_to_change,
    hold_volumes,
    own_attachment,
    volume_to_change,
)
from penstock.store import attachments, volumes
from penstock.store.attachments import AttachmentFilter
from penstock.store.database import Transaction
from penstock.store.keyset import KeysetPage

__all__ = [
    "SORT_KEYS",
    "AttachmentFilter",
    "NewAttachment",
    "complete",
    "create",
    "delete",
    "get",
    "list_attachments",
    "update",
]
SORT_KEYS = tuple(attachments.SORTABLE)
CONNECT = "attachment_update"
CONNECTABLE = (
    AttachStatus.RESERVED,
    AttachStatus.ATTACHING,
    AttachStatus.ATTACHED,
    AttachStatus.ERROR_ATTACHING,
)


@dataclass(frozen=True, slots=True)
class NewAttachment:
    """What an attachment is asked for with. With a `connector` it is connected at once. `mode` None: as it may be."""

    volume_id: str
    instance_uuid: str | None = None
    connector: Mapping[str, Any] | None = None
    mode: str | None = None


def create(plane: ControlPlane, context: RequestContext, wanted: NewAttachment) -> Attachment:
    """Reserve the volume, and connect it when the initiator is told. Repeating it makes another attachment.

    Raises NotFound, Invalid (a state that does not allow it, a mode), and what `update` raises.
    """
    operation_id: OperationId | None = None
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, wanted.volume_id)
        _check_reservable(volume, wanted.instance_uuid)
        mode = checked_mode(volume, wanted.mode or (wanted.connector or {}).get("mode"))
        if wanted.connector is None:
            calls.foresee(tx, plane, context, volume, CONNECT)  # whoever reserves mostly connects at once
        attachment = new_attachment(plane, volume, AttachStatus.RESERVED, mode, instance_uuid=wanted.instance_uuid)
        attachments.insert_attachment(tx, attachment)
        if wanted.connector is not None:
            operation_id = _connect(tx, plane, context, volume, attachment, wanted.connector)
        else:
            statuses = {attachment.status, *(one.status for one in volume.attachments)}
            volumes.follow_attachments(tx, volume.id, now=plane.clock.utc(), statuses=statuses)
    if operation_id is None:
        return attachment
    try:
        return _answered(plane, context, attachment.id, operation_id)
    except Invalid:  # the connector was refused: nobody was told of the attachment
        _forget_refused(plane, attachment.id, volume.id)
        raise


def get(plane: ControlPlane, context: RequestContext, attachment_id: str) -> Attachment:
    """The attachment, with its connection information. Raises NotFound."""
    with plane.database.read() as tx:
        return own_attachment(tx, context, attachment_id)


def list_attachments(
    plane: ControlPlane,
    context: RequestContext,
    wanted: AttachmentFilter,
    page: KeysetPage,
    *,
    all_projects: bool = False,
) -> list[Attachment]:
    """One page of the attachments of the caller's volumes; of all projects' when policy let the caller say so.

    Raises Invalid (a sort key), NotFound (the marker).
    """
    if not all_projects:
        wanted = replace(wanted, project_id=context.project_id)
    with plane.database.read() as tx:
        return attachments.list_attachments(tx, wanted, page)


def update(
    plane: ControlPlane, context: RequestContext, attachment_id: str, connector: Mapping[str, Any]
) -> Attachment:
    """Connect the initiator and answer with the connection information. Safe to repeat.

    Raises NotFound, Invalid (a connector that is not one, another initiator than before), Conflict (it is ending),
    Unavailable (no answer in time: it goes on), and what the driver raises.
    """
    with plane.database.begin() as tx:
        volume, attachment = attached_volume_to_change(tx, context, attachment_id)
        operation_id = _connect(tx, plane, context, volume, attachment, connector)
    return _answered(plane, context, attachment.id, operation_id)


def complete(plane: ControlPlane, context: RequestContext, attachment_id: str) -> None:
    """The initiator uses the volume now (``os-complete``, since 3.44). Raises NotFound, Invalid. Safe to repeat."""
    now = plane.clock.utc()
    with plane.database.begin() as tx:
        attachment = attachment_to_change(tx, context, attachment_id)
        if attachment.status not in (AttachStatus.RESERVED, AttachStatus.ATTACHING, AttachStatus.ATTACHED):
            raise Invalid(f"Attachment {attachment.id} is '{attachment.status}'; it cannot be completed.")
        if attachment.status is not AttachStatus.ATTACHED:
            attachments.change(tx, attachment, AttachStatus.ATTACHED, now=now, attach_time=now)
        volumes.ADMIN_METADATA.put(tx, attachment.volume_id, {ATTACHED_MODE: attachment.mode.value})
        volumes.follow_attachments(tx, attachment.volume_id, now=now)


def delete(plane: ControlPlane, context: RequestContext, attachment_id: str) -> list[Attachment]:
    """End the attachment and answer with those the volume has left. Safe to repeat until it is not found.

    Raises NotFound, Unavailable (no answer in time: it goes on), and what the driver raises.
    """
    with plane.database.begin() as tx:
        volume, attachment = attached_volume_to_change(tx, context, attachment_id)
        operation_id = end(tx, plane, context, volume, attachment)
    told = None if operation_id is None else await_end(plane, operation_id)
    if isinstance(told, list):
        return told
    with plane.database.read() as tx:
        return attachments.of_volume(tx, volume.id)


def end(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    volume: Volume,
    attachment: Attachment,
    *,
    force: bool = False,
) -> OperationId | None:
    """End the attachment of a volume that is held; the operation that does it, None when rows were all there was."""
    now = plane.clock.utc()
    if not attachment.is_connected and attachment.status in (AttachStatus.RESERVED, AttachStatus.DETACHED):
        attachments.delete_attachment(tx, attachment.id)
        volumes.follow_attachments(tx, volume.id, now=now)
        return None
    left = followed(volume, replace(attachment, status=AttachStatus.DETACHING, updated_at=now), now=now)
    arguments = {"volume_id": volume.id, "attachment_id": attachment.id, "force": force}
    operation_id = calls.enqueue(tx, plane, context, volume, "attachment_delete", arguments, about=left)
    if attachment.status is not AttachStatus.DETACHING:
        attachments.change(tx, attachment, AttachStatus.DETACHING, now=now)
    volumes.follow_attachments(tx, volume.id, now=now, statuses={one.status for one in left.attachments})
    return operation_id


def new_attachment(
    plane: ControlPlane, volume: Volume, status: AttachStatus, mode: AttachMode, *, instance_uuid: str | None = None
) -> Attachment:
    """The row of a new attachment, in `status`."""
    return Attachment(
        id=AttachmentId(new_id()),
        volume_id=volume.id,
        project_id=volume.project_id,
        instance_uuid=instance_uuid,
        attached_host=None,
        mountpoint=None,
        mode=mode,
        status=status,
        connector=None,
        connection_info=None,
        attach_time=None,
        detach_time=None,
        created_at=plane.clock.utc(),
        updated_at=None,
    )


def checked_mode(volume: Volume, text: str | None) -> AttachMode:
    """The mode to attach in. Raises Invalid for one that is not one, and to write to what may only be read."""
    if text is None:
        return AttachMode.RO if volume.is_readonly else AttachMode.RW
    if text not in set(AttachMode):
        raise Invalid(f"'{text[:16]}' is not a mode to attach in; use 'rw' or 'ro'.")
    if volume.is_readonly and text != AttachMode.RO:
        raise Invalid(f"Volume {volume.id} is read-only; it can only be attached in the mode 'ro'.")
    return AttachMode(text)


def _check_reservable(volume: Volume, instance_uuid: str | None) -> None:
    """One attachment at a time, but of volumes of a type that allows more, and while an instance moves."""
    if volume.is_migrating:
        raise Invalid(f"Volume {volume.id} is being migrated.")
    calls.placed_on(volume)
    if volume.status is VolumeStatus.AVAILABLE:
        if not volume.is_multiattach:
            calls.refuse_connected(volume)
        return
    if volume.status in RESTING and volume.is_multiattach:
        return
    used_by = {attachment.instance_uuid for attachment in volume.attachments}
    if volume.status in RESTING and instance_uuid is not None and used_by == {instance_uuid}:
        return
    wanted = "'available' or 'in-use'" if volume.is_multiattach else "'available'"
    raise Invalid(f"Volume {volume.id} is '{volume.status}'; it can be reserved when {wanted}.")


def _connect(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    volume: Volume,
    attachment: Attachment,
    connector: Mapping[str, Any],
) -> OperationId:
    """Write who connects and what that makes of the volume, and queue that the backend lets it."""
    if not connector:
        raise Invalid("The connector says nothing: give what its initiator said of itself.")
    if attachment.status not in CONNECTABLE:
        raise Conflict(f"Attachment {attachment.id} is '{attachment.status}'; it cannot be connected.")
    if attachment.connector is not None and not same_initiator(attachment.connector, connector):
        raise Invalid(f"Attachment {attachment.id} is of another initiator; make another attachment for this one.")
    for other in volume.attachments:
        if other.id == attachment.id or other.connector is None or attachment.instance_uuid is None:
            continue
        if other.instance_uuid == attachment.instance_uuid and same_initiator(other.connector, connector):
            raise Invalid(f"Attachment {other.id} connects this volume, instance and initiator already.")
    mode = checked_mode(volume, connector.get("mode") or attachment.mode.value)
    status, now = _when_connecting(attachment), plane.clock.utc()
    values: dict[str, Any] = {
        "connector": told_again(attachment.connector, connector),
        "attached_host": connector.get("host"),
        "mountpoint": connector.get("mountpoint"),
        "mode": mode,
    }
    left = followed(volume, replace(attachment, status=status, updated_at=now, **values), now=now)
    arguments = {"volume_id": volume.id, "attachment_id": attachment.id}
    operation_id = calls.enqueue(tx, plane, context, volume, CONNECT, arguments, about=left)
    attachments.change(tx, attachment, status, now=now, **values)
    volumes.follow_attachments(tx, volume.id, now=now, statuses={one.status for one in left.attachments})
    return operation_id


def _when_connecting(attachment: Attachment) -> AttachStatus:
    """Who uses the volume already only asks again how."""
    return AttachStatus.ATTACHED if attachment.status is AttachStatus.ATTACHED else AttachStatus.ATTACHING


def _forget_refused(plane: ControlPlane, attachment_id: AttachmentId, volume_id: str) -> None:
    with plane.database.begin() as tx:
        hold_volumes(tx, [volume_id])
        found = attachments.get(tx, attachment_id)
        if found is not None and found.status is AttachStatus.RESERVED and not found.is_connected:
            attachments.delete_attachment(tx, found.id)
            volumes.follow_attachments(tx, volume_id, now=plane.clock.utc())


def _answered(
    plane: ControlPlane, context: RequestContext, attachment_id: str, operation_id: OperationId
) -> Attachment:
    told = await_end(plane, operation_id)
    return told if isinstance(told, Attachment) else get(plane, context, attachment_id)
