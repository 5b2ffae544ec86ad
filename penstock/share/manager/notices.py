"""Telling the owner of a share why an operation ended in error, as a user message."""

from __future__ import annotations

from datetime import timedelta

from penstock.context import RequestContext
from penstock.domain.message_codes import MessageAction, MessageDetail, MessageResource, sentence
from penstock.domain.messages import Message
from penstock.domain.shares import Share
from penstock.domain.snapshots import Snapshot
from penstock.errors import (
    BackendFault,
    Fault,
    InsufficientCapacity,
    InvalidShareAccess,
    InvalidShareAccessLevel,
    ShareShrinkingPossibleDataLoss,
    Unavailable,
)
from penstock.ids import MessageId, new_id
from penstock.operations.owner_words import told
from penstock.share.manager.backend import Backend
from penstock.store import messages
from penstock.store.database import Transaction
from penstock.units import bytes_to_gib_ceil

LOOK_INTO = "An administrator can look into it with the request id"


def tell_owner(
    tx: Transaction,
    backend: Backend,
    context: RequestContext,
    resource: Share | Snapshot,
    action: MessageAction,
    fault: Fault,
    *,
    detail: MessageDetail | None = None,
    replica: bool = False,
) -> None:
    """Store a message to the owner's project, in the transaction that writes the error state.

    With `replica` it is about the instance that the share is given with, a replica.
    """
    now = backend.now()
    code = detail or _detail(action, fault)
    message = Message(
        id=MessageId(new_id()),
        project_id=resource.project_id,
        request_id=context.request_id,
        resource_type=_kind(resource, replica=replica),
        resource_id=resource.instance.id if replica else resource.id,
        action_id=action,
        detail_id=code,
        level="ERROR",
        text=sentence(code, _reason(context, fault)),
        created_at=now,
        expires_at=now + timedelta(seconds=backend.message_ttl_s),
    )
    messages.insert_message(tx, message)


def _kind(resource: Share | Snapshot, *, replica: bool) -> MessageResource:
    if isinstance(resource, Snapshot):
        return MessageResource.SHARE_SNAPSHOT
    return MessageResource.SHARE_REPLICA if replica else MessageResource.SHARE


def _reason(context: RequestContext, fault: Fault) -> str:
    """What the owner may know: not the commands and names of the storage host."""
    if isinstance(fault, BackendFault):
        return f"{LOOK_INTO} {context.request_id}."
    if isinstance(fault, Unavailable):
        return "The storage backend did not answer for too long; try again later."
    if isinstance(fault, ShareShrinkingPossibleDataLoss):  # the code's own sentence says the rest
        used_bytes = fault.used_bytes
        return "" if used_bytes is None else f"Without its snapshots it needs {bytes_to_gib_ceil(used_bytes)} GiB."
    return (told(fault) or f"{LOOK_INTO} {context.request_id}.") if fault.quotes_host else fault.message


def _detail(action: MessageAction, fault: Fault) -> MessageDetail:
    if isinstance(fault, ShareShrinkingPossibleDataLoss):
        return MessageDetail.DRIVER_REFUSED_SHRINK
    if isinstance(fault, InvalidShareAccess | InvalidShareAccessLevel):
        return MessageDetail.UNSUPPORTED_CLIENT_ACCESS
    if isinstance(fault, InsufficientCapacity) and action is MessageAction.CREATE:
        return MessageDetail.FILTER_CAPACITY
    return {
        MessageAction.EXTEND: MessageDetail.DRIVER_FAILED_EXTEND,
        MessageAction.SHRINK: MessageDetail.DRIVER_FAILED_SHRINK,
    }.get(action, MessageDetail.UNKNOWN_ERROR)
