"""What the database says of one backend, and how much of it holds still long enough to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from penstock.domain.access import AccessRule
from penstock.domain.shares import Share
from penstock.domain.snapshots import Snapshot
from penstock.ids import InstanceId, ShareId, SnapshotInstanceId
from penstock.share.inventory import Client


@dataclass(frozen=True, slots=True)
class Books:
    """The rows of one backend, by instance id.

    `clients` are those an export would have by the active rules. `busy` are shares with operations still to come;
    `known` are all instances, of shares and of snapshots, of this and every other backend: two may share a host.
    """

    shares: Mapping[InstanceId, Share]
    snapshots: Mapping[SnapshotInstanceId, Snapshot]
    rules: Mapping[InstanceId, tuple[AccessRule, ...]]
    clients: Mapping[InstanceId, tuple[Client, ...]]
    busy: frozenset[ShareId]
    known: frozenset[str]


def settled(before: Books, after: Books) -> Books:
    """What did not change between two readings, with nothing about to change it.

    The storage is looked at between the two, so what it differs from here is no work in progress.
    """
    busy = before.busy | after.busy
    still = {
        instance_id: share
        for instance_id, share in after.shares.items()
        if share.id not in busy
        and before.shares.get(instance_id) == share
        and before.rules.get(instance_id) == after.rules[instance_id]
    }
    still_taken = {
        instance_id: snapshot
        for instance_id, snapshot in after.snapshots.items()
        if snapshot.share_id not in busy and before.snapshots.get(instance_id) == snapshot
    }
    return replace(after, shares=still, snapshots=still_taken, busy=busy, known=before.known | after.known)
