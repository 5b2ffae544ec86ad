"""Fencing and unfencing a copy at ZFS' own level: what accepts writes, and from when on nothing does.

A fence is four things, in this order: no exports, ``readonly=on`` with the mark that says for which reign, unmounted,
and then read back. Marks and ``canmount=noauto`` survive a reboot, so a fenced host that comes back serves nothing.
"""

from __future__ import annotations

import structlog

from penstock.errors import BackendFault, Conflict, Unavailable
from penstock.share.drivers.zfsonlinux.exporting import wanted_export
from penstock.share.drivers.zfsonlinux.identity import ROLE
from penstock.share.drivers.zfsonlinux.observe import SeenShare, observe_share
from penstock.share.drivers.zfsonlinux.replica_set import Copy, if_it_answers
from penstock.share.drivers.zfsonlinux.steps import (
    Forget,
    Mount,
    Pairs,
    SetProperties,
    Step,
    Unmount,
    carry_out,
    settle,
)
from penstock.share.replication import PromotionKind, Role
from penstock.zfs.faults import Busy
from penstock.zfs.flavour import Flavour
from penstock.zfs.reigns import EPOCH, FENCED, PROMOTED, Fence

log = structlog.get_logger(__name__)

Steps = tuple[Step, ...]
READ_ONLY = ("readonly", "on")
BOOT_SAFE = ("canmount", "noauto")


def plan_fence(seen: SeenShare, fence: Fence) -> Steps:
    """Let nobody write. The mark goes first: where ZFS takes properties one at a time, half a fence is recognized."""
    wanted = (
        (FENCED, str(fence), seen.marks.fence != fence),
        (ROLE, Role.DEMOTED.value, seen.marks.role is not Role.DEMOTED),
        (*READ_ONLY, not seen.is_readonly),
        (*BOOT_SAFE, not seen.is_boot_safe),
    )
    pairs = tuple((name, value) for name, value, is_missing in wanted if is_missing)
    steps: Steps = (SetProperties(seen.dataset, pairs),) if pairs else ()
    return (*steps, Unmount(seen.dataset)) if seen.is_mounted else steps


def is_fenced(seen: SeenShare, fence: Fence, flavour: Flavour) -> bool:
    """Does nothing accept writes any more? What is still mounted counts where ZFS says that it is read-only.

    On zfs-fuse a file that was opened for writing goes on being written until the unmount (seen).
    """
    if seen.marks.role is not Role.DEMOTED or seen.marks.fence != fence:
        return False
    return seen.is_readonly if flavour.shows_readonly_of_mounted else seen.is_readonly and not seen.is_mounted


def fence_copy(copy: Copy, fence: Fence) -> Copy:
    """Fence it, and look whether it is. Safe to repeat.

    Raises Busy when somebody on the host has it open and this ZFS can only be fenced by unmounting; BackendFault when
    ZFS reported success and it is not fenced.
    """
    seen = copy.seen
    if seen is None:
        return copy
    is_unserved = stop_serving(copy)
    try:
        carry_out(plan_fence(seen, fence), copy.zfs)
    except Busy:
        copy.peer.storage.nfs.let_go(str(seen.mountpoint))
        _unmount_if_it_lets(copy, seen)
    if not seen.is_mounted:
        _replay_intent_log(copy)
    if not is_unserved:
        stop_serving(copy)
    after = observe_share(copy.zfs, copy.dataset)
    if after is None or not is_fenced(after, fence, copy.zfs.flavour):
        raise BackendFault(f"{copy.dataset} on {copy.peer.section} was to be fenced, and is not")
    log.warning("replica.fenced", replica=copy.id, dataset=str(copy.dataset), fence=str(fence))
    return copy.again()


def _replay_intent_log(copy: Copy) -> None:
    """What clients were told is on disk may, after a power cut, be in the intent log alone until the next mount.

    Without it a copy looks unwritten, and an increment received on top loses those writes for good (seen on OpenZFS
    2.1.11). It is read-only and unexported by now, so nobody adds to it. Raises Conflict when something is in the way.
    """
    carry_out((Mount(copy.dataset), Unmount(copy.dataset)), copy.zfs)


def _unmount_if_it_lets(copy: Copy, seen: SeenShare) -> None:
    """A mount that stays is no harm where read-only counts at once."""
    try:
        carry_out((Unmount(seen.dataset),), copy.zfs)
    except Busy:
        if not copy.zfs.flavour.shows_readonly_of_mounted:
            raise


def is_seen_active(copy: Copy) -> bool:
    """Is it the active one now? False also when it cannot be asked: ask before a fence elsewhere is lifted."""
    roles: list[Role | None] = []
    if_it_answers(lambda: roles.append(copy.again().role))
    return Role.ACTIVE in roles


def stop_serving(copy: Copy) -> bool:
    """Take its exports away; whether that is certain. A server that is down must not keep us from fencing."""
    if copy.seen is None or copy.seen.mountpoint is None:
        return True
    try:
        copy.peer.storage.nfs.remove([copy.seen.mountpoint])
    except Unavailable as fault:
        log.warning("replica.exports_not_removed", replica=copy.id, reason=fault.message)
        return False
    return True


def serve_stored(copy: Copy) -> None:
    """Put in force the access rules that are written on it, read-only unless it is the active one.

    Nothing for a copy that must not serve. Safe to repeat. Raises Unavailable when it should be mounted and is not.
    """
    serve_seen(copy, observe_share(copy.zfs, copy.dataset))


def serve_seen(copy: Copy, seen: SeenShare | None) -> None:
    """`serve_stored` of a copy that was looked at just now."""
    if seen is None or seen.role is Role.DEMOTED:
        return
    export = wanted_export(seen)
    nfs = copy.peer.storage.nfs
    if export is None:
        nfs.remove([seen.mountpoint] if seen.mountpoint else [])
        return
    if not seen.is_mounted:
        raise Unavailable(f"{seen.dataset} is not mounted, so nothing of it may be exported")
    nfs.put([export])


def plan_activation(seen: SeenShare, epoch: int, kind: PromotionKind, flavour: Flavour) -> Steps:
    """Make a copy the active one of reign `epoch`. ``readonly=off`` comes last: by then all marks say who it is."""
    wanted = (
        (PROMOTED, kind.value, seen.marks.promoted is not kind),
        (ROLE, Role.ACTIVE.value, seen.marks.role is not Role.ACTIVE),
        (EPOCH, str(epoch), seen.epoch != epoch),
        (*BOOT_SAFE, not seen.is_boot_safe),
    )
    pairs: Pairs = tuple((name, value) for name, value, is_missing in wanted if is_missing)
    if seen.is_readonly:
        pairs = (*pairs, ("readonly", "off"))
    remounts = seen.is_mounted and seen.is_readonly and not flavour.shows_readonly_of_mounted
    return (
        *((Forget(seen.dataset, (FENCED,)),) if seen.marks.fence is not None else ()),
        *((Unmount(seen.dataset),) if remounts else ()),
        *((SetProperties(seen.dataset, pairs),) if pairs else ()),
        *((Mount(seen.dataset),) if remounts or not seen.is_mounted else ()),
    )


def activate(copy: Copy, epoch: int, kind: PromotionKind) -> None:
    """Make it the active one at ZFS' level, mounted; exports are the caller's. Safe to repeat.

    Raises Busy; Conflict when it is of a later reign by now: another process has promoted it.
    """
    zfs, before = copy.zfs, copy.seen

    def planned() -> Steps:
        seen = observe_share(zfs, copy.dataset)
        if seen is None or not seen.belongs_to(copy.id):
            raise BackendFault(f"{copy.dataset} went away")
        if seen.epoch > epoch:
            raise Conflict(f"{copy.dataset} is of reign {seen.epoch}, which is later than {epoch}")
        steps = plan_activation(seen, epoch, kind, zfs.flavour)
        return steps if seen.is_mounted or any(isinstance(s, Mount) for s in steps) else (*steps, Mount(seen.dataset))

    is_shown = before is not None and before.is_readonly and before.is_mounted
    if is_shown and not zfs.flavour.shows_readonly_of_mounted:
        stop_serving(copy)  # zfs-fuse unmounts it to make it writable, and the server that serves it has it open
    try:
        settle(planned, zfs)
    except Busy:
        stop_serving(copy)
        if before is not None and before.mountpoint is not None:
            copy.peer.storage.nfs.let_go(before.mountpoint)
        settle(planned, zfs)
