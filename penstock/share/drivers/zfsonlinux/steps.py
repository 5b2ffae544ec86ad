"""The steps a plan is made of: plain values, each of which can be carried out, and again, on a host's ZFS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from penstock.errors import BackendFault, Conflict, NotFound
from penstock.zfs.client import Zfs
from penstock.zfs.faults import MountFailed
from penstock.zfs.names import Dataset, SnapshotName, Target

Pairs = tuple[tuple[str, str], ...]
ROUNDS = 3

log = structlog.get_logger(__name__)


class Step(Protocol):
    """One change. Carrying it out again after it took effect does no harm: the plan looks before it asks."""

    def carry_out(self, zfs: Zfs) -> None:
        """Do it. Raises what the ZFS client's method of that name raises."""
        ...


@dataclass(frozen=True, slots=True)
class Create:
    """Make an empty filesystem."""

    dataset: Dataset
    properties: Pairs

    def carry_out(self, zfs: Zfs) -> None:
        zfs.create(self.dataset, dict(self.properties), parents=False)


@dataclass(frozen=True, slots=True)
class Clone:
    """Make a filesystem that shares its data with a snapshot of the same pool."""

    snapshot: SnapshotName
    dataset: Dataset
    properties: Pairs

    def carry_out(self, zfs: Zfs) -> None:
        zfs.clone(self.snapshot, self.dataset, dict(self.properties))


@dataclass(frozen=True, slots=True)
class Copy:
    """Make a filesystem with a snapshot's data that shares nothing with it."""

    snapshot: SnapshotName
    dataset: Dataset
    properties: Pairs

    def carry_out(self, zfs: Zfs) -> None:
        zfs.copy(self.snapshot, self.dataset, dict(self.properties))


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Freeze a dataset's present contents."""

    snapshot: SnapshotName
    properties: Pairs

    def carry_out(self, zfs: Zfs) -> None:
        zfs.snapshot([self.snapshot], dict(self.properties))


@dataclass(frozen=True, slots=True)
class SetProperties:
    """Set properties, in this order where ZFS takes them one at a time."""

    target: Target
    properties: Pairs

    def carry_out(self, zfs: Zfs) -> None:
        zfs.set(self.target, dict(self.properties))


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove local properties, in this order."""

    target: Target
    names: tuple[str, ...]

    def carry_out(self, zfs: Zfs) -> None:
        for name in self.names:
            zfs.inherit(self.target, name)


@dataclass(frozen=True, slots=True)
class Mount:
    """Mount a filesystem."""

    dataset: Dataset

    def carry_out(self, zfs: Zfs) -> None:
        zfs.mount(self.dataset)


@dataclass(frozen=True, slots=True)
class Unmount:
    """Unmount a filesystem."""

    dataset: Dataset

    def carry_out(self, zfs: Zfs) -> None:
        zfs.unmount(self.dataset)


@dataclass(frozen=True, slots=True)
class Rename:
    """Give a dataset or snapshot another name."""

    old: Target
    new: Target

    def carry_out(self, zfs: Zfs) -> None:
        zfs.rename(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Promote:
    """Swap a clone with its origin."""

    dataset: Dataset

    def carry_out(self, zfs: Zfs) -> None:
        zfs.promote(self.dataset)


@dataclass(frozen=True, slots=True)
class DestroySnapshots:
    """Destroy snapshots of one dataset; those with clones go when their last clone goes."""

    dataset: Dataset
    names: tuple[str, ...]

    def carry_out(self, zfs: Zfs) -> None:
        zfs.destroy_snapshots(self.dataset, self.names, deferred=True)


def carry_out(steps: Sequence[Step], zfs: Zfs) -> None:
    """Carry out the steps in order; the first fault ends it."""
    for step in steps:
        step.carry_out(zfs)


def settle(
    plan: Callable[[], tuple[Step, ...]],
    zfs: Zfs,
    *,
    at_once: Sequence[Step] = (),
    beside: bool = False,
    glance: Callable[[], bool] = lambda: False,
) -> None:
    """Observe, plan, carry out, until the plan (which observes) is empty: the effect is what counts.

    `at_once` are steps that need no look before, which would cost half as much as they do: when they have their effect
    the first look finds nothing left to do. What they meet instead of what they expected, the look after them shows.
    With `beside` that look is taken while they are carried out, and is the last when nothing but they was to be done:
    for steps whose success is their effect (docs/decisions/0004-a-look-beside-the-change.md). A `glance` costs next to
    nothing and says whether `at_once`, which all reported success, has what effect that leaves open; then it is the
    last look.

    Raises BackendFault when steps that reported success keep having no effect.
    """
    try:
        if beside and at_once:
            wanted = zfs.beside(lambda: carry_out(at_once, zfs), plan)
            if all(step in at_once for step in wanted):
                return
        elif _carry_out_unless_unmounted(at_once, zfs) and at_once and glance():
            return
    except (Conflict, NotFound) as fault:  # something else is there, or it was done before
        log.info("zfs.look_first", reason=fault.message)
    steps: tuple[Step, ...] = ()
    for _ in range(ROUNDS):
        steps = plan()
        if not steps:
            return
        _carry_out_unless_unmounted(steps, zfs)
    if steps := plan():
        raise BackendFault(f"ZFS reported success, yet this is still to be done: {steps[0]}")


def _carry_out_unless_unmounted(steps: Sequence[Step], zfs: Zfs) -> bool:
    """False when something was made and could not be mounted: the next look plans the mount."""
    try:
        carry_out(steps, zfs)
    except MountFailed as fault:
        log.warning("zfs.mount_failed", reason=fault.message)
        return False
    return True
