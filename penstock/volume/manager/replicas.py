"""The copies that a driver keeps of volumes on its replication targets: looked at again and again, and told of.

What an owner sees of it is ``replication_status``: ``enabling`` until there is a copy, ``enabled`` while every copy is
within the objective, else ``error``, with a message. While another side serves it stays ``failed-over``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from penstock import metrics
from penstock.context import RequestContext
from penstock.domain.volume_message_codes import VolumeMessageAction, VolumeMessageDetail
from penstock.domain.volumes import ReplicationStatus, Volume, VolumeStatus
from penstock.errors import Fault
from penstock.operations.driver_calls import driver_call
from penstock.store import volumes
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import volume_models
from penstock.volume.manager.notices import tell_owner
from penstock.volume.replication import HasReplicas, ReplicaReport

SOONEST_S, LATEST_S = 1.0, 60.0
LOOKS_PER_OBJECTIVE = 4
FOLLOWED = (ReplicationStatus.ENABLING, ReplicationStatus.ENABLED, ReplicationStatus.ERROR)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Book:
    """What was seen by this process. `synced` is the last known age of each copy, for when its host does not answer;
    `told` what has been told of as set aside; `due_s` when the next look comes, by the monotonic clock; `enabling` the
    volumes that the last look left without a copy."""

    synced: dict[tuple[str, str], datetime] = field(default_factory=dict)
    since: dict[tuple[str, str], datetime] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    due_s: float = 0.0
    enabling: frozenset[str] = frozenset()


def look(backend: VolumeBackend, context: RequestContext, book: Book) -> None:
    """Look, if it is time: four times within the shortest objective, and at once when a volume has come that is to be
    copied. What is found goes into rows, metrics and log."""
    driver = backend.driver
    if not isinstance(driver, HasReplicas) or not backend.configuration.safe_get("replication_device"):
        return
    enabling = _enabling(backend)
    if backend.clock.monotonic_s() < book.due_s and enabling <= book.enabling:
        return
    book.enabling = enabling
    with backend.database.read() as tx:
        here = volumes.of_backend(tx, backend.host)
        models = volume_models(tx, backend, here)
    with driver_call("look at replicas"):
        reports = driver.replicate(context, models)
        objectives = {model.id: driver.objective_s(model) for model in models}
    reported = {report.volume_id for report in reports}
    shortest_s = min((objectives[volume_id] for volume_id in reported), default=LATEST_S * LOOKS_PER_OBJECTIVE)
    every_s = min(max(shortest_s / LOOKS_PER_OBJECTIVE, SOONEST_S), LATEST_S)
    book.due_s = backend.clock.monotonic_s() + every_s
    by_volume: dict[str, list[ReplicaReport]] = defaultdict(list)
    for report in reports:
        by_volume[report.volume_id].append(report)
    for volume in here:
        if volume.id in by_volume and volume.status is not VolumeStatus.ERROR:  # its end was told already
            _follow(backend, context, book, volume, by_volume[volume.id], objectives[volume.id])


def _enabling(backend: VolumeBackend) -> frozenset[str]:
    """Volumes that wait for their first copy: without any, the next look may be a minute away."""
    wanted = volumes.VolumeFilter(host=backend.host, replication_status=ReplicationStatus.ENABLING)
    with backend.database.read() as tx:
        return frozenset(volume.id for volume in volumes.list_volumes(tx, wanted))


def _follow(
    backend: VolumeBackend,
    context: RequestContext,
    book: Book,
    volume: Volume,
    reports: Sequence[ReplicaReport],
    objective_s: int,
) -> None:
    now = backend.now()
    lags = {report.backend_id: _lag_s(book, report, now) for report in reports}
    for target, lag_s in lags.items():
        metrics.VOLUME_REPLICA_LAG_SECONDS.labels(volume.id, target).set(lag_s)
    behind = {target: lag_s for target, lag_s in lags.items() if lag_s > objective_s}
    metrics.VOLUME_REPLICAS_BEHIND.labels(volume.id).set(len(behind))
    is_whole = all((volume.id, report.backend_id) in book.synced for report in reports)
    wanted = ReplicationStatus.ERROR if behind else ReplicationStatus.ENABLED
    if not behind and not is_whole:
        wanted = ReplicationStatus.ENABLING
    is_behind_first = wanted is ReplicationStatus.ERROR and not is_whole
    if is_behind_first and not any(report.fault for report in reports):
        wanted = ReplicationStatus.ENABLING  # a first copy takes as long as it takes
    _tell_of_diverged(backend, context, book, volume, reports)
    current = volume.replication_status
    if (current is not None and current not in FOLLOWED and current is not ReplicationStatus.DISABLED) or (
        current is wanted
    ):
        return
    reason = _reason(reports, behind)
    log.warning("volume.replication", volume=volume.id, status=wanted.value, reason=reason)
    with backend.database.begin() as tx:
        now_there = volumes.get(tx, volume.id)
        is_same = now_there is not None and now_there.replication_status is current
        if not is_same or now_there is None or now_there.volume_type_id != volume.volume_type_id:
            return  # it was retyped, or deleted, meanwhile
        extended = reason[:255] if wanted is ReplicationStatus.ERROR else None
        volumes.update_volume(tx, volume.id, now=now, replication_status=wanted, replication_extended_status=extended)
        if wanted is ReplicationStatus.ERROR:
            fault = Fault(f"Its copy is older than {objective_s} seconds.")
            action, detail = VolumeMessageAction.REPLICATE_VOLUME, VolumeMessageDetail.REPLICA_BEHIND
            tell_owner(tx, backend, context, volume, action, fault, detail=detail)


def _lag_s(book: Book, report: ReplicaReport, now: datetime) -> int:
    """How old what the copy holds is; while there is none, since when it is missed."""
    key = (report.volume_id, report.backend_id)
    if report.synced_at is not None:
        book.synced[key] = report.synced_at
    since = book.synced.get(key) or book.since.setdefault(key, now)
    return max(0, int((now - since).total_seconds()))


def _reason(reports: Sequence[ReplicaReport], behind: Mapping[str, int]) -> str:
    faults = {report.backend_id: report.fault for report in reports if report.fault}
    late = [f"{target} is {lag_s} s behind" for target, lag_s in sorted(behind.items())]
    return "; ".join([*late, *(f"{target}: {fault}" for target, fault in sorted(faults.items()))])


def _tell_of_diverged(
    backend: VolumeBackend, context: RequestContext, book: Book, volume: Volume, reports: Sequence[ReplicaReport]
) -> None:
    """What was written where nobody was to write any more is kept, and whose it is is told."""
    for report in reports:
        for name in report.diverged:
            if f"{report.backend_id}:{name}" in book.told:
                continue
            book.told.add(f"{report.backend_id}:{name}")
            log.warning("volume.set_aside", volume=volume.id, side=report.backend_id, dataset=name)
            fault = Fault(f"It is kept as {name.rpartition('/')[2]} on {report.backend_id}.")
            with backend.database.begin() as tx:
                action, detail = VolumeMessageAction.REPLICATE_VOLUME, VolumeMessageDetail.DATA_SET_ASIDE
                tell_owner(tx, backend, context, volume, action, fault, detail=detail)
