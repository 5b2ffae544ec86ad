"""Datasets and snapshots of one host, one method per thing that zfs(8) does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.clock import Clock, SystemClock
from penstock.host.runner import Host
from penstock.zfs.commands import Commands
from penstock.zfs.flavour import Flavour
from penstock.zfs.names import Dataset, SnapshotName, Target
from penstock.zfs.properties import Properties

FOREVER_S = 24 * 3600.0  # a copy's deadline: long, but there is one


class Zfs:
    """ZFS on one host. Threads may share it.

    Every method raises UnknownResult past the deadline, Unavailable when the host is away, PermissionDenied, and
    BackendFault for words we do not know, beside the faults it names.
    """

    def __init__(self, host: Host, flavour: Flavour, *, sudo: bool = False, timeout_s: float = 60.0,
                 clock: Clock | None = None) -> None: ...

    def create(self, dataset: Dataset, properties: Mapping[str, str], *, parents: bool) -> None:
        """NotFound (no parent), Conflict (exists, whoever made it), InsufficientCapacity, NotMounted (made all the same)."""

    def destroy(self, dataset: Dataset, *, recursive: bool) -> None:
        """NotFound, HasChildren, HasClones, Busy."""

    def destroy_snapshots(self, dataset: Dataset, names: Sequence[str], *, deferred: bool) -> None:
        """Absent ones are fine. HasClones (not deferred), Busy, NotFound (no dataset)."""

    def get(self, target: Target, names: Sequence[str]) -> Properties:
        """NotFound, Unsupported (unknown native property)."""

    def get_many(self, targets: Sequence[Target], names: Sequence[str]) -> dict[str, Properties]:
        """By str(target); those that do not exist are absent."""

    def tree(self, root: Dataset, names: Sequence[str], *, kinds: Sequence[str] = ("filesystem",),
             depth: int | None = None) -> dict[str, Properties]:
        """root and below, by name. NotFound (no root)."""

    def set(self, target: Target, properties: Mapping[str, str]) -> None:
        """NotFound, InsufficientCapacity (reservation), Invalid (quota below used ...)."""

    def inherit(self, target: Target, name: str) -> None: ...
    def snapshot(self, names: Sequence[SnapshotName], properties: Mapping[str, str]) -> None:
        """Conflict, NotFound, InsufficientCapacity."""

    def clone(self, snapshot: SnapshotName, dataset: Dataset, properties: Mapping[str, str]) -> None:
        """As create."""

    def promote(self, dataset: Dataset) -> None:
        """Invalid (not a clone), Conflict (snapshot name clash)."""

    def rename(self, old: Target, new: Target) -> None:
        """NotFound, Conflict, Busy."""

    def mount(self, dataset: Dataset) -> None:
        """Already mounted is fine."""

    def unmount(self, dataset: Dataset) -> None:
        """Not mounted is fine. Busy."""

    def rollback(self, snapshot: SnapshotName, *, destroy_newer: bool) -> None:
        """NewerSnapshots, HasClones."""

    def copy(self, snapshot: SnapshotName, dataset: Dataset, properties: Mapping[str, str], *,
             timeout_s: float = FOREVER_S) -> None:
        """Independent copy by send | receive. Conflict (exists and is not our interrupted copy)."""
