"""Carrying out a plan: what is there unexpectedly is looked at before it is called somebody else's."""

from __future__ import annotations

import pytest

from penstock.clock import ManualClock
from penstock.errors import Conflict
from penstock.share.drivers.zfsonlinux.steps import Create, Step, settle
from penstock.zfs.client import Zfs
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.names import Dataset
from tests.simulation.zfs_host import SimulatedHost

MADE = Dataset("tank/made")


class Looking:
    """A plan that finds what is there to be nobody's for so many looks."""

    def __init__(self, unmarked_for: int) -> None:
        self.unmarked_for = unmarked_for
        self.looks = 0

    def __call__(self) -> tuple[Step, ...]:
        self.looks += 1
        if self.looks <= self.unmarked_for:
            raise Conflict(f"{MADE} exists and belongs to somebody else")
        return ()


@pytest.fixture
def zfs() -> Zfs:
    """The dataset is there: a command that took too long has made it."""
    clock = ManualClock()
    found = Zfs(SimulatedHost(flavour=ZFS_FUSE, clock=clock, pools={"tank": 1 << 30}), ZFS_FUSE, clock=clock)
    found.create(MADE, {}, parents=False)
    return found


def test_what_a_late_command_of_ours_has_made_and_not_marked_yet_is_ours(zfs: Zfs) -> None:
    plan = Looking(unmarked_for=3)
    settle(plan, zfs, at_once=(Create(MADE, ()),))
    assert plan.looks == 4


def test_what_stays_unmarked_is_somebody_elses(zfs: Zfs) -> None:
    with pytest.raises(Conflict, match="somebody else"):
        settle(Looking(unmarked_for=1000), zfs, at_once=(Create(MADE, ()),))
    assert zfs.commands.clock.monotonic_s() >= ZFS_FUSE.busy_patience_s


def test_what_was_there_before_anything_was_asked_is_somebody_elses_at_once(zfs: Zfs) -> None:
    plan = Looking(unmarked_for=1000)
    with pytest.raises(Conflict):
        settle(plan, zfs)
    assert plan.looks == 1
