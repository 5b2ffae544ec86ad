"""Serving a copy that is older than the volume was, because the later one is lost: only when somebody says so.

Such a copy was the volume until another side went on with it. It holds all that was acknowledged until then, and
nothing since; a bound of that time is its newest sync, which was taken while it was the volume, or brought before.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from penstock.volume.drivers.zfs.copies import Reign, VolumeCopy
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.replication import OlderCopy
from penstock.zfs.lines import observe_line
from penstock.zfs.properties import bytes_of

WANTED = "an older copy was asked for, because the later one is lost"
_STAMP = re.compile(r"_([0-9]{8}T[0-9]{6})_[0-9a-f]{8}$")  # of a sync's name, by the daemon's clock


def is_older(copy: VolumeCopy) -> bool:
    """Was it the volume, and did the rows hear of a later reign since?"""
    seen = copy.seen
    was_volume = seen is not None and (seen.fence is not None or seen.kind is Kind.VOLUME)
    return was_volume and 0 < copy.epoch < Reign.of(copy.volume).epoch


def told(copy: VolumeCopy) -> OlderCopy:
    """What is to be known before it is accepted."""
    found = observe_line(copy.zfs, copy.dataset, ())
    stamps = [stamp[1] for taken in found.taken if (stamp := _STAMP.search(taken.point.name))]
    if stamps:
        since = datetime.strptime(f"{max(stamps)}Z", "%Y%m%dT%H%M%S%z").replace(tzinfo=None)
    else:  # no copy of it ever began
        made_s = bytes_of(copy.zfs.get(copy.dataset, ["creation"]), "creation")
        since = datetime.fromtimestamp(made_s, UTC).replace(tzinfo=None)
    return OlderCopy(copy.volume.id, str(copy.dataset), since)
