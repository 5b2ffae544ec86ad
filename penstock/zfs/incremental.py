"""Which stream takes a target from what it has to a snapshot of the source: decided purely, by GUID, never by name.

A snapshot keeps its GUID when it is sent, renamed or promoted to another dataset: only that says "the same state".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.errors import NotFound


@dataclass(frozen=True, slots=True, order=True)
class SnapshotPoint:
    """A snapshot of one dataset; points sort by age, oldest first.

    `txg` is ``createtxg``: it orders the snapshots of one pool and says nothing about those of another.
    """

    txg: int
    name: str  # what stands after the @
    guid: int


@dataclass(frozen=True, slots=True)
class Full:
    """The target has nothing: `first` whole, then (when it is not `to`) everything from `first` to `to`."""

    first: SnapshotPoint
    to: SnapshotPoint


@dataclass(frozen=True, slots=True)
class Increment:
    """From the source's `base`, which the target has too (perhaps by the name `target_base`), to `to`.

    `between` are the source's snapshots after `base` and before `to`, which one stream (``-I``) carries along; when it
    is empty, ``-i`` does.
    """

    base: SnapshotPoint
    to: SnapshotPoint
    between: tuple[SnapshotPoint, ...]
    target_base: SnapshotPoint


@dataclass(frozen=True, slots=True)
class UpToDate:
    """Nothing to send: the target has `to`, or it has something later of the source's. `newest` is what it has."""

    newest: SnapshotPoint


@dataclass(frozen=True, slots=True)
class Diverged:
    """The target has what the source has not, so nothing can be received without losing it.

    `common` is the newest snapshot that both have (the source's), None without any. `newer` are the target's own after
    it, all of them without a common one; empty when the target exists and has no snapshot at all.
    """

    common: SnapshotPoint | None
    newer: tuple[SnapshotPoint, ...]


Plan = Full | Increment | UpToDate | Diverged


def newest_common(
    source_points: Sequence[SnapshotPoint], target_points: Sequence[SnapshotPoint]
) -> tuple[SnapshotPoint, SnapshotPoint] | None:
    """The newest snapshot (by the target's order) that the source has too: the source's point and the target's."""
    by_guid = {point.guid: point for point in source_points}
    both = [point for point in target_points if point.guid in by_guid]
    if not both:
        return None
    newest = max(both)
    return by_guid[newest.guid], newest


def plan_transfer(
    source_points: Sequence[SnapshotPoint],
    target_points: Sequence[SnapshotPoint] | None,
    to: SnapshotPoint,
    *,
    keeps_between: bool = True,
) -> Plan:
    """How the target gets to `to`. The points may come in any order.

    `target_points` is None when the target dataset does not exist, empty when it exists without snapshots.
    `keeps_between`: send the source's older snapshots too (False: only `to`). Raises NotFound when the source has no
    `to`. Writes to the target's live file system leave no snapshot, so they do not show here; receiving finds them.
    """
    if all(point.guid != to.guid for point in source_points):
        raise NotFound(f"the source has no snapshot {to.name} with GUID {to.guid}")
    if target_points is None:
        older = [point for point in source_points if point < to] if keeps_between else []
        return Full(min(older, default=to), to)
    common = newest_common(source_points, target_points)
    if common is None:
        return Diverged(None, tuple(sorted(target_points)))
    base, target_base = common
    newer = tuple(sorted(point for point in target_points if point > target_base))
    if newer:
        return Diverged(base, newer)
    if base.txg >= to.txg:
        return UpToDate(base)
    between = tuple(sorted(point for point in source_points if base < point < to)) if keeps_between else ()
    return Increment(base, to, between, target_base)
