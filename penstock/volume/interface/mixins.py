"""The published mix-in interfaces: one ability each, which a driver declares by deriving from it."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.volume.interface.values import Context, Updates
from penstock.volume.models import SnapshotModel, VolumeModel

Reference = Mapping[str, Any]
"""What an administrator calls a thing on the backend, such as ``{"source-name": "..."}``; the driver's own form."""


class CloneableImageVD(metaclass=abc.ABCMeta):
    """Makes volumes from images without copying."""

    @abc.abstractmethod
    def clone_image(
        self, volume: Any, image_location: Any, image_id: Any, image_meta: Any, image_service: Any
    ) -> tuple[Updates | None, bool]:
        """Make `volume` from an image that the backend can clone. Returns a model update, and whether that was done.

        The manager calls it as ``clone_image(context, volume, image_location, image_meta, image_service)``: the five
        names here are the published ones of the mix-in, which never had the context. `image_location` is the image
        service's (URL, list of locations), `image_meta` the image, with its ``id``.
        """
        return None, False


class MigrateVD(metaclass=abc.ABCMeta):
    """Moves volumes between backends by itself."""

    @abc.abstractmethod
    def migrate_volume(
        self, context: Context, volume: VolumeModel, host: Mapping[str, Any]
    ) -> tuple[bool, Updates | None]:
        """See `penstock.volume.interface.migration`."""
        return False, None


class ManageableVD(metaclass=abc.ABCMeta):
    """Takes over volumes that exist, and lets them go."""

    @abc.abstractmethod
    def manage_existing(self, volume: VolumeModel, existing_ref: Reference) -> Updates | None:
        """Take over the storage that `existing_ref` names, as `volume`. Returns a model update. Repeatable.

        Either rename it to `volume.name`, or mark it so that it is found by later calls. Raises
        ManageExistingInvalidReference, ManageExistingVolumeTypeMismatch (the reason in words).
        """

    @abc.abstractmethod
    def manage_existing_get_size(self, volume: VolumeModel, existing_ref: Reference) -> int:
        """The size in GiB, rounded up, of what `existing_ref` names. Changes nothing. Raises as `manage_existing`."""

    def get_manageable_volumes(
        self,
        cinder_volumes: Sequence[VolumeModel],
        marker: Reference | None,
        limit: int,
        offset: int,
        sort_keys: Sequence[str],
        sort_dirs: Sequence[str],
    ) -> list[dict[str, Any]]:
        """What could be taken over. `cinder_volumes` are those we manage already.

        Each has ``reference``, ``size`` (GiB, rounded up), ``safe_to_manage``, ``reason_not_safe``, ``cinder_id`` (when
        managed) and ``extra_info``; sorted by `sort_keys` (``reference`` or ``size``) and `sort_dirs` (``asc``,
        ``desc``), after `marker`, `offset` on, at most `limit`.
        """
        return []

    @abc.abstractmethod
    def unmanage(self, volume: VolumeModel) -> None:
        """Forget the volume and leave its data as it is. Repeatable."""


class ManageableSnapshotsVD:
    """Takes over snapshots that exist, and lets them go."""

    def manage_existing_snapshot(self, snapshot: SnapshotModel, existing_ref: Reference) -> Updates | None:
        """Take over the snapshot that `existing_ref` names, of `snapshot.volume`. Returns a model update. Repeatable.

        Raises ManageExistingInvalidReference.
        """
        return None

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotModel, existing_ref: Reference) -> int | None:
        """The size in GiB, rounded up, of the snapshot that `existing_ref` names. Changes nothing."""
        return None

    def get_manageable_snapshots(
        self,
        cinder_snapshots: Sequence[SnapshotModel],
        marker: Reference | None,
        limit: int,
        offset: int,
        sort_keys: Sequence[str],
        sort_dirs: Sequence[str],
    ) -> list[dict[str, Any]]:
        """As `ManageableVD.get_manageable_volumes`, with ``source_reference``, the volume it is of, in each."""
        return []

    def unmanage_snapshot(self, snapshot: SnapshotModel) -> None:
        """Forget the snapshot and leave its data as it is. Repeatable."""


class ExtendVD(metaclass=abc.ABCMeta):
    """Grows volumes. Drivers of old derive from it."""

    @abc.abstractmethod
    def extend_volume(self, volume: VolumeModel, new_size: int) -> None:
        """See `penstock.volume.interface.volumes`."""


class LocalVD(metaclass=abc.ABCMeta):
    """Has its volumes as files or devices of this machine. Drivers of old derive from it."""

    @abc.abstractmethod
    def local_path(self, volume: VolumeModel) -> str:
        """The path of the volume on this machine."""


class TransferVD:
    """Wants to know of transfers. Drivers of old derive from it."""

    def accept_transfer(self, context: Context, volume: VolumeModel, new_user: str, new_project: str) -> Updates | None:
        """See `penstock.volume.interface.volumes`."""
        return None
