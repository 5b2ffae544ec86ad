"""A replica's first copy: received into an empty dataset of ours beside its place, which it takes when it is whole."""

from __future__ import annotations

from dataclasses import replace

import structlog

from penstock.errors import Conflict
from penstock.share.drivers.zfsonlinux import spec
from penstock.share.drivers.zfsonlinux.going_back import cut_back
from penstock.share.drivers.zfsonlinux.identity import ID, KIND, ROLE, SHARE_ID, Kind
from penstock.share.drivers.zfsonlinux.replica_set import Copy, arriving, is_arriving, receiving
from penstock.share.drivers.zfsonlinux.sending import Sending, native_options, transfer
from penstock.share.drivers.zfsonlinux.steps import Forget, Pairs, Rename, SetProperties, carry_out
from penstock.share.replication import Role
from penstock.units import gib_to_bytes
from penstock.zfs.faults import Diverged, NewerSnapshots
from penstock.zfs.incremental import SnapshotPoint
from penstock.zfs.lines import observe_line
from penstock.zfs.reigns import OF
from penstock.zfs.unmarked import Attempt, in_order, objection

UNMOUNTED = {"canmount": "off", "mountpoint": "none"}

log = structlog.get_logger(__name__)


def make_placeholder(target: Copy) -> None:
    """The empty dataset of ours that the first copy arrives in: so what is half received is known to be ours.

    Raises Conflict when something else has its name, NotFound, InsufficientCapacity.
    """
    place = receiving(target.dataset)
    marks = {**UNMOUNTED, SHARE_ID: target.model["share_id"], OF: target.id, KIND: Kind.RECEIVING.value}
    try:
        target.zfs.create(place, marks, parents=False)
    except Conflict as err:
        if is_arriving(target, place):
            return
        attempt = _attempt(target)
        reason = objection(target.zfs, attempt)
        if reason is not None:
            if is_arriving(target, place):  # the command was late, not cut off
                return
            raise Conflict(f"{place} exists and belongs to somebody else: {reason}") from err
        log.warning("replica.placeholder_completed", replica=target.id, dataset=str(place))
        carry_out((SetProperties(place, tuple(in_order(attempt, marks).items())),), target.zfs)


def is_left_unmarked(target: Copy) -> bool:
    """Is there a placeholder that a creation which was cut off left without its marks?"""
    place = receiving(target.dataset)
    found = target.zfs.get_many([place], (KIND,)).get(str(place))
    return found is not None and not found[KIND].is_local and objection(target.zfs, _attempt(target)) is None


def _attempt(target: Copy) -> Attempt:
    place, asked_at = receiving(target.dataset), target.model["created_at"]
    return Attempt(place, owner=(OF, target.id), asked=frozenset(UNMOUNTED), origin=None, since=asked_at)


def copy_first(source: Copy, target: Copy, to: SnapshotPoint, sending: Sending) -> tuple[Copy, int]:
    """Everything, into the placeholder; when it is whole it takes its place by a rename, and is marked there.

    Until its kind is written it is known for what it is by ``penstock:of``, wherever it lies. Returns the copy in its
    place and the bytes sent.
    """
    zfs, inside = target.zfs, arriving(target.dataset)
    sent_bytes = 0
    if not is_arriving(target, target.dataset):
        make_placeholder(target)
        sent_bytes = _receive(source, target, to, sending)
        carry_out((SetProperties(inside, _first_marks(target)), Rename(inside, target.dataset)), zfs)
    place = receiving(target.dataset)
    if is_arriving(target, place):
        zfs.destroy(place, recursive=False)
    carry_out(
        (
            SetProperties(target.dataset, ((ID, target.id), (KIND, Kind.SHARE.value))),
            Forget(target.dataset, (OF,)),
        ),
        zfs,
    )
    return target.again(), sent_bytes


def _receive(source: Copy, target: Copy, to: SnapshotPoint, sending: Sending) -> int:
    """What arrived of a source that has gone another way since (reverted, or another one by now) was never served and
    holds nothing of its own: it makes way for a copy of what the source is now."""
    inside = arriving(target.dataset)
    try:
        return transfer(source, target, to, inside, sending)
    except Diverged as fault:
        log.warning("replica.first_copy_goes_back", replica=target.id, reason=fault.message)
    if not _go_back(source, target):
        target.zfs.destroy(inside, recursive=True)
    return transfer(source, target, to, inside, sending)


def _go_back(source: Copy, target: Copy) -> bool:
    """To the newest snapshot that the source has, so that not all has to be sent again; False when there is none."""
    line = observe_line(target.zfs, arriving(target.dataset), ())
    try:
        return cut_back(target.zfs, line, observe_line(source.zfs, source.dataset, ()).points)
    except NewerSnapshots:  # somebody's clone or hold keeps a later one
        return False


def _first_marks(target: Copy) -> Pairs:
    """All but what makes it the replica. Of no reign yet: until a sync has ended it is nobody's source."""
    identity = replace(spec.share_identity(target.model, target.model["size"]), epoch=0).properties(Kind.RECEIVING)
    size = str(gib_to_bytes(target.model["size"]))
    thick = {"refreservation": size} if spec.is_thick(target.model) else {}
    marks = {**native_options(target), "refquota": size, **thick, ROLE: Role.DEMOTED.value, OF: target.id, **identity}
    del marks[ID]
    return tuple(marks.items())
