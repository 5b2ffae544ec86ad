"""Database, storage and exports compared: a pure function over what was read of each."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.doctor.books import Books
from penstock.doctor.exposure import export_drift
from penstock.doctor.findings import Finding, Kind
from penstock.doctor.stuck import stuck_drift
from penstock.domain.shares import ReplicaState, Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.share.inventory import FoundShare, FoundSnapshot, Inventory
from penstock.units import MIB, bytes_to_gib, gib_to_bytes

# States in which the data is there and nobody is changing it.
HELD = frozenset(
    {
        ShareStatus.AVAILABLE,
        ShareStatus.EXTENDING_ERROR,
        ShareStatus.SHRINKING_ERROR,
        ShareStatus.SHRINKING_POSSIBLE_DATA_LOSS_ERROR,
        ShareStatus.REVERTING_ERROR,
        ShareStatus.UNMANAGE_ERROR,
    }
)


def drift(books: Books, inventory: Inventory) -> tuple[Finding, ...]:
    """Every difference, by kind. `books` are the settled ones (`books.settled`); empty when all agrees."""
    found = {share.id: share for share in inventory.shares}
    taken = {snapshot.id: snapshot for snapshot in inventory.snapshots}
    held = [share for share in books.shares.values() if share.status in HELD and not _is_arriving(share)]
    findings: list[Finding] = []
    for share in held:
        findings += _of_share(share, found.get(share.instance.id), inventory)
    there = {share.id for share in held if _pool(share) in inventory.pools}
    for snapshot in books.snapshots.values():
        if snapshot.share_id in there:
            findings += _of_snapshot(snapshot, taken.get(snapshot.instance.id))
    findings += _orphans(books, inventory)
    findings += export_drift(books, inventory, [share for share in held if share.instance.id in found])
    findings += _tombstones(inventory)
    findings += _set_aside(inventory)
    findings += _leftovers(books, inventory)
    findings += stuck_drift(books)
    return tuple(sorted(findings))


def _is_arriving(share: Share) -> bool:
    """A replica that is not in sync may have nothing yet, an old size, and no exports: syncs see to that."""
    return share.instance.replica_state is ReplicaState.OUT_OF_SYNC


def _pool(share: Share) -> str:
    return (share.instance.host or "").partition("#")[2]


def _of_share(share: Share, found: FoundShare | None, inventory: Inventory) -> Iterator[Finding]:
    key = share.instance.id
    pool = _pool(share)
    if found is None:
        if pool not in inventory.pools:
            yield Finding(
                Kind.PLACEMENT,
                key,
                f"share {share.id} is on pool '{pool}', which this backend does not have; "
                "put it back into the configuration",
                can_repair=False,
            )
        else:
            yield Finding(
                Kind.DATASET_MISSING,
                key,
                f"share {share.id} is '{share.status}' and there is nothing of it on pool '{pool}'",
                can_repair=share.status is ShareStatus.AVAILABLE,
            )
        return
    if found.pool != pool:
        sentence = f"share {share.id} is recorded on pool '{pool}' and lies on '{found.pool}' ({found.location})"
        yield Finding(Kind.PLACEMENT, key, sentence)
    if share.status is ShareStatus.AVAILABLE and found.limit_bytes != gib_to_bytes(share.size_gib):
        limit = f"{bytes_to_gib(found.limit_bytes)} GiB" if found.limit_bytes else "no limit"
        yield Finding(
            Kind.QUOTA_DIFFERS, key, f"share {share.id} has {share.size_gib} GiB, and {found.location} {limit}"
        )
    yield from _marks(share, found)


def _marks(share: Share, found: FoundShare) -> Iterator[Finding]:
    pairs = {
        "share id": (share.id, found.share_id),
        "project": (share.project_id, found.project_id),
        "user": (share.user_id, found.user_id),
        "protocol": (share.protocol.upper(), found.protocol.upper()),
        "share type": (share.share_type_id, found.type_id if share.share_type_id else None),
    }
    wrong = [f"{name} {theirs} instead of {ours}" for name, (ours, theirs) in pairs.items() if ours != theirs]
    if wrong:
        sentence = f"{found.location} of share {share.id} says {', '.join(wrong)}"
        yield Finding(Kind.PROPERTY_DIFFERS, share.instance.id, sentence)


def _of_snapshot(snapshot: Snapshot, found: FoundSnapshot | None) -> Iterator[Finding]:
    if snapshot.status is SnapshotStatus.AVAILABLE and found is None:
        sentence = f"snapshot {snapshot.id} of share {snapshot.share_id} is 'available' and not on the storage"
        yield Finding(Kind.SNAPSHOT_MISSING, snapshot.instance.id, sentence)


def _orphans(books: Books, inventory: Inventory) -> Iterator[Finding]:
    for share in inventory.shares:
        if share.id not in books.known:
            sentence = f"{share.location} is share {share.share_id} of project {share.project_id}, unknown here"
            yield Finding(Kind.DATASET_ORPHAN, share.id, sentence)
    held = {share.id for share in inventory.shares}
    for snapshot in inventory.snapshots:
        if snapshot.id not in books.known:
            yield Finding(
                Kind.SNAPSHOT_ORPHAN,
                snapshot.id,
                f"{snapshot.location} is snapshot {snapshot.snapshot_id}, unknown here",
                can_repair=snapshot.instance_id in held,
            )


def _set_aside(inventory: Inventory) -> Iterator[Finding]:
    for kept in inventory.set_aside:
        sentence = (
            f"{kept.location} holds what replica {kept.instance_id} alone had when it came back "
            f"({kept.used_bytes / MIB:.1f} MiB); it is never destroyed by us"
        )
        yield Finding(Kind.SET_ASIDE, kept.location, sentence, can_repair=False, is_drift=False)


def _leftovers(books: Books, inventory: Inventory) -> Iterator[Finding]:
    """Of a creation that ended in error, or that nobody knows of. While the share is being made or deleted, here or at
    another backend of the same host, that sees to it; what was let go looks the same, but for its limit."""
    for left in inventory.leftovers:
        share = books.shares.get(left.instance_id)
        is_forgotten = left.instance_id not in books.known and left.is_bare
        has_failed = share is not None and share.status in (ShareStatus.ERROR, ShareStatus.ERROR_DELETING)
        if is_forgotten or has_failed:
            sentence = f"{left.location} bears no mark: the creation of share instance {left.instance_id} was cut off"
            yield Finding(Kind.LEFTOVER, left.location, sentence)


def _tombstones(inventory: Inventory) -> Iterator[Finding]:
    for tombstone in inventory.tombstones:
        if tombstone.is_needed:
            sentence = f"{tombstone.location} was deleted, and goes with the last share made from it, or hold on it"
        else:
            sentence = f"{tombstone.location} was deleted and is still there, though nothing needs it"
        needed = tombstone.is_needed
        yield Finding(Kind.TOMBSTONE, tombstone.location, sentence, can_repair=not needed, is_drift=not needed)
