"""What this driver needs of an appliance: NFS shares that can be snapshotted and cloned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ApplianceShare:
    """A share. `export` is what an NFS client mounts (``10.0.0.5:/pool/share``), None as long as it has none.

    `labels` are what we wrote onto it; by them we know our shares again, and never by their name.
    """

    id: str
    name: str
    size_gib: int
    export: str | None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApplianceSnapshot:
    """A snapshot of the share `share_id`, which had `size_gib` then."""

    id: str
    name: str
    share_id: str
    size_gib: int


@dataclass(frozen=True, slots=True)
class Room:
    """How much the appliance holds, in GiB. `free_gib` is the most that one share can get; None is not known."""

    total_gib: float | None
    free_gib: float | None


class Appliance(Protocol):
    """The appliance. Every method waits for the end of what it asks for, and may be repeated.

    Each raises Unavailable when the appliance does not answer, BackendFault when it failed, and as it says.
    """

    def check(self) -> None:
        """Can we log in, and do what the driver needs? Raises Invalid, in words."""
        ...

    def share(self, share_id: str) -> ApplianceShare | None:
        """The share; None when there is none."""
        ...

    def shares(self) -> Sequence[ApplianceShare]:
        """All shares that are ours to see, by name; their `export` may be left out."""
        ...

    def shares_labelled(self, label: str, value: str) -> Sequence[ApplianceShare]:
        """Those with that label, ready or on the way; their `export` may be left out."""
        ...

    def make_share(
        self, name: str, size_gib: int, labels: Mapping[str, str], *, snapshot_id: str | None = None
    ) -> ApplianceShare:
        """A new share, empty or of a snapshot, which nobody may mount. Two calls make two.

        Raises InsufficientCapacity, QuotaExceeded, NotFound (no such snapshot).
        """
        ...

    def ready_share(self, share_id: str) -> ApplianceShare:
        """The share once it can be used. One whose making failed is deleted, and the reason raised."""
        ...

    def delete_share(self, share_id: str) -> None:
        """Destroy the share; it is fine when there is none. Raises Conflict as long as it has snapshots."""
        ...

    def grow_share(self, share_id: str, size_gib: int) -> None:
        """Let the share hold `size_gib`; it is fine when it holds as much. Raises NotFound, InsufficientCapacity."""
        ...

    def label_share(self, share_id: str, labels: Mapping[str, str | None]) -> None:
        """Write labels onto the share; None takes one off. Raises NotFound."""
        ...

    def snapshots(self, share_id: str) -> Sequence[ApplianceSnapshot]:
        """The share's snapshots, oldest first."""
        ...

    def make_snapshot(self, share_id: str, name: str) -> ApplianceSnapshot:
        """Take a snapshot; one of that name of that share is the same one. Raises NotFound."""
        ...

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Destroy the snapshot; it is fine when there is none. Raises Conflict when shares made of it keep it."""
        ...

    def can_revert(self) -> bool:
        """Can shares be reverted to their latest snapshot?"""
        ...

    def revert_share(self, share_id: str, snapshot_id: str) -> None:
        """Give the share its snapshot's contents. Raises Conflict when the snapshot is not the latest."""
        ...

    def clients(self, share_id: str) -> frozenset[str]:
        """Addresses that may mount the share."""
        ...

    def allow(self, share_id: str, address: str, *, as_root: bool) -> None:
        """Let `address` mount the share and write; its root stays root when `as_root`. Raises NotFound."""
        ...

    def deny(self, share_id: str, address: str) -> None:
        """Let `address` do so no longer; it is fine when it may not, or when the share is gone."""
        ...

    def room(self) -> Room:
        """How much room there is."""
        ...
