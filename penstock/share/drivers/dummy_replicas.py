"""Replicas of the dummy driver: the order of steps, the marks and the answers of the real thing, on records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from penstock.clock import Clock
from penstock.domain.access import AccessLevel
from penstock.domain.pools import PoolRef
from penstock.errors import (
    Cancelled,
    Conflict,
    ShareResourceNotFound,
    SnapshotLost,
    SnapshotResourceNotFound,
    Unavailable,
)
from penstock.share.drivers.dummy_records import DummyStorage, Filesystem, Snapshot
from penstock.share.models import AccessModel, ShareModel, SnapshotModel
from penstock.share.replication import PROMOTION, UNWATCHED, Promotion, PromotionKind, ReplicaReport, Role, Watch

Pairs = Sequence[Mapping[str, SnapshotModel]]


class DummyReplicas:
    """The replica methods; the rest of the driver gives the records. Implements `HasReplicaReports`."""

    clock: Clock
    _storage: DummyStorage
    _section: str

    def create_replica(
        self,
        context: Any,
        replica_list: Sequence[ShareModel],
        new_replica: ShareModel,
        access_rules: Sequence[AccessModel],
        replica_snapshots: Pairs,
        share_server: Any = None,
    ) -> dict[str, Any]:
        """Make the placeholder; the first sync brings the data."""
        with self._changing() as records:
            is_new = self._storage.find(self._section, new_replica.id) is None
            record = self._make(records, new_replica)
            if is_new:
                record.role, record.epoch = Role.REPLICA, 0
            record.rules = _rules(access_rules, is_read_only=True)
            path = self._path_of(records, new_replica)
        return {
            "export_locations": self._locations(path or ""),
            "replica_state": "out_of_sync",
            "access_rules_status": "active",
        }

    def delete_replica(
        self,
        context: Any,
        replica_list: Sequence[ShareModel],
        replica_snapshots: Sequence[SnapshotModel],
        replica: ShareModel,
        share_server: Any = None,
    ) -> None:
        with self._changing() as records:
            path = self._path_of(records, replica)
            if path is not None:
                del records[path]

    def update_replica_state(
        self,
        context: Any,
        replica_list: Sequence[ShareModel],
        replica: ShareModel,
        access_rules: Sequence[AccessModel],
        replica_snapshots: Pairs,
        share_server: Any = None,
        *,
        watch: Watch = UNWATCHED,
    ) -> str:
        active = next((other for other in replica_list if other.replica_state == "active"), None)
        with self._changing():
            own = self._own(replica)
            if own.role == Role.ACTIVE:  # it was away when another one was promoted: first of all it is fenced
                own.role = Role.DEMOTED
            own.rules = _rules(access_rules, is_read_only=True)
        if active is None or active.id == replica.id:
            return "out_of_sync"
        source = self._peer(active, "look")
        looked_at = self.clock.utc()
        if source is None or source.role != Role.ACTIVE or source.epoch < own.epoch:
            return "out_of_sync"  # between two reigns: whoever is next brings us into line
        if watch.should_stop():
            raise Cancelled("The sync was asked to stop.")
        self._step(f"copy from {PoolRef.parse(active.host).backend}")
        with self._changing():
            watch.on_progress(len(source.written))
            self._bring_to(own, source, replica_snapshots)
            own.role, own.epoch, own.synced_at = Role.REPLICA, source.epoch, looked_at.isoformat()
        mine = [pair["share_replica_snapshot"] for pair in replica_snapshots]
        wanted = {item.snapshot_id for item in mine if item.status not in ("error", "error_deleting")}
        return "in_sync" if wanted <= {item.snapshot_id for item in own.snapshots.values()} else "out_of_sync"

    def promote_replica(
        self,
        context: Any,
        replica_list: Sequence[ShareModel],
        replica: ShareModel,
        access_rules: Sequence[AccessModel],
        share_server: Any = None,
        *,
        watch: Watch = UNWATCHED,
    ) -> list[dict[str, Any]]:
        with self._changing() as records:
            own = self._own(replica)
            path = self._path_of(records, replica) or ""
            known_epoch = max((other.epoch for other in replica_list if other.id != replica.id), default=0)
            if own.role == Role.ACTIVE and replica.replica_state == "active":
                own.epoch = max(own.epoch, replica.epoch)  # numbers were kept for reigns of others that never began
            elif own.role == Role.ACTIVE and own.epoch < known_epoch:
                own.role = Role.DEMOTED  # its reign ended while it was away: what it has of its own is not the share's
        if own.role != Role.ACTIVE:
            self._take_over(own, replica, replica_list)
        with self._changing():
            own.rules, own.is_served = _rules(access_rules, is_read_only=False), True
        told = own.promotion
        recovery_point = datetime.fromisoformat(told["recovery_point"]) if told.get("recovery_point") else None
        kind = PromotionKind(told.get("kind", PromotionKind.PLANNED))
        return [
            {
                "id": replica.id,
                "replica_state": "active",
                "access_rules_status": "active",
                "export_locations": self._locations(path),
                PROMOTION: Promotion(kind, own.epoch, recovery_point, told.get("reason")),
            },
            *({"id": m.id, "replica_state": "out_of_sync"} for m in replica_list if m.id != replica.id),
        ]

    def _take_over(self, own: Filesystem, replica: ShareModel, replica_list: Sequence[ShareModel]) -> None:
        """Fence whoever is active, take its last changes, and become active under the epoch kept for us."""
        seen, away = self._others(replica, replica_list)
        rows_active = next((model.id for model in replica_list if model.replica_state == "active"), None)
        epoch = max([replica.epoch, own.epoch, *(r.epoch + 1 for r in seen.values() if r.epoch > replica.epoch)])
        head = _head(own, seen)
        for model in replica_list:
            record = seen.get(model.id)
            if record is not None and record.role == Role.ACTIVE:
                self._step_at(model, "fence")
                record.role, record.epoch = Role.DEMOTED, epoch if model.id == head else record.epoch
                self._step_at(model, "fenced")
        told: dict[str, Any] = {"kind": PromotionKind.PLANNED.value}
        if head is not None:
            section = next(PoolRef.parse(m.host).backend for m in replica_list if m.id == head)
            self._step(f"copy from {section}")
            if head != rows_active and seen[head].promotion:
                told = seen[head].promotion  # of a reign that began without the old one, and was told to nobody
            with self._changing():
                self._bring_to(own, seen[head], ())
        elif rows_active != replica.id:
            if own.synced_at is None or own.role == Role.DEMOTED:
                raise Conflict("The replica has never been in sync with the active one, which does not answer.")
            told = {"kind": PromotionKind.UNPLANNED.value, "recovery_point": own.synced_at, "reason": "; ".join(away)}
        with self._changing():
            own.role, own.epoch, own.promotion, own.is_served = Role.ACTIVE, epoch, told, True

    def _others(
        self, replica: ShareModel, replica_list: Sequence[ShareModel]
    ) -> tuple[dict[str, Filesystem], list[str]]:
        """The other copies that answer, by instance; and why the rest does not."""
        seen: dict[str, Filesystem] = {}
        away: list[str] = []
        for model in replica_list:
            if model.id == replica.id:
                continue
            try:
                record = self._peer(model, "look")
            except Unavailable as fault:
                away.append(fault.message)
                continue
            if record is not None:
                seen[model.id] = record
        return seen, away

    # --- snapshots ----------------------------------------------------------------------------------------------

    def create_replicated_snapshot(
        self,
        context: Any,
        replica_list: Sequence[ShareModel],
        replica_snapshots: Sequence[SnapshotModel],
        share_server: Any = None,
    ) -> list[dict[str, Any]]:
        """Taken on the active one at once; a sync brings it to the others."""
        active = next(model for model in replica_list if model.replica_state == "active")
        mine = next(item for item in replica_snapshots if item.share_instance_id == active.id)
        with self._changing():
            own = self._own(active)
            if own.role != Role.ACTIVE:
                raise Unavailable("The active replica has just been fenced.")
            own.snapshots.setdefault(mine.name, snapshot_of(own, mine))
        return [{"id": mine.id, "status": "available", "progress": "100%", "provider_location": mine.name}]

    def delete_replicated_snapshot(
        self,
        context: Any,
        replica_list: Sequence[ShareModel],
        replica_snapshots: Sequence[SnapshotModel],
        share_server: Any = None,
    ) -> list[dict[str, Any]]:
        """On the active one first, else a sync would bring it back. A host that is away does its part when asked."""
        by_instance = {item.share_instance_id: item for item in replica_snapshots}
        gone: list[dict[str, Any]] = []
        for model in sorted(replica_list, key=lambda model: model.replica_state != "active"):
            item = by_instance.get(model.id)
            if item is None:
                continue
            try:
                record = self._peer(model, "delete snapshot")
            except Unavailable:
                if model.replica_state == "active":
                    raise
                continue
            if record is not None:
                _forget(record, item)
            gone.append({"id": item.id, "status": "deleted"})
        return gone

    def update_replicated_snapshot(
        self,
        context: Any,
        replica_list: Sequence[ShareModel],
        share_replica: ShareModel,
        replica_snapshots: Sequence[SnapshotModel],
        replica_snapshot: SnapshotModel,
        share_server: Any = None,
    ) -> dict[str, Any] | None:
        with self._changing():
            own = self._own(share_replica)
            if replica_snapshot.status == "deleting":
                _forget(own, replica_snapshot)
                raise SnapshotResourceNotFound("It is gone.")
            for item in own.snapshots.values():
                if item.snapshot_id == replica_snapshot.snapshot_id:
                    item.owner = replica_snapshot.id
                    return {"id": replica_snapshot.id, "status": "available", "progress": "100%"}
            for model in replica_list:
                if model.replica_state == "active" and model.id != share_replica.id:
                    self._check_is_coming(model, replica_snapshots)
        return None

    def _check_is_coming(self, active: ShareModel, replica_snapshots: Sequence[SnapshotModel]) -> None:
        """Raises SnapshotLost when the active replica has the snapshot by its row only."""
        mine = next((item for item in replica_snapshots if item.share_instance_id == active.id), None)
        if mine is None or mine.status != "available":
            return
        try:
            record = self._peer(active, "look for snapshot")
        except Unavailable:
            return
        if record is None or record.role is not Role.ACTIVE:
            return
        if all(item.snapshot_id != mine.snapshot_id for item in record.snapshots.values()):
            raise SnapshotLost("The active replica does not have it any more.")

    def revert_to_replicated_snapshot(
        self,
        context: Any,
        active_replica: ShareModel,
        replica_list: Sequence[ShareModel],
        active_replica_snapshot: SnapshotModel,
        replica_snapshots: Sequence[SnapshotModel],
        share_access_rules: Sequence[AccessModel],
        snapshot_access_rules: Sequence[AccessModel],
        share_server: Any = None,
    ) -> None:
        with self._changing():
            own = self._own(active_replica)
            found = [i for i in own.snapshots.values() if i.snapshot_id == active_replica_snapshot.snapshot_id]
            if not found:
                raise SnapshotResourceNotFound(f"There is no snapshot {active_replica_snapshot.snapshot_id}.")
            go_back(own, found[0])

    # --- `HasReplicaReports` ------------------------------------------------------------------------------------

    def replica_reports(
        self, replicas: Sequence[ShareModel], replica_lists: Mapping[str, Sequence[ShareModel]]
    ) -> dict[str, ReplicaReport]:
        self._step("look")
        reports: dict[str, ReplicaReport] = {}
        for replica in replicas:
            own = self._storage.find(self._section, replica.id)
            if own is None:
                continue
            changed = self._is_changed(own, replica, replica_lists.get(replica.share_id, ()))
            if changed is False and own.role == Role.REPLICA:
                own.synced_at = self.clock.utc().isoformat()
            synced_at = datetime.fromisoformat(own.synced_at) if own.synced_at else None
            reports[replica.id] = ReplicaReport(
                Role(own.role), own.epoch, synced_at, changed, tuple(own.set_aside), synced_at is not None
            )
        return reports

    def _is_changed(self, own: Filesystem, replica: ShareModel, replica_list: Sequence[ShareModel]) -> bool | None:
        active = next((model for model in replica_list if model.replica_state == "active"), None)
        if active is None or active.id == replica.id or own.synced_at is None:
            return None
        try:
            source = self._peer(active, "look")
        except Unavailable:
            return None
        if source is None or source.role != Role.ACTIVE or source.epoch < own.epoch:
            return None
        return source.epoch != own.epoch or source.written != own.written or _ids(source) != _ids(own)

    def rehearse_replica(self, replica: ShareModel, client: str) -> list[dict[str, Any]]:
        own = self._own(replica)
        if own.synced_at is None:
            raise Conflict("The replica holds nothing yet.")
        return self._locations(f"/rehearsal_{replica.id}")

    def end_rehearsal(self, replica: ShareModel) -> None:
        """Nothing was made."""

    def end_replication(self, replica: ShareModel) -> None:
        """Nothing is kept for others."""

    # --- steps --------------------------------------------------------------------------------------------------

    def _step(self, what: str) -> None:
        self._storage.before(self._section, what)

    def _step_at(self, model: ShareModel, what: str) -> None:
        self._storage.before(PoolRef.parse(model.host).backend, what)

    def _peer(self, model: ShareModel, what: str) -> Filesystem | None:
        """Another backend's copy. Raises Unavailable."""
        section = PoolRef.parse(model.host).backend
        self._storage.before(section, what)
        return self._storage.find(section, model.id)

    def _own(self, share: ShareModel) -> Filesystem:
        own = self._storage.find(self._section, share.id)
        if own is None:
            raise ShareResourceNotFound(f"There is no replica {share.id} on the backend.")
        return own

    def _bring_to(self, own: Filesystem, source: Filesystem, pairs: Pairs) -> None:
        """Make `own` hold what `source` holds; what only a copy that was active once has is set aside."""
        common = _common(own.written, source.written)
        if own.role == Role.DEMOTED and common < len(own.written):
            own.set_aside.append(f"diverged_{own.epoch}: {','.join(own.written[common:])}")
        ids = {pair["active_replica_snapshot"].id: pair["share_replica_snapshot"].id for pair in pairs}
        owners = {item.snapshot_id: item.owner for item in own.snapshots.values()}
        own.written, own.used_gib = list(source.written), source.used_gib
        own.snapshots = {
            name: Snapshot(
                ids.get(item.owner or "", owners.get(item.snapshot_id, item.owner)),
                item.size_gib,
                item.used_gib,
                item.snapshot_id,
                list(item.written),
            )
            for name, item in source.snapshots.items()
        }

    def _serve_again(self, shares: Sequence[ShareModel]) -> None:
        """What `ensure_shares` does: of a replicated share only the one the rows call active, and no older reign."""
        for share in shares:
            record = self._storage.find(self._section, share.id)
            if record is None:
                continue
            if share.replica_state not in (None, "active") and record.role == Role.ACTIVE:
                record.role = Role.DEMOTED
            elif record.role == Role.ACTIVE:
                record.is_served = True

    def write(self, share: ShareModel, what: str) -> None:
        """A client writes. OSError when it is refused."""
        with self._storage.lock:
            own = self._own(share)
            if own.role != Role.ACTIVE or not own.is_served:
                raise OSError(30, "read-only")
            own.written.append(what)

    # --- what the rest of the driver gives ----------------------------------------------------------------------

    def _changing(self) -> AbstractContextManager[dict[str, Filesystem]]:
        raise NotImplementedError

    def _make(self, records: dict[str, Filesystem], share: ShareModel, source: Snapshot | None = None) -> Filesystem:
        raise NotImplementedError

    def _path_of(self, records: Mapping[str, Filesystem], share: ShareModel) -> str | None:
        raise NotImplementedError

    def _locations(self, path: str) -> list[dict[str, Any]]:
        raise NotImplementedError


def _head(own: Filesystem, seen: Mapping[str, Filesystem]) -> str | None:
    """The copy that has the truth, by the latest reign; None when it is our own, or none of these."""
    found = {i: record for i, record in seen.items() if record.role in (Role.ACTIVE, Role.DEMOTED) and record.epoch}
    head = max(found, key=lambda i: (found[i].epoch, found[i].role == Role.ACTIVE), default=None)
    if head is None or (own.role == Role.DEMOTED and own.epoch > found[head].epoch):
        return None
    return head


def snapshot_of(record: Filesystem, snapshot: SnapshotModel) -> Snapshot:
    """A snapshot of what the share holds now."""
    return Snapshot(snapshot.id, record.size_gib, record.used_gib, snapshot.snapshot_id, list(record.written))


def go_back(record: Filesystem, snapshot: Snapshot) -> None:
    """Let the share hold what it held then."""
    record.used_gib, record.written = snapshot.used_gib, list(snapshot.written)


def _forget(record: Filesystem, snapshot: SnapshotModel) -> None:
    record.snapshots = {n: i for n, i in record.snapshots.items() if i.snapshot_id != snapshot.snapshot_id}


def _ids(record: Filesystem) -> set[str | None]:
    return {item.snapshot_id for item in record.snapshots.values()}


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many items both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _rules(rules: Sequence[AccessModel], *, is_read_only: bool) -> list[list[str]]:
    level = AccessLevel.RO.value
    return [[rule.access_type, rule.access_to, level if is_read_only else rule.access_level] for rule in rules]
