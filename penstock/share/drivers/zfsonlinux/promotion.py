"""Promotion, step by step; each step looks before it acts, so the same call after a crash finds how far it came.

Planned: catch up while clients still write; fence the old active; its last changes; activate, mount, export; the old
one becomes a replica based on those last changes. Unplanned: activate what the replica holds. Until a replica is
activated there is no active one, never two.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from penstock.errors import BackendFault, Conflict, Fault
from penstock.share.drivers.zfsonlinux.fencing import (
    activate,
    fence_copy,
    is_seen_active,
    serve_stored,
)
from penstock.share.drivers.zfsonlinux.identity import ROLE
from penstock.share.drivers.zfsonlinux.observe import observe_share
from penstock.share.drivers.zfsonlinux.promotion_plan import Finish, Planned, decide
from penstock.share.drivers.zfsonlinux.replica_set import Copy, CopySet, if_it_answers
from penstock.share.drivers.zfsonlinux.sending import Sending
from penstock.share.drivers.zfsonlinux.steps import Forget, SetProperties, carry_out
from penstock.share.drivers.zfsonlinux.syncing import Brought, bring
from penstock.share.models import ShareModel
from penstock.share.replication import Promotion, PromotionKind, Role
from penstock.zfs.holds import hold, release
from penstock.zfs.lines import observe_line
from penstock.zfs.receiving import abort
from penstock.zfs.reigns import EPOCH, FENCED, SYNCED_AT, SYNCED_GUID, Fence, base_for, hold_tag

log = structlog.get_logger(__name__)

MOST_CATCH_UPS = 4
SHORT_S = 1.0  # a catch-up that took no longer is followed by the fence
CATCH_UP_S = 300.0


def make_active(
    found: CopySet, replica_list: Sequence[ShareModel], replica_id: str, sending: Sending, quiesce_s: float | None
) -> Promotion:
    """Make the replica the active one at ZFS' level, mounted; exports are the caller's.

    `quiesce_s` bounds the time for catching up while the old one still serves. Raises Conflict or KeyNotLoaded
    (refused, nothing was changed), and whatever keeps the last changes from arriving: then the old one serves again.
    """
    decision = decide(found, replica_list, replica_id)
    own = _copy(found, replica_id)
    if isinstance(decision, Finish):
        activate(own, decision.told.epoch, decision.told.kind)
        _give_up_stream(own)
        return decision.told
    own.zfs.unlock(own.dataset)  # before anybody is fenced: what cannot be mounted cannot serve
    for zombie in decision.zombies:
        fence_copy(zombie, Fence(zombie.epoch, ""))
    if isinstance(decision, Planned):
        return _planned(decision, own, replica_list, sending, CATCH_UP_S if quiesce_s is None else quiesce_s)
    log.warning("replica.promoted_unplanned", replica=replica_id, reason=decision.told.reason)
    activate(own, decision.told.epoch, decision.told.kind)
    _give_up_stream(own)
    return decision.told


def _give_up_stream(own: Copy) -> None:
    """What a sync that broke off has brought of the next one is of no use any more; its space is given back."""
    if not own.zfs.flavour.can_resume:
        return
    try:
        abort(own.zfs, own.dataset)
    except Fault as fault:  # it serves all the same; what the old active goes on sending ends with the first write
        log.warning("replica.receive_stays", replica=own.id, reason=fault.message)


def _copy(found: CopySet, replica_id: str) -> Copy:
    copy = found.get(replica_id)
    if copy is None:
        raise Conflict(f"replica {replica_id} is not on its backend")
    return copy


def _planned(
    decision: Planned, own: Copy, replica_list: Sequence[ShareModel], sending: Sending, quiesce_s: float
) -> Promotion:
    head = decision.head
    if head.role is Role.ACTIVE and head.seen is not None and head.seen.is_mounted:  # else the fence replays its log
        own = _catch_up(head, own, replica_list, sending, quiesce_s)
    head = _fenced_or_serving(head, decision.fence, own)
    try:
        brought = bring(head, own.again(), replica_list, sending)
    except Fault:
        _lift(head, decision.fence, own)
        raise
    _check_fence(head, decision.fence)
    told = decision.told
    activate(brought.copy, told.epoch, told.kind)
    try:
        _reverse(head, brought, told, sending)
    except Fault as fault:  # clients wait for the new one; the next sync of the old one does it
        log.warning("replica.reversed_later", replica=head.id, reason=fault.message)
    return told


def _catch_up(head: Copy, own: Copy, replica_list: Sequence[ShareModel], sending: Sending, quiesce_s: float) -> Copy:
    """Bring most of it while clients still write, so that they are refused only for the last short delta."""
    deadline_s = sending.clock.monotonic_s() + quiesce_s
    for _ in range(MOST_CATCH_UPS):
        started_s = sending.clock.monotonic_s()
        if started_s >= deadline_s:
            break
        own = bring(head, own, replica_list, sending).copy
        if sending.clock.monotonic_s() - started_s <= SHORT_S:
            break
    return own


def _fenced_or_serving(head: Copy, fence: Fence, own: Copy) -> Copy:
    head = head.again()
    if head.highest_epoch > fence.epoch or head.epoch == fence.epoch:
        raise Conflict("a later promotion of the share has begun; this one ends here")
    try:
        return fence_copy(head, fence)
    except Fault:
        _lift(head, fence, own)
        raise


def _lift(head: Copy, fence: Fence, own: Copy) -> None:
    """Make the old one active again, under a reign of its own: who still believes in the promotion finds it over.

    Only before the replica was activated: then nobody else can have accepted a write. A process that took this
    operation over from us may have done that. What it lost when it became active, and no row knows yet, is still to be
    told.
    """

    if is_seen_active(own):
        log.warning("replica.fence_stays", replica=head.id, fence=str(fence))
        return

    def lift() -> None:
        seen = observe_share(head.zfs, head.dataset)
        if seen is not None and seen.marks.fence == fence:
            is_untold = seen.marks.promoted is PromotionKind.UNPLANNED and head.model["replica_state"] != Role.ACTIVE
            activate(head, fence.epoch + 1, PromotionKind.UNPLANNED if is_untold else PromotionKind.PLANNED)
        serve_stored(head)

    fault = if_it_answers(lift)
    log.warning("replica.fence_lifted", replica=head.id, epoch=fence.epoch + 1, fault=fault.message if fault else None)


def _check_fence(head: Copy, fence: Fence) -> None:
    """Raises Conflict when another promotion has begun meanwhile."""
    seen = observe_share(head.zfs, head.dataset)
    if seen is None or seen.marks.fence != fence or seen.role is not Role.DEMOTED:
        raise Conflict("another promotion of the share has begun; this one ends here")


def _reverse(head: Copy, brought: Brought, told: Promotion, sending: Sending) -> None:
    """The old active follows the new one: both end in the snapshot of the last changes, which is its base now."""
    base = brought.base
    new = brought.copy
    pairs = (
        (EPOCH, str(told.epoch)),
        (SYNCED_GUID, str(base.guid)),
        (SYNCED_AT, sending.clock.utc().isoformat()),
        (ROLE, Role.REPLICA.value),
    )
    for copy in (new, head):
        line = observe_line(copy.zfs, copy.dataset, ())
        taken = line.by_guid(base.guid)
        if taken is None:
            raise BackendFault(f"{copy.dataset} has lost {base.name}")
        hold(copy.zfs, [line.name(taken)], hold_tag(head.id))
        release(copy.zfs, [line.name(taken)], hold_tag(new.id))
        carry_out((SetProperties(line.name(taken), ((base_for(head.id), "yes"),)),), copy.zfs)
    carry_out((SetProperties(head.dataset, pairs), Forget(head.dataset, (FENCED,))), head.zfs)
