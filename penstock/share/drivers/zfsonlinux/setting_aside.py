"""Bringing a copy that has data of its own back into line without a full copy, and without losing that data.

The copy is renamed to its diverged name; a clone of the newest common snapshot takes its place, and is promoted, so
that the older snapshots are its own again. Each step is recognized by what it left: a crash between two does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from penstock.errors import Conflict
from penstock.share.drivers.zfsonlinux import spec
from penstock.share.drivers.zfsonlinux.fencing import BOOT_SAFE, READ_ONLY, stop_serving
from penstock.share.drivers.zfsonlinux.identity import ID, KIND, ROLE, Kind
from penstock.share.drivers.zfsonlinux.observe import SeenShare, observe_share
from penstock.share.drivers.zfsonlinux.replica_set import Copy, roots_of
from penstock.share.drivers.zfsonlinux.steps import (
    Clone,
    Forget,
    Pairs,
    Promote,
    Rename,
    SetProperties,
    Step,
    Unmount,
    carry_out,
)
from penstock.share.replication import Role
from penstock.zfs.client import Zfs
from penstock.zfs.incremental import SnapshotPoint, newest_common
from penstock.zfs.lines import observe_line, release_all
from penstock.zfs.names import Dataset
from penstock.zfs.receiving import abort
from penstock.zfs.reigns import EPOCH, FENCED, OF

log = structlog.get_logger(__name__)

Steps = tuple[Step, ...]
MOST_NAMES = 100


def set_aside(copy: Copy, source_points: Sequence[SnapshotPoint]) -> Copy:
    """Put what the copy holds beyond the newest snapshot it has in common with the source under its diverged name.

    Afterwards it holds that snapshot, or nothing where there is none. Raises Busy when it is in use on its host.
    """
    leave(copy)
    left = unfinished(copy)
    if left is not None:
        _take_the_place(copy, left, source_points)
    return copy.again()


def leave(copy: Copy) -> None:
    """Put the whole copy under its diverged name; nothing takes its place. Raises Busy when it is in use there,
    Conflict when it was promoted since it was looked at."""
    seen = copy.seen
    if seen is None:
        return
    refuse_promoted(copy)
    stop_serving(copy)
    if copy.zfs.flavour.can_resume:
        abort(copy.zfs, copy.dataset)  # nobody goes on with an increment to what is aside
    release_all(copy.zfs, copy.dataset)  # first: whoever has looked through what is aside may destroy it
    carry_out(plan_leaving(seen, _free_name(copy)), copy.zfs)
    log.warning("replica.diverged", replica=copy.id, dataset=str(copy.dataset), epoch=seen.epoch)


def refuse_promoted(copy: Copy) -> None:
    """Before what it holds is given up: another process may have made it the active one. Raises Conflict."""
    if copy.role is not Role.ACTIVE and copy.again().role is Role.ACTIVE:
        raise Conflict(f"{copy.dataset} on {copy.peer.section} was promoted meanwhile")


def plan_leaving(seen: SeenShare, diverged: Dataset) -> Steps:
    """From the copy's place to its diverged name. Once its kind has changed it is nobody's share."""
    marks: Pairs = (READ_ONLY, BOOT_SAFE, (OF, str(seen.owner_id)), (KIND, Kind.DIVERGED.value))
    if seen.refreservation_bytes:
        marks = (("refreservation", "none"), *marks)
    return (
        *((Unmount(seen.dataset),) if seen.is_mounted else ()),
        SetProperties(seen.dataset, marks),
        Forget(seen.dataset, (ID,)),
        Rename(seen.dataset, diverged),
    )


def unfinished(copy: Copy) -> SeenShare | None:
    """What was left on its way: still in the copy's place under another kind, or aside with nothing in its place.

    Also when a clone took the place, and is not promoted yet.
    """
    here = observe_share(copy.zfs, copy.dataset)
    if here is not None and here.kind is Kind.DIVERGED and here.of == copy.id:
        steps: Steps = (Forget(here.dataset, (ID,)), Rename(here.dataset, _free_name(copy)))
        carry_out(((Unmount(here.dataset), *steps) if here.is_mounted else steps), copy.zfs)
        here = None
    if here is not None and here.kind is Kind.RECEIVING and here.of == copy.id:
        return None  # its first copy has just arrived
    if here is not None and here.belongs_to(copy.id):
        origin = observe_share(copy.zfs, here.origin.dataset) if here.origin is not None else None
        is_ours = origin is not None and origin.kind is Kind.DIVERGED and origin.of == copy.id
        return origin if is_ours else None
    if here is not None:
        raise Conflict(f"{copy.dataset} exists and belongs to {here.owner_id or 'somebody else'}")
    aside = diverged_of(copy)
    return aside[-1] if aside else None


def comes_back(copy: Copy) -> SeenShare | None:
    """What was set aside, while its older snapshots may still become the copy's again: until the clone in its place is
    promoted, or a first copy is there. Changes nothing."""
    if copy.seen is None:
        aside = diverged_of(copy)
        return aside[-1] if aside else None
    if copy.seen.origin is None:
        return None
    origin = observe_share(copy.zfs, copy.seen.origin.dataset)
    return origin if origin is not None and origin.kind is Kind.DIVERGED and origin.of == copy.id else None


def finish_leaving(copy: Copy) -> None:
    """What was on its way out of the copy's place when an earlier attempt ended leaves it now."""
    if copy.seen is None:
        unfinished(copy)


def _take_the_place(copy: Copy, aside: SeenShare, source_points: Sequence[SnapshotPoint]) -> None:
    zfs = copy.zfs
    here = observe_share(zfs, copy.dataset)
    if here is None:
        line = observe_line(zfs, aside.dataset, ())
        common = newest_common(source_points, line.points)
        if common is None:
            return
        carry_out(plan_place(copy, aside, common[1]), zfs)
    carry_out((Promote(copy.dataset),), zfs)


def plan_place(copy: Copy, aside: SeenShare, common: SnapshotPoint) -> Steps:
    """A clone of the common snapshot in the copy's place. It serves nothing until it was brought up to date.

    Of no reign until then, as a first copy: one that only was behind must not be taken for the head of its reign.
    """
    identity = replace(spec.share_identity(copy.model, copy.model["size"]), epoch=0)
    marks = {**identity.properties(Kind.SHARE), ROLE: Role.DEMOTED.value}
    if aside.marks.fence is not None:
        marks[FENCED] = str(aside.marks.fence)
    options: dict[str, str] = dict((READ_ONLY, BOOT_SAFE))
    if aside.refquota_bytes:
        options["refquota"] = str(aside.refquota_bytes)
    if aside.has_own_mountpoint and aside.mountpoint is not None:
        options["mountpoint"] = aside.mountpoint
    return (Clone(aside.dataset.snapshot(common.name), copy.dataset, tuple({**options, **marks}.items())),)


def aside_epoch(aside: SeenShare) -> int:
    """The reign of what was set aside, from its name: its marks are not a share's any more."""
    digits = aside.dataset.name.rpartition("_diverged_")[2].partition("_")[0]
    return int(digits) if digits.isdecimal() else 0


def diverged_of(copy: Copy) -> list[SeenShare]:
    """What was set aside of it, oldest first."""
    return [seen for seen in list_diverged(copy.zfs, roots_of(copy.peer, copy.model)) if seen.of == copy.id]


def list_diverged(zfs: Zfs, root: Dataset) -> list[SeenShare]:
    """Everything set aside below `root`, oldest first."""
    names = [name for name, found in zfs.tree(root, (KIND, OF)).items() if found[KIND].value == Kind.DIVERGED.value]
    seen = (observe_share(zfs, Dataset(name)) for name in names)
    found = [one for one in seen if one is not None and one.kind is Kind.DIVERGED]
    return sorted(found, key=lambda one: (aside_epoch(one), one.dataset))


def _free_name(copy: Copy) -> Dataset:
    """``<dataset>_diverged_<epoch>``, with a number when one reign diverged twice."""
    epoch = copy.epoch
    if copy.seen is None:
        found = copy.zfs.get(copy.dataset, (EPOCH,))[EPOCH].value
        epoch = int(found) if found.isdecimal() else 0
    base = f"{copy.dataset.path}_diverged_{epoch}"
    names = [Dataset(base), *(Dataset(f"{base}_{number}") for number in range(2, MOST_NAMES))]
    taken = copy.zfs.get_many(names, ("type",))
    return next(name for name in names if str(name) not in taken)
