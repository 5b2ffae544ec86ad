"""Back to a snapshot that the source has, after syncs that did not end.

Only snapshots that came by syncs are destroyed for it, and only where what they hold is known to be in the source.
Everything else is for `setting_aside`.
"""

from __future__ import annotations

import re

import structlog

from penstock.volume.drivers.zfs.copies import NAMING, VolumeCopy
from penstock.volume.drivers.zfs.fencing import UNPLANNED
from penstock.volume.drivers.zfs.identity import Kind
from penstock.zfs.incremental import newest_common
from penstock.zfs.lines import SYNC, observe_line, roll_back

OURS = re.compile(f"{NAMING.syncs}|{NAMING.others}")

log = structlog.get_logger(__name__)


def forget_unfinished(source: VolumeCopy, target: VolumeCopy) -> VolumeCopy:
    """Go back to what the source has, when all that the target has beyond came by syncs of this reign that never ended.

    The source may have destroyed their snapshots since; what they hold is in what it holds now. Nothing is done when
    it may be otherwise: for a copy that ever ended in one of them, was the volume itself, or was written to. A first
    copy that never ended may not have its marks yet; that it came from this source the snapshot in common tells.
    """
    seen = target.seen
    if seen is None or seen.fence is not None or seen.kind not in (None, Kind.REPLICA) or not source.was_active:
        return target
    line = observe_line(target.zfs, target.dataset, ())
    common = newest_common(observe_line(source.zfs, source.dataset, ()).points, line.points)
    if common is None or line.written_bytes > 0:
        return target
    if seen.synced_at is None:  # it came from whoever was the source then, which this one may have gone on without
        is_known = source.seen is not None and source.seen.promoted != UNPLANNED
    else:
        ended = line.by_guid(seen.synced_guid)
        is_known = target.epoch == source.epoch and ended is not None and ended.point <= common[1]
    newer = [taken for taken in line.taken if taken.point > common[1]]
    is_ours = all(taken.kind in (None, SYNC) and OURS.fullmatch(taken.point.name) for taken in newer)
    to = line.by_guid(common[1].guid)
    if not is_known or not is_ours or not newer or to is None:
        return target
    reason = roll_back(target.zfs, line, to, newer)
    if reason is not None:
        log.warning("volume.replica_not_gone_back", volume=target.volume.id, reason=reason)
    return target.again()


def is_named_for(target: VolumeCopy) -> bool:
    """Has what stands in the copy's place, and bears no mark, a snapshot that was taken to be brought to this copy?"""
    name = target.id.replace("-", "_")
    line = observe_line(target.zfs, target.dataset, ())
    return any(name in taken.point.name and re.fullmatch(NAMING.syncs, taken.point.name) for taken in line.taken)
