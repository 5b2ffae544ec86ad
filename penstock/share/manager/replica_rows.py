"""The replicas of one share as the manager and its driver need them: rows and models, loaded together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from penstock.domain.access import AccessState
from penstock.domain.shares import ReplicaState, Share, ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.share.interface.replicas import SnapshotPair
from penstock.share.manager.access import TO_APPLY
from penstock.share.manager.backend import Backend
from penstock.share.manager.models import access_models, share_models, snapshot_model
from penstock.share.models import AccessModel, ShareModel, SnapshotModel
from penstock.share.replication import HasReplicaReports
from penstock.store import access, replicas, snapshots
from penstock.store.database import Transaction
from penstock.store.snapshots import SnapshotFilter

IN_FORCE = (AccessState.ACTIVE, *TO_APPLY)
FAILED = (SnapshotStatus.ERROR, SnapshotStatus.ERROR_DELETING)


@dataclass(frozen=True, slots=True)
class Copies:
    """A share's replicas, oldest first: `shares` once with each of them, and `models` of them in the same order."""

    shares: Sequence[Share]
    models: Sequence[ShareModel]
    place: int

    @property
    def mine(self) -> Share:
        """The share with the replica the call is about."""
        return self.shares[self.place]

    @property
    def model(self) -> ShareModel:
        """The model of that replica."""
        return self.models[self.place]

    @property
    def active(self) -> Share | None:
        """The share with its active replica."""
        found = [share for share in self.shares if share.instance.replica_state is ReplicaState.ACTIVE]
        return found[0] if found else None

    @property
    def is_changing(self) -> bool:
        """Is a promotion, or a return to a snapshot, accepted that has not ended?"""
        return any(share.status in (ShareStatus.REPLICATION_CHANGE, ShareStatus.REVERTING) for share in self.shares)


def load(tx: Transaction, backend: Backend, share_id: str | None, replica_id: str) -> Copies | None:
    """The replicas of the share that `replica_id` is one of; None when it is not there, on a pool, and one."""
    found = _placed(replicas.of_share(tx, share_id) if share_id else replicas.of_share_with(tx, replica_id))
    place = next((n for n, share in enumerate(found) if share.instance.id == replica_id), None)
    return None if place is None else Copies(found, share_models(tx, backend, found), place)


def load_active(tx: Transaction, backend: Backend, share_id: str) -> Copies | None:
    """The same, about the active replica; None when the share has none."""
    found = _placed(replicas.of_share(tx, share_id))
    place = next((n for n, s in enumerate(found) if s.instance.replica_state is ReplicaState.ACTIVE), None)
    return None if place is None else Copies(found, share_models(tx, backend, found), place)


def _placed(found: Sequence[Share]) -> list[Share]:
    """Without those that no pool could take: they are nowhere."""
    return [share for share in found if share.instance.host is not None]


def rules_of(tx: Transaction, share: Share, *, is_read_only: bool) -> list[AccessModel]:
    """The rules that this replica is to obey."""
    wanted = [rule for rule in access.of_instance(tx, share.instance.id) if rule.state in IN_FORCE]
    return access_models(replace(share, instance=replace(share.instance, cast_rules_to_readonly=is_read_only)), wanted)


def pairs_of(tx: Transaction, backend: Backend, copies: Copies) -> list[SnapshotPair]:
    """For each snapshot that the active replica has: its instance there, and the one this replica is to have.

    A driver that reports on its replicas is also given those whose creation or deletion failed: what there is of them
    is to be known for what it is, wherever it got to, so that the next attempt finds it.
    """
    active = copies.active
    failed = FAILED if isinstance(backend.driver, HasReplicaReports) else ()
    found: list[SnapshotPair] = []
    if active is None:
        return found
    for snapshot in snapshots.list_snapshots(tx, SnapshotFilter(share_id=active.id)):
        by_replica = replicas.snapshot_instances_by_replica(tx, snapshot.id)
        there, here = by_replica.get(active.instance.id), by_replica.get(copies.mine.instance.id)
        if there is None or here is None or there.status not in (SnapshotStatus.AVAILABLE, *failed):
            continue
        if here.status in (SnapshotStatus.AVAILABLE, SnapshotStatus.CREATING, *failed):
            pair = {
                "active_replica_snapshot": snapshot_model(tx, backend, replace(snapshot, instance=there)),
                "share_replica_snapshot": snapshot_model(tx, backend, replace(snapshot, instance=here)),
            }
            found.append(pair)
    return found


def snapshot_models_of(tx: Transaction, backend: Backend, snapshot_id: str) -> list[SnapshotModel]:
    """The models of all instances of one snapshot."""
    snapshot = snapshots.get(tx, snapshot_id)
    if snapshot is None:
        return []
    instances = replicas.snapshot_instances_by_replica(tx, snapshot_id).values()
    return [snapshot_model(tx, backend, replace(snapshot, instance=instance)) for instance in instances]


def snapshot_models_on(tx: Transaction, backend: Backend, replica_id: str) -> list[SnapshotModel]:
    """The models of all snapshot instances of one replica."""
    found = [snapshots.get_by_instance(tx, item.id) for item in replicas.snapshot_instances_on(tx, replica_id)]
    return [snapshot_model(tx, backend, snapshot) for snapshot in found if snapshot is not None]
