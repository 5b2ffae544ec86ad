"""A driver without storage: shares are records, in memory or in a JSON file. For trying the API and for tests of it.

It keeps the driver contract exactly (everything can be repeated, nothing foreign is touched) and reports pools of a
configured size. Nothing it makes can be mounted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from oslo_config import cfg

from penstock.clock import Clock, SystemClock
from penstock.domain.access import AccessState, AccessType
from penstock.domain.pools import PoolRef
from penstock.errors import (
    Conflict,
    InsufficientCapacity,
    Invalid,
    ManageInvalidShare,
    ManageInvalidShareSnapshot,
    ShareResourceNotFound,
    ShareShrinkingPossibleDataLoss,
    SnapshotResourceNotFound,
)
from penstock.share.driver import ShareDriver
from penstock.share.drivers.dummy_migrations import DummyMigrations
from penstock.share.drivers.dummy_records import DummyStorage, Filesystem, Snapshot, parse, storage_of
from penstock.share.drivers.dummy_replicas import DummyReplicas, go_back, snapshot_of
from penstock.share.models import AccessModel, ShareModel, SnapshotModel
from penstock.units import GIB

OPTIONS = (
    cfg.ListOpt("dummy_pools", default=["pool"], help="Names of the pools."),
    cfg.IntOpt("dummy_pool_size", default=1000, min=1, help="Size of each pool in GiB."),
    cfg.StrOpt("dummy_export_ip", default="192.0.2.1", help="Address in the export locations; nothing answers there."),
    cfg.StrOpt("dummy_state_file", help="File that keeps the records over a restart; only in memory when unset."),
)
ACCESS_TYPES = {"NFS": {AccessType.IP}, "CIFS": {AccessType.IP, AccessType.USER}}


class DummyDriver(DummyReplicas, DummyMigrations, ShareDriver):
    """Shares that exist as records only."""

    OPTIONS = OPTIONS

    def __init__(
        self, *args: Any, storage: DummyStorage | None = None, clock: Clock | None = None, **kwargs: Any
    ) -> None:
        """`storage` and `clock` replace the records and the time, for tests."""
        super().__init__(False, *args, **kwargs)
        if self.configuration is None:
            raise Invalid("The dummy driver needs a configuration.")
        self.configuration.append_config_values(OPTIONS)
        state_file = self.configuration.safe_get("dummy_state_file")
        self._file = Path(state_file) if state_file else None
        self.clock = clock or SystemClock()
        self._storage = storage or storage_of(self.configuration.conf, self.replication_domain)
        self._section = self.configuration.config_group
        self._lock = self._storage.lock

    def do_setup(self, context: Any) -> None:
        with self._lock:
            if self._file is not None and self._file.exists():
                self._records.update(parse(self._file.read_text()))

    def get_backend_info(self, context: Any) -> dict[str, Any]:
        self._storage.before(self._section, "look")
        return {"boots": self._storage.boots.get(self._section, 0)}

    # --- shares -------------------------------------------------------------------------------------------------

    def create_share(self, context: Any, share: ShareModel, share_server: Any = None) -> list[dict[str, Any]]:
        with self._changing() as records:
            self._make(records, share).is_served = True  # also when its host was away since an earlier attempt
        return self._locations(_path(share))

    def create_share_from_snapshot(
        self,
        context: Any,
        share: ShareModel,
        snapshot: SnapshotModel,
        share_server: Any = None,
        parent_share: ShareModel | None = None,
    ) -> list[dict[str, Any]]:
        with self._changing() as records:
            source = self._snapshot(records, snapshot)
            self._make(records, share, source).is_served = True
        return self._locations(_path(share))

    def delete_share(self, context: Any, share: ShareModel, share_server: Any = None) -> None:
        with self._changing() as records:
            path = self._path_of(records, share)
            if path is not None:
                del records[path]

    def extend_share(self, share: ShareModel, new_size: int, share_server: Any = None) -> None:
        with self._changing() as records:
            record = self._owned(records, share)
            self._check_room(records, record.pool, new_size - record.size_gib)
            record.size_gib = new_size

    def shrink_share(self, share: ShareModel, new_size: int, share_server: Any = None) -> None:
        with self._changing() as records:
            record = self._owned(records, share)
            if record.used_gib > new_size:
                used_bytes = round(record.used_gib * GIB)
                raise ShareShrinkingPossibleDataLoss(share_id=share.share_id, used_bytes=used_bytes)
            record.size_gib = new_size

    def ensure_shares(self, context: Any, shares: Sequence[ShareModel]) -> dict[str, dict[str, Any]]:
        self._storage.before(self._section, "ensure")
        with self._lock:
            owned = {record.owner: path for path, record in self._records.items() if record.owner is not None}
            self._serve_again(shares)
        return {
            share.id: {"export_locations": self._locations(owned[share.id])}
            if share.id in owned
            else {"status": "error"}
            for share in shares
        }

    def get_pool(self, share: ShareModel) -> str:
        with self._lock:
            path = self._path_of(self._records, share) or _exported_path(share)
            if path not in self._records:
                raise ManageInvalidShare(f"There is nothing at '{path}'.")
            return self._records[path].pool

    def update_share_usage_size(self, context: Any, shares: Sequence[ShareModel]) -> list[dict[str, Any]]:
        with self._lock:
            used = {record.owner: record.used_gib for record in self._records.values()}
        return [{"id": share.id, "used_size": used[share.id]} for share in shares if share.id in used]

    def manage_existing(self, share: ShareModel, driver_options: Mapping[str, Any]) -> dict[str, Any]:
        path = _exported_path(share)
        if share.share_proto.upper() not in ACCESS_TYPES:
            raise ManageInvalidShare(f"'{share.share_proto}' is not one of {', '.join(ACCESS_TYPES)}.")
        with self._changing() as records:
            record = records.get(path)
            if record is None:
                raise ManageInvalidShare(f"There is nothing at '{path}'.")
            if record.owner not in (None, share.id):
                raise ManageInvalidShare(f"'{path}' is managed already.")
            record.owner = share.id
            return {"size": record.size_gib, "export_locations": self._locations(path)}

    def unmanage(self, share: ShareModel) -> None:
        with self._changing() as records:
            path = self._path_of(records, share)
            if path is not None:
                records[path].owner = None

    # --- access -------------------------------------------------------------------------------------------------

    def update_access(
        self,
        context: Any,
        share: ShareModel,
        access_rules: Sequence[AccessModel],
        add_rules: Sequence[AccessModel],
        delete_rules: Sequence[AccessModel],
        share_server: Any = None,
    ) -> dict[str, dict[str, Any]]:
        types = ACCESS_TYPES.get(share.share_proto, set(AccessType))
        refused = [rule.access_id for rule in access_rules if rule.access_type not in types]
        with self._changing() as records:
            self._owned(records, share).rules = [
                [rule.access_type, rule.access_to, rule.access_level]
                for rule in access_rules
                if rule.access_id not in refused
            ]
        return {access_id: {"state": AccessState.ERROR.value} for access_id in refused}

    # --- snapshots ----------------------------------------------------------------------------------------------

    def create_snapshot(self, context: Any, snapshot: SnapshotModel, share_server: Any = None) -> dict[str, Any]:
        with self._changing() as records:
            path = self._path_of(records, snapshot.share)
            if path is None:
                raise ShareResourceNotFound(f"There is no share {snapshot.share_id} on the backend.")
            record = records[path]
            taken = snapshot_of(record, snapshot)
            if record.snapshots.setdefault(snapshot.name, taken).owner != snapshot.id:
                raise Conflict(f"A snapshot called {snapshot.name} exists and is not ours.")
        return {"provider_location": f"{path}@{snapshot.name}"}

    def delete_snapshot(self, context: Any, snapshot: SnapshotModel, share_server: Any = None) -> None:
        with self._changing() as records:
            path = self._path_of(records, snapshot.share)
            if path is not None:
                kept = {name: item for name, item in records[path].snapshots.items() if item.owner != snapshot.id}
                records[path].snapshots = kept

    def revert_to_snapshot(
        self,
        context: Any,
        snapshot: SnapshotModel,
        share_access_rules: Sequence[AccessModel],
        snapshot_access_rules: Sequence[AccessModel],
        share_server: Any = None,
    ) -> None:
        with self._changing() as records:
            go_back(self._owned(records, snapshot.share), self._snapshot(records, snapshot))

    def manage_existing_snapshot(self, snapshot: SnapshotModel, driver_options: Mapping[str, Any]) -> dict[str, Any]:
        name = (snapshot.provider_location or "").rpartition("@")[2]
        with self._changing() as records:
            found = self._owned(records, snapshot.share).snapshots.get(name)
            if found is None:
                raise ManageInvalidShareSnapshot(f"The share has no snapshot '{name}'.")
            if found.owner not in (None, snapshot.id):
                raise ManageInvalidShareSnapshot(f"The snapshot '{name}' is managed already.")
            found.owner = snapshot.id
            return {"size": found.size_gib, "provider_location": snapshot.provider_location}

    def unmanage_snapshot(self, snapshot: SnapshotModel) -> None:
        with self._changing() as records:
            for record in records.values():
                for item in record.snapshots.values():
                    if item.owner == snapshot.id:
                        item.owner = None

    # --- the backend --------------------------------------------------------------------------------------------

    def _update_share_stats(self, data: Mapping[str, Any] | None = None) -> None:
        with self._lock:
            pools = [
                {
                    "pool_name": pool,
                    "total_capacity_gb": float(self.configuration.dummy_pool_size),
                    "free_capacity_gb": float(self._free_gib(self._records, pool)),
                    "thin_provisioning": False,
                    "replication_type": "readable" if self.replication_domain else None,
                }
                for pool in self.configuration.dummy_pools
            ]
        super()._update_share_stats(
            {"vendor_name": "Penstock", "storage_protocol": "_".join(ACCESS_TYPES), "pools": pools, **(data or {})}
        )

    # --- records ------------------------------------------------------------------------------------------------

    def set_used(self, share: ShareModel, used_gib: float) -> None:
        """Pretend that clients have written so much: nobody can mount the share to do it."""
        with self._changing() as records:
            self._owned(records, share).used_gib = used_gib

    @property
    def _records(self) -> dict[str, Filesystem]:
        return self._storage.of(self._section)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Filesystem]]:
        with self._lock:
            self._storage.before(self._section, "change")
            yield self._records
            self._storage.before(self._section, "changed")
            if self._file is not None:
                new = self._file.with_suffix(".new")
                new.write_text(json.dumps({path: asdict(record) for path, record in self._records.items()}))
                new.replace(self._file)

    def _make(self, records: dict[str, Filesystem], share: ShareModel, source: Snapshot | None = None) -> Filesystem:
        path, pool = _path(share), PoolRef.parse(share.host).pool
        if pool not in self.configuration.dummy_pools:
            raise Invalid(f"There is no pool '{pool}'.")
        if path not in records:
            self._check_room(records, pool, share.size)
            used_gib, written = (source.used_gib, source.written) if source else (0.0, [])
            records[path] = Filesystem(share.id, pool, share.size, used_gib, written=list(written))
        elif records[path].owner != share.id:
            raise Conflict(f"'{path}' exists and is not ours.")
        return records[path]

    def _check_room(self, records: dict[str, Filesystem], pool: str, more_gib: int) -> None:
        if more_gib > self._free_gib(records, pool):
            raise InsufficientCapacity(f"The pool '{pool}' has no room for {more_gib} GiB more.")

    def _free_gib(self, records: Mapping[str, Filesystem], pool: str) -> int:
        size: int = self.configuration.dummy_pool_size
        return size - sum(record.size_gib for record in records.values() if record.pool == pool)

    def _path_of(self, records: Mapping[str, Filesystem], share: ShareModel) -> str | None:
        return next((path for path, record in records.items() if record.owner == share.id), None)

    def _owned(self, records: Mapping[str, Filesystem], share: ShareModel) -> Filesystem:
        path = self._path_of(records, share)
        if path is None:
            raise ShareResourceNotFound(f"There is no share {share.share_id} on the backend.")
        return records[path]

    def _snapshot(self, records: Mapping[str, Filesystem], snapshot: SnapshotModel) -> Snapshot:
        for record in records.values():
            for item in record.snapshots.values():
                if item.owner == snapshot.id:
                    return item
        raise SnapshotResourceNotFound(f"There is no snapshot {snapshot.snapshot_id} on the backend.")

    def _place(self, share: ShareModel) -> str:
        return _path(share)

    def _locations(self, path: str) -> list[dict[str, Any]]:
        location = f"{self.configuration.dummy_export_ip}:{path}"
        return [{"path": location, "is_admin_only": False, "preferred": True, "metadata": {}}]


def _path(share: ShareModel) -> str:
    return f"/{PoolRef.parse(share.host).pool}/{share.name}"


def _exported_path(share: ShareModel) -> str:
    return (share.export_location or "").partition(":")[2]
