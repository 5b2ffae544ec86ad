"""What a driver may ask of us (`penstock.volume.records.Records`), answered from the rows of its backend."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from penstock.context import RequestContext
from penstock.domain.attachments import AttachStatus
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes import TEMPORARY, Volume, VolumeStatus
from penstock.errors import Unsupported
from penstock.ids import VolumeId, VolumeSnapshotId, new_id
from penstock.operations.driver_calls import driver_call
from penstock.store import volume_snapshots, volumes
from penstock.store.database import Transaction
from penstock.volume.errors import SnapshotNotFound, VolumeNotFound
from penstock.volume.interface.values import ConnectionInfo, Connector, Context, Updates
from penstock.volume.manager import connections
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import snapshot_model, type_model, volume_model
from penstock.volume.manager.updates import checked, store_of_snapshot, store_of_volume
from penstock.volume.models import BackupModel, EncryptionModel, SnapshotModel, VolumeModel


class StoredRecords:
    """The rows of one backend."""

    def __init__(self, backend: VolumeBackend) -> None:
        self._backend = backend

    def volume(self, volume_id: str) -> VolumeModel:
        with self._backend.database.read() as tx:
            return volume_model(tx, self._backend, _volume(tx, volume_id))

    def snapshot(self, snapshot_id: str) -> SnapshotModel:
        with self._backend.database.read() as tx:
            return snapshot_model(tx, self._backend, _snapshot(tx, snapshot_id))

    def update_volume(self, volume_id: str, updates: Updates) -> VolumeModel:
        with self._backend.database.begin() as tx:
            store_of_volume(tx, volume_id, checked(updates), now=self._backend.now())
            return volume_model(tx, self._backend, _volume(tx, volume_id))

    def update_snapshot(self, snapshot_id: str, updates: Updates) -> SnapshotModel:
        with self._backend.database.begin() as tx:
            store_of_snapshot(tx, snapshot_id, checked(updates), now=self._backend.now())
            return snapshot_model(tx, self._backend, _snapshot(tx, snapshot_id))

    def temporary_volume(
        self, context: Context, like: VolumeModel, *, for_backup: BackupModel | None, size: int | None = None
    ) -> VolumeModel:
        now = self._backend.now()
        with self._backend.database.begin() as tx:
            known = None if for_backup is None else self._of_backup(tx, for_backup)
            if known is not None:
                return volume_model(tx, self._backend, known)
            volume = temporary(_volume(tx, like.id), now=now, size_gib=size)
            volumes.insert_volume(tx, volume)
            return volume_model(tx, self._backend, volume)

    def temporary_snapshot(
        self, context: Context, volume: VolumeModel, *, for_backup: BackupModel | None
    ) -> SnapshotModel:
        now = self._backend.now()
        with self._backend.database.begin() as tx:
            parent = _volume(tx, volume.id)
            snapshot = VolumeSnapshot(
                id=VolumeSnapshotId(new_id()),
                volume_id=parent.id,
                name=None,
                description=None,
                project_id=parent.project_id,
                user_id=parent.user_id,
                volume_size_gib=parent.size_gib,
                status=VolumeSnapshotStatus.CREATING,
                progress="0%",
                volume_type_id=parent.volume_type_id,
                group_snapshot_id=None,
                encryption_key_id=parent.encryption_key_id,
                uses_quota=False,
                provider_location=None,
                provider_id=None,
                provider_auth=None,
                created_at=now,
                updated_at=None,
            )
            volume_snapshots.insert_snapshot(tx, snapshot)
            return snapshot_model(tx, self._backend, snapshot)

    def forget_temporary_volume(self, volume_id: str) -> None:
        with self._backend.database.begin() as tx:
            volume = volumes.get(tx, volume_id)
            if volume is not None and TEMPORARY in volume.admin_metadata:
                volumes.delete_volume(tx, volume.id)

    def forget_temporary_snapshot(self, snapshot_id: str) -> None:
        with self._backend.database.begin() as tx:
            snapshot = volume_snapshots.get(tx, snapshot_id)
            if snapshot is not None and not snapshot.uses_quota:
                volume_snapshots.delete_snapshot(tx, snapshot.id)

    def encryption(self, context: Context, volume: VolumeModel) -> EncryptionModel | None:
        with self._backend.database.read() as tx:
            found = type_model(tx, volume.volume_type_id)
        return None if found is None else found.encryption

    def initialize_connection(self, context: Context, volume: VolumeModel, connector: Connector) -> ConnectionInfo:
        self._check_here(volume)
        with driver_call("export volumes"):
            self._backend.driver.validate_connector(connector)
            exported = checked(self._backend.driver.create_export(context, volume, connector))
        with self._backend.database.begin() as tx:
            store_of_volume(tx, volume.id, exported, now=self._backend.now())
        with driver_call("connect volumes"):
            return self._backend.driver.initialize_connection(volume.updated(exported), connector)

    def terminate_connection(self, context: Context, volume: VolumeModel, connector: Connector, *, force: bool) -> None:
        self._check_here(volume)
        with driver_call("disconnect volumes"):
            is_shared = self._backend.driver.terminate_connection(volume, connector, force=force) is True
        with self._backend.database.read() as tx:
            current = volumes.get(tx, volume.id)
        is_used = current is not None and any(one.connector is not None for one in current.attachments)
        if not is_shared and not is_used and isinstance(context, RequestContext):
            connections.remove_export(self._backend, context, volume)

    def _of_backup(self, tx: Transaction, backup: BackupModel) -> Volume | None:
        return None if backup.temp_volume_id is None else volumes.get(tx, backup.temp_volume_id)

    def _check_here(self, volume: VolumeModel) -> None:
        if not volume.host.startswith(f"{self._backend.host}#"):
            raise Unsupported(
                f"Volume {volume.id} is on {volume.host}: it cannot be reached from {self._backend.host}."
            )


def temporary(like: Volume, *, now: datetime, size_gib: int | None = None) -> Volume:
    """The row of a volume made for the time of one operation, where `like` is and of its type.

    The users do not see it, nor does their quota.
    """
    return replace(
        like,
        id=VolumeId(new_id()),
        name_id=None,
        name=None,
        description=None,
        size_gib=size_gib or like.size_gib,
        size_target_gib=None,
        status=VolumeStatus.CREATING,
        previous_status=None,
        attach_status=AttachStatus.DETACHED,
        migration_status=None,
        snapshot_id=None,
        source_volid=None,
        group_id=None,
        uses_quota=False,
        provider_location=None,
        provider_id=None,
        provider_auth=None,
        provider_geometry=None,
        replication_status=None,
        replication_extended_status=None,
        replication_driver_data=None,
        scheduled_at=now,
        launched_at=None,
        terminated_at=None,
        created_at=now,
        updated_at=None,
        metadata={},
        admin_metadata={TEMPORARY: "True"},
        image_metadata={},
        attachments=(),
    )


def _volume(tx: Transaction, volume_id: str) -> Volume:
    volume = volumes.get(tx, volume_id)
    if volume is None:
        raise VolumeNotFound(f"There is no volume {volume_id}.")
    return volume


def _snapshot(tx: Transaction, snapshot_id: str) -> VolumeSnapshot:
    snapshot = volume_snapshots.get(tx, snapshot_id)
    if snapshot is None:
        raise SnapshotNotFound(f"There is no snapshot {snapshot_id}.")
    return snapshot
