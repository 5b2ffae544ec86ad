"""A rehearsal: a writable clone of what a replica holds, for one client, that touches neither replica nor syncs."""

from __future__ import annotations

import structlog

from penstock.errors import Conflict
from penstock.exports.model import ClientRule, Export, normal_client
from penstock.share.drivers.zfsonlinux.fencing import BOOT_SAFE
from penstock.share.drivers.zfsonlinux.identity import KIND, Kind
from penstock.share.drivers.zfsonlinux.observe import SeenShare, observe_share
from penstock.share.drivers.zfsonlinux.replica_set import Copy, rehearsal
from penstock.share.drivers.zfsonlinux.steps import Clone, Mount, SetProperties, carry_out
from penstock.zfs.faults import Busy
from penstock.zfs.lines import observe_line
from penstock.zfs.reigns import OF
from penstock.zfs.unmarked import Attempt, in_order, objection

log = structlog.get_logger(__name__)


def begin(copy: Copy, client: str) -> str:
    """Serve the clone to `client` (an address or network), made of the newest snapshot; its path. Safe to repeat.

    A rehearsal that is there already goes on, for this client. Raises Conflict before the first sync has ended,
    Invalid.
    """
    rule = ClientRule(normal_client(client), writable=True)
    if copy.seen is None or copy.seen.marks.synced_at is None:
        raise Conflict("There is nothing to rehearse with: the replica's first copy has not ended.")
    seen = _clone(copy)
    if seen.mountpoint is None:
        raise Conflict(f"{seen.dataset} has no mountpoint, so it cannot be served")
    if not seen.is_mounted:
        carry_out((Mount(seen.dataset),), copy.zfs)
    copy.peer.storage.nfs.put([Export(seen.mountpoint, copy.id, (rule,), is_mounted_at_boot=False)])
    return seen.mountpoint


def _clone(copy: Copy) -> SeenShare:
    place = rehearsal(copy.dataset)
    seen = observe_share(copy.zfs, place)
    marks = (BOOT_SAFE, ("readonly", "off"), (OF, copy.id), (KIND, Kind.REHEARSAL.value))
    attempt = _left_unmarked(copy, seen)
    if attempt is not None:
        log.warning("replica.rehearsal_completed", replica=copy.id, dataset=str(place))
        carry_out((SetProperties(place, tuple(in_order(attempt, dict(marks)).items())),), copy.zfs)
        seen = observe_share(copy.zfs, place)
    if seen is None:
        line = observe_line(copy.zfs, copy.dataset, ())
        newest = line.newest
        if newest is None:
            raise Conflict(f"{copy.dataset} has no snapshot")
        carry_out((Clone(line.name(newest), place, marks),), copy.zfs)
        seen = observe_share(copy.zfs, place)
    if seen is None or seen.kind is not Kind.REHEARSAL or seen.of != copy.id:
        raise Conflict(f"{place} exists and is no rehearsal of this replica")
    return seen


def _left_unmarked(copy: Copy, seen: SeenShare | None) -> Attempt | None:
    """The cloning that was cut off before it came to its marks, when that is what left what was `seen`."""
    if seen is None or seen.kind is not None or seen.origin is None or seen.origin.dataset != copy.dataset:
        return None
    asked = frozenset({BOOT_SAFE[0], "readonly"})
    attempt = Attempt(seen.dataset, owner=(OF, copy.id), asked=asked, origin=seen.origin, since=None)
    return attempt if objection(copy.zfs, attempt) is None else None


def end(copy: Copy) -> None:
    """Destroy the clone and what was written to it; fine when there is none."""
    place = rehearsal(copy.dataset)
    seen = observe_share(copy.zfs, place)
    is_ours = seen is not None and seen.kind is Kind.REHEARSAL and seen.of == copy.id
    if seen is None or not (is_ours or _left_unmarked(copy, seen)):
        return
    nfs = copy.peer.storage.nfs
    nfs.remove([seen.mountpoint] if seen.mountpoint else [])
    try:
        copy.zfs.destroy(place, recursive=True)
    except Busy:
        nfs.let_go(str(seen.mountpoint))
        copy.zfs.destroy(place, recursive=True)
