"""Extend and shrink shares. Sizes are whole GiB."""

from __future__ import annotations

from dataclasses import replace

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction
from penstock.domain.quotas import QuotaResource
from penstock.domain.shares import Share, ShareStatus
from penstock.errors import Forbidden, InsufficientCapacity, Invalid, InvalidShare, QuotaExceeded
from penstock.scheduler.requirements import THIN, Requirements
from penstock.services import no_room, placement, quotas, share_calls, type_choice
from penstock.services.control_plane import ControlPlane
from penstock.services.visibility import changeable_share
from penstock.store import replicas, shares, types
from penstock.store.database import Transaction


def extend(plane: ControlPlane, context: RequestContext, share_id: str, new_size_gib: int, *, force: bool) -> None:
    """Accept a larger size. When the pool has no room the share stays as it is and its owner gets a message.

    `force` does not ask whether there is room. Raises NotFound, Forbidden (also over quota, as published), Invalid,
    QuotaExceeded (that of replicas).
    """
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)
        _check_available(share, "extended")
        if new_size_gib <= share.size_gib:
            raise Invalid(f"The new size must be larger than {share.size_gib} GiB, the size of share {share.id}.")
        share_type = None if share.share_type_id is None else types.get(tx, share.share_type_id)
        type_choice.check_size(share_type, new_size_gib, extending=True)
        _check_quota(tx, plane, context, share, new_size_gib)
        extra_specs = {} if share_type is None else share_type.extra_specs
        refusal = None if force else _no_room_anywhere(tx, plane, share, new_size_gib, extra_specs)
        if refusal is not None:
            no_room.tell_of_share(tx, plane, context, share, MessageAction.EXTEND, refusal)
            return
        now = plane.clock.utc()
        status = shares.move(tx, share.instance, Event.EXTEND, now=now)
        shares.update_share(tx, share.id, now=now, size_target_gib=new_size_gib)
        instance = replace(share.instance, status=status, updated_at=now)
        left = replace(share, instance=instance, size_target_gib=new_size_gib, updated_at=now)
        arguments = {"share_id": share.id, "new_size": new_size_gib}
        share_calls.enqueue(tx, plane, context, instance, "extend_share", arguments, about=left)


def shrink(plane: ControlPlane, context: RequestContext, share_id: str, new_size_gib: int) -> None:
    """Accept a smaller size; the backend refuses it when more is in use. Raises NotFound, Forbidden, Invalid."""
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)
        _check_available(share, "shrunk")
        if not 0 < new_size_gib < share.size_gib:
            raise Invalid(f"The new size must be from 1 GiB to less than {share.size_gib} GiB, the size of the share.")
        share_type = None if share.share_type_id is None else types.get(tx, share.share_type_id)
        type_choice.check_size(share_type, new_size_gib)
        now = plane.clock.utc()
        shares.move(tx, share.instance, Event.SHRINK, now=now)
        shares.update_share(tx, share.id, now=now, size_target_gib=new_size_gib)
        arguments = {"share_id": share.id, "new_size": new_size_gib}
        share_calls.enqueue(tx, plane, context, share.instance, "shrink_share", arguments)


def _check_available(share: Share, what: str) -> None:
    if share.status is not ShareStatus.AVAILABLE:
        raise InvalidShare(f"Share {share.id} is '{share.status}'; it can be {what} when it is available.")


def _check_quota(
    tx: Transaction, plane: ControlPlane, context: RequestContext, share: Share, new_size_gib: int
) -> None:
    more = {
        QuotaResource.GIGABYTES: new_size_gib - share.size_gib,
        QuotaResource.PER_SHARE_GIGABYTES: new_size_gib,
    }
    try:
        quotas.check(tx, plane, context, share.project_id, share.user_id, share.share_type_id, more)
    except QuotaExceeded as err:
        raise Forbidden(err.message) from err
    if share.instance.is_replica:  # as published, this one is not wrapped
        grown_gib = (new_size_gib - share.size_gib) * replicas.count(tx, share.id)
        more = {QuotaResource.REPLICA_GIGABYTES: grown_gib}
        quotas.check(tx, plane, context, share.project_id, share.user_id, share.share_type_id, more)


def _no_room_anywhere(
    tx: Transaction, plane: ControlPlane, share: Share, new_size_gib: int, extra_specs: dict[str, str]
) -> str | None:
    """Why the pool of the share, or of one of its replicas, which follow it, has no room; None when all have."""
    pools = [share_calls.placed_on(share.instance)]
    if share.has_replicas:
        hosts = {one.instance.host for one in replicas.of_share(tx, share.id)}
        # A replica whose backend is away must not keep the share small: it follows when it is back.
        asked = {str(one.report.ref) for one in placement.candidates(tx, plane) if one.is_up and one.is_enabled}
        pools += sorted(asked.intersection(hosts).difference(pools))
    reasons = (_no_room(tx, plane, share, new_size_gib, extra_specs, pool) for pool in pools)
    return next((reason for reason in reasons if reason is not None), None)


def _no_room(
    tx: Transaction, plane: ControlPlane, share: Share, new_size_gib: int, extra_specs: dict[str, str], pool: str
) -> str | None:
    """Why that pool cannot hold the share at that size; None when it can."""
    thickness = {key: value for key, value in extra_specs.items() if key.removeprefix("capabilities:") == THIN}
    wanted = Requirements(
        size_gib=new_size_gib - share.size_gib,
        protocol=share.protocol,
        extra_specs=thickness,
        only_pool=pool,
    )
    try:
        placement.place(tx, plane, wanted)
    except InsufficientCapacity as refusal:
        return refusal.message
    return None
