"""What a look found is written: lag and alarms, and told: what was set aside. Metrics follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from penstock import metrics
from penstock.context import RequestContext
from penstock.domain.message_codes import MessageAction, MessageDetail
from penstock.domain.shares import ReplicaState, Share, ShareStatus
from penstock.errors import Fault
from penstock.share.manager.backend import Backend
from penstock.share.manager.lag import Known, is_broken
from penstock.share.manager.notices import tell_owner
from penstock.share.manager.sightings import Sighting
from penstock.share.replication import Role
from penstock.store import messages, replicas
from penstock.store.database import Transaction
from penstock.store.lists import Page

log = structlog.get_logger(__name__)


def write(backend: Backend, context: RequestContext, every: Sequence[Sighting], now: datetime) -> None:
    """Lag and alarms, in one transaction, and none when nothing is new."""
    changes = [(one, _changes(one, now)) for one in every]
    if not any(values for _, values in changes):
        return
    with backend.database.begin() as tx:
        for one, values in changes:
            if values:
                _write_one(tx, backend, context, one, values)


def _changes(one: Sighting, now: datetime) -> dict[str, Any]:
    row, values = one.row, dict[str, Any]()
    if one.report is not None and one.report.epoch > row.epoch:
        values["epoch"] = one.report.epoch
    if one.is_active:
        return values
    synced_at = row.synced_at
    if one.report is not None and one.report.role is Role.REPLICA and one.report.synced_at is not None:
        synced_at = one.report.synced_at
        step = timedelta(seconds=one.objective_s / 8)  # not every look is worth a write
        if row.synced_at is None or abs(synced_at - row.synced_at) >= step:
            values["synced_at"] = synced_at
    broken = is_broken(Known(synced_at, None, one.objective_s), now)
    if broken and row.status is ShareStatus.AVAILABLE:
        if row.replica_state is ReplicaState.IN_SYNC:
            values["replica_state"] = ReplicaState.OUT_OF_SYNC
        if not row.lag_alarm:
            values["lag_alarm"] = True
    elif row.lag_alarm and not broken and synced_at is not None:
        values["lag_alarm"] = False
        is_unchanged = one.report is not None and one.report.is_source_changed is False
        if row.replica_state is ReplicaState.OUT_OF_SYNC and is_unchanged:
            values["replica_state"] = ReplicaState.IN_SYNC
    return values


def _write_one(
    tx: Transaction, backend: Backend, context: RequestContext, one: Sighting, values: dict[str, Any]
) -> None:
    state = values.pop("replica_state", one.row.replica_state)
    if not replicas.change_state(tx, one.row, state, now=backend.now(), **values):
        return  # somebody works on it: the next look sees what came of it
    if values.get("lag_alarm"):
        synced_at = one.row.synced_at
        point = "never" if synced_at is None else f"{synced_at:%Y-%m-%d %H:%M:%S} UTC"
        fault = Fault(f"It was last in sync at {point}; the objective is {one.objective_s:g} seconds.")
        detail = MessageDetail.REPLICA_BEHIND
        tell_owner(tx, backend, context, one.share, MessageAction.UPDATE, fault, detail=detail, replica=True)
        log.warning("replica.behind", replica=one.row.id, synced_at=point, objective_s=one.objective_s)
    elif values.get("lag_alarm") is False:
        log.info("replica.caught_up", replica=one.row.id)


@dataclass
class Told:
    """Whose owners were told of what was set aside."""

    backend: Backend
    _names: set[str] = field(default_factory=set)

    def tell(self, context: RequestContext, one: Sighting) -> None:
        """Data that a returned copy had for itself was set aside: the owner is told once, also over restarts."""
        names = [] if one.report is None else [name for name in one.report.diverged if name not in self._names]
        if not names:
            return
        with self.backend.database.begin() as tx:
            tell_aside(tx, self.backend, context, one.share, names)
        self._names.update(names)


def tell_aside(tx: Transaction, backend: Backend, context: RequestContext, share: Share, names: Sequence[str]) -> None:
    """Tell the owner where data of the replica that is the instance of `share` was set aside, each place once."""
    detail = MessageDetail.REPLICA_SET_ASIDE
    about = {"resource_id": str(share.instance.id), "detail_id": detail.value}
    told = messages.list_messages(tx, project_id=None, filters=about, page=Page())
    for name in names:
        if not any(name in message.text for message in told):
            fault = Fault(f"An administrator finds it in {name}.")
            tell_owner(tx, backend, context, share, MessageAction.UPDATE, fault, detail=detail, replica=True)
            log.warning("replica.set_aside", replica=share.instance.id, dataset=name)


@dataclass
class Gauges:
    """The metrics of the replicas that were seen at the last look."""

    _labels: set[tuple[str, str]] = field(default_factory=set)

    def measure(self, every: Sequence[Sighting], now: datetime) -> set[str]:
        """Set them; the ids of the replicas that were there at the last look and are no more."""
        there: set[tuple[str, str]] = set()
        for one in every:
            if one.is_active:
                continue
            labels: tuple[str, str] = (one.share.id, one.row.id)
            there.add(labels)
            synced_at = one.report.synced_at if one.report else one.row.synced_at
            if synced_at is not None:
                metrics.REPLICA_LAG_SECONDS.labels(*labels).set((now - synced_at).total_seconds())
            metrics.REPLICA_OBJECTIVE_SECONDS.labels(*labels).set(one.objective_s)
            metrics.REPLICA_BEHIND.labels(*labels).set(one.row.lag_alarm)
        gone = self._labels - there
        for labels in gone:
            for gauge in (metrics.REPLICA_LAG_SECONDS, metrics.REPLICA_OBJECTIVE_SECONDS, metrics.REPLICA_BEHIND):
                metrics.forget(gauge, labels)
        self._labels = there
        return {replica_id for _, replica_id in gone}
