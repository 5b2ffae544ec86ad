"""The published codes of user messages about volumes: what was attempted, how it ended, and the sentence for it.

Source: Block Storage API v3, "Messages". The numbers are published; the sentences are ours.
"""

from __future__ import annotations

from enum import StrEnum


class VolumeMessageResource(StrEnum):
    """What a message is about (``resource_type``)."""

    VOLUME = "VOLUME"
    VOLUME_SNAPSHOT = "VOLUME_SNAPSHOT"
    VOLUME_BACKUP = "VOLUME_BACKUP"
    VOLUME_GROUP = "VOLUME_GROUP"


class VolumeMessageAction(StrEnum):
    """What was attempted."""

    SCHEDULE_ALLOCATE_VOLUME = "001"
    ATTACH_VOLUME = "002"
    COPY_VOLUME_TO_IMAGE = "003"
    UPDATE_ATTACHMENT = "004"
    COPY_IMAGE_TO_VOLUME = "005"
    UNMANAGE_VOLUME = "006"
    EXTEND_VOLUME = "007"
    CREATE_VOLUME_FROM_BACKEND = "008"
    SNAPSHOT_CREATE = "009"
    SNAPSHOT_DELETE = "010"
    SNAPSHOT_UPDATE = "011"
    SNAPSHOT_METADATA_UPDATE = "012"
    BACKUP_CREATE = "013"
    BACKUP_DELETE = "014"
    BACKUP_RESTORE = "015"
    REIMAGE_VOLUME = "016"
    # Ours: no published code says these.
    DELETE_VOLUME = "901"
    REVERT_VOLUME = "902"
    RETYPE_VOLUME = "903"
    MIGRATE_VOLUME = "904"
    DETACH_VOLUME = "905"
    LOOK_AT_VOLUME = "906"
    GROUP_CHANGE = "907"
    REPLICATE_VOLUME = "908"
    FAIL_OVER = "909"


class VolumeMessageDetail(StrEnum):
    """How it ended: the codes we give."""

    UNKNOWN_ERROR = "001"
    DRIVER_NOT_INITIALIZED = "002"
    NO_BACKEND_AVAILABLE = "003"
    FAILED_TO_UPLOAD_VOLUME = "004"
    VOLUME_ATTACH_MODE_INVALID = "005"
    QUOTA_EXCEED = "006"
    NOT_ENOUGH_SPACE_FOR_IMAGE = "007"
    DRIVER_FAILED_EXTEND = "010"
    DRIVER_FAILED_CREATE = "012"
    SNAPSHOT_CREATE_ERROR = "013"
    SNAPSHOT_IS_BUSY = "015"
    SNAPSHOT_DELETE_ERROR = "016"
    BACKUP_CREATE_DRIVER_ERROR = "019"
    BACKUP_DELETE_DRIVER_ERROR = "021"
    BACKUP_RESTORE_ERROR = "024"
    VOLUME_IS_BUSY = "901"
    VOLUME_LOST = "902"
    KEPT_AS_IT_WAS = "903"
    REPLICA_BEHIND = "904"
    DATA_SET_ASIDE = "905"
    FAILED_OVER_WITH_LOSS = "906"
    NOT_FAILED_OVER = "907"


_SENTENCES: dict[VolumeMessageDetail, str] = {
    VolumeMessageDetail.UNKNOWN_ERROR: "Something went wrong that we have no code for.",
    VolumeMessageDetail.DRIVER_NOT_INITIALIZED: "The storage backend is not ready yet.",
    VolumeMessageDetail.NO_BACKEND_AVAILABLE: "No storage backend can take it.",
    VolumeMessageDetail.FAILED_TO_UPLOAD_VOLUME: "The volume could not be copied to an image.",
    VolumeMessageDetail.VOLUME_ATTACH_MODE_INVALID: "The volume cannot be attached in that mode.",
    VolumeMessageDetail.QUOTA_EXCEED: "The quota does not allow it.",
    VolumeMessageDetail.NOT_ENOUGH_SPACE_FOR_IMAGE: "There is no room to unpack the image.",
    VolumeMessageDetail.DRIVER_FAILED_EXTEND: "The backend could not extend the volume.",
    VolumeMessageDetail.DRIVER_FAILED_CREATE: "The backend could not create the volume.",
    VolumeMessageDetail.SNAPSHOT_CREATE_ERROR: "The backend could not take the snapshot.",
    VolumeMessageDetail.SNAPSHOT_IS_BUSY: "The snapshot is needed by something else; it was not deleted.",
    VolumeMessageDetail.SNAPSHOT_DELETE_ERROR: "The backend could not delete the snapshot.",
    VolumeMessageDetail.BACKUP_CREATE_DRIVER_ERROR: "The backup could not be made.",
    VolumeMessageDetail.BACKUP_DELETE_DRIVER_ERROR: "The backup could not be deleted.",
    VolumeMessageDetail.BACKUP_RESTORE_ERROR: "The backup could not be restored.",
    VolumeMessageDetail.VOLUME_IS_BUSY: "The volume is needed by something else; it was not deleted.",
    VolumeMessageDetail.VOLUME_LOST: "The volume was not found on its storage backend.",
    VolumeMessageDetail.KEPT_AS_IT_WAS: "The backend would not do it; the volume is as it was.",
    VolumeMessageDetail.REPLICA_BEHIND: "The volume's copy on another storage is older than it may be.",
    VolumeMessageDetail.DATA_SET_ASIDE: "What was written to the volume after another storage had taken over was set "
    "aside.",
    VolumeMessageDetail.FAILED_OVER_WITH_LOSS: "Another storage serves the volume, as it was when it was last copied.",
    VolumeMessageDetail.NOT_FAILED_OVER: "No storage that is there can serve the volume.",
}


def volume_sentence(detail: VolumeMessageDetail, reason: str = "") -> str:
    """What the owner reads: the sentence of the code, and after it what is known beyond it."""
    return f"{_SENTENCES[detail]} {reason}".rstrip()
