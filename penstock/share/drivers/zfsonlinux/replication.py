"""Replicas of shares: the driver's published methods, each a few lines over the modules that do it.

A copy is only ever changed on the strength of its own marks (see `identity.ReplicaMarks`); what the database says is
who was active last, and that is checked against them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog

from penstock.clock import Clock
from penstock.errors import Conflict, ShareResourceNotFound, SnapshotResourceNotFound, Unavailable
from penstock.host.streaming import Routes
from penstock.share.drivers.zfsonlinux import (
    plan,
    rehearsing,
    replica_ending,
    replica_reports,
    replicated_snapshots,
    spec,
)
from penstock.share.drivers.zfsonlinux.access import Understood, understand
from penstock.share.drivers.zfsonlinux.fencing import fence_copy, serve_seen
from penstock.share.drivers.zfsonlinux.finding import Finder
from penstock.share.drivers.zfsonlinux.first_copy import make_placeholder
from penstock.share.drivers.zfsonlinux.identity import Kind
from penstock.share.drivers.zfsonlinux.lineage import observe_clones
from penstock.share.drivers.zfsonlinux.observe import SeenShare, observe_share
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.share.drivers.zfsonlinux.peers import Peer, Peers
from penstock.share.drivers.zfsonlinux.promotion import make_active
from penstock.share.drivers.zfsonlinux.replica_set import Copy, observe, observe_all
from penstock.share.drivers.zfsonlinux.replicated_snapshots import SnapshotPair
from penstock.share.drivers.zfsonlinux.sending import Sending
from penstock.share.drivers.zfsonlinux.steps import Mount, SetProperties, Step, Unmount, carry_out, settle
from penstock.share.drivers.zfsonlinux.storage import Storage
from penstock.share.drivers.zfsonlinux.syncing import bring
from penstock.share.drivers.zfsonlinux.utils import NFSviaZFSHelper
from penstock.share.models import AccessModel, ShareModel, SnapshotModel
from penstock.share.replication import PROMOTION, UNWATCHED, ReplicaReport, Role, Watch
from penstock.zfs.faults import Busy
from penstock.zfs.lines import drop, observe_line
from penstock.zfs.reigns import REVERTED_TO, Fence

log = structlog.get_logger(__name__)

IN_SYNC = "in_sync"
OUT_OF_SYNC = "out_of_sync"
REVERT_ROUNDS = 3


class ReplicationMethods:
    """What the driver does with replicas; also `share.replication.HasReplicaReports`. The driver gives the rest."""

    settings: Settings
    storage: Storage
    helper: NFSviaZFSHelper
    finder: Finder
    clock: Clock
    own: Peer
    peers: Peers
    routes: Routes

    def create_replica(
        self,
        context: object,
        replica_list: Sequence[ShareModel],
        new_replica: ShareModel,
        access_rules: Sequence[AccessModel],
        replica_snapshots: Sequence[SnapshotPair],
        share_server: Any = None,
    ) -> dict[str, Any]:
        """Make its place; the first `update_replica_state` brings the data. Contacts no other host.

        Raises Conflict when something that is not ours has its name, InsufficientCapacity, Unsupported for what its
        type asks and this backend cannot give.
        """
        place = observe(self.own, new_replica)
        spec.share_spec(new_replica, place.dataset, self.settings, self.storage.flavour)  # refuses what cannot be
        if place.seen is None:
            make_placeholder(place)
        understood = self._understand(new_replica, access_rules)
        return {
            "export_locations": self.helper.locations(self._future_path(place)),
            "replica_state": OUT_OF_SYNC,
            "access_rules_status": "error" if understood.refused else "active",
        }

    def _future_path(self, place: Copy) -> str:
        """Where it will be mounted: as its root's other datasets are, unless it is there already."""
        if place.seen is not None and place.seen.mountpoint is not None:
            return place.seen.mountpoint
        root = spec.root_of(place.model["host"], self.settings)
        return f"{self.storage.zfs.get(root, ('mountpoint',))['mountpoint'].value.rstrip('/')}/{place.dataset.name}"

    def delete_replica(
        self,
        context: object,
        replica_list: Sequence[ShareModel],
        replica_snapshots: Sequence[SnapshotModel],
        replica: ShareModel,
        share_server: Any = None,
    ) -> list[str]:
        """Destroy it, and forget it at the others that answer; what only it may have is set aside whole.

        The names of what was ever set aside of it, which stays. Raises Conflict when it is the active one of the
        latest reign.
        """
        aside = replica_ending.delete_copy(observe(self.own, replica), self.peers, replica_list)
        self.finder.forget(replica)
        self.helper.remove_of(replica["id"])
        replica_ending.clean_others(self.peers, replica_list, replica["id"])
        return aside

    def update_replica_state(
        self,
        context: object,
        replica_list: Sequence[ShareModel],
        replica: ShareModel,
        access_rules: Sequence[AccessModel],
        replica_snapshots: Sequence[SnapshotPair],
        share_server: Any = None,
        *,
        watch: Watch = UNWATCHED,
    ) -> str | None:
        """One sync, whatever was left by the one before; serves it read-only by `access_rules`.

        None while a promotion is unfinished. Raises Unavailable when the active replica's host cannot be reached, and
        what `Transfer.run` raises: the replica goes on serving what it had.
        """
        active = _row_active(replica_list)
        own = observe(self.own, replica)
        if active is None or active["id"] == replica["id"]:
            return None
        if own.role is Role.ACTIVE and own.epoch < active["epoch"]:  # back from the dead: before anything else
            own = fence_copy(own, Fence(active["epoch"], ""))
        source = observe(self.peers.storage_of(active["host"]), active)
        if source.seen is None:
            raise Unavailable(f"the active replica's backend has nothing of share {replica['share_id']}")
        if source.role is not Role.ACTIVE or own.epoch > source.epoch:
            return self._between_reigns(source, own)
        brought = bring(source, own, replica_list, Sending(self.routes, self.clock, watch))
        is_whole = replicated_snapshots.mark_arrived(source, brought.copy, replica_snapshots)
        self._serve_replica(brought.copy, access_rules, is_new_data=brought.sent_bytes > 0)
        return IN_SYNC if is_whole else OUT_OF_SYNC

    def _between_reigns(self, source: Copy, own: Copy) -> str | None:
        """The database's active one is fenced for a promotion, or we have followed a later one than it."""
        if source.role is Role.ACTIVE and own.role is not Role.ACTIVE:
            fence_copy(source, Fence(own.epoch, ""))
            return "error"
        log.warning("replica.between_reigns", replica=own.id, source_epoch=source.epoch, epoch=own.epoch)
        return None

    def _serve_replica(self, copy: Copy, access_rules: Sequence[AccessModel], *, is_new_data: bool) -> None:
        understood = self._understand(copy.model, access_rules)
        zfs = self.storage.zfs
        if is_new_data and not zfs.flavour.rename_while_mounted and copy.seen is not None and copy.seen.is_mounted:
            # FUSE goes on showing what it read before the receive, beside what it reads now (seen)
            self.helper.remove([copy.seen.mountpoint] if copy.seen.mountpoint else [])
            try:
                carry_out((Unmount(copy.dataset),), zfs)
            except Busy:
                self.helper.let_go([copy.seen.mountpoint] if copy.seen.mountpoint else [])
                carry_out((Unmount(copy.dataset),), zfs)
            self._put_rules(copy, understood, at_once=(Mount(copy.dataset),))
        else:
            self._put_rules(copy, understood)

    def _put_rules(self, copy: Copy, understood: Understood, at_once: Sequence[Step] = ()) -> None:
        """Written, mounted, and in force. `at_once`: see `settle`."""
        seen: SeenShare | None = None

        def planned() -> plan.Steps:
            nonlocal seen
            seen = observe_share(copy.zfs, copy.dataset)
            if seen is None:
                raise ShareResourceNotFound(f"{copy.dataset} went away")
            return (*plan.plan_rules(understood.rules, seen), *plan.plan_mount(seen))

        settle(planned, copy.zfs, at_once=at_once)
        serve_seen(copy, seen)

    def _understand(self, share: ShareModel, rules: Sequence[AccessModel]) -> Understood:
        return understand(rules, spec.squash_of(share, self.settings.squash))

    def promote_replica(
        self,
        context: object,
        replica_list: Sequence[ShareModel],
        replica: ShareModel,
        access_rules: Sequence[AccessModel],
        share_server: Any = None,
        quiesce_wait_time: float | None = None,
        *,
        watch: Watch = UNWATCHED,
    ) -> list[dict[str, Any]]:
        """See `promotion`. `quiesce_wait_time`: seconds to spend on catching up before clients are refused.

        ``replica["epoch"]`` may be the number kept for its reign. Its answer has ``promotion``, a `Promotion`.
        """
        others = [model for model in replica_list if model["id"] != replica["id"]]
        found = observe_all(self.peers, others, self.clock)
        found = found.having(observe(self.own, replica))
        sending = Sending(self.routes, self.clock, watch)
        told = make_active(found, replica_list, replica["id"], sending, quiesce_wait_time)
        self.finder.forget(replica)
        own = observe(self.own, replica)
        understood = self._understand(replica, access_rules)
        self._put_rules(own, understood)
        if own.seen is None or own.seen.mountpoint is None:
            raise Conflict(f"{own.dataset} has no mountpoint of its own, so there is no path to export")
        answer: dict[str, Any] = {
            "id": replica["id"],
            "replica_state": Role.ACTIVE.value,
            "access_rules_status": "error" if understood.refused else "active",
            "export_locations": self.helper.locations(own.seen.mountpoint),
            PROMOTION: told,
        }
        return [answer, *({"id": model["id"], "replica_state": OUT_OF_SYNC} for model in others)]

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def create_replicated_snapshot(
        self,
        context: object,
        replica_list: Sequence[ShareModel],
        replica_snapshots: Sequence[SnapshotModel],
        share_server: Any = None,
    ) -> list[dict[str, Any]]:
        """Taken on the active one, which may be written on; the others get it with their next sync."""
        active, mine = _active_instance(replica_list, replica_snapshots)
        copy = observe(self.own, active)
        if copy.role is not Role.ACTIVE:
            raise Unavailable("The active replica is fenced: a promotion is on its way.")
        found = replicated_snapshots.arrived(copy, mine, replica_snapshots)
        if found is not None:  # taken by an earlier attempt, perhaps on the one that was active then
            return [found]
        update = self.create_snapshot(context, mine)
        return [{"id": mine["id"], "status": "available", "progress": "100%", **update}]

    def create_snapshot(self, context: object, snapshot: SnapshotModel, share_server: Any = None) -> dict[str, Any]:
        """The driver's own."""
        raise NotImplementedError

    def delete_replicated_snapshot(
        self,
        context: object,
        replica_list: Sequence[ShareModel],
        replica_snapshots: Sequence[SnapshotModel],
        share_server: Any = None,
    ) -> list[dict[str, Any]]:
        """See `replicated_snapshots.destroy_everywhere`."""
        return replicated_snapshots.destroy_everywhere(self.peers, replica_list, replica_snapshots)

    def update_replicated_snapshot(
        self,
        context: object,
        replica_list: Sequence[ShareModel],
        share_replica: ShareModel,
        replica_snapshots: Sequence[SnapshotModel],
        replica_snapshot: SnapshotModel,
        share_server: Any = None,
    ) -> dict[str, Any] | None:
        """Whether it has arrived; one that is ``deleting`` is destroyed. None while it is on its way.

        Raises SnapshotLost when the active replica does not have it, as far as that one's host can be asked.
        """
        copy = observe(self.own, share_replica)
        answer = replicated_snapshots.progress_of(copy, replica_snapshot, replica_snapshots)
        active = _row_active(replica_list)
        if answer is None and active is not None and active["id"] != share_replica["id"]:
            with suppress(Unavailable):
                source = observe(self.peers.storage_of(active["host"]), active)
                replicated_snapshots.check_is_coming(source, replica_snapshots)
        return answer

    def revert_to_replicated_snapshot(
        self,
        context: object,
        active_replica: ShareModel,
        replica_list: Sequence[ShareModel],
        active_replica_snapshot: SnapshotModel,
        replica_snapshots: Sequence[SnapshotModel],
        share_access_rules: Sequence[AccessModel],
        snapshot_access_rules: Sequence[AccessModel],
        share_server: Any = None,
    ) -> None:
        """On the active one; sync snapshots taken since go, and the mark tells the replicas to go back, too."""
        rules = share_access_rules, snapshot_access_rules
        for rounds_left in reversed(range(REVERT_ROUNDS)):
            self._clear_for_revert(active_replica, [model["id"] for model in replica_list], active_replica_snapshot)
            try:
                self.revert_to_snapshot(context, active_replica_snapshot, *rules)
            except Conflict:  # a sync that was under way has taken one more, or it is really somebody else's
                if not rounds_left:
                    raise
            else:
                return

    def _clear_for_revert(self, active_replica: ShareModel, ids: Sequence[str], snapshot: SnapshotModel) -> None:
        """Nothing but what is ours stands between the active one and the snapshot, and that goes. Raises Conflict."""
        copy = observe(self.own, active_replica)
        if copy.seen is None:
            raise ShareResourceNotFound(f"share {active_replica['share_id']} is not on the backend")
        if copy.role is not Role.ACTIVE:
            raise Unavailable("The active replica is fenced: a promotion is on its way.")
        line = observe_line(copy.zfs, copy.dataset, ids)
        to = line.owned_by(snapshot["id"])
        if to is None:
            raise SnapshotResourceNotFound(f"snapshot {snapshot['snapshot_id']} is not on the backend")
        newer = [taken for taken in line.taken if taken.point > to.point]
        names = {line.name(taken) for taken in newer}
        needing = [
            clone for clone in (observe_clones(copy.zfs, copy.dataset) if newer else []) if clone.origin in names
        ]
        if aside := sorted(str(clone.dataset) for clone in needing if clone.kind is Kind.DIVERGED):
            raise Conflict(f"what was set aside in {', '.join(aside)} needs newer snapshots: destroy that first")
        if needing or any(taken.kind not in (Kind.SYNC, Kind.TOMBSTONE) for taken in newer):
            raise Conflict("newer snapshots exist, or shares made from them: reverting would destroy them")
        carry_out((SetProperties(copy.dataset, ((REVERTED_TO, str(to.point.guid)),)),), copy.zfs)
        for taken in newer:
            drop(copy.zfs, line, taken)

    def revert_to_snapshot(
        self,
        context: object,
        snapshot: SnapshotModel,
        share_access_rules: Sequence[AccessModel],
        snapshot_access_rules: Sequence[AccessModel],
        share_server: Any = None,
    ) -> None:
        """The driver's own."""
        raise NotImplementedError

    # --- `HasReplicaReports` -----------------------------------------------------------------------------------------

    def replica_reports(
        self, replicas: Sequence[ShareModel], replica_lists: Mapping[str, Sequence[ShareModel]]
    ) -> dict[str, ReplicaReport]:
        """See `HasReplicaReports`."""
        return replica_reports.reports(self.own, self.peers, self.clock, replicas, replica_lists)

    def rehearse_replica(self, replica: ShareModel, client: str) -> list[dict[str, Any]]:
        """See `HasReplicaReports`. Raises Invalid when `client` is not an address or network."""
        return self.helper.locations(rehearsing.begin(observe(self.own, replica), client))

    def end_rehearsal(self, replica: ShareModel) -> None:
        """See `HasReplicaReports`."""
        rehearsing.end(observe(self.own, replica))

    def end_replication(self, replica: ShareModel) -> None:
        """See `HasReplicaReports`."""
        copy = observe(self.own, replica)
        if copy.role is Role.ACTIVE:
            replica_ending.end_replication(copy)


def _row_active(replica_list: Sequence[ShareModel]) -> ShareModel | None:
    """The replica that the database calls active."""
    return next((model for model in replica_list if model["replica_state"] == Role.ACTIVE), None)


def _active_instance(
    replica_list: Sequence[ShareModel], instances: Sequence[SnapshotModel]
) -> tuple[ShareModel, SnapshotModel]:
    active = _row_active(replica_list)
    mine = next((item for item in instances if active is not None and item["share_instance_id"] == active["id"]), None)
    if active is None or mine is None:
        raise Conflict("the share has no active replica to take a snapshot of")
    return active, mine
