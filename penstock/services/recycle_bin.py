"""Soft deletion: a share goes to the recycle bin, and comes back or is deleted for good when its time is over (2.69).

A share in the bin is as it was on its backend, counts against quotas, is not in ordinary lists, and takes no changes.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from penstock.context import RequestContext, admin_context
from penstock.domain.lifecycle import Event
from penstock.domain.shares import Share, ShareStatus
from penstock.errors import Fault, Forbidden
from penstock.services import share_calls, share_lifecycle
from penstock.services.control_plane import ControlPlane
from penstock.services.replicated import refuse_replicas
from penstock.services.visibility import changeable_share, hold_share, share_to_change
from penstock.store import shares
from penstock.store.database import Transaction

log = structlog.get_logger(__name__)

TAKEN = (ShareStatus.AVAILABLE, ShareStatus.ERROR, ShareStatus.INACTIVE)
TOO_LATE = (ShareStatus.DELETING, ShareStatus.ERROR_DELETING)


def put(plane: ControlPlane, context: RequestContext, share_id: str) -> None:
    """Put the share into the bin. Raises NotFound, Forbidden (there already, its state, snapshots), Conflict."""
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)
        if share.status not in TAKEN:
            raise Forbidden(f"Share {share.id} is '{share.status}'; it can be soft-deleted in {', '.join(TAKEN)}.")
        refuse_replicas(share, "soft-deleted")
        if shares.has_snapshots(tx, share.id):
            raise Forbidden(f"Share {share.id} has snapshots; delete them first.")
        now = plane.clock.utc()
        due = now + timedelta(seconds=plane.conf.soft_deleted_share_retention_time)
        shares.update_share(tx, share.id, now=now, is_soft_deleted=True, scheduled_to_be_deleted_at=due)
        _remember(tx, plane, context, share)


def restore(plane: ControlPlane, context: RequestContext, share_id: str) -> None:
    """Take the share out of the bin; a share that is not there stays as it is. Safe to repeat.

    Raises NotFound, Forbidden (it is being deleted for good).
    """
    with plane.database.begin() as tx:
        share = share_to_change(tx, context, share_id)
        if not share.is_soft_deleted:
            return
        if share.status in TOO_LATE:
            raise Forbidden(f"Share {share.id} is '{share.status}'; it is too late to restore it.")
        now = plane.clock.utc()
        shares.update_share(tx, share.id, now=now, is_soft_deleted=False, scheduled_to_be_deleted_at=None)
        _remember(tx, plane, context, share)


def empty(plane: ControlPlane) -> None:
    """Begin to delete for good what is due. Safe to repeat: a share that cannot be deleted now is tried again."""
    with plane.database.read() as tx:
        due = shares.ids_due(tx, plane.clock.utc())
    for share_id in due:
        try:
            _delete(plane, share_id)
        except Fault as fault:
            log.warning("recycle_bin.kept", share=share_id, fault=str(fault))


def _remember(tx: Transaction, plane: ControlPlane, context: RequestContext, share: Share) -> None:
    """Have it written on the share's storage, from where a lost database is rebuilt."""
    if share.instance.host is not None:
        arguments = {"share_instance_id": share.instance.id}
        share_calls.enqueue(tx, plane, context, share.instance, "remember_soft_deletion", arguments)


def _delete(plane: ControlPlane, share_id: str) -> None:
    with plane.database.begin() as tx:
        hold_share(tx, share_id)
        share = shares.get(tx, share_id)
        due = None if share is None else share.scheduled_to_be_deleted_at
        if share is None or due is None or due > plane.clock.utc() or share.status is ShareStatus.DELETING:
            return  # restored, gone, or on its way since we looked
        if shares.has_snapshots(tx, share.id):
            raise Forbidden(f"Share {share.id} has snapshots; delete them first.")
        share_lifecycle.remove(tx, plane, admin_context(), share, Event.DELETE)
    log.info("recycle_bin.deleted", share=share_id)
