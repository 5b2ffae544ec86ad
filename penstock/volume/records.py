"""What a driver may ask of the manager that loaded it: its ``db`` keyword. The manager implements it on the store.

A driver never sees rows, transactions or other backends; where a generic method of the interface needs one of them, it
asks here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from penstock.volume.interface.values import ConnectionInfo, Connector, Context, Updates
from penstock.volume.models import BackupModel, EncryptionModel, SnapshotModel, VolumeModel


class Records(Protocol):
    """Stored volumes and snapshots of this backend. Every method may be repeated after a crash."""

    def volume(self, volume_id: str) -> VolumeModel:
        """Raises VolumeNotFound."""
        ...

    def snapshot(self, snapshot_id: str) -> SnapshotModel:
        """Raises SnapshotNotFound."""
        ...

    def update_volume(self, volume_id: str, updates: Updates) -> VolumeModel:
        """Store a driver's model update. Returns the volume as it is then."""
        ...

    def update_volumes(self, updates: Mapping[str, Updates]) -> None:
        """Store the model updates of several volumes, by id, all or none; on disk when it returns. What is gone is left
        out."""
        ...

    def copy_left(self, volume: VolumeModel, backend_id: str) -> None:
        """A copy that was to go is left on that side, which did not answer: have it removed (`RemovesLeftCopies`) when
        it does, whichever process serves then, and whether the volume's row is still there or not."""
        ...

    def update_snapshot(self, snapshot_id: str, updates: Updates) -> SnapshotModel:
        """Store a driver's model update. Returns the snapshot as it is then."""
        ...

    def temporary_volume(
        self, context: Context, like: VolumeModel, *, for_backup: BackupModel | None, size: int | None = None
    ) -> VolumeModel:
        """A volume to work with, where `like` is and of its type; ``creating``, and the users do not see it.

        With `for_backup` it becomes that backup's ``temp_volume_id`` in the same transaction; asked again for the same
        backup it is the same volume. Without, it is the same as long as the one made for `like` was not forgotten.
        `size` in GiB is that of `like` unless given.
        """
        ...

    def temporary_snapshot(
        self, context: Context, volume: VolumeModel, *, for_backup: BackupModel | None
    ) -> SnapshotModel:
        """The same for a snapshot of `volume`: it becomes the backup's ``temp_snapshot_id``."""
        ...

    def forget_temporary_volume(self, volume_id: str) -> None:
        """The volume is not there; so its row goes, and the backup that names it names it no more."""
        ...

    def forget_temporary_snapshot(self, snapshot_id: str) -> None:
        """The same for a snapshot."""
        ...

    def encryption(self, context: Context, volume: VolumeModel) -> EncryptionModel | None:
        """How what is on the volume is encrypted; None when it is not."""
        ...

    def initialize_connection(self, context: Context, volume: VolumeModel, connector: Connector) -> ConnectionInfo:
        """Let `connector` at a volume of whichever backend: its manager exports it and answers how to connect."""
        ...

    def terminate_connection(self, context: Context, volume: VolumeModel, connector: Connector, *, force: bool) -> None:
        """The end of `initialize_connection`."""
        ...
