"""What a simulated ZFS host holds: pools, filesystems, snapshots, blocks; and the arithmetic of space over them.

Plain data, so that a whole host can be deep-copied. Data is not bytes but blocks: `content` says what is written
(copies of one thing have the same), `number` says where (only clones and snapshots share it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

EMPTY_BYTES = 24 * 1024  # what a filesystem uses before anything is written


class Block(NamedTuple):
    """Some bytes on a pool."""

    number: int
    content: int
    size: int


class Partial(NamedTuple):
    """What an interrupted receive left: the snapshot it was to be (`path` on the source), and where it starts from."""

    path: str
    guid: int
    base: int | None
    is_new: bool  # the dataset was made by it


@dataclass(eq=False, slots=True)
class Snap:
    """A snapshot. `owner` changes when a clone is promoted."""

    owner: Filesystem
    name: str
    guid: int
    txg: int
    created: int
    blocks: dict[int, Block]
    local: dict[str, str] = field(default_factory=dict)
    received: dict[str, str] = field(default_factory=dict)
    clones: list[Filesystem] = field(default_factory=list)
    is_deferred: bool = False
    holds: set[str] = field(default_factory=set)

    @property
    def path(self) -> str:
        return f"{self.owner.path}@{self.name}"

    @property
    def referenced(self) -> int:
        return EMPTY_BYTES + sum(block.size for block in self.blocks.values())

    @property
    def used(self) -> int:
        """Bytes that only this snapshot holds."""
        elsewhere = [self.owner.blocks, *(clone.blocks for clone in self.clones)]
        elsewhere += [other.blocks for other in self.owner.snapshots.values() if other is not self]
        return sum(b.size for b in self.blocks.values() if not any(b.number in blocks for blocks in elsewhere))


@dataclass(eq=False, slots=True)
class Filesystem:
    """A filesystem; `quota` and its like are in bytes, 0 for none."""

    path: str
    parent: Filesystem | None
    pool: Pool
    guid: int
    txg: int
    created: int
    origin: Snap | None = None
    blocks: dict[int, Block] = field(default_factory=dict)
    children: dict[str, Filesystem] = field(default_factory=dict)
    snapshots: dict[str, Snap] = field(default_factory=dict)
    local: dict[str, str] = field(default_factory=dict)
    received: dict[str, str] = field(default_factory=dict)
    is_mounted: bool = False
    is_busy: bool = False  # somebody has a file open
    summed: tuple[int, int] = (-1, 0)  # the pool's age when `used` was last summed up, and the sum
    partial: Partial | None = None
    lingers: bool = False  # FUSE has not let go of the last mount yet

    def below(self) -> Iterator[Filesystem]:
        """This and everything below it, parents first, by name."""
        yield self
        for name in sorted(self.children):
            yield from self.children[name].below()

    def limit(self, name: str) -> int:
        """The quota or reservation of that name, 0 for none."""
        return int(self.local.get(name, 0))

    @property
    def last(self) -> Snap | None:
        """The newest snapshot."""
        return next(reversed(self.snapshots.values()), None)

    @property
    def referenced(self) -> int:
        return EMPTY_BYTES + sum(block.size for block in self.blocks.values())

    @property
    def own(self) -> int:
        """Bytes of the data and its snapshots that are not the origin's."""
        if not self.blocks and not self.snapshots:
            return EMPTY_BYTES
        inherited = self.origin.blocks if self.origin else {}
        held = dict(self.blocks)
        for snap in self.snapshots.values():
            held.update(snap.blocks)
        return EMPTY_BYTES + sum(b.size for number, b in held.items() if number not in inherited)

    @property
    def live(self) -> int:
        """Bytes of the data as it is now that are not the origin's."""
        inherited = self.origin.blocks if self.origin else {}
        return EMPTY_BYTES + sum(b.size for number, b in self.blocks.items() if number not in inherited)

    @property
    def written(self) -> int:
        """Bytes written since the last snapshot, or since it was cloned."""
        before = self.last or self.origin
        old = before.blocks if before else {}
        fresh = sum(b.size for number, b in self.blocks.items() if number not in old)
        return fresh + (0 if before else EMPTY_BYTES)

    @property
    def unkept(self) -> int:
        """Refreservation not yet filled by data of its own."""
        promised = self.limit("refreservation")
        if not promised:
            return 0
        return max(0, promised - self.written)

    @property
    def used(self) -> int:
        age, used = self.summed
        if age != self.pool.age:
            used = self.own + self.unkept
            for child in self.children.values():
                used += max(child.used, child.limit("reservation"))
            self.summed = (self.pool.age, used)
        return used

    @property
    def room(self) -> int:
        """Bytes that may still be allocated here, before the refquota and beside the refreservation."""
        used = self.used
        room = self.parent.room if self.parent else self.pool.size - used
        room += max(0, self.limit("reservation") - used) if self.parent else 0
        quota = self.limit("quota")
        return max(0, min(room, quota - used) if quota else room)

    @property
    def available(self) -> int:
        room = self.room + self.unkept
        refquota = self.limit("refquota")
        return max(0, min(room, refquota - self.referenced) if refquota else room)

    def move(self, path: str) -> None:
        """Take this name, with everything below."""
        self.path = path
        for child in self.children.values():
            child.move(f"{path}/{child.path.rpartition('/')[2]}")


@dataclass(eq=False, slots=True)
class Pool:
    """A zpool: its usable size, and its root filesystem."""

    name: str
    size: int
    health: str = "ONLINE"
    age: int = 0  # counts changes
    root: Filesystem = field(init=False)


@dataclass(slots=True)
class State:
    """Everything that is on a host and would survive its reboot, and its mounts, which would not."""

    salt: int
    pools: dict[str, Pool] = field(default_factory=dict)
    filesystems: dict[str, Filesystem] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    counter: int = 0

    def next(self) -> int:
        """The next transaction group."""
        self.counter += 1
        return self.counter

    def new_guid(self) -> int:
        """A GUID that no other host makes either, the same in every replay."""
        return ((self.next() << 32) | self.salt) * 0x9E3779B97F4A7C15 % 2**64
