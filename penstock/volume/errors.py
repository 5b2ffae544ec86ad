"""The exceptions volume drivers raise, under their published names, each below the kind of fault it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.errors import BackendFault, Conflict, InsufficientCapacity, Invalid, NotFound, Unavailable
from penstock.images.errors import ImageCopyFailure, ImageNotFound, ImageTooBig, ImageUnacceptable


class VolumeBackendAPIException(BackendFault):
    """The backend answered something that ends the operation. Drivers may raise it with ``data=`` or ``message=``."""

    def __init__(self, message: str = "", *, data: object = None) -> None:
        super().__init__(message or str(data or "The volume backend failed."))


class VolumeDriverException(BackendFault):
    """The driver could not do its work."""


class VolumeIsBusy(Conflict):
    """The volume cannot be deleted now: something depends on it. The manager makes it available again."""

    def __init__(self, message: str = "", *, volume_name: str = "") -> None:
        super().__init__(message or f"Volume {volume_name} is in use or has dependents; it was not deleted.")


class SnapshotIsBusy(Conflict):
    """The snapshot cannot be deleted now: something depends on it. The manager makes it available again."""

    def __init__(self, message: str = "", *, snapshot_name: str = "") -> None:
        super().__init__(message or f"Snapshot {snapshot_name} is in use or has dependents; it was not deleted.")


class VolumeNotFound(NotFound):
    """The volume is not on the backend."""


class SnapshotNotFound(NotFound):
    """The snapshot is not on the backend."""


class ExportFailure(BackendFault):
    """The volume could not be exported."""


class RemoveExportException(BackendFault):
    """The volume's export could not be taken away."""


class InvalidConnectorException(Invalid):
    """The connector lacks something; `missing` names what."""

    def __init__(self, message: str = "", *, missing: str = "") -> None:
        super().__init__(message or f"The connector does not say its {missing}.")


class DeviceUnavailable(Unavailable):
    """The volume was attached to this machine but its device cannot be used. `attach_info` is what to detach."""

    def __init__(self, message: str = "", *, attach_info: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.attach_info = attach_info


class ManageExistingInvalidReference(Invalid):
    """The reference names nothing that can be taken over; the message says why."""


class ManageExistingAlreadyManaged(Conflict):
    """What the reference names is managed already."""


class ManageExistingVolumeTypeMismatch(Invalid):
    """What the reference names does not fit the volume type."""


class InvalidReplicationTarget(Invalid):
    """There is no such replication target, or it cannot be failed over to; nothing has changed."""


class UnableToFailOver(BackendFault):
    """The failover failed; the service's replication state is an error."""


class InvalidVolume(Invalid):
    """The volume is not in a state, or not of a kind, that allows this."""


class InvalidSnapshot(Invalid):
    """The snapshot is not in a state, or not of a kind, that allows this."""


class VolumeMigrationFailed(BackendFault):
    """The migration could not be carried out."""


class ExtendVolumeError(BackendFault):
    """The volume could not be extended."""


class NoFreeSpace(InsufficientCapacity):
    """The backend is full."""


class BackupDeviceUnavailable(Conflict):
    """The volume is in a state in which it cannot be backed up."""


__all__ = [
    "BackupDeviceUnavailable",
    "DeviceUnavailable",
    "ExportFailure",
    "ExtendVolumeError",
    "ImageCopyFailure",
    "ImageNotFound",
    "ImageTooBig",
    "ImageUnacceptable",
    "InvalidConnectorException",
    "InvalidReplicationTarget",
    "InvalidSnapshot",
    "InvalidVolume",
    "ManageExistingAlreadyManaged",
    "ManageExistingInvalidReference",
    "ManageExistingVolumeTypeMismatch",
    "NoFreeSpace",
    "RemoveExportException",
    "SnapshotIsBusy",
    "SnapshotNotFound",
    "UnableToFailOver",
    "VolumeBackendAPIException",
    "VolumeDriverException",
    "VolumeIsBusy",
    "VolumeMigrationFailed",
    "VolumeNotFound",
]
