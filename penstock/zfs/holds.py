"""Holds: a snapshot with one cannot be destroyed, whoever tries. Only OpenZFS has them (`Flavour.can_hold`)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from penstock.errors import BackendFault, Conflict, Invalid, NotFound
from penstock.zfs.client import Zfs
from penstock.zfs.names import SnapshotName

_TAG = re.compile(r"[A-Za-z0-9_.:][A-Za-z0-9_.:-]{0,200}")


def hold(zfs: Zfs, snapshots: Sequence[SnapshotName], tag: str) -> None:
    """Hold each with this tag, in one command: all or none. Held already is fine; nothing is done on zfs-fuse.

    Raises NotFound.
    """
    _each(zfs, "hold", snapshots, tag, fine="tag already exists")


def release(zfs: Zfs, snapshots: Sequence[SnapshotName], tag: str) -> None:
    """Let go of each; not held (or gone) is fine. The last release of a snapshot destroyed deferred destroys it."""
    _each(zfs, "release", snapshots, tag, fine="no such tag on this dataset")


def holds(zfs: Zfs, snapshots: Sequence[SnapshotName]) -> dict[SnapshotName, frozenset[str]]:
    """The tags on each, in one command; those without are absent. Raises NotFound."""
    if not zfs.flavour.can_hold or not snapshots:
        return {}
    found: dict[str, set[str]] = {}
    for line in zfs.commands.zfs("holds", "-H", *map(str, snapshots)).splitlines():
        columns = line.split("\t")
        if len(columns) != 3:
            raise BackendFault(f"zfs holds printed {len(columns)} columns instead of 3: {line!r}")
        found.setdefault(columns[0], set()).add(columns[1])
    return {snapshot: frozenset(found[str(snapshot)]) for snapshot in snapshots if str(snapshot) in found}


def _each(zfs: Zfs, verb: str, snapshots: Sequence[SnapshotName], tag: str, *, fine: str) -> None:
    if not _TAG.fullmatch(tag):
        raise Invalid(f"{tag!r} is not a tag for a hold")
    if not zfs.flavour.can_hold:
        return
    try:
        if snapshots:
            zfs.commands.zfs(verb, tag, *map(str, snapshots))
    except (Conflict, NotFound) as fault:
        if len(snapshots) > 1:  # which of them it was, and what became of the others, only one at a time tells
            for snapshot in snapshots:
                _each(zfs, verb, [snapshot], tag, fine=fine)
        elif fine not in fault.message and not (verb == "release" and isinstance(fault, NotFound)):
            raise
