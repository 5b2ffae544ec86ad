"""Replicas come and go: create and delete. Each function may be called again after a crash at any point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction
from penstock.domain.shares import ReplicaState, Share, ShareStatus
from penstock.errors import BackendFault, Conflict, Fault, NotFound, Unavailable
from penstock.share.manager import access as access_theme
from penstock.share.manager import replica_rows
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call, is_final, locations_in
from penstock.share.manager.lag_alarms import tell_aside
from penstock.share.manager.notices import tell_owner
from penstock.share.manager.syncs import Syncs
from penstock.share.replication import HasReplicaReports
from penstock.store import access, instances, replicas, shares
from penstock.store.database import Transaction

log = structlog.get_logger(__name__)

STOP_S = 30.0  # how long a deletion waits for a sync to end before it is tried again later


def create(backend: Backend, context: RequestContext, share_id: str | None, replica_id: str) -> None:
    """Make the replica on this backend, unless that is done already; syncs bring the data."""
    with backend.database.read() as tx:
        copies = replica_rows.load(tx, backend, share_id, replica_id)
        if copies is None or copies.mine.status is not ShareStatus.CREATING:
            return
        rules = replica_rows.rules_of(tx, copies.mine, is_read_only=True)
        pairs = replica_rows.pairs_of(tx, backend, copies)
    try:
        if copies.active is None:
            raise Conflict("The share has no active replica that could be copied.")
        with driver_call("make replicas"):
            answer = backend.driver.create_replica(
                context, copies.models, copies.model, rules, pairs, share_server=None
            )
        state = _created_state(answer or {})
        locations = locations_in((answer or {}).get("export_locations"))
    except Fault as fault:
        if is_final(fault):
            _fail(backend, context, copies.mine, MessageAction.CREATE, fault)
        raise
    now = backend.now()
    with backend.database.begin() as tx:
        instances.put_export_locations(tx, replica_id, locations, now=now)
        shares.move(
            tx, copies.mine.instance, Event.DONE, now=now, launched_at=now, progress="100%", replica_state=state
        )
        rules_applied(tx, backend, copies.mine, [rule.id for rule in rules])


def _created_state(answer: Mapping[str, Any]) -> ReplicaState:
    text = answer.get("replica_state") or ReplicaState.OUT_OF_SYNC
    if text not in (ReplicaState.IN_SYNC, ReplicaState.OUT_OF_SYNC):
        raise BackendFault(f"The driver answered with the state '{text}' to the creation of a replica.")
    return ReplicaState(text)


def rules_applied(tx: Transaction, backend: Backend, share: Share, rule_ids: list[str]) -> None:
    """The driver has put these rules in force with another call than `update_access`."""
    access.set_states(
        tx,
        share.instance.id,
        now=backend.now(),
        source=access_theme.TO_APPLY,
        target=AccessState.ACTIVE,
        rule_ids=rule_ids,
    )
    access_theme.settle_status(tx, backend, share, access.of_instance(tx, share.instance.id))


def delete(
    backend: Backend, syncs: Syncs, context: RequestContext, share_id: str | None, replica_id: str, *, force: bool
) -> None:
    """Destroy the replica and forget it. With `force` it is forgotten even when the backend cannot do its part."""
    with backend.database.read() as tx:
        copies = replica_rows.load(tx, backend, share_id, replica_id)
        if copies is None or copies.mine.status is not ShareStatus.DELETING:
            return
        taken = replica_rows.snapshot_models_on(tx, backend, replica_id)
    mine, aside = copies.mine, None
    try:
        if mine.instance.replica_state is ReplicaState.ACTIVE:
            raise Conflict("The active replica cannot be deleted; promote another one first, or delete the share.")
        if not syncs.stop(share_id=mine.id, wait_s=STOP_S) and syncs.is_running(replica_id):
            # What it would write after the deletion would be nobody's.
            raise Unavailable(f"The sync of replica {replica_id} has not ended yet.")
        with driver_call("delete replicas"):
            aside = backend.driver.delete_replica(context, copies.models, taken, copies.model, share_server=None)
    except NotFound:
        pass  # that is what was wanted
    except Fault as fault:
        if not is_final(fault):
            raise
        if not force or mine.instance.replica_state is ReplicaState.ACTIVE:
            _fail(backend, context, mine, MessageAction.DELETE, fault)
            raise
        log.warning("replica.left_behind", share=mine.id, replica=replica_id, fault=str(fault))
    with backend.database.begin() as tx:
        if aside:
            tell_aside(tx, backend, context, mine, aside)
        shares.move(tx, mine.instance, Event.DONE, now=backend.now())
        replicas.delete_replica(tx, replica_id)


def end_replication(backend: Backend, share_id: str | None, replica_id: str) -> None:
    """The replica is the only one left: the driver forgets what it kept for others. Raises what the driver raises."""
    with backend.database.read() as tx:
        copies = replica_rows.load(tx, backend, share_id, replica_id)
    if copies is None or len(copies.shares) > 1 or copies.mine.status is not ShareStatus.AVAILABLE:
        return
    if isinstance(backend.driver, HasReplicaReports):
        with driver_call("end replication"):
            backend.driver.end_replication(copies.model)


def _fail(backend: Backend, context: RequestContext, share: Share, action: MessageAction, fault: Fault) -> None:
    """``error`` or ``error_deleting``, as the lifecycle says, and the reason to the owner."""
    is_active = share.instance.replica_state is ReplicaState.ACTIVE
    values = {} if is_active else {"replica_state": ReplicaState.ERROR}
    with backend.database.begin() as tx:
        shares.move(tx, share.instance, Event.FAILED, now=backend.now(), **values)
        tell_owner(tx, backend, context, share, action, fault, replica=True)
