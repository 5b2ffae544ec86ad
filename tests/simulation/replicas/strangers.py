"""Other people's datasets, snapshots, clones and holds on the same hosts: whatever we do, they stay as they are."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from random import Random

from penstock.share.drivers.zfsonlinux.identity import ID, KIND, Kind
from penstock.units import MIB
from penstock.zfs.reigns import OF
from tests.simulation.zfs_host import SimulatedHost
from tests.simulation.zfs_model import Refused
from tests.simulation.zfs_state import Filesystem, Snap

HOLD = "theirs"
NEVER = 10**15  # contents nobody else writes


@dataclass(frozen=True)
class Taken:
    """A snapshot of theirs. `of` is the instance of ours whose dataset it was taken of: it may go with that."""

    host: SimulatedHost
    snap: Snap
    content: frozenset[int]
    of: str | None


@dataclass
class Strangers:
    """Act at random on the hosts, behind everybody's back, and remember what they have."""

    random: Random
    taken: list[Taken] = field(default_factory=list)
    filesystems: list[tuple[SimulatedHost, Filesystem, frozenset[int], dict[str, str]]] = field(default_factory=list)
    held: list[tuple[SimulatedHost, Snap]] = field(default_factory=list)
    count: int = 0

    def move_in(self, host: SimulatedHost, pool: str) -> None:
        """A filesystem beside our shares, with a snapshot, and a clone of it; and one that is called as ours are."""
        theirs = self._create(host, f"{pool}/theirs", None)
        self._create(host, f"{pool}/manila_share_old_diverged_1", None)
        self._snapshot(host, theirs, None)
        self._create(host, f"{pool}/theirs_too", self.taken[-1].snap)

    @property
    def guids(self) -> set[int]:
        """Of all snapshots they ever took: copies of them have the same."""
        return {taken.snap.guid for taken in self.taken}

    def act(self, host: SimulatedHost) -> None:
        """Somebody takes a snapshot of a dataset of ours, or a clone of one, or holds one."""
        ours = [
            (filesystem, filesystem.local.get(ID) or filesystem.local.get(OF))
            for filesystem in host.state.filesystems.values()
            if filesystem.local.get(KIND) in (Kind.SHARE, Kind.DIVERGED)
        ]
        if not ours:
            return
        filesystem, instance_id = self.random.choice(ours)
        does = self.random.random()
        snapshots = [snap for snap in filesystem.snapshots.values() if not snap.is_deferred]
        if does < 0.6 or not snapshots:
            self._snapshot(host, filesystem, instance_id)
            return
        snap = self.random.choice(snapshots)
        if does < 0.8 and host.flavour.can_hold:
            snap.holds.add(HOLD)
            self.held.append((host, snap))
        else:
            self.count += 1
            self._create(host, f"{filesystem.pool.name}/theirs_{self.count}", snap)

    def leave(self) -> None:
        """They let go of what stands in the way of deletions: holds, and clones of snapshots of ours."""
        for _, snap in self.held:
            snap.holds.discard(HOLD)
        self.held.clear()
        for host, filesystem, *_ in self.filesystems:
            if filesystem.origin is not None and KIND in filesystem.origin.owner.local:
                filesystem.is_mounted = False
                host.model.destroy(filesystem.path, recursive=False)
        there = [known for known in self.filesystems if known[1].path in known[0].state.filesystems]
        self.filesystems[:] = there

    def _create(self, host: SimulatedHost, path: str, origin: Snap | None) -> Filesystem:
        try:
            filesystem = host.model.create(path, {"sharenfs": "rw=@192.0.2.0/24"}, 0, origin)
        except Refused:
            return host.filesystem(path.partition("/")[0])
        self.count += 1
        host.model.write(filesystem, MIB, NEVER + self.count)
        content = frozenset(block.content for block in filesystem.blocks.values())
        self.filesystems.append((host, filesystem, content, dict(filesystem.local)))
        return filesystem

    def _snapshot(self, host: SimulatedHost, filesystem: Filesystem, of: str | None) -> None:
        self.count += 1
        name = f"theirs-{self.count}"
        try:
            host.model.snapshot([f"{filesystem.path}@{name}"], {}, 0)
        except Refused:
            return  # full
        snap = filesystem.snapshots[name]
        content = frozenset(block.content for block in snap.blocks.values())
        self.taken.append(Taken(host, snap, content, of))

    def check(self, instances: Set[str]) -> None:
        """Everything is there, and as it was. `instances`: of our shares, those that were not deleted by their owners.

        Raises AssertionError.
        """
        for host, filesystem, content, local in self.filesystems:
            assert host.state.filesystems.get(filesystem.path) is filesystem, f"{filesystem.path} was theirs"
            is_same = frozenset(block.content for block in filesystem.blocks.values()) == content
            assert is_same, f"{host.name}:{filesystem.path} was written to"
            assert filesystem.local == local, f"{host.name}:{filesystem.path} was changed"
            assert filesystem.is_mounted, f"{host.name}:{filesystem.path} was unmounted"
            if filesystem.origin is not None:
                assert self._is_there(host, filesystem.origin), f"the origin of {filesystem.path} is gone"
        for host, snap in self.held:
            assert self._is_there(host, snap), f"{host.name}:{snap.path} was held"
            assert HOLD in snap.holds, f"{host.name}:{snap.path} is not held any more"
        for taken in self.taken:
            if taken.of is None or taken.of in instances:
                assert self._is_there(taken.host, taken.snap), f"{taken.host.name}:{taken.snap.path} was theirs"
                content = frozenset(block.content for block in taken.snap.blocks.values())
                assert content == taken.content, f"{taken.host.name}:{taken.snap.path} changed"

    def _is_there(self, host: SimulatedHost, snap: Snap) -> bool:
        owner = host.state.filesystems.get(snap.owner.path)
        return owner is not None and owner.snapshots.get(snap.name) is snap
