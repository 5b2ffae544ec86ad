"""Volumes: make, remove, grow, clone, revert, adopt.

Every method may be called again after a crash at any point of the first call, and must then end as one call would have.
Where a model update can be returned, it is a mapping of fields to store (``provider_location``, ...), or None.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

from penstock.volume.interface.values import Context, Updates
from penstock.volume.models import BackupModel, SnapshotModel, VolumeModel, VolumeTypeModel


class VolumeInterface(metaclass=abc.ABCMeta):
    """What can be done with one volume."""

    @abc.abstractmethod
    def create_volume(self, volume: VolumeModel) -> Updates | None:
        """Make an empty volume of `volume.size` GiB on the pool named in `volume.host`, and its replica when the type
        asks for one.

        Returns a model update or None. Repeatable. Raises Conflict, InsufficientCapacity, VolumeBackendAPIException.
        """

    @abc.abstractmethod
    def delete_volume(self, volume: VolumeModel) -> None:
        """Destroy the volume and its data, and its replica. It is fine when there is none.

        Raises VolumeIsBusy when something depends on it: the volume then becomes what it was.
        """

    def create_volume_from_backup(self, volume: VolumeModel, backup: BackupModel) -> Updates | None:
        """Make a volume with the contents of `backup`, for backends that keep backups themselves.

        Returns a model update or None. NotImplementedError lets the backup service restore into an empty volume.
        """
        raise NotImplementedError

    def create_cloned_volume(self, volume: VolumeModel, src_vref: VolumeModel) -> Updates | None:
        """Make `volume`, at least as large as `src_vref`, with its contents. Returns a model update. Repeatable."""
        raise NotImplementedError

    def extend_volume(self, volume: VolumeModel, new_size: int) -> None:
        """Let the volume hold `new_size` GiB. Repeatable. Raises InsufficientCapacity."""
        raise NotImplementedError

    def retype(
        self,
        context: Context,
        volume: VolumeModel,
        new_type: VolumeTypeModel,
        diff: Mapping[str, Any],
        host: Mapping[str, Any],
    ) -> tuple[bool, Updates | None] | bool:
        """Change the volume to `new_type` where it lies. `diff` has ``extra_specs``, ``qos_specs`` and ``encryption``,
        each name to (old, new); `host` has ``host`` and ``capabilities``.

        Returns whether that was done, and a model update; (False, None) leaves it to a migration.
        """
        return False, None

    def accept_transfer(self, context: Context, volume: VolumeModel, new_user: str, new_project: str) -> Updates | None:
        """The volume belongs to another project now. Returns a model update or None.

        Nobody is connected, and ``provider_auth`` is None: the next `create_export`, if not this, gives a new one.
        """
        return None

    def attach_volume(
        self, context: Context, volume: VolumeModel, instance_uuid: str | None, host_name: str | None, mountpoint: str
    ) -> None:
        """The volume was attached. Raising anything makes the attachment an error."""

    def detach_volume(self, context: Context, volume: VolumeModel, attachment: Any = None) -> None:
        """The volume was detached."""

    def get_pool(self, volume: VolumeModel) -> str | None:
        """The name of the pool the volume lies on, without host and backend; None when this backend has no pools."""
        return None

    def snapshot_revert_use_temp_snapshot(self) -> bool:
        """Should a snapshot of the present state be taken before a revert, in case it fails?"""
        return True

    def manage_existing(self, volume: VolumeModel, existing_ref: Mapping[str, Any]) -> Updates | None:
        """Take over the storage that `existing_ref` names, as `volume`. Returns a model update. Repeatable.

        Raises ManageExistingInvalidReference, ManageExistingVolumeTypeMismatch.
        """
        raise NotImplementedError

    def unmanage(self, volume: VolumeModel) -> None:
        """Forget the volume and leave its data as it is. Repeatable."""
        raise NotImplementedError


class SnapshotInterface:
    """What can be done with one snapshot."""

    def create_snapshot(self, snapshot: SnapshotModel) -> Updates | None:
        """Take the snapshot of `snapshot.volume`. Returns a model update or None. Repeatable."""
        raise NotImplementedError

    def delete_snapshot(self, snapshot: SnapshotModel) -> None:
        """Destroy the snapshot. It is fine when there is none. Raises SnapshotIsBusy."""
        raise NotImplementedError

    def create_volume_from_snapshot(self, volume: VolumeModel, snapshot: SnapshotModel) -> Updates | None:
        """Make `volume`, at least as large as the snapshot, with its contents, and its replica when the type asks for
        one. Returns a model update. Repeatable.
        """
        raise NotImplementedError

    def revert_to_snapshot(self, context: Context, volume: VolumeModel, snapshot: SnapshotModel) -> None:
        """Give the volume the contents of its snapshot. The volume keeps its present size.

        Repeatable. NotImplementedError lets the manager do it by copying.
        """
        raise NotImplementedError
