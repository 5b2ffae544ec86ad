"""Back to a snapshot that the source has: after the source went back itself, or a sync that did not end.

Only snapshots that came by syncs are destroyed for it, and only where all that they hold is known to be in the source,
or not to be wanted any more. Everything else is for `setting_aside`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import structlog

from penstock.share.drivers.zfsonlinux.identity import Kind
from penstock.share.drivers.zfsonlinux.replica_set import Copy
from penstock.share.drivers.zfsonlinux.setting_aside import refuse_promoted
from penstock.share.replication import Role
from penstock.zfs.client import Zfs
from penstock.zfs.incremental import SnapshotPoint, newest_common
from penstock.zfs.lines import Line, Taken, drop, observe_line, roll_back

log = structlog.get_logger(__name__)


def follow_revert(source: Copy, target: Copy) -> Copy:
    """When the owner reverted the source to a snapshot that the target has, go back, too.

    Where there is anything else after it than snapshots taken to move data, nothing is done here.
    """
    guid = source.seen.marks.reverted_to if source.seen is not None else None
    if guid is None:
        return target
    line = observe_line(target.zfs, target.dataset, ())
    to = line.by_guid(guid)
    if to is None or target.role is not Role.REPLICA:
        return target
    known = {point.guid for point in observe_line(source.zfs, source.dataset, ()).points}
    newer = [taken for taken in line.taken if taken.point > to.point]
    if any(taken.point.guid in known or taken.kind != Kind.SYNC for taken in newer):
        return target
    _roll_back(target, line, to, newer)
    return target.again()


def forget_unfinished(source: Copy, target: Copy) -> Copy:
    """Go back to what the source has, when all that the target has beyond came by syncs of this reign that never ended.

    The source may have destroyed their snapshots since; what they hold is in what it holds now. Nothing is done when
    it may be otherwise: for a copy that ever ended in one of them, was a source itself, or was written to.
    """
    seen = target.seen
    if seen is None or target.role is not Role.REPLICA or source.role is not Role.ACTIVE:
        return target
    if target.epoch != source.epoch:  # it followed another source, which may have had what this one has not
        return target
    line = observe_line(target.zfs, target.dataset, ())
    ended = line.by_guid(seen.marks.synced_guid)
    common = newest_common(observe_line(source.zfs, source.dataset, ()).points, line.points)
    if ended is None or common is None or common[1] < ended.point or line.written_bytes > 0:
        return target
    newer = [taken for taken in line.taken if taken.point > common[1]]
    ours = re.compile("|".join(f"{one.naming.syncs}|{one.naming.others}" for one in (source.end, target.end)))
    if any(taken.kind not in (None, Kind.SYNC) or not ours.fullmatch(taken.point.name) for taken in newer):
        return target
    to = line.by_guid(common[1].guid)
    if to is not None and newer:
        _roll_back(target, line, to, newer)
    return target.again()


def cut_back(zfs: Zfs, line: Line, source_points: Sequence[SnapshotPoint]) -> bool:
    """Take a first copy, which nobody was served yet, back to the newest snapshot that the source has, if it has one.

    Raises NewerSnapshots when somebody needs a later one.
    """
    common = newest_common(source_points, line.points)
    if common is None:
        return False
    for taken in line.taken:
        if taken.point > common[1]:
            drop(zfs, line, taken)
    zfs.rollback(line.dataset.snapshot(common[1].name), destroy_newer=False)
    return True


def _roll_back(target: Copy, line: Line, to: Taken, newer: Sequence[Taken]) -> None:
    refuse_promoted(target)
    was_mounted = target.seen is not None and target.seen.is_mounted
    if was_mounted and not target.zfs.flavour.rename_while_mounted:
        target.peer.storage.nfs.remove([str(target.seen.mountpoint)] if target.seen else [])
    reason = roll_back(target.zfs, line, to, newer)
    if reason is not None:
        log.warning("replica.not_gone_back", replica=target.id, reason=reason)
        if newer:
            drop(target.zfs, line, newer[-1])
