"""Looks at the replicas of one backend: how far behind they are, what has to be mended, which sync is due.

One look reads all of them with a fixed number of commands. What it finds is written, and what it starts is a sync or an
operation, so that a look is always short.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from penstock.context import RequestContext, admin_context
from penstock.domain.shares import ReplicaState, ShareStatus
from penstock.errors import Cancelled, Fault
from penstock.operations.queue import OperationQueue
from penstock.share.manager import ensure, lag_alarms, sightings, syncing
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call
from penstock.share.manager.lag import FIRST_GUESS_S, Known, look_every_s, slack_s
from penstock.share.manager.lag_alarms import Gauges, Told
from penstock.share.manager.mending import Mending
from penstock.share.manager.sightings import Rows, Sighting
from penstock.share.manager.syncs import Syncs
from penstock.share.replication import HasReplicaReports, ReplicaReport, Role

log = structlog.get_logger(__name__)

Start = Callable[[Callable[[], None]], None]
"""Begins a sync, e.g. in a pool of threads."""

UNSEEN_S = 5.0  # an old active that nobody could fence is fenced soon after it can be reached again
BUSY_S = 2.0  # what could not be mended while an operation was at it, such as the promotion whose fault is to be mended
ENSURE_S = 10.0  # how often it is asked whether the host is still the one it was


@dataclass(slots=True)
class _Pace:
    """What was seen of one replica's syncs in this process."""

    seconds: float = FIRST_GUESS_S
    failures: int = 0
    failed_at: datetime | None = None
    began_at: datetime | None = None


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
    _lock: threading.Lock = field(default_factory=threading.Lock)  # for _paces, which ending syncs change
    _begun: set[str] = field(default_factory=set)
    _gauges: Gauges = field(default_factory=Gauges)
    _ensured_s: float | None = None
    _told: Told = field(init=False)
    _mending: Mending = field(init=False)

    def __post_init__(self) -> None:
        self._told = Told(self.backend)
        self._mending = Mending(self.backend, self.queue)

    def look(self, context: RequestContext, start: Start) -> float:
        """Look once, write what was found, begin the syncs that are due; returns the seconds until the next look."""
        with self.backend.database.read() as tx:
            rows = sightings.load(tx, self.backend)
        is_ensured = self._ensure(context)
        if rows is None:
            self._measure([])
            return ENSURE_S if is_ensured else UNSEEN_S
        looked_at = self.backend.now()
        every = rows.with_reports(self._reports(rows), default_objective_s=self.default_objective_s)
        lag_alarms.write(self.backend, context, every, looked_at)
        is_left = False
        for one in every:
            self._told.tell(context, one)
            is_left |= self._mending.mend(context, one)
        every_s = look_every_s([one.objective_s for one in every if not one.is_active])
        self._begin(every, looked_at, every_s, start)
        self._measure(every)
        is_one_unseen = any(one.report is None for one in every)
        return min(every_s, UNSEEN_S if is_one_unseen else every_s, BUSY_S if is_left else every_s)

    def _ensure(self, context: RequestContext) -> bool:
        """A host that was restarted serves no replicated share until it is told which; nor one that was replicated, and
        whose last replica was deleted while it was away. False when it could not be asked."""
        now_s = self.backend.clock.monotonic_s()
        if self._ensured_s is not None and now_s - self._ensured_s < ENSURE_S:
            return True
        try:
            ensure.ensure_if_changed(self.backend, context)
        except Fault as fault:  # the look finds the same
            log.info("backend.not_ensured", backend=self.backend.host, fault=str(fault))
            return False
        self._ensured_s = now_s
        return True

    def _reports(self, rows: Rows) -> Mapping[str, ReplicaReport] | None:
        """What the driver says; None when it could not be asked."""
        if not isinstance(self.backend.driver, HasReplicaReports):
            return {}
        try:
            with driver_call("tell how its replicas are"):
                return self.backend.driver.replica_reports(rows.models, rows.lists)
        except Fault as fault:  # it is as old as the rows say
            log.warning("replicas.not_seen", backend=self.backend.host, fault=str(fault))
            return None

    # --- syncs --------------------------------------------------------------------------------------------------

    def _begin(self, every: Sequence[Sighting], now: datetime, every_s: float, start: Start) -> None:
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

    def _slack(self, one: Sighting, now: datetime, every_s: float) -> float | None:
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

    def _measure(self, every: Sequence[Sighting]) -> None:
        gone = self._gauges.measure(every, self.backend.now())
        with self._lock:
            for replica_id in gone:
                self._paces.pop(replica_id, None)
