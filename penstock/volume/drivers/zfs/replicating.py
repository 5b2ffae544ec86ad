"""Replication of volumes to the backend's other sides, and serving them from there: what the manager asks for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import structlog

from penstock.clock import Clock
from penstock.domain.volumes import HOME
from penstock.errors import Conflict, Fault, Unavailable, Unsupported
from penstock.host.streaming import Routes
from penstock.volume.drivers.zfs import accepting, failing_over, spec
from penstock.volume.drivers.zfs.copies import Reign, VolumeCopy, copy_id, observe_copy
from penstock.volume.drivers.zfs.fencing import settle
from penstock.volume.drivers.zfs.finding import Finder
from penstock.volume.drivers.zfs.identity import REPLICA_MARKS
from penstock.volume.drivers.zfs.reigning import Numbers, without_copies
from penstock.volume.drivers.zfs.removing import RemovalMethods
from penstock.volume.drivers.zfs.replica_round import Round, worth_of
from penstock.volume.drivers.zfs.replica_syncing import Sending
from penstock.volume.drivers.zfs.sides import Side
from penstock.volume.errors import InvalidReplicationTarget, UnableToFailOver
from penstock.volume.interface.replication import Failover
from penstock.volume.interface.values import Context
from penstock.volume.models import GroupModel, VolumeModel
from penstock.volume.replication import REASON, RECOVERY_POINT, SNAPSHOTS, OlderCopy, ReplicaReport
from penstock.zfs.lines import SYNC, drop, observe_line, release_all
from penstock.zfs.names import Dataset, SnapshotName
from penstock.zfs.properties import local_value
from penstock.zfs.reigns import ACCEPTED, REVERTED_TO

ENABLED, ENABLING, ERROR, FAILED_OVER = "enabled", "enabling", "error", "failed-over"
LOOKS, PAUSE_S = 3, 2.0

log = structlog.get_logger(__name__)


class ReplicationMethods(RemovalMethods):
    """`routes` are the ways between the sides."""

    clock: Clock
    routes: Routes
    _left_id: str | None = None  # the side that served before the one that this process failed over to

    def use(self, side: Side) -> None:
        """Serve the volumes from there."""
        self.active = side
        self.settings, self.storage = side.settings, side.storage
        self.finder = Finder(side.storage.zfs, side.settings)

    @property
    def replication_stats(self) -> dict[str, Any]:
        """What the scheduler and clients are told."""
        targets = list(self.sides.targets)
        return {
            "replication_enabled": bool(targets),
            "replication_type": ["async"] if targets else [],
            "replication_count": len(targets),
            "replication_targets": targets,
        }

    def replication_of_new(self, volume: VolumeModel) -> dict[str, Any]:
        """What a new volume's row says: its first copy follows. Raises UnableToFailOver while another side serves, and
        it would be lost when that ends."""
        if self.is_replicated(volume):
            return {"replication_status": ENABLING}
        if self.active.id != HOME:
            raise UnableToFailOver(
                f"The backend is failed over to {self.active.id}; until it is back only replicated volumes can be made."
            )
        return {}

    def refuse_unreachable(self, volume: VolumeModel) -> None:
        """Raises Unavailable for a volume that is on the backend's own host alone, while another side serves: what is
        not looked at must not be taken for gone."""
        if self.active.id != HOME and not self.is_replicated(volume) and volume.launched_at is not None:
            raise Unavailable(f"Volume {volume.id} is on {HOME}; the backend is failed over to {self.active.id}.")

    def refuse_away(self, volume: VolumeModel) -> None:
        """Raises UnableToFailOver while another side serves the volume, for what would end its replication: it would be
        on that side alone, and nowhere once the backend is back."""
        if self.active.id != HOME and self.is_replicated(volume):
            raise UnableToFailOver(
                f"Volume {volume.id} is served by {self.active.id}; its replication can end once the backend is back."
            )

    # --- copies up to date --------------------------------------------------------------------------------------------

    def objective_s(self, volume: VolumeModel) -> int:
        """See `HasReplicas`."""
        return spec.rpo_s(volume, self.settings)

    def replicate(self, context: Context, volumes: Sequence[VolumeModel]) -> list[ReplicaReport]:
        """See `HasReplicas`. What belonged to volumes that are gone is destroyed on the other sides, too."""
        if not self.sides.targets:
            return []
        replicated = [volume for volume in volumes if self.is_replicated(volume)]
        known = {volume.name_id for volume in volumes}
        one_round = Round(self.sides, self.active, self.clock, self.syncs, self._sending)
        return one_round.run(replicated, known)

    def stop_replicating(self) -> None:
        """See `HasReplicas`."""
        if hasattr(self, "syncs"):
            self.syncs.stop()

    def _sending(
        self, volume: VolumeModel, should_stop: Callable[[], bool] = lambda: False, source: Side | None = None
    ) -> Sending:
        """`source` is the side that the volume is sent from, by default the one that serves."""
        source = source or self.active
        ids = [copy_id(volume, side) for side in self.sides.ids]
        root = spec.root_of(volume.host, source.settings)
        guid = source.storage.zfs.get(root, ["guid"])["guid"].value
        return Sending(self.routes, self.clock, ids, guid, should_stop)

    # --- the end of it ------------------------------------------------------------------------------------------------

    def end_replication(self, volume: VolumeModel) -> None:
        """The volume is replicated no more: its copies go, and what was kept for them. Safe to repeat.

        Raises UnableToFailOver while another side serves it, before anything is changed. Copies on a side that does not
        answer go when it does (`remove_left_copy`).
        """
        self.refuse_away(volume)
        self.remove_copies(volume)
        found = self.finder.volume(volume, REPLICA_MARKS)
        if found is None:
            return
        dataset, properties = found
        zfs = self.storage.zfs
        release_all(zfs, dataset)
        line = observe_line(zfs, dataset, ())
        zfs.destroy_snapshots(dataset, [taken.point.name for taken in line.syncs], deferred=True)
        for name in REPLICA_MARKS:
            if local_value(properties, name) is not None:
                zfs.inherit(dataset, name)

    def begin_again(self, volume: VolumeModel) -> dict[str, Any]:
        """A model update for a volume that is replicated from now on, which it may have been before."""
        copy = observe_copy(volume, self.active, is_served=True)
        kept = Numbers(self.db).begin_again(copy)
        return {"replication_status": ENABLING, "replication_driver_data": kept}

    def clear_for_revert(self, volume: VolumeModel, to: SnapshotName, newer: Collection[str]) -> None:
        """Let go of the syncs between the volume and the snapshot it goes back to; its copies will go back, too."""
        zfs = self.storage.zfs
        line = observe_line(zfs, to.dataset, ())
        guid = next((taken.point.guid for taken in line.taken if line.name(taken) == to), None)
        if guid is None:
            return
        log.info("volume.reverted", volume=volume.id, to=str(to))
        zfs.set(to.dataset, {REVERTED_TO: str(guid)})
        for taken in line.taken:
            if taken.kind == SYNC and str(line.name(taken)) in newer:
                drop(zfs, line, taken)

    def failover_target(self, volumes: Sequence[VolumeModel]) -> str:
        """See `ChoosesTarget`."""
        return self._chosen(None, [volume for volume in volumes if spec.is_replicated(volume)]).id

    # --- failing over -------------------------------------------------------------------------------------------------

    def failover_host(
        self,
        context: Context,
        volumes: Sequence[VolumeModel],
        secondary_id: str | None = None,
        groups: Sequence[GroupModel] | None = None,
    ) -> Failover:
        """See `ReplicationInterface`. Safe to repeat: it goes on where an earlier call ended.

        None is, of the targets that answer, the one with the newest copies. Planned where the side that serves answers:
        nothing is lost then.
        """
        replicated = [volume for volume in volumes if spec.is_replicated(volume)]
        numbers = Numbers(self.db)
        try:
            new = self._chosen(secondary_id, replicated)
        except (InvalidReplicationTarget, Unsupported):
            self._stay(replicated, numbers)
            raise
        with self.syncs.paused():
            is_back = new.id == self._active_id
            old, why = (self._begun(replicated), "") if is_back else self._old()
            sending_of = partial(self._sending, source=old)
            try:
                outcomes = failing_over.fail_over(replicated, old, new, why, sending_of, numbers, is_back=is_back)
            except Fault:
                self._serve_again(context, volumes)
                raise
            if new.id != self._active_id:
                self._left_id = self._active_id
            self.use(new)
            self.active_backend_id = None if new.id == HOME else new.id
        left = self._left_id
        if left is not None and left != new.id:
            settings = self.sides.settings_of(left)
            outcomes = [failing_over.with_place_left(one, left, settings) for one in outcomes]
        served = {one.volume.id for one in outcomes if one.copy is not None}
        updates = [{"volume_id": one.volume.id, "updates": self._update(one)} for one in outcomes]
        updates += [
            {"volume_id": volume.id, "updates": {"status": "error", "replication_status": ERROR}}
            for volume in volumes
            if volume not in replicated and volume.id not in served
        ]
        return new.id, updates, []

    def older_copies(self, volumes: Sequence[VolumeModel], backend_id: str) -> list[OlderCopy]:
        """See `TakesOlder`."""
        if backend_id not in self.sides.ids:
            raise InvalidReplicationTarget(f"There is no replication target '{backend_id}'.")
        side = self.sides.reach(backend_id)
        is_active = side.id == self._active_id
        copies = (observe_copy(one, side, is_served=is_active) for one in volumes if spec.is_replicated(one))
        return [accepting.told(copy) for copy in copies if accepting.is_older(copy)]

    def accept_older(self, volumes: Sequence[VolumeModel], backend_id: str) -> list[OlderCopy]:
        """See `TakesOlder`."""
        older = self.older_copies(volumes, backend_id)
        zfs = self.sides.reach(backend_id).storage.zfs
        for one in older:
            zfs.set(Dataset(one.place), {ACCEPTED: one.since.isoformat()})
            log.warning("volume.older_accepted", volume=one.volume_id, side=backend_id, since=one.since.isoformat())
        return older

    def failover_completed(self, context: Context, active_backend_id: str | None = None) -> None:
        """Another process failed over; serve from there, too."""
        side = active_backend_id or HOME
        if side not in self.sides.ids:
            raise InvalidReplicationTarget(f"There is no replication target '{side}'.")
        self.use(self.sides.reach(side))
        self.active_backend_id = active_backend_id

    @property
    def _active_id(self) -> str:
        """Also before the active side could be reached."""
        return str(self.active_backend_id or HOME)

    def _chosen(self, secondary_id: str | None, volumes: Sequence[VolumeModel] = ()) -> Side:
        """The side to serve the volumes from. Raises InvalidReplicationTarget: nothing was changed."""
        others = [side for side in self.sides.targets if side != self._active_id]
        wanted = others if secondary_id is None else [secondary_id]
        if not wanted or any(side not in self.sides.ids for side in wanted):
            known = ", ".join(self.sides.ids)
            raise InvalidReplicationTarget(f"There is no replication target '{secondary_id or ''}'; there are {known}.")
        faults: list[str] = []
        for look in range(LOOKS):
            if look:
                self.clock.sleep(PAUSE_S)
            answering: list[Side] = []
            for side in wanted:
                try:
                    answering.append(self._whole(side))
                except Unavailable as fault:
                    faults.append(f"{side} does not answer: {fault.message}")
            if len(answering) > 1:
                return max(answering, key=lambda side: worth_of(side, volumes))
            if answering:
                return answering[0]
        raise InvalidReplicationTarget(faults[-1])

    def _whole(self, side: str) -> Side:
        """The side, with all its pools. Raises Unavailable. What serves already may lack one: nothing is brought to it
        that was not there."""
        if side == self._active_id:
            return self.sides.reach_partly(side)
        reached = self.sides.reach(side)
        missing = reached.missing_roots()
        if missing:
            raise Unavailable(f"it has no {', '.join(missing)}: import the pool.")
        return reached

    def _stay(self, volumes: Sequence[VolumeModel], numbers: Numbers) -> None:
        """Nothing is failed over, and what serves goes on: of a reign higher than whatever an earlier call began on a
        target that is silent now.

        Raises Unavailable when an earlier call fenced volumes of the side that serves: what it made of the target is
        not known.
        """
        side = self.sides.reach(self._active_id)
        active: list[VolumeCopy] = []
        for volume in volumes:
            try:
                copy = observe_copy(volume, side, is_served=True)
            except Conflict as fault:
                log.warning("volume.not_where_it_was", volume=volume.id, reason=fault.message)
                continue
            if copy.seen is not None and not copy.is_active:
                raise Unavailable(
                    f"A failover has begun, {volume.id} is not served on {side.id}, and the target does not answer; "
                    f"fail over to '{side.id}' to serve it there again."
                )
            if copy.is_active:
                active.append(copy)
        numbers.outrank(active)
        for copy in active:
            if copy.seen is not None and not copy.seen.is_zvol and not copy.seen.is_mounted:
                settle(copy)  # the process that was to serve it again died before it came to that

    def _begun(self, volumes: Sequence[VolumeModel]) -> Side | None:
        """The side that a failover which is taken back made volumes active on; None when none answers that has any."""
        for one in self.sides.ids:
            if one == self._active_id:
                continue
            try:
                side = self.sides.reach(one)
                if any(_is_active_on(side, volume) for volume in volumes):
                    return side
            except Unavailable as fault:
                log.warning("volume.not_taken_back", side=one, reason=fault.message)
        return None

    def _old(self) -> tuple[Side | None, str]:
        """The side that serves now, None with the reason when it does not answer: it is asked three times, because a
        moment's trouble must not make the failover an unplanned one.

        One that answers, and lacks a pool, is still the side that serves: what is on its other pools has to be fenced.
        """
        reason, partly = "", None
        for look in range(LOOKS):
            if look:
                self.clock.sleep(PAUSE_S)
            try:
                side = self.sides.reach_partly(self._active_id)
                missing = side.missing_roots()
            except Unavailable as fault:
                reason, partly = f"{self._active_id} does not answer: {fault.message}", None
                continue
            if not missing:
                return side, ""
            reason, partly = f"{self._active_id} has no {', '.join(missing)}", side
        return partly, reason

    def _serve_again(self, context: Context, volumes: Sequence[VolumeModel]) -> None:
        """Who was connected is let in again where nothing was failed over."""
        if not hasattr(self, "active"):  # it started while the side that served did not answer
            return
        for volume in volumes:
            if any(one.connector for one in volume.volume_attachment):
                try:
                    self.ensure_export(context, volume)
                except Fault as fault:
                    log.warning("volume.not_exported", volume=volume.id, fault=str(fault))

    def _update(self, outcome: failing_over.Outcome) -> dict[str, Any]:
        if outcome.copy is None:
            log.error("volume.not_failed_over", volume=outcome.volume.id, reason=outcome.reason)
            return {"status": "error", "replication_status": ERROR, REASON: outcome.reason}
        update: dict[str, Any] = {
            "provider_id": str(outcome.copy.dataset),
            "provider_location": self._location(outcome.volume),
            "replication_status": ENABLED if outcome.copy.side.id == HOME else FAILED_OVER,
            "replication_extended_status": None,
            "replication_driver_data": str(outcome.reign),
        }
        if outcome.recovery_point is not None:
            since = f"{outcome.recovery_point:%Y-%m-%dT%H:%M:%S}Z"
            update["replication_extended_status"] = f"unplanned: what was written after {since} is not in it"
            update |= {RECOVERY_POINT: outcome.recovery_point, REASON: outcome.reason, SNAPSHOTS: outcome.snapshots}
        return update


def _is_active_on(side: Side, volume: VolumeModel) -> bool:
    try:
        return observe_copy(volume, side, is_served=False).is_active
    except Conflict as fault:
        log.warning("volume.not_where_it_was", volume=volume.id, reason=fault.message)
        return False


def disabled_update(volume: VolumeModel) -> dict[str, Any]:
    """A model update for a volume that is replicated no more. The number of its last reign stays: a side that is away
    may have begun one by it."""
    kept = without_copies(Reign.of(volume).given)
    return {"replication_status": "disabled", "replication_extended_status": None, "replication_driver_data": kept}
