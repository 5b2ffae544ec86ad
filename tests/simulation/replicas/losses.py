"""Snapshots that replication needs, destroyed by somebody who let go of our holds first: on one side, or on both."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from penstock.share.drivers.zfsonlinux.identity import KIND, ROLE, Kind
from penstock.share.replication import Role
from penstock.zfs.reigns import hold_tag
from tests.simulation.zfs_host import SimulatedHost
from tests.simulation.zfs_state import Snap

SIDES = ("on the source", "on a target", "on both sides")


def destroy_one(hosts: Iterable[SimulatedHost], random: Random) -> str | None:
    """One that was taken to move data is gone; where from. None when there was none that can be destroyed."""
    found = [
        (filesystem.local.get(ROLE, Role.ACTIVE), snap)
        for host in hosts
        for filesystem in host.state.filesystems.values()
        if filesystem.local.get(KIND) in (Kind.SHARE, Kind.RECEIVING)
        for snap in filesystem.snapshots.values()
        if _is_a_base(snap)
    ]
    if not found:
        return None
    role, chosen = random.choice(found)
    twins = [(of, snap) for of, snap in found if snap.guid == chosen.guid]
    is_both = len(twins) > 1 and random.random() < 1 / 3
    for _, snap in twins if is_both else [(role, chosen)]:
        _destroy(snap)
    return SIDES[2] if is_both else SIDES[0] if role == Role.ACTIVE else SIDES[1]


def _is_a_base(snap: Snap) -> bool:
    is_free = not snap.clones and all(tag.startswith(hold_tag("")) for tag in snap.holds)
    is_sync = snap.local.get(KIND) == Kind.SYNC or snap.name.startswith("tmp_snapshot_for_")
    return is_free and is_sync and not snap.is_deferred


def _destroy(snap: Snap) -> None:
    snap.holds.clear()
    del snap.owner.snapshots[snap.name]
