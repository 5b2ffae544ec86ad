"""The rows that an inventory stands for: a pure function, from what the storage says to what the database lost.

What the storage is never told is lost for good: descriptions, metadata, later renames, who may see a share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from penstock.domain.shares import ShareInstance
from penstock.domain.snapshots import Snapshot
from penstock.domain.types import ShareType
from penstock.first_start import DEFAULT_EXTRA_SPECS
from penstock.ids import InstanceId, ShareId, ShareTypeId, SnapshotId, is_uuid
from penstock.recovery.lost import lost_owners, types_of
from penstock.recovery.rows import Place, RebuiltShare, replica_row, share_rows, snapshot_rows
from penstock.share.inventory import FoundShare, FoundSnapshot, Inventory


@dataclass(frozen=True, slots=True)
class Known:
    """What the database has already. `ids` are those of shares, snapshots, their instances, and access rules."""

    ids: frozenset[str]
    types: tuple[ShareType, ...]
    project_ids: frozenset[str]
    user_ids: frozenset[str]
    active: Mapping[str, ShareInstance] = field(default_factory=dict)  # of replicated shares, by share id
    reigns: Mapping[str, int] = field(default_factory=dict)  # the latest of each share on any backend, by share id


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Everything to insert, in this order; `replicas` are of shares that the database has, and come last.

    `left_out` says in sentences what cannot be inserted, and why.
    """

    types: tuple[ShareType, ...]
    project_ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    shares: tuple[RebuiltShare, ...]
    snapshots: tuple[Snapshot, ...]
    left_out: tuple[str, ...]
    replicas: tuple[ShareInstance, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Is there nothing to insert?"""
        return not (self.shares or self.snapshots or self.replicas)


def rebuild(inventory: Inventory, known: Known, place: Place) -> Rebuilt:
    """The rows missing from the database. Empty when repeated on its own result."""
    left_out: list[str] = []
    replicas = tuple(_new_replicas(inventory.shares, known, place, left_out))
    wanted = list(_new_shares(inventory.shares, known, left_out))
    types = types_of(wanted, known.types, _made_again)
    origins = _snapshot_ids(inventory)
    shares = tuple(share_rows(found, types.of[found.id], origins, known.ids, place) for found in wanted)
    left_out += [
        f"the access rules of {found.location} cannot be read: nobody is let in until they are granted again"
        for found in wanted
        if found.rules is None
    ]
    present = {found.share_id for found in wanted} | {
        share.share_id for share in inventory.shares if share.id in known.ids
    }
    by_instance = {found.id: found for found in inventory.shares}
    taken = list(_new_snapshots(inventory.snapshots, known, present, by_instance, left_out))
    snapshots = tuple(snapshot_rows(found, by_instance[found.instance_id], place) for found in taken)
    owners: list[FoundShare | FoundSnapshot] = [*wanted, *taken]
    project_ids, user_ids = lost_owners(owners, known.project_ids, known.user_ids)
    return Rebuilt(
        types=types.made,
        project_ids=project_ids,
        user_ids=user_ids,
        shares=shares,
        snapshots=snapshots,
        left_out=tuple(left_out),
        replicas=replicas,
    )


def _made_again(type_id: str, name: str, made_at: datetime) -> ShareType:
    return ShareType(ShareTypeId(type_id), name, None, True, made_at, None, DEFAULT_EXTRA_SPECS)


def _new_shares(found: Iterable[FoundShare], known: Known, left_out: list[str]) -> Iterable[FoundShare]:
    seen: dict[str, str] = {}
    for share in found:
        if share.id in known.ids or _is_of_known(share, known):
            continue
        if not (is_uuid(share.id) and is_uuid(share.share_id) and share.project_id and share.user_id):
            left_out.append(f"{share.location} does not say whose it is")
        elif _follows(share, known):
            left_out.append(f"{share.location} is a replica of share {share.share_id}, whose active copy is not known")
        elif share.share_id in known.ids:
            left_out.append(f"{share.location} is another copy of share {share.share_id}, which the database has")
        elif share.share_id in seen:
            left_out.append(f"{share.location} is another copy of share {share.share_id} at {seen[share.share_id]}")
        else:
            seen[share.share_id] = share.location
            yield share


def _follows(share: FoundShare, known: Known) -> bool:
    """Is it not the active copy: by its role, or because another became that in a later reign?"""
    return share.is_follower or (share.role is not None and share.epoch < known.reigns.get(share.share_id, 0))


def _is_of_known(share: FoundShare, known: Known) -> bool:
    return share.role is not None and share.share_id in known.active


def _new_replicas(
    found: Iterable[FoundShare], known: Known, place: Place, left_out: list[str]
) -> Iterable[ShareInstance]:
    """Copies of shares whose active one the database has. One of a later reign than that is a person's to judge."""
    for share in found:
        if share.id in known.ids or not is_uuid(share.id) or not _is_of_known(share, known):
            continue
        active = known.active[share.share_id]
        if not _follows(share, known) and share.epoch >= active.epoch:
            left_out.append(
                f"{share.location} was active in reign {share.epoch} of share {share.share_id}, and the database has "
                f"{active.host} as the active one in reign {active.epoch}"
            )
        else:
            yield replica_row(share, active, place)


def _new_snapshots(
    found: Iterable[FoundSnapshot],
    known: Known,
    present: set[ShareId],
    by_instance: Mapping[InstanceId, FoundShare],
    left_out: list[str],
) -> Iterable[FoundSnapshot]:
    followers = {
        share.id for share in by_instance.values() if _follows(share, known)
    }  # theirs come with the active one's
    for snapshot in found:
        if snapshot.id in known.ids or snapshot.snapshot_id in known.ids or snapshot.instance_id in followers:
            continue
        if not (is_uuid(snapshot.id) and is_uuid(snapshot.snapshot_id) and snapshot.project_id and snapshot.user_id):
            left_out.append(f"{snapshot.location} does not say whose it is")
        elif snapshot.instance_id not in by_instance or snapshot.share_id not in present:
            left_out.append(f"{snapshot.location} is of share {snapshot.share_id}, which is not here")
        else:
            yield snapshot


def _snapshot_ids(inventory: Inventory) -> dict[str, SnapshotId]:
    """Which snapshot lies at a location, also one that is deleted and only still needed."""
    ids = {snapshot.location: snapshot.snapshot_id for snapshot in inventory.snapshots}
    ids.update({tomb.location: tomb.snapshot_id for tomb in inventory.tombstones if tomb.snapshot_id is not None})
    return ids
