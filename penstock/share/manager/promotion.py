"""Promotion: another replica becomes the active one. May be called again after a crash at any point.

The order: the number of the reign is stored; syncs of the share end; the driver fences, copies and promotes; the rows
follow in one transaction. A fault leaves the states open, truthfully: looks at the replicas (`looks.py`) mend them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction, MessageDetail
from penstock.domain.operations import OperationState
from penstock.domain.pools import service_host
from penstock.domain.shares import ReplicaState, Share, ShareStatus
from penstock.errors import BackendFault, Conflict, Fault, Unavailable
from penstock.share.manager import ensure, replica_rows, syncing
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call, is_final, locations_in
from penstock.share.manager.moved import FOLLOWING
from penstock.share.manager.notices import tell_owner
from penstock.share.manager.replica_lifecycle import rules_applied
from penstock.share.manager.replica_rows import Copies
from penstock.share.manager.syncs import Syncs
from penstock.share.replication import PROMOTION, Promotion, PromotionKind
from penstock.store import instances, operations, replicas, shares
from penstock.store.database import Transaction

log = structlog.get_logger(__name__)

WAIT_S = 30.0  # how long it waits for running syncs to end before it goes on without
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the driver said: of the new active replica, and of the others by instance."""

    promotion: Promotion | None
    updates: Mapping[str, Mapping[str, Any]]


def promote(
    backend: Backend, syncs: Syncs, context: RequestContext, share_id: str | None, replica_id: str, wait_s: float | None
) -> None:
    """Make the replica the active one, unless that is done already.

    `wait_s` bounds the wait for running syncs. Raises Conflict: the driver refuses, and nothing was changed.
    """
    wait_s = WAIT_S if wait_s is None else wait_s
    with backend.database.begin() as tx:
        copies = replica_rows.load(tx, backend, share_id, replica_id)
        if copies is None or not copies.is_changing:
            return
        epoch = replicas.keep_epoch(tx, copies.mine.id, replica_id, now=backend.now())
        _stop_syncs(tx, copies)
    syncs.stop(share_id=copies.mine.id, wait_s=wait_s)
    _await_syncs(backend, copies, wait_s)
    with backend.database.read() as tx:
        rules = replica_rows.rules_of(tx, copies.mine, is_read_only=False)
    models = [replace(m, epoch=epoch) if m.id == replica_id else m for m in copies.models]
    try:
        with syncs.running(replica_id, copies.mine.id) as stop, driver_call("promote replicas"):
            _refuse_sync(stop)
            answer = backend.driver.promote_replica(context, models, models[copies.place], rules, share_server=None)
        told = _understand(answer, replica_id)
    except Conflict as fault:
        _end(backend, context, copies, Event.REFUSED, fault)
        raise
    except Fault as fault:
        if is_final(fault):
            _end(backend, context, copies, Event.FAILED, fault)
        raise
    _write(backend, context, copies, told, epoch, [rule.id for rule in rules])


def _stop_syncs(tx: Transaction, copies: Copies) -> None:
    """Syncs that stand in a queue end before they begin, those that run are asked to."""
    for share in copies.shares:
        for operation in operations.pending(tx, resource_key=f"replica:{share.instance.id}"):
            operations.request_cancel(tx, operation.id)


def _await_syncs(backend: Backend, copies: Copies, wait_s: float) -> None:
    """Wait for operations of this share's syncs that run, also in other processes; bounded."""
    until = backend.clock.monotonic_s() + wait_s
    while backend.clock.monotonic_s() < until:
        with backend.database.read() as tx:
            pending = [
                o for s in copies.shares for o in operations.pending(tx, resource_key=f"replica:{s.instance.id}")
            ]
        if not any(operation.state is OperationState.RUNNING for operation in pending):
            return
        backend.clock.sleep(POLL_S)  # it may run in another process, of which only the row tells


def _refuse_sync(stop: threading.Event | None) -> None:
    if stop is None:
        raise Unavailable("A sync of this replica does not end.")


def _understand(answer: Any, replica_id: str) -> _Answer:
    if answer is not None and not isinstance(answer, Sequence):
        raise BackendFault(f"The driver answered to a promotion with a {type(answer).__name__}.")
    updates = {str(item["id"]): item for item in answer or ()}
    mine = updates.get(replica_id, {})
    promotion = mine.get(PROMOTION)
    return _Answer(promotion if isinstance(promotion, Promotion) else None, updates)


def _write(
    backend: Backend,
    context: RequestContext,
    copies: Copies,
    told: _Answer,
    epoch: int,
    rule_ids: list[str],
) -> None:
    """The rows follow: one transaction, and the share speaks through its new active replica."""
    now, mine = backend.now(), copies.mine
    with backend.database.begin() as tx:
        speaking = shares.get(tx, mine.id)
        if speaking is None:
            return
        old = speaking.instance
        reign = told.promotion.epoch if told.promotion else epoch  # what is on the storage, or it would be fenced
        if old.id == mine.instance.id:
            replicas.set_state(
                tx,
                old.id,
                ReplicaState.ACTIVE,
                now=now,
                epoch=reign,
                lag_alarm=False,
                synced_at=None,
                cast_rules_to_readonly=False,
            )
        else:
            replicas.switch_active(tx, mine.id, old.id, mine.instance.id, now=now, epoch=reign)
            instances.update_instance(tx, mine.instance.id, now=now, synced_at=None)
        for share in copies.shares:
            _write_update(tx, backend, share, told.updates.get(share.instance.id, {}), is_new=share is mine)
            _end_change(tx, backend, share, Event.DONE)
        if mine.status is ShareStatus.ERROR:
            shares.move(tx, mine.instance, Event.HEALED, now=now)
        rules_applied(tx, backend, mine, rule_ids)
        _redirect(tx, backend, mine)
        if told.promotion is not None and told.promotion.kind is PromotionKind.UNPLANNED:
            _tell_loss(tx, backend, context, mine, told.promotion)
    log.info("replica.promoted", share=mine.id, replica=mine.instance.id, epoch=reign)


def _write_update(tx: Transaction, backend: Backend, share: Share, update: Mapping[str, Any], *, is_new: bool) -> None:
    if update.get("export_locations") is not None:
        locations = locations_in(update["export_locations"])
        instances.put_export_locations(tx, share.instance.id, locations, now=backend.now())
    state = update.get("replica_state")
    if not is_new and state in syncing.STATES:
        replicas.set_state(tx, share.instance.id, ReplicaState(str(state)), now=backend.now())


def _end_change(tx: Transaction, backend: Backend, share: Share, event: Event) -> None:
    if share.status is ShareStatus.REPLICATION_CHANGE:
        shares.move(tx, share.instance, event, now=backend.now())


def _redirect(tx: Transaction, backend: Backend, mine: Share) -> None:
    """What is queued for the share at the old active one's backend is done here: that one may never answer again."""
    of_share = operations.pending(tx, resource_key=f"share:{mine.id}")
    waiting = [o for o in of_share if o.state is OperationState.QUEUED and o.call.method in FOLLOWING]
    operations.readdress(tx, [o.id for o in waiting if o.call.backend != backend.host], backend.host)


def _tell_loss(tx: Transaction, backend: Backend, context: RequestContext, mine: Share, promotion: Promotion) -> None:
    point = promotion.recovery_point
    if point is None:
        window = "From when its data is, is not known."
    else:
        seconds = max(0, round((backend.now() - point).total_seconds()))
        window = (
            f"It goes on from {point:%Y-%m-%d %H:%M:%S} UTC; what was written in the {seconds} seconds since then is "
            "not in it, and is kept aside on the old one if that comes back."
        )
    fault = Fault(f"{window} {promotion.reason or ''}".rstrip())
    detail = MessageDetail.PROMOTED_WITHOUT_OLD_ACTIVE
    tell_owner(tx, backend, context, mine, MessageAction.PROMOTE, fault, detail=detail, replica=True)
    log.warning("replica.promoted_unplanned", share=mine.id, recovery_point=point, reason=promotion.reason)


def _end(backend: Backend, context: RequestContext, copies: Copies, event: Event, fault: Fault) -> None:
    """A promotion that did not happen, or not as far as we know."""
    mine = copies.mine
    with backend.database.begin() as tx:
        for share in copies.shares:
            _end_change(tx, backend, share, event)
            if share.instance.host is not None:
                ensure.ask_again(tx, service_host(share.instance.host))
        if event is Event.FAILED:
            for share in copies.shares:
                if share.instance.replica_state is not ReplicaState.ACTIVE:
                    is_it = share is mine
                    state = ReplicaState.ERROR if is_it else ReplicaState.OUT_OF_SYNC
                    replicas.set_state(tx, share.instance.id, state, now=backend.now())
        tell_owner(tx, backend, context, mine, MessageAction.PROMOTE, fault, replica=True)
