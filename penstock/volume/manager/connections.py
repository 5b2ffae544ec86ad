"""Connections: export a volume to an initiator, and take that away again.

The connector is in the attachment's row before the backend is asked, and goes from it after the backend has forgotten:
whatever died in between, the row names what may be left. One that the driver does not accept goes from the row before
the backend is touched: nothing of it is there to be taken away.

An attachment that is ending is not connected any more, so that nobody waits for a connection that nobody wants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.attachments import Attachment, AttachMode, AttachStatus, flat, same_initiator
from penstock.domain.volume_message_codes import VolumeMessageAction
from penstock.domain.volume_types import QosConsumer
from penstock.domain.volumes import ATTACHED_MODE, Volume
from penstock.domain.volumes_at_work import TypedVolume
from penstock.errors import BackendFault, Fault, NotFound
from penstock.operations.attempt import done_with, handed, looked
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import attachments, volumes
from penstock.store.database import hold
from penstock.store.volumes_at_work import read_typed
from penstock.volume.errors import InvalidConnectorException, VolumeNotFound
from penstock.volume.looking import LooksAhead
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import attachment_model, bare_model, model_of
from penstock.volume.manager.notices import tell_owner
from penstock.volume.manager.updates import checked, store_of_volume
from penstock.volume.models import VolumeModel

log = structlog.get_logger(__name__)

CONNECTING = ("attachment_update", "initialize_connection")
HANDED = (*CONNECTING, "attach_volume", "attachment_delete", "terminate_connection")
CONNECTED = (AttachStatus.ATTACHING, AttachStatus.ATTACHED)


def update(backend: VolumeBackend, context: RequestContext, attachment_id: str) -> None:
    """Connect the initiator of the attachment; when that fails for good the attachment is an error.

    With a connector that the driver does not accept it is what it was before: reserved, and connected to nobody.
    Many drivers of others only find that out while they connect it; what they may have done by then is taken back.
    """
    found = _load(backend, attachment_id)
    if found is None or found[1].connector is None or found[1].status not in CONNECTED:
        return  # it ended meanwhile
    volume, attachment, model = found
    try:
        _validate(backend, attachment)
    except Fault as fault:
        if is_final(fault) and attachment.connection_info is None:
            _refuse(backend, context, volume, attachment, fault)
        raise
    try:
        _connect(backend, context, attachment, model)
    except Fault as fault:
        is_refused = isinstance(fault, InvalidConnectorException) and attachment.connection_info is None
        if is_final(fault) and is_refused and _is_taken_back(backend, context, volume, attachment, model):
            _refuse(backend, context, volume, attachment, fault)
        elif is_final(fault):
            _fail(backend, context, volume, attachment, AttachStatus.ERROR_ATTACHING, fault)
        raise


def look_ahead(backend: VolumeBackend, volume: Volume) -> Callable[[], Any] | None:
    """What the driver can look at before a connection is sure to be wanted; None where it has no such look."""
    driver = backend.driver
    if not isinstance(driver, LooksAhead):
        return None
    return lambda: driver.look_ahead(bare_model(backend, volume))


def initialize(backend: VolumeBackend, context: RequestContext, attachment_id: str) -> None:
    """Connect the initiator, for the older action; when that fails for good it is as if nobody had asked."""
    found = _load(backend, attachment_id)
    if found is None or found[1].connector is None:
        return
    volume, attachment, model = found
    try:
        _validate(backend, attachment)
    except Fault as fault:
        if is_final(fault) and attachment.connection_info is None:
            _drop_connector(backend, volume, attachment)
        raise
    try:
        _connect(backend, context, attachment, model)
    except Fault as fault:
        is_new = attachment.connection_info is None
        if is_final(fault) and is_new and _is_taken_back(backend, context, volume, attachment, model):
            _drop_connector(backend, volume, attachment)
        raise


def attach(backend: VolumeBackend, context: RequestContext, attachment_id: str) -> None:
    """Tell the driver that the volume is used, and write that it is."""
    found = _load(backend, attachment_id)
    if found is None or found[1].status is not AttachStatus.ATTACHING:
        return
    volume, attachment, model = found
    try:
        with driver_call("attach volumes"):
            backend.driver.attach_volume(
                context, model, attachment.instance_uuid, attachment.attached_host, attachment.mountpoint or ""
            )
    except Fault as fault:
        if is_final(fault):
            _fail(backend, context, volume, attachment, AttachStatus.ERROR_ATTACHING, fault)
        raise
    now = backend.now()
    with backend.database.begin() as tx:
        done_with(tx, "attach_volume")
        attachments.change(tx, attachment, AttachStatus.ATTACHED, now=now, attach_time=now)
        volumes.ADMIN_METADATA.put(tx, volume.id, {ATTACHED_MODE: attachment.mode.value})
        volumes.follow_attachments(tx, volume.id, now=now)


def end(backend: VolumeBackend, context: RequestContext, volume_id: str, attachment_id: str, *, force: bool) -> None:
    """Take the attachment away at the backend, and then its row. With `force` whatever the backend can do."""
    found = _load(backend, attachment_id)
    if found is None or found[0].id != volume_id:
        return
    volume, attachment, model = found
    try:
        _disconnect(backend, context, volume, attachment, model, force=force)
    except Fault as fault:
        if not is_final(fault):
            raise
        if not force:
            _fail(backend, context, volume, attachment, AttachStatus.ERROR_DETACHING, fault)
            raise
        log.warning("attachment.left_behind", volume=volume.id, attachment=attachment.id, fault=str(fault))
    _forget(backend, volume.id, attachment.id)


def terminate(backend: VolumeBackend, context: RequestContext, attachment_id: str, *, force: bool) -> None:
    """Let the initiator connect no more. The use stays until it is ended; a connection of nobody goes with its row."""
    found = _load(backend, attachment_id)
    if found is None or found[1].connector is None:
        return
    volume, attachment, model = found
    try:
        _disconnect(backend, context, volume, attachment, model, force=force)
    except Fault as fault:
        if not (force and is_final(fault)):
            raise
        log.warning("attachment.left_behind", volume=volume.id, attachment=attachment.id, fault=str(fault))
    if attachment.status is AttachStatus.DETACHED:
        _forget(backend, volume.id, attachment.id)
        return
    with backend.database.begin() as tx:
        attachments.update_attachment(tx, attachment.id, now=backend.now(), connector=None, connection_info=None)


def _load(backend: VolumeBackend, attachment_id: str) -> tuple[Volume, Attachment, VolumeModel] | None:
    found = handed(TypedVolume, *HANDED) or _read(backend, attachment_id)
    if found is None:
        return None
    attachment = next(one for one in found.volume.attachments if one.id == attachment_id)
    return found.volume, attachment, model_of(backend, found)


def _read(backend: VolumeBackend, attachment_id: str) -> TypedVolume | None:
    with backend.database.read() as tx:
        volume = volumes.of_attachment(tx, attachment_id)
        return None if volume is None else read_typed(tx, volume)


def _validate(backend: VolumeBackend, attachment: Attachment) -> None:
    """Changes nothing at the backend. Raises Invalid, or what a driver of somebody else does."""
    with driver_call("be told who connects", waits=backend.waits):
        backend.driver.validate_connector(dict(attachment.connector or {}))


def _connect(backend: VolumeBackend, context: RequestContext, attachment: Attachment, model: VolumeModel) -> None:
    connector = dict(attachment.connector or {})
    waits = backend.waits
    with driver_call("export volumes", waits=waits):
        exported = checked(backend.driver.create_export(context, model, connector))
    is_new = not model.says(exported)
    model = model.updated(exported)
    # lost before it is on the disk, it is done once more; but nobody may be told one secret, and let in by another
    is_told_again = waits and model.provider_auth is None
    if is_new and not is_told_again:
        with backend.database.begin(durable=False) as tx:
            store_of_volume(tx, model.id, exported, now=backend.now())
    with driver_call("connect volumes", waits=waits):
        looks = {"looked": looked()} if waits else {}
        answer = backend.driver.initialize_connection(model, connector, **looks)
    info = connection_info(backend, attachment, model, answer)
    now = backend.now()
    connected = replace(attachment, connection_info=info, updated_at=now)
    with backend.database.begin(durable=not is_told_again) as tx:
        if is_new and is_told_again:
            store_of_volume(tx, model.id, exported, now=now)
        attachments.update_attachment(tx, attachment.id, now=now, connection_info=info)
        done_with(tx, "attachment_update", told=connected)


def connection_info(backend: VolumeBackend, attachment: Attachment, model: VolumeModel, answer: Any) -> dict[str, Any]:
    """What an initiator is told: what the driver answered, and what only we know.

    Raises BackendFault for an answer that is not one.
    """
    if not isinstance(answer, Mapping) or not answer.get("driver_volume_type"):
        raise BackendFault(f"The driver answered with no connection: {type(answer).__name__} without a type.")
    told = flat(answer)
    volume_type = model.volume_type
    qos = None if volume_type is None else volume_type.qos_specs
    is_for_initiator = qos is not None and qos.consumer in (QosConsumer.FRONT_END, QosConsumer.BOTH)
    told["qos_specs"] = dict(qos.specs) if qos is not None and is_for_initiator else None
    is_readonly = model.admin_metadata.get("readonly", "").lower() == "true"
    told["access_mode"] = AttachMode.RO.value if is_readonly else attachment.mode.value
    told["encrypted"] = bool(model.encryption_key_id)
    may_cache = volume_type is not None and volume_type.extra_specs.get("cacheable", "").lower() == "<is> true"
    told["cacheable"] = may_cache and told.get("cacheable") is not False
    if backend.configuration.safe_get("report_discard_supported"):
        told.setdefault("discard", True)
    told["enforce_multipath"] = bool((attachment.connector or {}).get("enforce_multipath", False))
    told["attachment_id"] = attachment.id
    return told


def _disconnect(
    backend: VolumeBackend,
    context: RequestContext,
    volume: Volume,
    attachment: Attachment,
    model: VolumeModel,
    *,
    force: bool,
) -> None:
    """Have the driver let the initiator in no longer, unless another attachment of its is in use.

    The export goes with the last connection, unless the driver says that it is shared.
    """
    connector = attachment.connector
    if connector is None:
        return
    others = [one for one in volume.attachments if one.id != attachment.id and one.connector is not None]
    is_shared = False
    if not any(same_initiator(one.connector or {}, connector) for one in others):
        with driver_call("disconnect volumes"):
            try:
                is_shared = backend.driver.terminate_connection(model, connector, force=force) is True
            except NotFound:
                log.info("connection.gone_already", volume=volume.id, attachment=attachment.id)
    with driver_call("detach volumes"):
        try:
            backend.driver.detach_volume(context, model, attachment_model(attachment))
        except VolumeNotFound:
            log.info("volume.gone_already", volume=volume.id)
    if not others and not is_shared:
        remove_export(backend, context, model)


def remove_export(backend: VolumeBackend, context: RequestContext, model: VolumeModel) -> None:
    """Take the volume's export away; it is fine when there is none."""
    with driver_call("take exports away"):
        try:
            backend.driver.remove_export(context, model)
        except NotFound:
            log.info("export.gone_already", volume=model.id)


def _forget(backend: VolumeBackend, volume_id: str, attachment_id: str) -> None:
    with backend.database.begin(durable=False) as tx:  # that it is to end is on the disk: it ends once more
        hold(tx, f"volume {volume_id}")  # as who accepts a request about it does: nobody attaches it meanwhile
        attachments.delete_attachment(tx, attachment_id)
        left = attachments.of_volume(tx, volume_id)
        if not left:
            volumes.ADMIN_METADATA.remove(tx, volume_id, ATTACHED_MODE)
        volumes.follow_attachments(tx, volume_id, now=backend.now(), statuses={one.status for one in left})
        done_with(tx, "attachment_delete", told=left)


def _is_taken_back(
    backend: VolumeBackend, context: RequestContext, volume: Volume, attachment: Attachment, model: VolumeModel
) -> bool:
    """Take back what a connection that failed may have left. False: that cannot be, and its connector has to stay."""
    try:
        _disconnect(backend, context, volume, attachment, model, force=True)
    except Fault as fault:
        log.warning("attachment.left_behind", volume=volume.id, attachment=attachment.id, fault=str(fault))
        return False
    return True


def _drop_connector(backend: VolumeBackend, volume: Volume, attachment: Attachment) -> None:
    """The backend knows nothing of the attachment's connector; a connection of nobody goes with it."""
    if attachment.status is AttachStatus.DETACHED:
        _forget(backend, volume.id, attachment.id)
        return
    with backend.database.begin() as tx:
        attachments.update_attachment(tx, attachment.id, now=backend.now(), connector=None)


def _refuse(
    backend: VolumeBackend, context: RequestContext, volume: Volume, attachment: Attachment, fault: Fault
) -> None:
    """The connector that came with an update is not one: as if it had not come."""
    was = AttachStatus.RESERVED if attachment.status is AttachStatus.ATTACHING else attachment.status
    now = backend.now()
    with backend.database.begin() as tx:
        attachments.change(tx, attachment, was, now=now, connector=None, attached_host=None, mountpoint=None)
        volumes.follow_attachments(tx, volume.id, now=now)
        tell_owner(tx, backend, context, volume, VolumeMessageAction.UPDATE_ATTACHMENT, fault)


def _fail(
    backend: VolumeBackend,
    context: RequestContext,
    volume: Volume,
    attachment: Attachment,
    status: AttachStatus,
    fault: Fault,
) -> None:
    is_ending = status is AttachStatus.ERROR_DETACHING
    action = VolumeMessageAction.DETACH_VOLUME if is_ending else VolumeMessageAction.UPDATE_ATTACHMENT
    now = backend.now()
    with backend.database.begin() as tx:
        attachments.change(tx, attachment, status, now=now)
        volumes.follow_attachments(tx, volume.id, now=now)
        tell_owner(tx, backend, context, volume, action, fault)
