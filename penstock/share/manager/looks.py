"""Looks at the replicas of one backend: how far behind they are, what has to be mended, which sync is due.

One look reads all of them with a fixed number of commands. What it finds is written, and what it starts is a sync or an
operation, so that a look is always short.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from penstock import metrics
from penstock.context import RequestContext, admin_context
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction, MessageDetail
from penstock.domain.operations import Call
from penstock.domain.replication import objective_s
from penstock.domain.shares import ReplicaState, Share, ShareInstance, ShareStatus
from penstock.errors import Cancelled, Conflict, Fault
from penstock.operations.queue import OperationQueue
from penstock.share.manager import ensure, syncing
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call
from penstock.share.manager.lag import FIRST_GUESS_S, Known, is_broken, look_every_s, slack_s
from penstock.share.manager.models import share_models
from penstock.share.manager.notices import tell_owner
from penstock.share.manager.syncs import Syncs
from penstock.share.models import ShareModel
from penstock.share.replication import HasReplicaReports, ReplicaReport, Role
from penstock.store import instances, messages, operations, replicas, shares
from penstock.store.database import Transaction

log = structlog.get_logger(__name__)

Start = Callable[[Callable[[], None]], None]
"""Begins a sync, e.g. in a pool of threads."""

UNSEEN_S = 5.0  # an old active that nobody could fence is fenced soon after it can be reached again
ENSURE_S = 10.0  # how often it is asked whether the host is still the one it was
RESTORABLE = (ShareStatus.AVAILABLE, ShareStatus.ERROR)


@dataclass(slots=True)
class _Pace:
    """What was seen of one replica's syncs in this process."""

    seconds: float = FIRST_GUESS_S
    failures: int = 0
    failed_at: datetime | None = None
    began_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """One replica of this backend: its row, what its storage says, and the active one's row."""

    share: Share
    report: ReplicaReport | None
    active: ShareInstance | None
    objective_s: float
    awaits_snapshot: bool
    was_asked: bool

    @property
    def row(self) -> ShareInstance:
        return self.share.instance

    @property
    def is_active(self) -> bool:
        return self.row.replica_state is ReplicaState.ACTIVE


@dataclass
class Looks:
    """Looks at the replicas of one backend, again and again. One thread calls `look`; syncs run in others.

    `parallel` bounds the syncs at a time; `default_objective_s` is for shares whose owner and type say nothing.
    """

    backend: Backend
    queue: OperationQueue
    syncs: Syncs
    default_objective_s: int
    parallel: int = 2
    _paces: dict[str, _Pace] = field(default_factory=dict)
    _measured: set[tuple[str, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)  # for _paces, which ending syncs change
    _begun: set[str] = field(default_factory=set)
    _aside: set[str] = field(default_factory=set)  # whose owner was told
    _ensured_s: float | None = None

    def look(self, context: RequestContext, start: Start) -> float:
        """Look once, write what was found, begin the syncs that are due; returns the seconds until the next look."""
        with self.backend.database.read() as tx:
            found = _rows(tx, self.backend)
        if not found:
            self._measure([])
            return look_every_s([])
        models, lists, seen = found.models, found.lists, found.shares
        self._ensure(context)
        looked_at = self.backend.now()
        reports = self._reports(models, lists)
        specs = {model.id: model.extra_specs for model in models}
        every = [
            _Seen(
                share,
                (reports or {}).get(share.instance.id),
                next((i for i in found.siblings[share.id] if i.replica_state is ReplicaState.ACTIVE), None),
                objective_s(share.metadata, specs[share.instance.id], self.default_objective_s),
                awaits_snapshot=share.instance.id in found.awaiting,
                was_asked=reports is not None,
            )
            for share in seen
        ]
        self._write(context, every, looked_at)
        for one in every:
            self._tell_aside(context, one)
            self._mend(context, one)
        every_s = look_every_s([one.objective_s for one in every if not one.is_active])
        self._begin(every, looked_at, every_s, start)
        self._measure(every)
        is_one_unseen = any(one.report is None for one in every)
        return min(every_s, UNSEEN_S) if is_one_unseen else every_s

    def _ensure(self, context: RequestContext) -> None:
        """A host that was restarted serves no replicated share until it is told which."""
        now_s = self.backend.clock.monotonic_s()
        if self._ensured_s is not None and now_s - self._ensured_s < ENSURE_S:
            return
        try:
            ensure.ensure_if_changed(self.backend, context)
        except Fault as fault:  # the look finds the same
            log.info("backend.not_ensured", backend=self.backend.host, fault=str(fault))
        else:
            self._ensured_s = now_s

    def _reports(
        self, models: Sequence[ShareModel], lists: Mapping[str, Sequence[ShareModel]]
    ) -> Mapping[str, ReplicaReport] | None:
        """What the driver says; None when it could not be asked."""
        if not isinstance(self.backend.driver, HasReplicaReports):
            return {}
        try:
            with driver_call("tell how its replicas are"):
                return self.backend.driver.replica_reports(models, lists)
        except Fault as fault:  # it is as old as the rows say
            log.warning("replicas.not_seen", backend=self.backend.host, fault=str(fault))
            return None

    # --- writing ------------------------------------------------------------------------------------------------

    def _write(self, context: RequestContext, every: Sequence[_Seen], now: datetime) -> None:
        """Lag and alarms, in one transaction, and none when nothing is new."""
        changes = [(one, self._changes(one, now)) for one in every]
        if not any(values for _, values in changes):
            return
        with self.backend.database.begin() as tx:
            for one, values in changes:
                if values:
                    self._write_one(tx, context, one, values)

    def _changes(self, one: _Seen, now: datetime) -> dict[str, Any]:
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

    def _write_one(self, tx: Transaction, context: RequestContext, one: _Seen, values: dict[str, Any]) -> None:
        state = values.pop("replica_state", one.row.replica_state)
        if not replicas.change_state(tx, one.row, state, now=self.backend.now(), **values):
            return  # somebody works on it: the next look sees what came of it
        if values.get("lag_alarm"):
            synced_at = one.row.synced_at
            point = "never" if synced_at is None else f"{synced_at:%Y-%m-%d %H:%M:%S} UTC"
            fault = Fault(f"It was last in sync at {point}; the objective is {one.objective_s:g} seconds.")
            detail = MessageDetail.REPLICA_BEHIND
            tell_owner(tx, self.backend, context, one.share, MessageAction.UPDATE, fault, detail=detail, replica=True)
            log.warning("replica.behind", replica=one.row.id, synced_at=point, objective_s=one.objective_s)
        elif values.get("lag_alarm") is False:
            log.info("replica.caught_up", replica=one.row.id)

    def _tell_aside(self, context: RequestContext, one: _Seen) -> None:
        """Data that a returned copy had for itself was set aside: the owner is told once, also over restarts."""
        names = [] if one.report is None else [name for name in one.report.diverged if name not in self._aside]
        if not names:
            return
        detail = MessageDetail.REPLICA_SET_ASIDE
        with self.backend.database.begin() as tx:
            about = {"resource_id": str(one.row.id), "detail_id": detail.value}
            told = messages.list_messages(tx, project_id=None, filters=about, page=shares.Page())
            for name in names:
                if not any(name in message.text for message in told):
                    fault = Fault(f"An administrator finds it in {name}.")
                    tell_owner(
                        tx, self.backend, context, one.share, MessageAction.UPDATE, fault, detail=detail, replica=True
                    )
                    log.warning("replica.set_aside", replica=one.row.id, dataset=name)
        self._aside.update(names)

    # --- mending ------------------------------------------------------------------------------------------------

    def _mend(self, context: RequestContext, one: _Seen) -> None:
        """Where rows and storage say different things about who is active, bring them together."""
        if one.row.status is ShareStatus.REPLICATION_CHANGE:
            self._end_change(one)
        if one.report is None or one.active is None or one.row.status not in RESTORABLE:
            return
        if one.row.status is ShareStatus.ERROR and one.is_active is (one.report.role is Role.ACTIVE):
            self._heal(one)
        elif one.is_active and one.report.role is not Role.ACTIVE:
            # A promotion fenced it and failed: it has the data, and nobody else serves the share.
            self._promote(context, one, "fenced")
        elif one.report.role is Role.ACTIVE and one.report.epoch > one.active.epoch:
            # A promotion reached the storage, and not the rows.
            self._promote(context, one, "promoted")

    def _end_change(self, one: _Seen) -> None:
        """A promotion whose end could not be written: it is open how far it came, and the next look sees that."""
        with self.backend.database.begin() as tx:
            row = instances.get(tx, one.row.id)
            if row is not None and row.status is ShareStatus.REPLICATION_CHANGE and not self._is_busy(tx, one.share):
                shares.move(tx, row, Event.FAILED, now=self.backend.now())
                log.warning("replica.stranded", replica=row.id)

    def _heal(self, one: _Seen) -> None:
        try:
            with self.backend.database.begin() as tx:
                if not self._is_busy(tx, one.share):
                    shares.move(tx, one.row, Event.HEALED, now=self.backend.now())
                    ensure.ask_again(tx, self.backend.host)
                    log.info("replica.healed", replica=one.row.id)
        except Conflict as fault:
            log.info("replica.changed_meanwhile", replica=one.row.id, fault=str(fault))

    def _promote(self, context: RequestContext, one: _Seen, found: str) -> None:
        """Let a promotion of this replica, which finds how far the last one came, put storage and rows in line."""
        try:
            with self.backend.database.begin() as tx:
                active = replicas.active_of(tx, one.share.id)
                if active is None or self._is_busy(tx, one.share):
                    return
                shares.move(tx, active.instance, Event.PROMOTE, now=self.backend.now())
                arguments = {"share_replica_id": one.row.id, "share_id": one.share.id}
                call = Call(self.backend.host, f"share:{one.share.id}", "promote_share_replica", arguments)
                self.queue.enqueue(tx, context, call)
        except Fault as fault:  # its state does not allow it now
            log.info("replica.not_mended", replica=one.row.id, fault=str(fault))
        else:
            log.warning("replica.mended", replica=one.row.id, found=found)

    def _is_busy(self, tx: Transaction, share: Share) -> bool:
        return bool(operations.pending(tx, resource_key=f"share:{share.id}"))

    # --- syncs --------------------------------------------------------------------------------------------------

    def _begin(self, every: Sequence[_Seen], now: datetime, every_s: float, start: Start) -> None:
        """Begin what is due, the most urgent first, as many as may run at a time."""
        due: list[tuple[float, str]] = []
        for one in every:
            if one.is_active or one.row.status is not ShareStatus.AVAILABLE or not one.was_asked:
                continue
            if one.active is None or one.active.status is ShareStatus.REPLICATION_CHANGE:
                continue
            slack = self._slack(one, now, every_s)
            if slack is not None:
                due.append((slack, one.row.id))
        for _, replica_id in sorted(due):
            with self._lock:
                if len(self._begun) >= self.parallel or replica_id in self._begun:
                    continue
                self._begun.add(replica_id)
            start(lambda replica_id=replica_id: self._run(replica_id))  # type: ignore[misc]

    def _slack(self, one: _Seen, now: datetime, every_s: float) -> float | None:
        report = one.report
        if report is not None and report.role is not Role.REPLICA:
            return -1e9  # it was active once: the first thing done to it is to fence it
        with self._lock:
            pace = self._paces.get(one.row.id, _Pace())
        if report is None:  # its storage answers, and has nothing of it
            known = Known(None, None, one.objective_s, pace.seconds, pace.failures, pace.failed_at)
            return slack_s(known, now, every_s=every_s)
        synced_at = report.synced_at if report.is_complete else None
        state = None if one.row.replica_state is not ReplicaState.IN_SYNC else report.is_source_changed
        failed = pace.failures, pace.failed_at
        known = Known(synced_at, state, one.objective_s, pace.seconds, *failed, pace.began_at)
        if state is None and synced_at is not None and pace.failed_at is None:
            return 0.0  # out of sync: not until it is late, but now
        if one.awaits_snapshot and pace.failed_at is None:
            return 0.0  # its owner waits for a snapshot that is there on the active one
        return slack_s(known, now, every_s=every_s)

    def _run(self, replica_id: str) -> None:
        started_s, began_at = self.backend.clock.monotonic_s(), self.backend.now()
        try:
            syncing.sync(self.backend, self.syncs, admin_context(), replica_id)
        except Cancelled as fault:
            log.info("replica.sync_stopped", replica=replica_id, fault=str(fault))
        except Fault as fault:
            log.warning("replica.not_synced", replica=replica_id, fault=str(fault))
            with self._lock:
                pace = self._paces.setdefault(replica_id, _Pace())
                pace.failures, pace.failed_at = pace.failures + 1, self.backend.now()
        else:
            with self._lock:
                took_s = self.backend.clock.monotonic_s() - started_s
                self._paces[replica_id] = _Pace(took_s, began_at=began_at)
        finally:
            with self._lock:
                self._begun.discard(replica_id)

    # --- measuring ----------------------------------------------------------------------------------------------

    def _measure(self, every: Sequence[_Seen]) -> None:
        now = self.backend.now()
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
        for labels in self._measured - there:
            for gauge in (metrics.REPLICA_LAG_SECONDS, metrics.REPLICA_OBJECTIVE_SECONDS, metrics.REPLICA_BEHIND):
                metrics.forget(gauge, labels)
            with self._lock:
                self._paces.pop(labels[1], None)
        self._measured = there


@dataclass(frozen=True, slots=True)
class _Rows:
    shares: list[Share]
    models: list[ShareModel]
    lists: dict[str, list[ShareModel]]
    siblings: dict[str, list[ShareInstance]]
    awaiting: frozenset[str]  # those that are to get a snapshot, by instance id


def _rows(tx: Transaction, backend: Backend) -> _Rows | None:
    """The replicas on this backend, with all replicas of their shares; a fixed number of queries."""
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
    return _Rows(
        found,
        [models[share.instance.id] for share in found],
        {share_id: [models[row.id] for row in rows if row.id in models] for share_id, rows in siblings.items()},
        siblings,
        replicas.awaiting_snapshots(tx, [row.id for row in mine]),
    )
