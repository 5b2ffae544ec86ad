"""Rows in the middle of something that nobody is doing any more."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.doctor.books import Books
from penstock.doctor.findings import Finding, Kind
from penstock.domain.access import AccessState
from penstock.domain.shares import ShareStatus
from penstock.domain.snapshots import SnapshotStatus

# CREATING_FROM_SNAPSHOT is not here: periodic work asks how far it is.
SHARES_IN_WORK = frozenset(
    {
        ShareStatus.CREATING,
        ShareStatus.DELETING,
        ShareStatus.EXTENDING,
        ShareStatus.SHRINKING,
        ShareStatus.REVERTING,
        ShareStatus.MANAGING,
        ShareStatus.UNMANAGING,
    }
)
SNAPSHOTS_IN_WORK = frozenset(
    {
        SnapshotStatus.CREATING,
        SnapshotStatus.DELETING,
        SnapshotStatus.RESTORING,
        SnapshotStatus.MANAGING,
        SnapshotStatus.UNMANAGING,
    }
)
RULES_IN_WORK = frozenset(
    {AccessState.QUEUED_TO_APPLY, AccessState.QUEUED_TO_DENY, AccessState.APPLYING, AccessState.DENYING}
)


def stuck_drift(books: Books) -> Iterator[Finding]:
    """What is in work with no operation to finish it. `books` are the settled ones: busy shares are not in them."""
    for share in books.shares.values():
        if share.status in SHARES_IN_WORK:
            sentence = f"share {share.id} is '{share.status}', and no operation is waiting for it"
            yield Finding(Kind.STUCK, share.instance.id, sentence)
        elif any(rule.state in RULES_IN_WORK for rule in books.rules[share.instance.id]):
            sentence = f"share {share.id} has access rules in work, and no operation is waiting for it"
            yield Finding(Kind.STUCK, share.instance.id, sentence)
    reverting = {share.id for share in books.shares.values() if share.status is ShareStatus.REVERTING}
    for snapshot in books.snapshots.values():
        belongs_to_revert = snapshot.status is SnapshotStatus.RESTORING and snapshot.share_id in reverting
        if snapshot.status in SNAPSHOTS_IN_WORK and not belongs_to_revert:
            sentence = f"snapshot {snapshot.id} is '{snapshot.status}', and no operation is waiting for it"
            yield Finding(Kind.STUCK, snapshot.instance.id, sentence)
