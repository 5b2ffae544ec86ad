"""Fencing a copy of a volume and making one active, on the storage host itself.

A fence is: nothing that a target could serve (no link), no target, the mark that says for which reign, ``readonly=on``,
a file's filesystem unmounted; and then read back. It outlives a restart of the host, whose target server finds nothing
to serve. Unmounting also proves that nobody has the file open for writing any more; of a zvol the host is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from penstock.errors import BackendFault, Unavailable
from penstock.units import gib_to_bytes
from penstock.volume.drivers.zfs import spec
from penstock.volume.drivers.zfs.connecting import iqn_of
from penstock.volume.drivers.zfs.copies import VolumeCopy
from penstock.volume.drivers.zfs.identity import DELETED, Kind
from penstock.volume.drivers.zfs.links import remove_links
from penstock.volume.drivers.zfs.sides import Side
from penstock.volume.models import VolumeModel
from penstock.zfs.device_holders import refuse_open
from penstock.zfs.marks import KIND
from penstock.zfs.receiving import abort
from penstock.zfs.reigns import ACCEPTED, EPOCH, FENCED, PROMOTED, Fence

PLANNED, UNPLANNED = "planned", "unplanned"
BEFORE_REIGN = "before reign "

log = structlog.get_logger(__name__)


def stop_serving(side: Side, volumes: Sequence[VolumeModel]) -> None:
    """Have none of the volumes served there, now or after a restart. Safe to repeat.

    A target server that is down serves nobody, and finds no link when it starts. One that only does not answer may
    serve on: `fence_copy` finds out.
    """
    remove_links(side.storage.host, [volume.name for volume in volumes])
    try:
        side.storage.exports.apply([], remove=[iqn_of(volume.name, side.settings) for volume in volumes])
    except Unavailable as fault:
        log.warning("volume.targets_not_removed", side=side.id, volumes=len(volumes), reason=fault.message)


def fence_copy(copy: VolumeCopy, fence: Fence) -> VolumeCopy:
    """Let nobody use it, and look whether it is so. Safe to repeat.

    Raises Busy when somebody on the host has it open, Unavailable, BackendFault (ZFS said that it is done, and it is
    not).
    """
    seen, zfs = copy.seen, copy.zfs
    if seen is None:
        return copy
    stop_serving(copy.side, [copy.volume])
    # where ZFS takes them one at a time, half a fence is recognized by the first
    zfs.set(copy.dataset, {FENCED: str(fence), KIND: Kind.REPLICA.value, "readonly": "on"})
    if seen.is_zvol:
        refuse_open(copy.side.storage.host, copy.dataset)
    else:
        if not seen.is_mounted:
            zfs.mount(copy.dataset)  # after a power cut the last writes are in the intent log alone until then
        zfs.unmount(copy.dataset)
        zfs.set(copy.dataset, {"canmount": "noauto"})
    after = copy.again()
    if not is_fenced(after, fence):
        raise BackendFault(f"{copy.dataset} on {copy.side.id} was to be fenced, and is not")
    log.warning("volume.fenced", volume=copy.volume.id, side=copy.side.id, dataset=str(copy.dataset), fence=str(fence))
    return after


def is_fenced(copy: VolumeCopy, fence: Fence) -> bool:
    """Does it say that it made way, and accept no writes?"""
    seen = copy.seen
    if seen is None or seen.kind is not Kind.REPLICA or seen.fence != fence:
        return False
    return seen.is_readonly and (seen.is_zvol or not seen.is_mounted)


def activate(copy: VolumeCopy, epoch: int, how: str) -> VolumeCopy:
    """Make it the volume, of reign `epoch`, to be served. Exports are the caller's. Safe to repeat."""
    seen, zfs = copy.seen, copy.zfs
    if seen is None:
        raise BackendFault(f"{copy.dataset} on {copy.side.id} went away")
    if zfs.flavour.can_resume:
        abort(zfs, copy.dataset)  # half an increment
    if seen.fence is not None:
        zfs.inherit(copy.dataset, FENCED)
    if seen.accepted is not None:
        zfs.inherit(copy.dataset, ACCEPTED)
    mountable = {} if seen.is_zvol else {"canmount": "on"}
    # its kind comes last: until then it is not served
    # the others look for what it has not: they may have snapshots that were deleted when it could not hear of that
    marks = {PROMOTED: how, EPOCH: str(epoch), DELETED: f"{BEFORE_REIGN}{epoch}"}
    zfs.set(copy.dataset, {**marks, "readonly": "off", **mountable, KIND: Kind.VOLUME.value})
    settle(copy)
    after = copy.again()
    if not after.is_active or after.epoch != epoch or (after.seen is not None and after.seen.is_readonly):
        raise BackendFault(f"{copy.dataset} on {copy.side.id} was to become volume {copy.volume.id}, and has not")
    log.warning("volume.activated", volume=copy.volume.id, side=copy.side.id, epoch=epoch, how=how)
    return after


def settle(copy: VolumeCopy) -> None:
    """Have an active copy mounted, as large as the volume, and its space set aside. Safe to repeat."""
    is_thin = spec.stays_thin(copy.volume, copy.side.settings)
    copy.side.storage.medium.settle(copy.dataset, gib_to_bytes(copy.volume.size), is_thin=is_thin)
