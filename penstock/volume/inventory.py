"""What a backend of volumes holds of ours, in terms every driver shares: for ``penstock doctor`` and ``recover``.

Optional for a driver: one that has the methods of `HasVolumeInventory` writes who owns what on the storage itself, so
that a lost database can be rebuilt and a strayed one compared. What nobody could look at is named, never left out in
silence (`NotExamined`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from penstock.ids import ProjectId, UserId, VolumeId, VolumeSnapshotId, VolumeTypeId
from penstock.volume.models import VolumeModel


class Aspect(StrEnum):
    """What can be compared with the rows."""

    VOLUMES = "volumes"
    ORPHANS = "orphans"
    MARKS = "marks"
    SNAPSHOTS = "snapshots"
    EXPORTS = "exports"
    LEFTOVERS = "leftovers"


@dataclass(frozen=True, slots=True, order=True)
class NotExamined:
    """Something that was not looked at, and why, in words that begin a sentence: "its driver ..."."""

    aspect: Aspect
    why: str


@dataclass(frozen=True, slots=True, order=True)
class VolumeClient:
    """Who may use an export: a name, and as whom it has to prove itself. `proof` tells secrets apart, and is none."""

    name: str
    user: str | None = None
    proof: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class FoundVolume:
    """A volume on the storage.

    `id` is the one in its backend name, `volume_id` its own: they differ after a migration by copy. `location` is the
    backend's own name for it. `source_snapshot` is the `FoundVolumeSnapshot.location` that it is a clone of.
    `size_bytes` is 0 when it cannot be told, as is `created_at` None. `auth` is what initiators log in with.
    `is_temporary`: made by the product for one operation of its own, and never a user's. Without `is_size_exact` it may
    be that much less than `size_bytes`.
    """

    id: VolumeId
    volume_id: VolumeId
    location: str
    pool: str
    size_bytes: int
    project_id: ProjectId | None = None
    user_id: UserId | None = None
    name: str | None = None
    type_id: VolumeTypeId | None = None
    type_name: str | None = None
    source_snapshot: str | None = None
    created_at: datetime | None = None
    provider_location: str | None = None
    auth: str | None = field(default=None, repr=False)
    is_temporary: bool = False
    is_size_exact: bool = True


@dataclass(frozen=True, slots=True)
class FoundVolumeSnapshot:
    """A snapshot on the storage, of the volume at `parent` (a `FoundVolume.location`)."""

    id: VolumeSnapshotId
    volume_id: VolumeId
    parent: str
    location: str
    pool: str
    size_gib: int
    project_id: ProjectId | None = None
    user_id: UserId | None = None
    name: str | None = None
    group_snapshot_id: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FoundExport:
    """A target as it is configured, and `is_in_force` when the server serves it exactly so.

    `volume_id` is whose it says it is, `leads_to` the `FoundVolume.id` of what its clients get to see, None for nothing
    that is ours.
    """

    name: str
    volume_id: str
    leads_to: VolumeId | None
    clients: tuple[VolumeClient, ...]
    is_in_force: bool


@dataclass(frozen=True, slots=True)
class WantedExport:
    """The export that a volume's attachments ask for; without `clients` there need be none."""

    name: str
    clients: tuple[VolumeClient, ...]


@dataclass(frozen=True, slots=True)
class Leftover:
    """A copy of a volume on its way here, not whole; `volume_id` is the `FoundVolume.id` it would have.

    Not `is_copy`: what a creation that was cut off seems to have left, which bears no mark and the volume's name.
    """

    location: str
    pool: str
    volume_id: VolumeId
    is_copy: bool = True


@dataclass(frozen=True, slots=True)
class VolumeSetAside:
    """What a volume's copy had that the volume has not, when it was brought back into line; `volume_id` as above."""

    location: str
    pool: str
    volume_id: VolumeId


@dataclass(frozen=True, slots=True)
class VolumeTombstone:
    """What its user deleted, or was taken for one operation, and something else may still need.

    `volume_id` is the `FoundVolume.id` of the volume whose operation it was taken for, None when it does not say.
    """

    location: str
    pool: str
    is_needed: bool
    volume_id: str | None = None


@dataclass(frozen=True, slots=True)
class VolumeInventory:
    """Everything of ours on a backend, but for what is `not_examined`. `pools` are those that were looked at."""

    pools: tuple[str, ...] = ()
    volumes: tuple[FoundVolume, ...] = ()
    snapshots: tuple[FoundVolumeSnapshot, ...] = ()
    exports: tuple[FoundExport, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    set_aside: tuple[VolumeSetAside, ...] = ()
    tombstones: tuple[VolumeTombstone, ...] = ()
    not_examined: tuple[NotExamined, ...] = ()

    def sees(self, aspect: Aspect) -> bool:
        """Was that looked at?"""
        return all(missing.aspect is not aspect for missing in self.not_examined)


@runtime_checkable
class HasVolumeInventory(Protocol):
    """A driver that can say what it holds, and put right what only it can. Each method is safe to repeat."""

    def inventory(self) -> VolumeInventory:
        """Everything of ours, in a fixed number of commands per pool.

        Raises NotFound or Unavailable when a pool is missing: half an inventory would mislead.
        """
        ...

    def wanted_export(self, volume: VolumeModel) -> WantedExport:
        """The export it would have by its attachments. Pure."""
        ...

    def settle_export(self, context: Any, volume: VolumeModel) -> None:
        """Let in exactly whom the attachments name, and log the others out. Raises NotFound, Unavailable."""
        ...

    def write_identity(self, volume: VolumeModel) -> None:
        """Write on the volume what `volume` says of it. Raises NotFound, and Conflict when it is not that volume's."""
        ...

    def stop_exporting(self, names: Sequence[str]) -> None:
        """Serve these exports no more; unknown ones are fine. Raises Unavailable."""
        ...

    def discard(self, location: str) -> None:
        """Destroy the leftover there, after another look at its marks; fine when it is gone. Raises Conflict when it is
        none."""
        ...

    def sweep(self, locations: Sequence[str]) -> None:
        """Destroy these tombstones, unless something needs them after all; what is none stays."""
        ...
