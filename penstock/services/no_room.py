"""Telling owners of shares, in the request's own transaction, that no pool can take what they asked for, and why."""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.message_codes import MessageAction, MessageDetail, MessageResource, sentence
from penstock.domain.shares import Share
from penstock.services import messages
from penstock.services.control_plane import ControlPlane
from penstock.store.database import Transaction


def tell_of_share(
    tx: Transaction, plane: ControlPlane, context: RequestContext, share: Share, action: MessageAction, reason: str
) -> None:
    """The share cannot be placed, or grow where it is."""
    _tell(tx, plane, context, share, MessageResource.SHARE, share.id, action, reason)


def tell_of_replica(tx: Transaction, plane: ControlPlane, context: RequestContext, replica: Share, reason: str) -> None:
    """The replica (a share with that instance) cannot be placed."""
    resource = MessageResource.SHARE_REPLICA
    _tell(tx, plane, context, replica, resource, replica.instance.id, MessageAction.ALLOCATE_HOST, reason)


def _tell(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    share: Share,
    resource: MessageResource,
    resource_id: str,
    action: MessageAction,
    reason: str,
) -> None:
    messages.add(
        tx,
        plane,
        context,
        project_id=share.project_id,
        resource_type=resource,
        resource_id=resource_id,
        action=action,
        detail=MessageDetail.NO_VALID_HOST,
        text=sentence(MessageDetail.NO_VALID_HOST, reason),
    )
