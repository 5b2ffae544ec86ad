"""Deleting a replica, and what it left at the others: holds, bases, and the end of replication."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from penstock.errors import Conflict
from penstock.share.drivers.zfsonlinux import lineage, rehearsing
from penstock.share.drivers.zfsonlinux.fencing import fence_copy, serve_seen
from penstock.share.drivers.zfsonlinux.first_copy import is_left_unmarked
from penstock.share.drivers.zfsonlinux.identity import HOSTS, ROLE
from penstock.share.drivers.zfsonlinux.observe import observe_share
from penstock.share.drivers.zfsonlinux.peers import Peers
from penstock.share.drivers.zfsonlinux.replica_set import Copy, if_it_answers, is_arriving, observe, receiving
from penstock.share.drivers.zfsonlinux.setting_aside import diverged_of, finish_leaving, leave
from penstock.share.drivers.zfsonlinux.steps import Forget, SetProperties, carry_out
from penstock.share.models import ShareModel
from penstock.share.replication import Role
from penstock.zfs.changes import flush
from penstock.zfs.client import Zfs
from penstock.zfs.faults import Busy
from penstock.zfs.holds import release
from penstock.zfs.incremental import newest_common
from penstock.zfs.lines import Line, Taken, drop, observe_line, release_all
from penstock.zfs.receiving import abort
from penstock.zfs.reigns import FENCED, PROMOTED, REVERTED_TO, SYNCED_AT, SYNCED_GUID, Fence, base_for, hold_tag

log = structlog.get_logger(__name__)


def delete_copy(copy: Copy, peers: Peers, replica_list: Sequence[ShareModel]) -> list[str]:
    """`destroy_copy`, but what was active once, and may have what no other has, is set aside whole.

    The names of all that was ever set aside of it, which stays. Safe to repeat. Raises as `destroy_copy`.
    """
    _refuse_active(copy, replica_list)
    active = next((model for model in replica_list if model["replica_state"] == Role.ACTIVE), None)
    if copy.role in (Role.ACTIVE, Role.DEMOTED) and copy.epoch > 0 and active is not None:
        if copy.role is Role.ACTIVE:  # its last writes, too: the fence replays its log
            copy = fence_copy(copy, Fence(active["epoch"], ""))
        if _may_be_ahead(copy, peers, active):
            rehearsing.end(copy)
            leave(copy)
            copy = copy.again()
    destroy_copy(copy, replica_list)
    return [str(aside.dataset) for aside in diverged_of(copy)]


def _may_be_ahead(copy: Copy, peers: Peers, active: ShareModel) -> bool:
    """Has it what the active one has not? So it is when that one cannot be asked."""
    theirs: list[Line] = []

    def ask() -> None:
        source = observe(peers.storage_of(active["host"]), active)
        theirs.append(observe_line(source.zfs, source.dataset, ()))

    fault = if_it_answers(ask)
    if fault is not None:
        log.warning("replica.not_compared", replica=copy.id, reason=fault.message)
        return True
    flush(copy.zfs, copy.dataset.pool)
    own = observe_line(copy.zfs, copy.dataset, ())
    common = newest_common(theirs[0].points, own.points)
    return common is None or own.written_bytes > 0 or any(point > common[1] for point in own.points)


def _refuse_active(copy: Copy, replica_list: Sequence[ShareModel]) -> None:
    row_epochs = [model["epoch"] for model in replica_list if model["replica_state"] == Role.ACTIVE]
    if copy.role is Role.ACTIVE and copy.epoch >= max(row_epochs, default=0):
        raise Conflict(f"{copy.dataset} is the active replica of reign {copy.epoch}: promote another one before")


def destroy_copy(copy: Copy, replica_list: Sequence[ShareModel]) -> None:
    """Destroy a replica with its snapshots, also one half received; what was set aside of it stays. Safe to repeat.

    Raises Conflict when it is the active one by its own marks and the database knows of no later reign: then it may
    hold what no other has.
    """
    _refuse_active(copy, replica_list)
    rehearsing.end(copy)
    finish_leaving(copy)
    destroy_placeholder(copy)
    seen = copy.seen
    if seen is None:
        return
    copy.peer.storage.nfs.remove([seen.mountpoint] if seen.mountpoint else [])
    release_all(copy.zfs, copy.dataset)
    try:
        lineage.destroy_share(copy.zfs, seen)
    except Busy:
        copy.peer.storage.nfs.let_go(str(seen.mountpoint))
        lineage.destroy_share(copy.zfs, seen)


def destroy_placeholder(copy: Copy) -> None:
    """Destroy what its first copy arrived in, and that copy when it is not the replica yet. Fine when there is none."""
    place = receiving(copy.dataset)
    if is_arriving(copy, place):
        if copy.zfs.flavour.can_resume:
            abort(copy.zfs, place.child("data"))
        copy.zfs.destroy(place, recursive=True)
    elif is_left_unmarked(copy):
        copy.zfs.destroy(place, recursive=False)
    if is_arriving(copy, copy.dataset):
        copy.zfs.destroy(copy.dataset, recursive=True)


def clean_others(peers: Peers, replica_list: Sequence[ShareModel], gone_id: str) -> None:
    """Forget a deleted replica wherever the others are; a host that is away is swept later."""
    remaining = [model for model in replica_list if model["id"] != gone_id]
    for model in remaining:
        fault = if_it_answers(lambda model=model: _forget_at(peers, model, remaining, gone_id))  # type: ignore[misc]
        if fault is not None:
            log.warning("replica.swept_later", replica=gone_id, at=model["host"], reason=fault.message)


def _forget_at(peers: Peers, model: ShareModel, remaining: Sequence[ShareModel], gone_id: str) -> None:
    copy = observe(peers.storage_of(model["host"]), model)
    if copy.seen is None:
        return
    if len(remaining) == 1 and copy.role is Role.ACTIVE:
        end_replication(copy)
        return
    ids = [*(other["id"] for other in remaining), gone_id]
    line = observe_line(copy.zfs, copy.dataset, ids)
    for taken in line.syncs:
        if gone_id in taken.bases:
            forget_base(copy.zfs, line, taken, gone_id)


def forget_base(zfs: Zfs, line: Line, taken: Taken, replica_id: str) -> None:
    """No increment of this replica starts from it any more; it goes when it was the last that needed it."""
    name = line.name(taken)
    release(zfs, [name], hold_tag(replica_id))
    if taken.bases <= {replica_id}:
        drop(zfs, line, taken)
    else:
        carry_out((Forget(name, (base_for(replica_id),)),), zfs)


def end_replication(copy: Copy) -> None:
    """The share's only copy: no sync snapshots, no marks of replication, mounted by ZFS itself at boot again.

    Safe to repeat.
    """
    zfs, seen = copy.zfs, copy.seen
    if seen is None:
        return
    line = observe_line(zfs, copy.dataset, ())
    release_all(zfs, copy.dataset)
    zfs.destroy_snapshots(copy.dataset, [taken.point.name for taken in line.syncs], deferred=True)
    if seen.is_boot_safe:
        _mount_at_boot(copy)
    marks = (
        FENCED,
        SYNCED_AT,
        SYNCED_GUID,
        PROMOTED,
        REVERTED_TO,
        ROLE,
        HOSTS,
    )  # hosts last: who finds them goes on
    if seen.marks.is_replicated or seen.marks.hosts:
        _serve_from_boot_on(copy)
        carry_out((Forget(copy.dataset, marks),), zfs)


def _mount_at_boot(copy: Copy) -> None:
    """Let ZFS mount it by itself again. zfs-fuse unmounts for that (seen): while in use it stays for us to mount."""
    try:
        carry_out((SetProperties(copy.dataset, (("canmount", "on"),)),), copy.zfs)
    except Busy as busy:
        log.info("replica.canmount_stays", replica=copy.id, reason=busy.message)


def _serve_from_boot_on(copy: Copy) -> None:
    """A server that starts may serve it again, since ZFS mounts it by then."""
    seen = observe_share(copy.zfs, copy.dataset)
    if seen is not None and seen.is_mounted:
        serve_seen(copy, seen)
