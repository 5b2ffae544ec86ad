"""One look at all copies of all volumes on all sides: few commands for each side however many there are; and syncs
begun of those whose time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from penstock.clock import Clock
from penstock.errors import Fault, Unavailable, UnknownResult
from penstock.volume.drivers.zfs import lineage, spec
from penstock.volume.drivers.zfs.copies import LOOKED_AT, Reign, VolumeCopy, copy_id, look_at, observe_copy, seen_of
from penstock.volume.drivers.zfs.identity import SOURCE, Kind, id_of, kind_of
from penstock.volume.drivers.zfs.replica_syncing import Sending, bring, is_as_wanted
from penstock.volume.drivers.zfs.replica_syncs import Syncs
from penstock.volume.drivers.zfs.setting_aside import INFIX, leave
from penstock.volume.drivers.zfs.sides import Side, Sides
from penstock.volume.models import VolumeModel
from penstock.volume.replication import ReplicaReport
from penstock.zfs.changes import Change, look_for_changes
from penstock.zfs.lines import observe_line, release_all
from penstock.zfs.names import Dataset
from penstock.zfs.properties import Properties, local_value
from penstock.zfs.reigns import OF, SYNCED_AT

log = structlog.get_logger(__name__)


class SendingOf(Protocol):
    def __call__(self, volume: VolumeModel, should_stop: Callable[[], bool] = ...) -> Sending: ...


@dataclass(frozen=True, slots=True)
class Sight:
    """All that is below a side's roots. `changes` are empty where nobody asked what was written; `faults` says which
    roots could not be looked at, and why: what is below them is not known to be gone."""

    side: Side
    properties: Mapping[str, Properties]
    changes: Mapping[Dataset, Change]
    faults: Mapping[Dataset, str] = field(default_factory=dict)

    def copy_of(self, volume: VolumeModel, *, is_served: bool) -> VolumeCopy:
        """The volume's copy there. Raises Conflict when something else is in its place, Unavailable when nobody could
        look."""
        dataset = self.side.place(volume, Reign.of(volume).places, is_served=is_served)
        for root, fault in self.faults.items():
            if root.contains(dataset):
                raise Unavailable(fault)
        found = self.properties.get(str(dataset))
        seen = None if found is None else seen_of(volume, self.side.id, dataset, found)
        return VolumeCopy(volume, self.side, dataset, seen)

    def of_kind(self, kind: Kind) -> Iterable[tuple[Dataset, Properties]]:
        return [(Dataset(name), found) for name, found in self.properties.items() if kind_of(found) is kind]

    @property
    def root_guids(self) -> frozenset[str]:
        """What tells its roots from others of the same names."""
        roots = [str(root) for root in self.side.settings.roots.values() if root not in self.faults]
        return frozenset(self.properties[root]["guid"].value for root in roots)


@dataclass(frozen=True, slots=True)
class Round:
    """`active` is the side whose volumes are served."""

    sides: Sides
    active: Side
    clock: Clock
    syncs: Syncs
    sending_of: SendingOf

    def run(self, volumes: Sequence[VolumeModel], known: set[str]) -> list[ReplicaReport]:
        """See `HasReplicas.replicate`; `known` are the ids of all volumes that rows know of."""
        looked_at = self.clock.utc()
        source = _look_with_changes(self.active)
        reports: list[ReplicaReport] = []
        for side in self.sides.ids:
            if side == self.active.id:
                continue
            try:
                target = _look(self.sides.reach_partly(side))
            except Fault as fault:
                why = f"{side} cannot be looked at: {fault.message}"
                reports += [ReplicaReport(volume.id, side, fault=why) for volume in volumes]
                continue
            aside: dict[str, list[str]] = {}
            for dataset, found in target.of_kind(Kind.DIVERGED):
                if INFIX not in dataset.name:
                    continue  # on its way: it gets its name in a moment
                aside.setdefault(local_value(found, OF) or "", []).append(str(dataset))
            unwritten: list[VolumeCopy] = []
            for volume in volumes:
                diverged = tuple(aside.get(volume.name_id, ()))
                try:
                    reports.append(self._one(volume, source, target, unwritten, diverged))
                except Fault as fault:  # what one cannot be is no reason for the others
                    reports.append(ReplicaReport(volume.id, side, fault=fault.message, diverged=diverged))
            if unwritten:  # a look at what was not written since is as good as a copy
                places = [copy.dataset for copy in unwritten]
                target.side.storage.zfs.set_each(places, {SYNCED_AT: looked_at.isoformat()})
            if not source.faults:  # what is on a pool that nobody could look at is not gone
                _destroy_orphans(source, target, known)
                _set_strays_aside(source, target, known)
        return reports

    def _one(
        self,
        volume: VolumeModel,
        source: Sight,
        target: Sight,
        unwritten: list[VolumeCopy],
        diverged: tuple[str, ...],
    ) -> ReplicaReport:
        side = target.side.id
        try:
            copy = target.copy_of(volume, is_served=False)
        except Fault as fault:
            return ReplicaReport(volume.id, side, fault=fault.message, diverged=diverged)
        synced_at = copy.seen.synced_at if copy.seen is not None and not copy.was_active else None
        try:
            of = source.copy_of(volume, is_served=True)
        except Fault as fault:
            return ReplicaReport(volume.id, side, synced_at, fault.message, diverged)
        if not of.is_active:
            why = f"{of.dataset} on {of.side.id} is not served, so nothing is copied from it"
            return ReplicaReport(volume.id, side, synced_at, why, diverged)
        is_unwritten = _is_unwritten(of, copy, source.changes.get(of.dataset))
        if is_unwritten and is_as_wanted(of, copy):
            unwritten.append(copy)
            synced_at = self.clock.utc()
        elif is_unwritten or self._is_due(volume, of, copy):
            self.syncs.start(volume.id, side, self._sync(volume, target.side))
        return ReplicaReport(volume.id, side, synced_at, self.syncs.fault_of(volume.id, side), diverged)

    def _is_due(self, volume: VolumeModel, source: VolumeCopy, copy: VolumeCopy) -> bool:
        """A sync begins when half of the objective has passed, so that it has time to end within the other half."""
        seen = copy.seen
        if seen is None or copy.was_active or seen.synced_at is None or copy.epoch != source.epoch:
            return True
        objective_s = spec.rpo_s(volume, self.active.settings)
        return self.clock.utc() - seen.synced_at >= timedelta(seconds=objective_s / 2)

    def _sync(self, volume: VolumeModel, side: Side) -> Callable[[Callable[[], bool]], None]:
        def sync(should_stop: Callable[[], bool]) -> None:
            source = observe_copy(volume, self.active, is_served=True)
            target = observe_copy(volume, side, is_served=False)
            if source.is_active:
                bring(source, target, self.sending_of(volume, should_stop))

        return sync


def _is_unwritten(source: VolumeCopy, copy: VolumeCopy, change: Change | None) -> bool:
    """Does the copy hold exactly what the volume holds?"""
    seen = copy.seen
    if seen is None or change is None or copy.was_active or seen.synced_at is None or seen.synced_guid is None:
        return False
    return copy.epoch == source.epoch and change.is_unwritten_since(seen.synced_guid)


def _look(side: Side) -> Sight:
    found: dict[str, Properties] = {}

    def look(root: Dataset) -> None:
        found.update(side.storage.zfs.tree(root, LOOKED_AT, kinds=("filesystem", "volume")))

    return Sight(side, found, {}, _faults_of(side, look))


def worth_of(side: Side, volumes: Sequence[VolumeModel]) -> tuple[bool, int, list[datetime]]:
    """How good the side is to serve the volumes from: the greatest is the best.

    First one that a failover which broke off has made active; then the one that has most of them; then the one whose
    oldest copy is the newest.
    """
    sight = _look(side)
    is_begun, synced = False, list[datetime]()
    for volume in volumes:
        try:
            copy = sight.copy_of(volume, is_served=False)
        except Fault as fault:
            log.warning("volume.replica_not_counted", volume=volume.id, side=side.id, reason=fault.message)
            continue
        row = Reign.of(volume)
        is_begun = is_begun or (copy.is_active and copy.epoch > row.epoch and copy.epoch >= row.given)
        if copy.seen is not None and not copy.was_active and copy.seen.synced_at is not None:
            synced.append(copy.seen.synced_at)
    return is_begun, len(synced), sorted(synced)[:1]


def _look_with_changes(side: Side) -> Sight:
    found: dict[str, Properties] = {}
    changes: dict[Dataset, Change] = {}

    def look(root: Dataset) -> None:
        for dataset, (change, properties) in look_for_changes(side.storage.zfs, root, LOOKED_AT).items():
            found[str(dataset)] = properties
            changes[dataset] = change

    return Sight(side, found, changes, _faults_of(side, look))


def _faults_of(side: Side, look: Callable[[Dataset], None]) -> dict[Dataset, str]:
    """Look at each root by itself: one pool that is gone, or hangs, does not keep the copies on others from being made.

    A host that is away is not asked for the rest.
    """
    faults: dict[Dataset, str] = {}
    roots = list(dict.fromkeys(side.settings.roots.values()))
    for at, root in enumerate(roots):
        try:
            look(root)
        except UnknownResult as fault:
            faults[root] = f"{root} on {side.id} does not answer: {fault.message}"
        except Unavailable as fault:
            return faults | dict.fromkeys(roots[at:], f"{side.id} does not answer: {fault.message}")
        except Fault as fault:
            faults[root] = f"{root} on {side.id} cannot be looked at: {fault.message}"
    return faults


def _destroy_orphans(source: Sight, target: Sight, known: set[str]) -> None:
    """Copies of volumes that were deleted while their side was away.

    Only what no row knows, what is not on the active side as anything, and what was copied from this very side: a
    database put back from a backup, or a pool made anew under an old name, must not cost anybody the last copy.
    """
    there = {id_of(found) for found in source.properties.values()}
    for dataset, found in target.of_kind(Kind.REPLICA):
        name_id = id_of(found)
        if name_id in known or name_id in there or local_value(found, SOURCE) not in source.root_guids:
            continue
        log.info("volume.replica_of_nobody", dataset=str(dataset), side=target.side.id, volume=name_id)
        try:
            release_all(target.side.storage.zfs, dataset)
            lineage.destroy_volume(target.side.storage.zfs, dataset)  # what was set aside of it may be its clone
        except Fault as fault:
            log.warning("volume.replica_stays", dataset=str(dataset), reason=fault.message)


def _set_strays_aside(source: Sight, target: Sight, known: set[str]) -> None:
    """What the side goes on serving of volumes that were deleted while it was away, after it was failed over from.

    Nobody knows what was written to it since, so it is kept. Only what no row knows, what is not on the active side as
    anything, and what the active side had a copy of: volumes of other backends may lie beside ours.
    """
    there = {id_of(found) for found in source.properties.values()}
    for dataset, found in target.of_kind(Kind.VOLUME):
        name_id = id_of(found)
        if name_id is None or name_id in known or name_id in there:
            continue
        volume = _deleted(name_id, dataset)
        try:
            copy = look_at(volume, target.side, dataset)
            sent_to = copy_id(volume, source.side.id)
            line = observe_line(copy.zfs, dataset, [sent_to])
            if copy.is_active and any(sent_to in taken.bases for taken in line.taken):
                leave(copy)
        except Fault as fault:
            log.warning("volume.stray_stays", dataset=str(dataset), side=target.side.id, reason=fault.message)


def _deleted(name_id: str, dataset: Dataset) -> VolumeModel:
    """As much of it as its targets and links are found by."""
    name = dataset.name if dataset.name.endswith(name_id) else f"volume-{name_id}"
    return VolumeModel(
        id=name_id, name=name, name_id=name_id, size=0, status="deleted", host="", project_id="", user_id=""
    )
