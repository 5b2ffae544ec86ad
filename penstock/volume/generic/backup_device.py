"""What a backup reads: the volume itself, or something made for the purpose while the volume is in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penstock.config.backend import BackendConfiguration
from penstock.errors import Fault
from penstock.volume.interface.values import Context, Updates
from penstock.volume.interface.volumes import SnapshotInterface, VolumeInterface
from penstock.volume.models import BackupModel, SnapshotModel, VolumeModel
from penstock.volume.records import Records


class BackupDevice(VolumeInterface, SnapshotInterface):
    """Backup device selection, part of every driver."""

    configuration: BackendConfiguration
    db: Records

    def backup_use_temp_snapshot(self) -> bool:
        """Back up volumes in use from a snapshot? A driver that cannot attach snapshots overrides it with False."""
        return bool(self.configuration.safe_get("backup_use_temp_snapshot"))

    def get_backup_device(self, context: Context, backup: BackupModel) -> tuple[VolumeModel | SnapshotModel, bool]:
        """What the backup service is to attach and read, and whether that is a snapshot.

        A temporary volume or snapshot is named in the backup before it is made; the backup service deletes it
        afterwards. Repeatable.
        """
        if self.backup_use_temp_snapshot():
            return self._get_backup_volume_temp_snapshot(context, backup)
        return self._get_backup_volume_temp_volume(context, backup), False

    def _get_backup_volume_temp_volume(self, context: Context, backup: BackupModel) -> VolumeModel:
        """The volume; a temporary clone of it while it is in use; a temporary volume of the snapshot."""
        volume = self.db.volume(backup.volume_id)
        if backup.snapshot_id:
            snapshot = self.db.snapshot(backup.snapshot_id)
            options = {"for_backup": backup, "size": snapshot.volume_size}
            return self._create_temp_volume_from_snapshot(context, volume, snapshot, volume_options=options)
        if volume.previous_status == "in-use":
            return self._create_temp_cloned_volume(context, volume, volume_options={"for_backup": backup})
        return volume

    def _get_backup_volume_temp_snapshot(
        self, context: Context, backup: BackupModel
    ) -> tuple[VolumeModel | SnapshotModel, bool]:
        """The volume; a temporary snapshot of it while it is in use; the snapshot itself."""
        if backup.snapshot_id:
            return self.db.snapshot(backup.snapshot_id), True
        volume = self.db.volume(backup.volume_id)
        if volume.previous_status == "in-use":
            return self._create_temp_snapshot(context, volume, backup), True
        return volume, False

    def _create_temp_snapshot(
        self, context: Context, volume: VolumeModel, backup: BackupModel | None = None
    ) -> SnapshotModel:
        """A temporary snapshot of `volume`."""
        snapshot = self.db.temporary_snapshot(context, volume, for_backup=backup)
        try:
            update = self.create_snapshot(snapshot)
        except Fault:
            self.delete_snapshot(snapshot)  # what was half made; the row stays, to be found, when that fails too
            self.db.forget_temporary_snapshot(snapshot.id)
            raise
        return self.db.update_snapshot(snapshot.id, {**(update or {}), "status": "available", "progress": "100%"})

    def _create_temp_volume(
        self, context: Context, volume: VolumeModel, volume_options: Mapping[str, Any] | None = None
    ) -> VolumeModel:
        """The row of a temporary volume like `volume`; `volume_options` are those of `Records.temporary_volume`."""
        options: dict[str, Any] = {"for_backup": None, **(volume_options or {})}
        return self.db.temporary_volume(context, volume, **options)

    def _create_temp_cloned_volume(
        self, context: Context, volume: VolumeModel, volume_options: Mapping[str, Any] | None = None
    ) -> VolumeModel:
        """A temporary clone of `volume`."""
        temporary = self._create_temp_volume(context, volume, volume_options)
        return self.__filled(temporary, lambda: self.create_cloned_volume(temporary, volume))

    def _create_temp_volume_from_snapshot(
        self,
        context: Context,
        volume: VolumeModel,
        snapshot: SnapshotModel,
        volume_options: Mapping[str, Any] | None = None,
    ) -> VolumeModel:
        """A temporary volume with the contents of `snapshot`, which is of `volume`."""
        temporary = self._create_temp_volume(context, volume, volume_options)
        return self.__filled(temporary, lambda: self.create_volume_from_snapshot(temporary, snapshot))

    def __filled(self, temporary: VolumeModel, fill: Callable[[], Updates | None]) -> VolumeModel:
        try:
            update = fill()
        except Fault:
            self.delete_volume(temporary)  # what was half made; the row stays, to be found, when that fails too
            self.db.forget_temporary_volume(temporary.id)
            raise
        return self.db.update_volume(temporary.id, {**(update or {}), "status": "available"})
