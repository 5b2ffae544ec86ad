"""One sync: a replica is brought to what its source holds now, by an increment, and says since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from penstock.errors import BackendFault, Conflict, NotFound, Unavailable
from penstock.exports.model import Export
from penstock.share.drivers.zfsonlinux import plan, spec
from penstock.share.drivers.zfsonlinux.exporting import wanted_export
from penstock.share.drivers.zfsonlinux.fencing import BOOT_SAFE, READ_ONLY, fence_copy
from penstock.share.drivers.zfsonlinux.first_copy import copy_first
from penstock.share.drivers.zfsonlinux.going_back import follow_revert, forget_unfinished
from penstock.share.drivers.zfsonlinux.identity import HOSTS, ROLE
from penstock.share.drivers.zfsonlinux.observe import observe_share
from penstock.share.drivers.zfsonlinux.replica_set import Copy
from penstock.share.drivers.zfsonlinux.sending import Sending, transfer
from penstock.share.drivers.zfsonlinux.setting_aside import set_aside
from penstock.share.drivers.zfsonlinux.steps import Forget, SetProperties, carry_out
from penstock.share.models import ShareModel
from penstock.share.replication import Role
from penstock.zfs.bases import move_base, snapshot_to_send
from penstock.zfs.faults import Diverged
from penstock.zfs.incremental import SnapshotPoint
from penstock.zfs.lines import observe_line
from penstock.zfs.reigns import EPOCH, FENCED, OF, PROMOTED, REVERTED_TO, SYNCED_AT, SYNCED_GUID, Fence

log = structlog.get_logger(__name__)

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Brought:
    """The target after a sync: as it is now, at which time the source was like that, and the bytes that took."""

    copy: Copy
    synced_at: datetime
    base: SnapshotPoint
    sent_bytes: int


def bring(source: Copy, target: Copy, replica_list: Sequence[ShareModel], sending: Sending) -> Brought:
    """Bring the target to what the source holds now, and mark it a replica of the source's reign.

    `replica_list` has all replicas of the share. What the target has of its own is set aside. Safe to repeat; an
    interrupted copy is gone on with. Raises what `Transfer.run` raises.

    Another replica's sync beside this one may tidy away what this one has just seen: then it looks again.
    """
    role = source.role
    for rounds_left in reversed(range(ROUNDS)):
        try:
            return _bring(source, target, replica_list, sending)
        except NotFound as fault:
            if not rounds_left:
                raise
            log.info("replica.looked_at_again", replica=target.id, fault=fault.message)
        source, target = source.again(), target.again()
        if source.role is not role:  # another is promoted: what this one holds is not as new as this sync would say
            raise Unavailable(f"{source.dataset} on {source.peer.section} is not what it was when this sync began")
    raise AssertionError("the last round returns or raises")


def _bring(source: Copy, target: Copy, replica_list: Sequence[ShareModel], sending: Sending) -> Brought:
    replica_ids = [model["id"] for model in replica_list]
    if source.seen is None:
        raise Conflict(f"{source.peer.section} has nothing of share {source.model['share_id']} to copy from")
    if target.epoch > source.epoch or (target.role is Role.ACTIVE and target.epoch == source.epoch):
        raise Conflict(
            f"{target.dataset} is of reign {target.epoch}, {source.dataset} of {source.epoch}: not its source"
        )
    if target.role is Role.ACTIVE:
        target = fence_copy(target, Fence(source.highest_epoch, ""))
    _prepare(source, replica_list)
    target = settle_place(source, target)
    looked_at = sending.clock.utc()
    to, seen = snapshot_to_send(source.end, target.end, replica_ids, sending.clock)
    target, sent_bytes = _send(source, target, to, replace(sending, seen=seen))
    line = observe_line(target.zfs, target.dataset, replica_ids)
    arrived = line.newest
    if arrived is None or arrived.point.guid != to.guid:
        raise BackendFault(f"{target.dataset} was brought to {to.name}, and does not end in it")
    _mark(source, target, to.guid, looked_at, replica_list)
    move_base(source.end, target.end, arrived, line, replica_ids)
    return Brought(target.again(), looked_at, arrived.point, sent_bytes)


def settle_place(source: Copy, target: Copy) -> Copy:
    """Finish what an interrupted setting aside left."""
    seen = target.seen
    is_half_aside = seen is None or (seen.origin is not None and "_diverged_" in seen.origin.dataset.name)
    if not is_half_aside:
        return target
    points = observe_line(source.zfs, source.dataset, ()).points
    return set_aside(Copy(target.model, target.peer, target.dataset, None), points)


def hosts_of_others(copy: Copy, replica_list: Sequence[ShareModel]) -> str:
    """The mark that names where the share's other copies are."""
    return ",".join(sorted({model["host"] for model in replica_list if model["id"] != copy.id}))


def _prepare(source: Copy, replica_list: Sequence[ShareModel]) -> None:
    """From its first replica on, only we mount the active one: a host that reboots serves nothing by itself.

    Its NFS server learns that before ZFS does: the power may fail between the two.
    """
    seen = source.seen
    if seen is None or source.role is not Role.ACTIVE:
        return
    if not seen.is_mounted:  # its host was restarted: the last writes may be in the intent log until somebody mounts it
        raise Unavailable(
            f"{source.dataset} on {source.peer.section} is not mounted yet, so its last writes are not seen"
        )
    wanted = (
        (*BOOT_SAFE, not seen.is_boot_safe),
        (HOSTS, hosts := hosts_of_others(source, replica_list), ",".join(seen.marks.hosts) != hosts),
        (ROLE, Role.ACTIVE.value, seen.marks.role is None),
    )
    pairs = tuple((name, value) for name, value, is_missing in wanted if is_missing)
    if not seen.is_boot_safe:
        source.peer.storage.nfs.put_back(lambda: _mounted_by_us(source))
    if pairs:
        carry_out((SetProperties(source.dataset, pairs),), source.zfs)


def _mounted_by_us(source: Copy) -> list[Export]:
    """Its export, from a fresh look at its rules, as one that is not mounted at boot."""
    seen = observe_share(source.zfs, source.dataset)
    export = wanted_export(seen) if seen is not None and seen.is_mounted else None
    return [] if export is None else [replace(export, is_mounted_at_boot=False)]


# --- sending --------------------------------------------------------------------------------------------------------


def _send(source: Copy, target: Copy, to: SnapshotPoint, sending: Sending) -> tuple[Copy, int]:
    before = 0
    if target.seen is None:
        target, before = copy_first(source, target, to, sending)
    target = follow_revert(source, target)
    if _was_written_beyond(target, to):
        target = set_aside(target, observe_line(source.zfs, source.dataset, ()).points)
    elif target.seen is not None:
        carry_out(_size(target), target.zfs)
        try:
            return target, before + transfer(source, target, to, target.dataset, sending)
        except Diverged as fault:
            log.warning("replica.modified", replica=target.id, reason=fault.message)
        target = forget_unfinished(source, target)
        try:
            return target, before + transfer(source, target, to, target.dataset, sending)
        except Diverged as fault:
            log.warning("replica.to_set_aside", replica=target.id, reason=fault.message)
        target = set_aside(target, observe_line(source.zfs, source.dataset, ()).points)
    if target.seen is None:
        return copy_first(source, target, to, sending)
    return target, transfer(source, target, to, target.dataset, sending)


def _was_written_beyond(target: Copy, to: SnapshotPoint) -> bool:
    """Was it active once, and written since the very snapshot it is to end in? Nothing is sent then, so that no receive
    would notice."""
    if target.seen is None or target.role is Role.REPLICA:
        return False
    line = observe_line(target.zfs, target.dataset, ())
    return line.newest is not None and line.newest.point.guid == to.guid and line.written_bytes > 0


def _size(target: Copy) -> plan.Steps:
    seen = target.seen
    if seen is None:
        return ()
    return plan.plan_size(seen.dataset, target.model["size"], seen, is_thick=spec.is_thick(target.model))


# --- afterwards -----------------------------------------------------------------------------------------------------


def _mark(source: Copy, target: Copy, guid: int, looked_at: datetime, replica_list: Sequence[ShareModel]) -> None:
    """Say what it is and since when; the role comes last: until then it does not serve."""
    seen = target.seen
    if seen is None:
        return
    wanted = (
        (EPOCH, str(source.epoch), seen.epoch != source.epoch),
        (SYNCED_GUID, str(guid), seen.marks.synced_guid != guid),
        (SYNCED_AT, looked_at.isoformat(), True),
        (*READ_ONLY, not seen.is_readonly),
        (*BOOT_SAFE, not seen.is_boot_safe),
        (HOSTS, hosts := hosts_of_others(target, replica_list), ",".join(seen.marks.hosts) != hosts),
        (ROLE, Role.REPLICA.value, seen.marks.role is not Role.REPLICA),
    )
    pairs = tuple((name, value) for name, value, is_missing in wanted if is_missing)
    carry_out((SetProperties(target.dataset, pairs),), target.zfs)
    stale = tuple(
        name
        for name, value in (
            (OF, seen.of),
            (FENCED, seen.marks.fence),
            (PROMOTED, seen.marks.promoted),
            (REVERTED_TO, seen.marks.reverted_to),
        )
        if value is not None
    )
    if stale:
        carry_out((Forget(target.dataset, stale),), target.zfs)
