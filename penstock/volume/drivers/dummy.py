"""A driver without storage: volumes are records, in memory or in a JSON file. For trying the API and for tests of it.

It keeps the driver contract exactly (everything can be repeated, nothing foreign is touched) and reports pools of a
configured size. Nothing it makes can be connected to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oslo_config import cfg

from penstock.domain.pools import PoolRef
from penstock.errors import Conflict, InsufficientCapacity, Invalid
from penstock.images.model import ImageModel
from penstock.images.service import ImageService
from penstock.volume.driver import VolumeDriver
from penstock.volume.drivers.dummy_records import DummyVolumes, SnapshotRecord, VolumeRecord
from penstock.volume.errors import (
    InvalidConnectorException,
    ManageExistingAlreadyManaged,
    ManageExistingInvalidReference,
    SnapshotNotFound,
    VolumeIsBusy,
    VolumeNotFound,
)
from penstock.volume.generic.capabilities import backend_name
from penstock.volume.interface.values import ConnectionInfo, Connector, Context, Updates
from penstock.volume.models import SnapshotModel, VolumeModel, VolumeTypeModel

OPTIONS = (
    cfg.ListOpt("dummy_pools", default=["pool"], help="Names of the pools."),
    cfg.IntOpt("dummy_pool_size", default=1000, min=1, help="Size of each pool in GiB."),
    cfg.StrOpt("dummy_portal", default="192.0.2.1:3260", help="Address that initiators are told; nothing answers."),
    cfg.StrOpt("dummy_state_file", help="File that keeps the records over a restart; only in memory when unset."),
)
REFERENCE = "source-name"


class DummyVolumeDriver(VolumeDriver):
    """Volumes that exist as records only."""

    VERSION = "1.0"

    def __init__(self, *args: Any, storage: DummyVolumes | None = None, **kwargs: Any) -> None:
        """`storage` replaces the records, for tests."""
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        state_file = self.configuration.safe_get("dummy_state_file")
        self._file = Path(state_file) if state_file else None
        self._storage = storage or DummyVolumes()

    @staticmethod
    def get_driver_options() -> Sequence[cfg.Opt]:
        return OPTIONS

    def do_setup(self, context: Context) -> None:
        with self._storage.lock:
            if self._file is not None and self._file.exists():
                self._storage.read(self._file.read_text())

    def check_for_setup_error(self) -> None:
        self._storage.before("setup")

    # --- volumes ------------------------------------------------------------------------------------------------

    def create_volume(self, volume: VolumeModel) -> Updates | None:
        with self._changing("create"):
            self._make(volume, [])
        return None

    def create_volume_from_snapshot(self, volume: VolumeModel, snapshot: SnapshotModel) -> Updates | None:
        with self._changing("create from snapshot"):
            self._make(volume, self._snapshot(snapshot).written)
        return None

    def create_cloned_volume(self, volume: VolumeModel, src_vref: VolumeModel) -> Updates | None:
        with self._changing("clone"):
            self._make(volume, self._owned(src_vref).written)
        return None

    def delete_volume(self, volume: VolumeModel) -> None:
        with self._changing("delete") as records:
            name = self._name_of(volume)
            if name is None:
                return
            if any(snapshot.owner is not None for snapshot in records[name].snapshots.values()):
                raise VolumeIsBusy(volume_name=volume.name)
            del records[name]

    def extend_volume(self, volume: VolumeModel, new_size: int) -> None:
        with self._changing("extend"):
            record = self._owned(volume)
            self._check_room(record.pool, new_size - record.size_gib)
            record.size_gib = max(new_size, record.size_gib)

    def revert_to_snapshot(self, context: Context, volume: VolumeModel, snapshot: SnapshotModel) -> None:
        with self._changing("revert"):
            self._owned(volume).written = list(self._snapshot(snapshot).written)

    def retype(
        self,
        context: Context,
        volume: VolumeModel,
        new_type: VolumeTypeModel,
        diff: Mapping[str, Any],
        host: Mapping[str, Any],
    ) -> tuple[bool, Updates | None]:
        with self._changing("retype"):
            self._owned(volume)
        return host["host"] == volume.host, None

    def migrate_volume(
        self, context: Context, volume: VolumeModel, host: Mapping[str, Any]
    ) -> tuple[bool, Updates | None]:
        target = PoolRef.parse(host["host"])
        if target.service_host != PoolRef.parse(volume.host).service_host:
            return False, None
        with self._changing("migrate"):
            record = self._owned(volume)
            if record.pool != target.pool:
                self._check_room(target.pool, record.size_gib)
                record.pool = target.pool
        return True, None

    def get_pool(self, volume: VolumeModel) -> str | None:
        with self._storage.lock:
            name = self._name_of(volume)
            return None if name is None else self._storage.volumes[name].pool

    def copy_image_to_volume(
        self, context: Context, volume: VolumeModel, image_service: ImageService, image_id: str
    ) -> None:
        with self._changing("copy image"):
            self._owned(volume).written = [f"image {image_id}"]

    def copy_volume_to_image(
        self, context: Context, volume: VolumeModel, image_service: ImageService, image_meta: Any
    ) -> ImageModel:
        with self._changing("copy to image"):
            self._owned(volume)
        return image_service.show(context, str(image_meta["id"]))

    # --- snapshots ----------------------------------------------------------------------------------------------

    def create_snapshot(self, snapshot: SnapshotModel) -> Updates | None:
        with self._changing("snapshot"):
            record = self._owned(snapshot.volume)
            taken = SnapshotRecord(snapshot.id, record.size_gib, list(record.written))
            if record.snapshots.setdefault(snapshot.name, taken).owner != snapshot.id:
                raise Conflict(f"A snapshot called {snapshot.name} exists and is not ours.")
        return None

    def delete_snapshot(self, snapshot: SnapshotModel) -> None:
        with self._changing("delete snapshot"):
            name = self._name_of(snapshot.volume)
            if name is not None:
                kept = self._storage.volumes[name].snapshots
                self._storage.volumes[name].snapshots = {
                    key: item for key, item in kept.items() if item.owner != snapshot.id
                }

    # --- connections --------------------------------------------------------------------------------------------

    def validate_connector(self, connector: Connector) -> None:
        if not connector.get("initiator"):
            raise InvalidConnectorException(missing="initiator")

    def ensure_export(self, context: Context, volume: VolumeModel) -> Updates | None:
        with self._changing("ensure export"):
            record = self._owned(volume)
            record.is_exported = True
            record.initiators = sorted(
                {one.connector["initiator"] for one in volume.volume_attachment if one.connector}
            )
        return None

    def create_export(self, context: Context, volume: VolumeModel, connector: Connector) -> Updates | None:
        with self._changing("export"):
            self._owned(volume).is_exported = True
        return {"provider_location": f"{self.configuration.dummy_portal},1 {self._target(volume)} 1"}

    def remove_export(self, context: Context, volume: VolumeModel) -> None:
        with self._changing("remove export") as records:
            name = self._name_of(volume)
            if name is not None:
                records[name].is_exported, records[name].initiators = False, []

    def initialize_connection(self, volume: VolumeModel, connector: Connector, **kwargs: Any) -> ConnectionInfo:
        with self._changing("connect"):
            record = self._owned(volume)
            record.initiators = sorted({*record.initiators, connector["initiator"]})
        data = {
            "target_discovered": False,
            "target_portal": self.configuration.dummy_portal,
            "target_iqn": self._target(volume),
            "target_lun": 1,
            "volume_id": volume.id,
        }
        return {"driver_volume_type": "iscsi", "data": data}

    def terminate_connection(self, volume: VolumeModel, connector: Connector | None, **kwargs: Any) -> bool | None:
        with self._changing("disconnect") as records:
            name = self._name_of(volume)
            if name is None:
                return None
            gone = set(records[name].initiators) if connector is None else {connector.get("initiator")}
            records[name].initiators = [one for one in records[name].initiators if one not in gone]
            return bool(records[name].initiators)

    # --- adopting -----------------------------------------------------------------------------------------------

    def manage_existing(self, volume: VolumeModel, existing_ref: Mapping[str, Any]) -> Updates | None:
        with self._changing("manage") as records:
            if self._name_of(volume) is not None:
                return None  # by a call that was interrupted
            name = self._referred(existing_ref)
            if records[name].owner not in (None, volume.name_id):
                raise ManageExistingAlreadyManaged(f"'{name}' is managed already.")
            record = records.pop(name)
            record.owner = volume.name_id
            records[volume.name] = record
        return None

    def manage_existing_get_size(self, volume: VolumeModel, existing_ref: Mapping[str, Any]) -> int:
        with self._storage.lock:
            own = self._name_of(volume)  # taken over already, by a call that was interrupted
            return self._storage.volumes[own or self._referred(existing_ref)].size_gib

    def get_manageable_volumes(
        self,
        cinder_volumes: Sequence[VolumeModel],
        marker: Mapping[str, Any] | None,
        limit: int,
        offset: int,
        sort_keys: Sequence[str],
        sort_dirs: Sequence[str],
    ) -> list[dict[str, Any]]:
        ours = {volume.name_id: volume.id for volume in cinder_volumes}
        with self._storage.lock:
            found = [
                {
                    "reference": {REFERENCE: name},
                    "size": record.size_gib,
                    "safe_to_manage": record.owner is None,
                    "reason_not_safe": None if record.owner is None else "It is managed already.",
                    "cinder_id": ours.get(record.owner or ""),
                    "extra_info": None,
                }
                for name, record in sorted(self._storage.volumes.items())
            ]
        for key, direction in reversed(list(zip(sort_keys, sort_dirs, strict=True))):
            found.sort(key=lambda item, key=key: str(item[key]), reverse=direction == "desc")  # type: ignore[misc]
        start = next((place + 1 for place, item in enumerate(found) if item["reference"] == marker), 0)
        return found[start + offset : start + offset + limit]

    def unmanage(self, volume: VolumeModel) -> None:
        with self._changing("unmanage") as records:
            name = self._name_of(volume)
            if name is not None:
                records[name].owner = None

    def manage_existing_snapshot(self, snapshot: SnapshotModel, existing_ref: Mapping[str, Any]) -> Updates | None:
        with self._changing("manage snapshot"):
            self._referred_snapshot(snapshot, existing_ref).owner = snapshot.id
        return None

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotModel, existing_ref: Mapping[str, Any]) -> int | None:
        with self._storage.lock:
            return self._referred_snapshot(snapshot, existing_ref).size_gib

    def unmanage_snapshot(self, snapshot: SnapshotModel) -> None:
        with self._changing("unmanage snapshot") as records:
            for record in records.values():
                for item in record.snapshots.values():
                    if item.owner == snapshot.id:
                        item.owner = None

    # --- the backend --------------------------------------------------------------------------------------------

    def _update_volume_stats(self) -> None:
        with self._storage.lock:
            pools = [
                {
                    "pool_name": pool,
                    "total_capacity_gb": float(self.configuration.dummy_pool_size),
                    "free_capacity_gb": float(self._free_gib(pool)),
                    "thin_provisioning_support": False,
                    "thick_provisioning_support": True,
                    "multiattach": True,
                    "QoS_support": False,
                }
                for pool in self.configuration.dummy_pools
            ]
        self._stats = {
            "volume_backend_name": backend_name(self.configuration),
            "vendor_name": "Penstock",
            "driver_version": self.VERSION,
            "storage_protocol": "iSCSI",
            "pools": pools,
        }

    # --- records ------------------------------------------------------------------------------------------------

    def write(self, volume: VolumeModel, what: str) -> None:
        """Pretend that a client wrote: nobody can connect to do it."""
        with self._changing("write"):
            self._owned(volume).written.append(what)

    @contextmanager
    def _changing(self, step: str) -> Iterator[dict[str, VolumeRecord]]:
        with self._storage.lock:
            self._storage.before(step)
            yield self._storage.volumes
            self._storage.before(f"{step} done")
            if self._file is not None:
                new = self._file.with_suffix(".new")
                new.write_text(self._storage.text())
                new.replace(self._file)

    def _make(self, volume: VolumeModel, written: Sequence[str]) -> None:
        records, pool = self._storage.volumes, PoolRef.parse(volume.host).pool
        if pool not in self.configuration.dummy_pools:
            raise Invalid(f"There is no pool '{pool}'.")
        known = records.get(volume.name)
        if known is None:
            self._check_room(pool, volume.size)
            records[volume.name] = VolumeRecord(volume.name_id, pool, volume.size, list(written))
        elif known.owner != volume.name_id:
            raise Conflict(f"'{volume.name}' exists and is not ours.")

    def _check_room(self, pool: str, more_gib: int) -> None:
        if more_gib > self._free_gib(pool):
            raise InsufficientCapacity(f"The pool '{pool}' has no room for {more_gib} GiB more.")

    def _free_gib(self, pool: str) -> int:
        size: int = self.configuration.dummy_pool_size
        return size - sum(record.size_gib for record in self._storage.volumes.values() if record.pool == pool)

    def _name_of(self, volume: VolumeModel) -> str | None:
        return next((name for name, one in self._storage.volumes.items() if one.owner == volume.name_id), None)

    def _owned(self, volume: VolumeModel) -> VolumeRecord:
        name = self._name_of(volume)
        if name is None:
            raise VolumeNotFound(f"There is no volume {volume.id} on the backend.")
        return self._storage.volumes[name]

    def _snapshot(self, snapshot: SnapshotModel) -> SnapshotRecord:
        for record in self._storage.volumes.values():
            for item in record.snapshots.values():
                if item.owner == snapshot.id:
                    return item
        raise SnapshotNotFound(f"There is no snapshot {snapshot.id} on the backend.")

    def _referred(self, reference: Mapping[str, Any]) -> str:
        name = str(reference.get(REFERENCE, ""))
        if name not in self._storage.volumes:
            raise ManageExistingInvalidReference(f"There is no '{name[:128]}' to take over.")
        return name

    def _referred_snapshot(self, snapshot: SnapshotModel, reference: Mapping[str, Any]) -> SnapshotRecord:
        name = str(reference.get(REFERENCE, ""))
        found = self._owned(snapshot.volume).snapshots.get(name)
        if found is None or found.owner not in (None, snapshot.id):
            raise ManageExistingInvalidReference(f"There is no snapshot '{name[:128]}' to take over.")
        return found

    def _target(self, volume: VolumeModel) -> str:
        return f"{self.configuration.target_prefix}{volume.name}"
