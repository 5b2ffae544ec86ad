"""What a look reads from the database before it asks the storage: this backend's replicas, and their siblings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from penstock.domain.replication import objective_s
from penstock.domain.shares import ReplicaState, Share, ShareInstance, ShareStatus
from penstock.share.manager.backend import Backend
from penstock.share.manager.models import share_models
from penstock.share.models import ShareModel
from penstock.share.replication import ReplicaReport
from penstock.store import replicas, shares
from penstock.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Sighting:
    """One replica of this backend: its row, what its storage says, and the active one's row.

    `is_alone`: the share has no other replica on any pool. `awaits_snapshot`: it is to get one that the active replica
    has. `was_asked`: its storage answered, so without a `report` there is nothing of it.
    """

    share: Share
    report: ReplicaReport | None
    active: ShareInstance | None
    objective_s: float
    is_alone: bool
    awaits_snapshot: bool
    was_asked: bool

    @property
    def row(self) -> ShareInstance:
        """The replica's row."""
        return self.share.instance

    @property
    def is_active(self) -> bool:
        """Does the database call it the active one?"""
        return self.row.replica_state is ReplicaState.ACTIVE


@dataclass(frozen=True, slots=True)
class Rows:
    """The replicas on one backend as the database has them: `shares` with each as its instance, and their `models`.

    `lists` and `siblings` have all replicas of each share that are on a pool, by share id; `awaiting` the ids of those
    that are to get a snapshot.
    """

    shares: Sequence[Share]
    models: Sequence[ShareModel]
    lists: Mapping[str, Sequence[ShareModel]]
    siblings: Mapping[str, Sequence[ShareInstance]]
    awaiting: frozenset[str]

    def with_reports(
        self, reports: Mapping[str, ReplicaReport] | None, *, default_objective_s: int
    ) -> Sequence[Sighting]:
        """Each with what the driver said of it; `reports` is None when it could not be asked."""
        specs = {model.id: model.extra_specs for model in self.models}
        return [
            Sighting(
                share,
                (reports or {}).get(share.instance.id),
                next((i for i in self.siblings[share.id] if i.replica_state is ReplicaState.ACTIVE), None),
                objective_s(share.metadata, specs[share.instance.id], default_objective_s),
                is_alone=len(self.siblings[share.id]) == 1,
                awaits_snapshot=share.instance.id in self.awaiting,
                was_asked=reports is not None,
            )
            for share in self.shares
        ]


def load(tx: Transaction, backend: Backend) -> Rows | None:
    """The replicas on this backend, None without any; a fixed number of queries."""
    mine = [
        row for row in replicas.on(tx, backend.host) if row.status not in (ShareStatus.CREATING, ShareStatus.DELETING)
    ]
    if not mine:
        return None
    share_ids = sorted({row.share_id for row in mine})
    siblings = {
        share_id: [row for row in rows if row.host is not None]
        for share_id, rows in replicas.siblings(tx, share_ids).items()
    }
    by_id = shares.by_ids(tx, share_ids)
    whole = [replace(by_id[i], instance=row) for i in share_ids if i in by_id for row in siblings.get(i, [])]
    models = {model.id: model for model in share_models(tx, backend, whole)}
    found = [replace(by_id[row.share_id], instance=row) for row in mine if row.share_id in by_id]
    return Rows(
        found,
        [models[share.instance.id] for share in found],
        {share_id: [models[row.id] for row in rows if row.id in models] for share_id, rows in siblings.items()},
        siblings,
        replicas.awaiting_snapshots(tx, [row.id for row in mine]),
    )
