"""Which promotion this is, decided from what the copies say of themselves. Pure.

The truth is with the copy whose data is of the highest reign: the *head*. It is the active one, or the one that was
fenced for a promotion that has not ended. A promotion is planned when the head is known for certain, that is when the
copy that the database calls active answered; otherwise it is unplanned, and starts from what the replica holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from penstock.errors import Conflict, Unavailable
from penstock.share.drivers.zfsonlinux.replica_set import Copy, CopySet
from penstock.share.models import ShareModel
from penstock.share.replication import Promotion, PromotionKind, Role
from penstock.zfs.reigns import Fence


@dataclass(frozen=True, slots=True)
class Finish:
    """The replica is the active one already: what is left is to serve it."""

    told: Promotion


@dataclass(frozen=True, slots=True)
class Planned:
    """Fence the head, bring its last changes, go on from there. The `fence` may be what an earlier attempt began.

    `zombies` are active copies of older reigns, to be fenced first. `told` is what the promotion answers.
    """

    head: Copy
    fence: Fence
    zombies: tuple[Copy, ...]
    told: Promotion


@dataclass(frozen=True, slots=True)
class Unplanned:
    """Go on from what the replica holds. `zombies` as above."""

    told: Promotion
    zombies: tuple[Copy, ...]


LONG_AGO = datetime(1970, 1, 1)  # noqa: DTZ001 - times in marks are naive UTC
Decision = Finish | Planned | Unplanned


def decide(found: CopySet, replica_list: Sequence[ShareModel], replica_id: str) -> Decision:
    """How `replica_id` becomes the active one.

    Raises Conflict when it must not, Unavailable when its host does not answer: nothing was changed.
    """
    own = found.get(replica_id)
    if own is None:
        raise Unavailable(found.away.get(replica_id, f"replica {replica_id} is none of the share's"))
    if own.seen is None:
        raise Conflict("The replica holds nothing yet: its first copy has not ended.")
    others = found.others(replica_id)
    heads = [copy for copy in others if copy.role in (Role.ACTIVE, Role.DEMOTED)]
    head = max(heads, key=_standing, default=None)
    known_epoch = max((model["epoch"] for model in replica_list if model["id"] != replica_id), default=0)
    reserved = own.model["epoch"]
    newest = max(copy.highest_epoch for copy in found.copies)
    row_active = next((model for model in replica_list if model["replica_state"] == Role.ACTIVE), None)
    is_newest = own.epoch >= max(copy.epoch for copy in found.copies)
    is_rows_active = row_active is not None and row_active["id"] == own.id and not found.away
    is_known = is_rows_active or own.epoch >= _untold_epoch(found, replica_list, own)
    if own.role is Role.ACTIVE and is_newest and is_known:
        return Finish(_told_again(own, reserved, head, known_epoch))
    missing = _why_uncertain(found, row_active, replica_id)
    is_behind = (
        head is not None and head.epoch >= own.epoch and not (_made_way(own) and _standing(own) > _standing(head))
    )
    if head is not None and is_behind and (missing is None or head.epoch > known_epoch):
        return _planned(head, own, reserved, newest, others)
    is_head = _is_head(own, found, known_epoch)
    if not is_head and (own.role is not Role.REPLICA or own.seen.marks.synced_at is None):
        raise Conflict("The replica is not in line with any active one, and who could give it its data is away.")
    zombies = tuple(copy for copy in others if copy.role is Role.ACTIVE)
    epoch = max(reserved, newest + 1, known_epoch + 1)
    if is_head and missing is None and not found.away:
        return Unplanned(Promotion(PromotionKind.PLANNED, epoch), zombies)
    recovery_point = None if is_head else own.seen.marks.synced_at
    told = Promotion(PromotionKind.UNPLANNED, epoch, recovery_point, _reason(missing, others, own))
    return Unplanned(told, zombies)


def _untold_epoch(found: CopySet, replica_list: Sequence[ShareModel], own: Copy) -> int:
    """The highest reign that another may have begun, other than what the copies themselves tell; 0 without any.

    A row's number is kept before its promotion acts, so that of a copy that was seen, and is not the rows' active one,
    may be of an attempt that failed before it changed anything: what the copy says counts.
    """
    seen = {copy.id for copy in found.copies if copy.seen is not None}
    numbers = (
        model["epoch"]
        for model in replica_list
        if model["id"] != own.id and (model["id"] not in seen or model["replica_state"] == Role.ACTIVE)
    )
    return max(numbers, default=0)


def _made_way(copy: Copy) -> bool:
    """Was it the active one when a promotion fenced it? Others are demoted without having had the latest."""
    fence = copy.fence
    return copy.role is Role.DEMOTED and fence is not None and fence.successor != ""


def _standing(copy: Copy) -> tuple[int, bool, bool]:
    """Copies sorted by it end in the one that has the truth."""
    return copy.epoch, copy.role is Role.ACTIVE, _made_way(copy)


def _is_head(own: Copy, found: CopySet, known_epoch: int) -> bool:
    """Was it fenced for a promotion that never ended, so that nobody has later data?

    Numbers kept for promotions that did not happen stand in the rows, too. So what is away counts only by the reign
    that it may have begun: the one that we made way for.
    """
    if own.role is not Role.DEMOTED or own.epoch < max(copy.epoch for copy in found.copies):
        return False
    fence = own.fence
    return not found.away or (_made_way(own) and fence is not None and fence.epoch >= known_epoch)


def _planned(head: Copy, own: Copy, reserved: int, newest: int, others: Sequence[Copy]) -> Planned:
    fence = head.fence
    zombies = tuple(copy for copy in others if copy.role is Role.ACTIVE and copy is not head)
    is_begun = head.role is Role.DEMOTED and fence is not None and fence.successor == own.id and fence.epoch == newest
    if fence is None or not is_begun:
        fence = Fence(max(reserved, newest + 1), own.id)
    return Planned(head, fence, zombies, _told_for(head, fence.epoch))


def _told_for(head: Copy, epoch: int) -> Promotion:
    """Nothing that the head has is missing. But it may have begun its reign without the old active one, and have failed
    before anybody was told: what was lost then is told now."""
    marks = head.seen.marks if head.seen is not None else None
    if marks is None or marks.promoted is not PromotionKind.UNPLANNED or head.model["replica_state"] == Role.ACTIVE:
        return Promotion(PromotionKind.PLANNED, epoch)
    reason = f"An earlier attempt promoted the replica on {head.peer.section} without the old active one."
    return Promotion(PromotionKind.UNPLANNED, epoch, marks.synced_at, reason)


def _told_again(own: Copy, reserved: int, head: Copy | None, known_epoch: int) -> Promotion:
    """What an attempt that ended too early would have answered: a command of it may still be on its way."""
    if own.seen is None:
        raise Conflict("The replica holds nothing yet.")
    marks = own.seen.marks
    begun = head.fence.epoch if head is not None and head.fence and head.fence.successor == own.id else 0
    epoch = begun if begun >= own.epoch and begun > known_epoch else max(begun, own.epoch, reserved)
    is_unplanned = marks.promoted is PromotionKind.UNPLANNED
    kind = PromotionKind.UNPLANNED if is_unplanned else PromotionKind.PLANNED
    recovery_point = marks.synced_at if is_unplanned else None
    reason = "An earlier attempt promoted it without the old active replica." if is_unplanned else None
    return Promotion(kind, epoch, recovery_point, reason)


def _why_uncertain(found: CopySet, row_active: ShareModel | None, replica_id: str) -> str | None:
    """Why the head may be elsewhere; None when it was seen."""
    if row_active is None or row_active["id"] == replica_id:
        return "; ".join(found.away.values()) or None
    if row_active["id"] in found.away:
        return found.away[row_active["id"]]
    copy = found.get(row_active["id"])
    if copy is None or copy.seen is None:
        return f"{row_active['host']} answers, and has nothing of the share"
    return None


def _reason(missing: str | None, others: Sequence[Copy], own: Copy) -> str:
    reason = missing or "there is no copy that was active"
    mine = _synced_at(own)
    later = [copy for copy in others if copy.role is Role.REPLICA and _synced_at(copy) > mine]
    if later:
        best = max(later, key=_synced_at)
        reason += f"; the replica on {best.peer.section} is of a later time ({_synced_at(best).isoformat()}Z)"
    return reason


def _synced_at(copy: Copy) -> datetime:
    seen = copy.seen
    return (seen.marks.synced_at if seen is not None else None) or LONG_AGO
