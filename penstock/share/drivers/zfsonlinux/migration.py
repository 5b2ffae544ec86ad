"""Migration of shares: the driver's published methods, each a few lines over `migrating` and `in_place`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import structlog

from penstock.clock import Clock
from penstock.errors import Conflict, InsufficientCapacity, Invalid, ShareResourceNotFound, Unsupported
from penstock.host.streaming import Routes
from penstock.share.drivers.zfsonlinux import in_place, migrating, spec
from penstock.share.drivers.zfsonlinux.exporting import export_locations
from penstock.share.drivers.zfsonlinux.finding import Finder
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.share.drivers.zfsonlinux.peers import Peer, Peers
from penstock.share.drivers.zfsonlinux.replica_set import Copy, arriving, is_arriving
from penstock.share.drivers.zfsonlinux.sending import Sending
from penstock.share.drivers.zfsonlinux.storage import Storage
from penstock.share.models import ShareModel, SnapshotModel
from penstock.share.replication import UNWATCHED, Watch
from penstock.zfs.client import Zfs
from penstock.zfs.lines import observe_line
from penstock.zfs.names import Dataset
from penstock.zfs.properties import bytes_of

log = structlog.get_logger(__name__)

Mappings = Mapping[str, SnapshotModel]


@dataclass(slots=True)
class _Progress:
    """A copy that runs in this process. `before` was there when it began."""

    before: int
    total: int
    began_s: float
    sent: int = 0


class MigrationMethods:
    """What the driver does to move shares; also `share.migrating.HasWatchedMigration`. The driver gives the rest."""

    watches_migrations = True
    settings: Settings
    storage: Storage
    finder: Finder
    clock: Clock
    own: Peer
    peers: Peers
    routes: Routes
    _progress: dict[str, _Progress]

    def migration_check_compatibility(
        self,
        context: object,
        source_share: ShareModel,
        destination_share: ShareModel,
        share_server: Any = None,
        destination_share_server: Any = None,
    ) -> dict[str, Any]:
        """Beyond the published answer: ``reason``, a sentence, when it is not compatible."""
        try:
            is_in_place = in_place.is_possible(self.own, source_share, destination_share)
            peer = self.peers.storage_of(destination_share["host"])
            dataset = spec.new_dataset(destination_share, peer.settings)
            spec.share_spec(destination_share, dataset, peer.settings, peer.storage.flavour)
        except (Invalid, Unsupported) as fault:
            return {**dict.fromkeys(_KEYS, False), "reason": fault.message}
        return {**dict.fromkeys(_KEYS, True), "nondisruptive": is_in_place}

    def migration_start(
        self,
        context: object,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mappings,
        share_server: Any = None,
        destination_share_server: Any = None,
    ) -> None:
        """Look whether it can be; the first copy is made by `migration_continue`.

        Raises InsufficientCapacity when the destination has less room than the share takes now, ShareResourceNotFound,
        Conflict when something that is not ours is where it will be.
        """
        if in_place.is_possible(self.own, source_share, destination_share):
            return
        pair = self._look(source_share, destination_share)
        if pair.source.seen is None:
            raise ShareResourceNotFound(f"share {source_share['share_id']} is not on the backend")
        target = pair.target
        if target.seen is None and target.zfs.exists(target.dataset) and not is_arriving(target, target.dataset):
            raise Conflict(f"{target.dataset} exists, and is not this share's")
        root = spec.root_of(destination_share["host"], pair.target.peer.settings)
        free = bytes_of(pair.target.zfs.get(root, ("available",)), "available")
        more = _held_bytes(pair.source.zfs, pair.source.dataset) - _arrived_bytes(pair.target)
        if more > free:
            raise InsufficientCapacity(f"{root} has {free} bytes free, and the share takes {more}")

    def migration_continue(
        self,
        context: object,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mappings,
        share_server: Any = None,
        destination_share_server: Any = None,
        *,
        watch: Watch = UNWATCHED,
    ) -> bool:
        """Copy until a round was short, then True. An interrupted copy is gone on with."""
        if in_place.is_possible(self.own, source_share, destination_share):
            return True
        pair = self._look(source_share, destination_share)
        if not pair.is_switched:
            with self._followed(pair, watch) as sending:
                migrating.copy_rounds(pair, sending)
        return True

    def migration_complete(
        self,
        context: object,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mappings,
        share_server: Any = None,
        destination_share_server: Any = None,
        *,
        watch: Watch = UNWATCHED,
    ) -> dict[str, Any]:
        """Catch up, fence, last delta, switch. The source's data stay, fenced, until `delete_share`: by then the
        database knows of the switch."""
        if in_place.is_possible(self.own, source_share, destination_share):
            copy = in_place.take_over(self.own, source_share, destination_share, snapshot_mappings, source_snapshots)
        else:
            pair = self._look(source_share, destination_share)
            with self._followed(pair, watch) as sending:
                copy = migrating.switch(pair, snapshot_mappings, source_snapshots, sending)
        self.finder.forget(source_share)
        self.finder.forget(destination_share)
        if copy.seen is None or copy.seen.mountpoint is None:
            raise Conflict(f"{copy.dataset} has no mountpoint of its own, so there is no path to export")
        line = observe_line(copy.zfs, copy.dataset, ())
        found = {model["id"]: line.owned_by(model["id"]) for model in snapshot_mappings.values()}
        return {
            "export_locations": export_locations(copy.seen.mountpoint, copy.peer.settings),
            "snapshot_updates": {
                snapshot_id: {"provider_location": str(line.name(taken))}
                for snapshot_id, taken in found.items()
                if taken is not None
            },
        }

    def migration_cancel(
        self,
        context: object,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mappings,
        share_server: Any = None,
        destination_share_server: Any = None,
    ) -> None:
        """Lift the fence, serve again, remove what is ours on either side. Raises Conflict when the destination serves
        already, Unavailable while one of the two cannot be asked."""
        if in_place.is_possible(self.own, source_share, destination_share):
            in_place.give_back(self.own, destination_share)
            return
        migrating.take_back(self._look(source_share, destination_share))
        self.finder.forget(destination_share)

    def migration_get_progress(
        self,
        context: object,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mappings,
        share_server: Any = None,
        destination_share_server: Any = None,
    ) -> dict[str, Any]:
        """Bytes and ETA of the copy that runs in this process; else what has arrived."""
        running = self._progress.get(destination_share["id"])
        if running is None:
            pair = self._look(source_share, destination_share)
            moved = _arrived_bytes(pair.target)
            total = max(moved, 0 if pair.source.seen is None else _held_bytes(pair.source.zfs, pair.source.dataset))
            return _told(moved, total, None)
        moved = running.before + running.sent
        took_s = self.clock.monotonic_s() - running.began_s
        left = max(0, running.total - moved)
        eta_s = int(took_s * left / running.sent) if running.sent else None
        return _told(moved, max(running.total, moved), eta_s)

    def _look(self, source: ShareModel, target: ShareModel) -> migrating.Pair:
        return migrating.look(self.own, self.peers, source, target)

    @contextmanager
    def _followed(self, pair: migrating.Pair, watch: Watch) -> Iterator[Sending]:
        """Sending, with its progress for `migration_get_progress` of other threads."""
        before = _arrived_bytes(pair.target)
        held = _held_bytes(pair.source.zfs, pair.source.dataset) if pair.source.seen is not None else 0
        running = _Progress(before, held, self.clock.monotonic_s())
        self._progress[pair.target.id] = running

        def on_progress(sent_bytes: int) -> None:
            running.sent = sent_bytes
            watch.on_progress(sent_bytes)

        try:
            yield Sending(self.routes, self.clock, replace(watch, on_progress=on_progress))
        finally:
            self._progress.pop(pair.target.id, None)


_KEYS = ("compatible", "writable", "preserve_metadata", "nondisruptive", "preserve_snapshots")


def _told(moved: int, total: int, eta_s: int | None) -> dict[str, Any]:
    percent = 100 * moved // total if total else 100
    return {"total_progress": percent, "moved_bytes": moved, "total_bytes": total, "eta_seconds": eta_s}


def _held_bytes(zfs: Zfs, dataset: Dataset) -> int:
    """What the dataset and its snapshots take: about what is sent. Reservations are not sent."""
    found = zfs.get(dataset, ("used", "usedbyrefreservation"))
    return max(0, bytes_of(found, "used") - bytes_of(found, "usedbyrefreservation"))


def _arrived_bytes(copy: Copy) -> int:
    """How much of it is at the destination, whole or half received."""
    place = copy.dataset if copy.seen is not None else arriving(copy.dataset)
    found = copy.zfs.get_many([place], ("used",)).get(str(place))
    return 0 if found is None else bytes_of(found, "used")
