"""At start: what is on its way but has no operation that would bring it there.

Rows and operations are committed together, so this is only what an operation that ended could not write, because the
database went away at that moment, or what an administrator set by hand. It becomes a truthful error.
"""

from __future__ import annotations

import structlog

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction
from penstock.domain.shares import AccessRulesStatus, ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.errors import BackendFault, Fault
from penstock.share.manager import access
from penstock.share.manager import instances as instance_theme
from penstock.share.manager import snapshots as snapshot_theme
from penstock.share.manager.backend import Backend
from penstock.share.manager.ensure import SERVED
from penstock.store import operations, replicas, share_migrations, shares, snapshots

log = structlog.get_logger(__name__)

SHARES = {
    ShareStatus.CREATING: MessageAction.CREATE,
    ShareStatus.DELETING: MessageAction.DELETE,
    ShareStatus.EXTENDING: MessageAction.EXTEND,
    ShareStatus.SHRINKING: MessageAction.SHRINK,
    ShareStatus.REVERTING: MessageAction.REVERT_TO_SNAPSHOT,
    ShareStatus.MANAGING: MessageAction.CREATE,
    ShareStatus.UNMANAGING: MessageAction.DELETE,
}
SNAPSHOTS = {
    SnapshotStatus.CREATING: MessageAction.CREATE,
    SnapshotStatus.DELETING: MessageAction.DELETE,
    SnapshotStatus.RESTORING: MessageAction.REVERT_TO_SNAPSHOT,
    SnapshotStatus.MANAGING: MessageAction.CREATE,
    SnapshotStatus.UNMANAGING: MessageAction.DELETE,
}


def settle(backend: Backend, context: RequestContext) -> None:
    """Put what is stranded in error, and apply rules that nobody would apply. Called while no operation runs."""
    with backend.database.read() as tx:
        awaited = {item.call.resource_key for item in operations.pending(tx, backend=backend.host)}
        late_shares = shares.of_backend(tx, backend.host, statuses=list(SHARES))
        late_snapshots = snapshots.of_backend(tx, backend.host, statuses=list(SNAPSHOTS))
        moved = {instance.id for instance in share_migrations.left_over(tx, backend.host)}  # `migrating` sees to them
        served = shares.of_backend(tx, backend.host, statuses=SERVED)
        # What is on its way to or from replicas is looked at again and again, with or without an operation.
        replicated = {replica.share_id for replica in replicas.on(tx, backend.host)}
    fault = BackendFault("The operation was interrupted and its end is not known.")
    for snapshot in late_snapshots:
        if f"share:{snapshot.share_id}" not in awaited and snapshot.share_id not in replicated:
            action = SNAPSHOTS[snapshot.status]
            log.warning("snapshot.stranded", snapshot=snapshot.id, status=snapshot.status.value)
            snapshot_theme.fail(backend, context, snapshot, Event.FAILED, action, fault)
    for share in late_shares:
        if f"share:{share.id}" not in awaited and share.instance.id not in moved:
            log.warning("share.stranded", share=share.id, status=share.status.value)
            instance_theme.fail(backend, context, share, Event.FAILED, SHARES[share.status], fault)
    for share in served:
        syncing = share.instance.access_rules_status is AccessRulesStatus.SYNCING
        if syncing and f"share:{share.id}" not in awaited:
            _apply_rules(backend, context, share.instance.id)


def _apply_rules(backend: Backend, context: RequestContext, instance_id: str) -> None:
    try:
        access.update(backend, context, instance_id)
    except Fault as fault:
        log.warning("rules.not_applied", instance=instance_id, fault=str(fault))
