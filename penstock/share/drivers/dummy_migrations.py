"""Migrations of the dummy driver: the order of steps of the real thing, between backends that share records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from penstock.domain.pools import PoolRef
from penstock.errors import Cancelled, Conflict, ShareResourceNotFound
from penstock.share.drivers.dummy_records import DummyStorage, Filesystem, Snapshot
from penstock.share.models import ShareModel, SnapshotModel
from penstock.share.replication import UNWATCHED, Role, Watch

Mappings = Mapping[str, SnapshotModel]


class DummyMigrations:
    """The migration methods; the rest of the driver gives the records. Implements `HasWatchedMigration`."""

    watches_migrations = True
    _storage: DummyStorage
    _section: str

    def migration_check_compatibility(
        self,
        context: Any,
        source_share: ShareModel,
        destination_share: ShareModel,
        share_server: Any = None,
        destination_share_server: Any = None,
    ) -> dict[str, Any]:
        can = PoolRef.parse(destination_share.host).backend in self._storage.backends
        return {
            "compatible": can,
            "writable": can,
            "preserve_metadata": can,
            "nondisruptive": False,
            "preserve_snapshots": can,
        }

    def migration_start(
        self,
        context: Any,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mappings,
        share_server: Any = None,
        destination_share_server: Any = None,
    ) -> None:
        self._source(source_share)
        self._there(destination_share, "make the destination")
        records = self._storage.of(PoolRef.parse(destination_share.host).backend)
        path, pool = self._place(destination_share), PoolRef.parse(destination_share.host).pool
        with self._changing():
            records.setdefault(
                path,
                Filesystem(destination_share.id, pool, destination_share.size, role=Role.REPLICA, is_served=False),
            )

    def migration_continue(
        self,
        context: Any,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mappings,
        share_server: Any = None,
        destination_share_server: Any = None,
        *,
        watch: Watch = UNWATCHED,
    ) -> bool:
        if watch.should_stop():
            raise Cancelled("The copy was asked to stop.")
        self._copy(source_share, destination_share, snapshot_mappings)
        watch.on_progress(1)
        return True

    def migration_complete(
        self,
        context: Any,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mappings,
        share_server: Any = None,
        destination_share_server: Any = None,
        *,
        watch: Watch = UNWATCHED,
    ) -> dict[str, Any]:
        there = self._there(destination_share, "look")
        if there is None:
            raise ShareResourceNotFound("There is no destination.")
        if there.role != Role.ACTIVE:
            source = self._source(source_share)
            with self._changing():
                source.role = Role.DEMOTED  # from here on nothing is written that the last copy would miss
            self._copy(source_share, destination_share, snapshot_mappings)
            self._there(destination_share, "serve")
            with self._changing():
                there.role, there.is_served, there.rules = Role.ACTIVE, True, list(source.rules)
        path = self._place(destination_share)
        updates = {
            there_model.id: {"provider_location": f"{path}@{here.name}"}
            for here in source_snapshots
            if (there_model := snapshot_mappings.get(here.id)) is not None
        }
        return {"export_locations": self._locations(path), "snapshot_updates": updates}

    def migration_cancel(
        self,
        context: Any,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mappings,
        share_server: Any = None,
        destination_share_server: Any = None,
    ) -> None:
        there = self._there(destination_share, "look")
        if there is not None and there.role == Role.ACTIVE:
            raise Conflict("The destination serves already.")
        if there is not None:
            self._there(destination_share, "remove the destination")
            with self._changing():
                del self._storage.of(PoolRef.parse(destination_share.host).backend)[self._place(destination_share)]
        source = self._source(source_share)
        with self._changing():
            source.role, source.is_served = Role.ACTIVE, True

    def migration_get_progress(
        self,
        context: Any,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mappings,
        share_server: Any = None,
        destination_share_server: Any = None,
    ) -> dict[str, Any]:
        source, there = self._source(source_share), self._there(destination_share, "look")
        done, total = len(there.written) if there else 0, len(source.written)
        percent = 100 * done // total if total else 100
        return {"total_progress": percent, "moved_bytes": done, "total_bytes": max(total, 1), "eta_seconds": 0}

    # --- steps --------------------------------------------------------------------------------------------------

    def _copy(self, source_share: ShareModel, destination_share: ShareModel, mappings: Mappings) -> None:
        source, there = self._source(source_share), self._there(destination_share, "look")
        if there is None:
            raise ShareResourceNotFound("There is no destination.")
        self._there(destination_share, f"copy from {self._section}")
        owners = {here: model.id for here, model in mappings.items()}
        with self._changing():
            there.written, there.used_gib = list(source.written), source.used_gib
            there.snapshots = {
                name: Snapshot(
                    owners.get(item.owner or "", item.owner),
                    item.size_gib,
                    item.used_gib,
                    item.snapshot_id,
                    list(item.written),
                )
                for name, item in source.snapshots.items()
            }

    def _source(self, share: ShareModel) -> Filesystem:
        found = self._storage.find(self._section, share.id)
        if found is None:
            raise ShareResourceNotFound(f"There is no share {share.share_id} on the backend.")
        return found

    def _there(self, share: ShareModel, what: str) -> Filesystem | None:
        """The destination's record, with the step `what` taken at its backend. Raises Unavailable."""
        section = PoolRef.parse(share.host).backend
        self._storage.before(section, what)
        return self._storage.find(section, share.id)

    # --- what the rest of the driver gives ----------------------------------------------------------------------

    def _place(self, share: ShareModel) -> str:
        raise NotImplementedError

    def _changing(self) -> AbstractContextManager[dict[str, Filesystem]]:
        raise NotImplementedError

    def _locations(self, path: str) -> list[dict[str, Any]]:
        raise NotImplementedError
