"""The older actions on a volume (reserve, initialize_connection, attach, ...): the same rows as attachments.

A reservation is an attachment of nobody. A connection that nobody reserved or claimed is one too, in the state
``detached``: it does not make the volume anybody's, but it is known and taken away with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from penstock.context import RequestContext
from penstock.domain.attachments import Attachment, AttachStatus, nested, same_initiator, told_again
from penstock.domain.volume_lifecycle import RESTING, followed
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import BackendFault, Invalid, NotFound
from penstock.ids import OperationId
from penstock.services.control_plane import ControlPlane
from penstock.services.volumes import calls
from penstock.services.volumes.answers import await_end
from penstock.services.volumes.attachments import checked_mode, end, new_attachment
from penstock.services.volumes.visibility import own_attachment, own_volume, volume_to_change
from penstock.store import attachments, volumes
from penstock.store.database import Transaction

DETACHABLE = (AttachStatus.ATTACHED, AttachStatus.DETACHING, AttachStatus.ERROR_DETACHING)


@dataclass(frozen=True, slots=True)
class Use:
    """Who uses a volume (``os-attach``): an instance or a host, and how. `mode` None: as the volume is."""

    instance_uuid: str | None = None
    host_name: str | None = None
    mountpoint: str | None = None
    mode: str | None = None


def reserve(plane: ControlPlane, context: RequestContext, volume_id: str) -> None:
    """Keep the volume for an attachment to come: it is ``attaching``. Raises NotFound, Invalid."""
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        is_free = volume.status is VolumeStatus.AVAILABLE
        if volume.is_migrating or not (is_free or (volume.is_multiattach and volume.status is VolumeStatus.IN_USE)):
            raise Invalid(f"Volume {volume.id} is '{volume.status}'; it can be reserved when 'available'.")
        calls.placed_on(volume)
        if not volume.is_multiattach:
            calls.refuse_connected(volume)
        attachments.insert_attachment(
            tx, new_attachment(plane, volume, AttachStatus.ATTACHING, checked_mode(volume, None))
        )
        volumes.follow_attachments(tx, volume.id, now=plane.clock.utc())


def unreserve(plane: ControlPlane, context: RequestContext, volume_id: str) -> None:
    """Give up the reservations of nobody. Raises NotFound. Safe to repeat."""
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        for attachment in volume.attachments:
            if _is_reservation(attachment):
                if attachment.is_connected:  # what it made at the backend stays known
                    attachments.change(tx, attachment, AttachStatus.DETACHED, now=plane.clock.utc())
                else:
                    attachments.delete_attachment(tx, attachment.id)
        volumes.follow_attachments(tx, volume.id, now=plane.clock.utc())


def begin_detaching(plane: ControlPlane, context: RequestContext, volume_id: str) -> None:
    """Say that a detach is under way. Raises NotFound, Invalid (not in use)."""
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        if volume.status is not VolumeStatus.IN_USE or volume.is_migrating:
            raise Invalid(f"Volume {volume.id} is '{volume.status}'; it can be detached when 'in-use'.")
        used = [attachment for attachment in volume.attachments if attachment.status is AttachStatus.ATTACHED]
        if len(used) == 1:  # of several it is open which one is meant, and the others are in use
            attachments.change(tx, used[0], AttachStatus.DETACHING, now=plane.clock.utc())
        volumes.follow_attachments(tx, volume.id, now=plane.clock.utc())


def roll_detaching(plane: ControlPlane, context: RequestContext, volume_id: str) -> None:
    """Take `begin_detaching` back. Raises NotFound. Safe to repeat."""
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        for attachment in volume.attachments:
            if attachment.status is AttachStatus.DETACHING:
                attachments.change(tx, attachment, AttachStatus.ATTACHED, now=plane.clock.utc())
        volumes.follow_attachments(tx, volume.id, now=plane.clock.utc())


def attach(plane: ControlPlane, context: RequestContext, volume_id: str, use: Use) -> None:
    """Say that the volume is used: its reservation, or its connection, becomes this use.

    Raises NotFound, Invalid (neither instance nor host, a mode, a state that does not allow it), and what the driver
    raises.
    """
    if not use.instance_uuid and not use.host_name:
        raise Invalid("Say what uses the volume: an 'instance_uuid' or a 'host_name'.")
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        if volume.is_migrating:
            raise Invalid(f"Volume {volume.id} is being migrated; it cannot be attached.")
        mode = checked_mode(volume, use.mode)
        now = plane.clock.utc()
        attachment = next((one for one in volume.attachments if _is_reservation(one)), None)
        is_free = volume.status is VolumeStatus.AVAILABLE
        if attachment is None and not (is_free or (volume.is_multiattach and volume.status in RESTING)):
            raise Invalid(f"Volume {volume.id} is '{volume.status}'; it can be attached when 'available'.")
        if attachment is None:
            attachment = next((one for one in volume.attachments if one.status is AttachStatus.DETACHED), None)
        if attachment is None:
            attachment = new_attachment(plane, volume, AttachStatus.ATTACHING, mode)
            attachments.insert_attachment(tx, attachment)
        values: dict[str, Any] = {
            "instance_uuid": use.instance_uuid,
            "attached_host": use.host_name,
            "mountpoint": use.mountpoint,
            "mode": mode,
        }
        attachments.change(tx, attachment, AttachStatus.ATTACHING, now=now, **values)
        volumes.follow_attachments(tx, volume.id, now=now)
        connecting = replace(attachment, status=AttachStatus.ATTACHING, updated_at=now, **values)
        left = followed(volume, connecting, now=now)
        arguments = {"volume_id": volume.id, "attachment_id": attachment.id}
        operation_id = calls.enqueue(tx, plane, context, volume, "attach_volume", arguments, about=left)
    await_end(plane, operation_id)


def detach(
    plane: ControlPlane, context: RequestContext, volume_id: str, attachment_id: str | None, *, force: bool = False
) -> None:
    """End a use of the volume, the only one when none is named; `force` forgets it whatever the backend says.

    Raises NotFound, Invalid (it has several), and what the driver raises. Safe to repeat.
    """
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        attachment = _used(tx, context, volume, attachment_id, force=force)
        if attachment is None:
            volumes.follow_attachments(tx, volume.id, now=plane.clock.utc())
            return
        operation_id = end(tx, plane, context, volume, attachment, force=force)
    if operation_id is not None:
        await_end(plane, operation_id)


def initialize_connection(
    plane: ControlPlane, context: RequestContext, volume_id: str, connector: Mapping[str, Any]
) -> dict[str, Any]:
    """Let the initiator connect and tell it how. Safe to repeat.

    Raises NotFound, Invalid, Unavailable (no answer in time: it goes on), and what the driver raises.
    """
    if not connector:
        raise Invalid("The connector says nothing: give what its initiator said of itself.")
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        if volume.status not in RESTING or volume.is_migrating:
            what = "being migrated" if volume.is_migrating else f"'{volume.status}'"
            raise Invalid(f"Volume {volume.id} is {what}; it cannot be connected.")
        attachment = _of_initiator(volume, connector) or _unconnected(volume)
        if attachment is None:
            attachment = new_attachment(plane, volume, AttachStatus.DETACHED, checked_mode(volume, None))
            attachments.insert_attachment(tx, attachment)
        told, now = told_again(attachment.connector, connector), plane.clock.utc()
        left = volume.having(replace(attachment, connector=told, updated_at=now))
        arguments = {"volume_id": volume.id, "attachment_id": attachment.id}
        operation_id = calls.enqueue(tx, plane, context, volume, "initialize_connection", arguments, about=left)
        attachments.update_attachment(tx, attachment.id, now=now, connector=told)
    await_end(plane, operation_id)
    with plane.database.read() as tx:
        found = own_attachment(tx, context, attachment.id)
    if found.connection_info is None:
        raise BackendFault(f"Volume {volume_id} was disconnected meanwhile.")
    return nested(found.connection_info)


def terminate_connection(
    plane: ControlPlane,
    context: RequestContext,
    volume_id: str,
    connector: Mapping[str, Any] | None,
    *,
    force: bool = False,
) -> None:
    """Let the initiator connect no more; without a `connector` none. The uses stay until they are ended.

    Raises NotFound, Unavailable (no answer in time: it goes on), and what the driver raises. Safe to repeat.
    """
    operations: list[OperationId] = []
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        for attachment in volume.attachments:
            known = attachment.connector
            if known is None or (connector and not same_initiator(known, connector)):
                continue
            arguments = {"volume_id": volume.id, "attachment_id": attachment.id, "force": force}
            asked = calls.enqueue(tx, plane, context, volume, "terminate_connection", arguments, about=volume)
            operations.append(asked)
    for operation_id in operations:
        await_end(plane, operation_id)


def _is_reservation(attachment: Attachment) -> bool:
    is_nobodys = attachment.instance_uuid is None and attachment.attached_host is None
    return attachment.status is AttachStatus.ATTACHING and is_nobodys


def _of_initiator(volume: Volume, connector: Mapping[str, Any]) -> Attachment | None:
    found = (one for one in volume.attachments if one.connector and same_initiator(one.connector, connector))
    return next(found, None)


def _unconnected(volume: Volume) -> Attachment | None:
    waiting = (AttachStatus.ATTACHING, AttachStatus.ATTACHED)
    return next((one for one in volume.attachments if one.connector is None and one.status in waiting), None)


def _used(
    tx: Transaction, context: RequestContext, volume: Volume, attachment_id: str | None, *, force: bool
) -> Attachment | None:
    if attachment_id is not None:
        attachment = own_attachment(tx, context, attachment_id)
        if attachment.volume_id != volume.id:
            raise NotFound(f"Volume {volume.id} has no attachment {attachment_id[:64]}.")
        return attachment
    own_volume(tx, context, volume.id)
    used = [one for one in volume.attachments if force or one.status in DETACHABLE]
    if len(used) > 1:
        raise Invalid(f"Volume {volume.id} has {len(used)} attachments; say which one ends.")
    return used[0] if used else None
