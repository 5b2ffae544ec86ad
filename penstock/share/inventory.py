"""What a backend holds of ours, in terms every driver shares: what ``penstock doctor`` and ``penstock recover`` read.

Optional for a driver: one that has the methods of `HasInventory` writes who owns what on the storage itself, so that a
lost database can be rebuilt and a strayed one compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from penstock.domain.access import AccessLevel, AccessType
from penstock.ids import (
    AccessRuleId,
    InstanceId,
    ProjectId,
    ShareId,
    ShareTypeId,
    SnapshotId,
    SnapshotInstanceId,
    UserId,
)
from penstock.share.models import AccessModel, ExportLocationModel, ShareModel
from penstock.share.replication import Role


@dataclass(frozen=True, slots=True)
class FoundRule:
    """An access rule as it is kept with the share. `metadata` is what the rule's own would have to be."""

    id: AccessRuleId
    access_type: AccessType
    access_to: str
    access_level: AccessLevel
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Client:
    """Who may use an export, in the backend's normal form, and how (``rw,root_squash``)."""

    address: str
    options: str


@dataclass(frozen=True, slots=True)
class FoundExport:
    """A path that the file server is configured to serve. `is_in_force` when it serves it exactly so."""

    path: str
    instance_id: InstanceId
    clients: tuple[Client, ...]
    is_in_force: bool


@dataclass(frozen=True, slots=True)
class FoundShare:
    """A share instance on the storage. `id` is the instance's.

    `location` is the backend's own name for it, `provider_location` the same when the driver could not guess it from
    the id. `size_gib` is the size by the limit in force, or where it has none the one written on it; `limit_bytes` is
    that limit (0: none). `rules` are those written
    on it, None when they cannot be read. `path` is where it would be exported, None when it has no such place.
    `source_snapshot` is the `FoundSnapshot.location` that it is a clone of. `created_at` is None when unknown, as
    is the time `deletion_due` of a share in the recycle bin (`is_soft_deleted`).
    """

    id: InstanceId
    share_id: ShareId
    location: str
    pool: str
    project_id: ProjectId
    user_id: UserId
    protocol: str
    name: str | None
    type_id: ShareTypeId | None
    type_name: str | None
    size_gib: int
    limit_bytes: int
    path: str | None
    provider_location: str | None
    source_snapshot: str | None
    created_at: datetime | None
    rules: tuple[FoundRule, ...] | None
    export_locations: tuple[ExportLocationModel, ...]
    is_soft_deleted: bool = False
    deletion_due: datetime | None = None
    role: Role | None = None  # of a copy of a replicated share, with the reign it has seen and how far it is
    epoch: int = 1
    synced_at: datetime | None = None

    @property
    def is_follower(self) -> bool:
        """Is it a copy that follows another, and must not be taken for the share itself?"""
        return self.role in (Role.REPLICA, Role.DEMOTED)


@dataclass(frozen=True, slots=True)
class FoundSnapshot:
    """A snapshot instance on the storage. `id` is its own, `instance_id` the share instance's."""

    id: SnapshotInstanceId
    snapshot_id: SnapshotId
    instance_id: InstanceId
    share_id: ShareId
    location: str
    pool: str
    project_id: ProjectId
    user_id: UserId
    name: str | None
    size_gib: int
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What its user deleted and something else still needs. `snapshot_id` is None for a share."""

    location: str
    pool: str
    is_needed: bool
    snapshot_id: SnapshotId | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """What a replica alone had when it came back, kept under another name. `used_bytes` goes free with it."""

    location: str
    pool: str
    instance_id: InstanceId
    used_bytes: int


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a creation that was cut off seems to have left: it bears no mark, and the name that a new share instance of
    that id would have. Not `is_bare`: it has a limit as whole shares have, and may be one that was let go."""

    location: str
    pool: str
    instance_id: InstanceId
    is_bare: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything of ours on a backend. `pools` are those that were looked at."""

    pools: tuple[str, ...]
    shares: tuple[FoundShare, ...]
    snapshots: tuple[FoundSnapshot, ...]
    tombstones: tuple[Tombstone, ...]
    exports: tuple[FoundExport, ...]
    set_aside: tuple[SetAside, ...] = ()
    leftovers: tuple[Leftover, ...] = ()


@runtime_checkable
class HasInventory(Protocol):
    """A driver that can say what it holds, and put right what only it can. Each method is safe to repeat."""

    def inventory(self) -> Inventory:
        """Everything of ours, in a fixed number of commands per pool.

        Raises NotFound or Unavailable when a pool is missing: half an inventory would mislead.
        """
        ...

    def clients_of(self, share: ShareModel, rules: Sequence[AccessModel]) -> tuple[Client, ...]:
        """The clients an export with these rules would have, sorted; rules it cannot serve are left out. Pure."""
        ...

    def write_identity(self, share: ShareModel) -> None:
        """Write on the share what `share` says of it; rules and limits stay. Raises NotFound, and Conflict when it is
        not the share instance's."""
        ...

    def stop_exporting(self, paths: Sequence[str]) -> None:
        """Stop serving these paths; unknown ones are fine. Raises Unavailable."""
        ...

    def sweep(self) -> None:
        """Destroy the tombstones that nothing needs any more."""
        ...

    def discard(self, location: str) -> None:
        """Destroy the leftover there, when nothing was written to it; fine when it is gone. Raises Conflict when it is
        none."""
        ...


@runtime_checkable
class KeepsExports(Protocol):
    """A driver whose hosts can lose exports while it works: a configuration wiped, a file server restarted without."""

    def restore_exports(self, current: Callable[[], Sequence[ShareModel]]) -> list[InstanceId]:
        """Put back in force what the shares' written rules ask for and the file server does not serve; which they were.

        `current` gives the shares that are to be served and whose rules no operation is changing; it is asked again
        before anything is put back, at a moment when no exports are being changed. A fixed number of commands however
        many shares there are, and a few more when something is missing. Safe to repeat. Raises Unavailable.
        """
        ...


@runtime_checkable
class RemembersDeletion(Protocol):
    """A driver that writes on a share's storage that it is in the recycle bin, so that recovery puts it back there."""

    def remember_deletion(self, share: ShareModel, due: datetime | None) -> None:
        """Write when the share is to be deleted for good (UTC), or take that off (None). Safe to repeat.

        Raises NotFound, Unavailable.
        """
        ...
