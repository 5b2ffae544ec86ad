"""How states of volumes and their snapshots change: one table for each, and the only functions that read them.

What a volume is when nothing is going on with it is decided by its attachments (`at_rest`): the end of an operation
leads there, so that a volume that was extended while it was attached is ``in-use`` again, and one that lost its last
attachment meanwhile is ``available``. REST stands for that in the table.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from penstock.domain.attachments import Attachment, AttachStatus, attach_status_of
from penstock.domain.volume_snapshots import VolumeSnapshotStatus as P
from penstock.domain.volumes import Volume
from penstock.domain.volumes import VolumeStatus as S
from penstock.errors import Invalid


class VolumeEvent(StrEnum):
    """What happens to a volume or a snapshot."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"  # the backend would not do it and changed nothing: it is as it was
    DOWNLOAD = "download"
    DELETE = "delete"
    FORCE_DELETE = "force_delete"
    EXTEND = "extend"
    REVERT = "revert"
    RETYPE = "retype"
    UPLOAD = "upload"
    BACK_UP = "back_up"
    RESTORE = "restore"
    TRANSFER = "transfer"
    MAINTAIN = "maintain"
    UNMANAGE = "unmanage"
    REIMAGE = "reimage"
    LOST = "lost"  # found missing on the backend


class Rest(StrEnum):
    """The state that its attachments give a volume."""

    REST = "at rest"


REST = Rest.REST
# States in which nothing is going on but with the attachments.
RESTING = (S.AVAILABLE, S.RESERVED, S.ATTACHING, S.IN_USE, S.DETACHING)
_AT_REST = {
    AttachStatus.ATTACHED: S.IN_USE,
    AttachStatus.ATTACHING: S.ATTACHING,
    AttachStatus.DETACHING: S.DETACHING,
    AttachStatus.RESERVED: S.RESERVED,
    AttachStatus.DETACHED: S.AVAILABLE,
}

IDLE = (S.AVAILABLE, S.IN_USE)
DELETABLE = (
    S.AVAILABLE,
    S.ERROR,
    S.ERROR_DELETING,
    S.ERROR_EXTENDING,
    S.ERROR_RESTORING,
    S.ERROR_BACKING_UP,
    S.ERROR_MANAGING,
    S.ERROR_UNMANAGING,
)
UNMANAGEABLE = (S.AVAILABLE, S.ERROR, S.ERROR_MANAGING, S.ERROR_UNMANAGING)
VOLUME_TRANSITIONS: dict[tuple[S, VolumeEvent], S | Rest] = {
    (S.CREATING, VolumeEvent.DONE): REST,
    (S.CREATING, VolumeEvent.FAILED): S.ERROR,
    (S.CREATING, VolumeEvent.DOWNLOAD): S.DOWNLOADING,
    (S.DOWNLOADING, VolumeEvent.DONE): REST,
    (S.DOWNLOADING, VolumeEvent.FAILED): S.ERROR,
    (S.DELETING, VolumeEvent.DONE): S.DELETED,
    (S.DELETING, VolumeEvent.REFUSED): REST,  # busy; a user message says why
    (S.DELETING, VolumeEvent.FAILED): S.ERROR_DELETING,
    **{(status, VolumeEvent.EXTEND): S.EXTENDING for status in IDLE},
    (S.EXTENDING, VolumeEvent.DONE): REST,
    (S.EXTENDING, VolumeEvent.REFUSED): REST,
    (S.EXTENDING, VolumeEvent.FAILED): S.ERROR_EXTENDING,
    (S.AVAILABLE, VolumeEvent.REVERT): S.REVERTING,
    (S.REVERTING, VolumeEvent.DONE): REST,
    (S.REVERTING, VolumeEvent.REFUSED): REST,
    (S.REVERTING, VolumeEvent.FAILED): S.ERROR,
    **{(status, VolumeEvent.RETYPE): S.RETYPING for status in IDLE},
    (S.RETYPING, VolumeEvent.DONE): REST,
    (S.RETYPING, VolumeEvent.REFUSED): REST,
    (S.RETYPING, VolumeEvent.FAILED): S.ERROR,
    **{(status, VolumeEvent.UPLOAD): S.UPLOADING for status in IDLE},
    (S.UPLOADING, VolumeEvent.DONE): REST,
    (S.UPLOADING, VolumeEvent.FAILED): REST,  # the image is in error, the volume is as it was
    **{(status, VolumeEvent.BACK_UP): S.BACKING_UP for status in IDLE},
    (S.BACKING_UP, VolumeEvent.DONE): REST,
    (S.BACKING_UP, VolumeEvent.FAILED): REST,  # the backup is in error
    **{(status, VolumeEvent.RESTORE): S.RESTORING_BACKUP for status in (S.AVAILABLE, S.CREATING)},
    (S.RESTORING_BACKUP, VolumeEvent.DONE): REST,
    (S.RESTORING_BACKUP, VolumeEvent.REFUSED): REST,
    (S.RESTORING_BACKUP, VolumeEvent.FAILED): S.ERROR_RESTORING,
    (S.AVAILABLE, VolumeEvent.TRANSFER): S.AWAITING_TRANSFER,
    (S.AWAITING_TRANSFER, VolumeEvent.DONE): REST,
    **{(status, VolumeEvent.MAINTAIN): S.MAINTENANCE for status in IDLE},
    (S.MAINTENANCE, VolumeEvent.DONE): REST,
    (S.MAINTENANCE, VolumeEvent.REFUSED): REST,
    **{(status, VolumeEvent.REIMAGE): S.DOWNLOADING for status in (S.AVAILABLE, S.RESERVED, S.ERROR)},
    (S.MANAGING, VolumeEvent.DONE): REST,
    (S.MANAGING, VolumeEvent.FAILED): S.ERROR_MANAGING,
    (S.UNMANAGING, VolumeEvent.DONE): S.DELETED,
    (S.UNMANAGING, VolumeEvent.FAILED): S.ERROR_UNMANAGING,
    **{(status, VolumeEvent.LOST): S.ERROR for status in RESTING},
    **{(status, VolumeEvent.DELETE): S.DELETING for status in DELETABLE},
    **{(status, VolumeEvent.FORCE_DELETE): S.DELETING for status in S if status is not S.DELETED},
    **{(status, VolumeEvent.UNMANAGE): S.UNMANAGING for status in UNMANAGEABLE},
}

SNAPSHOT_DELETABLE = (P.AVAILABLE, P.ERROR, P.ERROR_DELETING, P.ERROR_MANAGING, P.ERROR_UNMANAGING)
SNAPSHOT_TRANSITIONS: dict[tuple[P, VolumeEvent], P] = {
    (P.CREATING, VolumeEvent.DONE): P.AVAILABLE,
    (P.CREATING, VolumeEvent.FAILED): P.ERROR,
    (P.DELETING, VolumeEvent.DONE): P.DELETED,
    (P.DELETING, VolumeEvent.REFUSED): P.AVAILABLE,  # busy; a user message says why
    (P.DELETING, VolumeEvent.FAILED): P.ERROR_DELETING,
    (P.AVAILABLE, VolumeEvent.REVERT): P.RESTORING,
    **{(P.RESTORING, event): P.AVAILABLE for event in (VolumeEvent.DONE, VolumeEvent.FAILED, VolumeEvent.REFUSED)},
    (P.AVAILABLE, VolumeEvent.BACK_UP): P.BACKING_UP,
    **{(P.BACKING_UP, event): P.AVAILABLE for event in (VolumeEvent.DONE, VolumeEvent.FAILED)},
    (P.MANAGING, VolumeEvent.DONE): P.AVAILABLE,
    (P.MANAGING, VolumeEvent.FAILED): P.ERROR_MANAGING,
    (P.UNMANAGING, VolumeEvent.DONE): P.DELETED,
    (P.UNMANAGING, VolumeEvent.FAILED): P.ERROR_UNMANAGING,
    (P.AVAILABLE, VolumeEvent.LOST): P.ERROR,
    **{(status, VolumeEvent.DELETE): P.DELETING for status in SNAPSHOT_DELETABLE},
    **{(status, VolumeEvent.FORCE_DELETE): P.DELETING for status in P if status is not P.DELETED},
    **{
        (status, VolumeEvent.UNMANAGE): P.UNMANAGING
        for status in (P.AVAILABLE, P.ERROR, P.ERROR_MANAGING, P.ERROR_UNMANAGING)
    },
}

# States in which an operation is under way.
VOLUME_TRANSITIONAL = (
    S.CREATING,
    S.DOWNLOADING,
    S.DELETING,
    S.EXTENDING,
    S.RETYPING,
    S.REVERTING,
    S.UPLOADING,
    S.BACKING_UP,
    S.RESTORING_BACKUP,
    S.MAINTENANCE,
    S.MANAGING,
    S.UNMANAGING,
)
SNAPSHOT_TRANSITIONAL = (P.CREATING, P.DELETING, P.RESTORING, P.BACKING_UP, P.MANAGING, P.UNMANAGING, P.UPDATING)


def at_rest(attach_status: AttachStatus) -> S:
    """The state of a volume with which nothing is going on."""
    return _AT_REST[attach_status]


def followed(volume: Volume, attachment: Attachment, *, now: datetime) -> Volume:
    """The volume with this attachment as it is now, in the state that its attachments make of it; work goes on.

    `now` is when that is written."""
    having = volume.having(attachment)
    attach_status = attach_status_of(having.attachments)
    status = at_rest(attach_status) if volume.status in RESTING else volume.status
    return replace(having, attach_status=attach_status, status=status, updated_at=now)


def advance_volume(status: S, event: VolumeEvent, attach_status: AttachStatus) -> S:
    """The state `event` leads to. Raises Invalid when a volume in `status` does not take it."""
    try:
        found = VOLUME_TRANSITIONS[status, event]
    except KeyError:
        raise Invalid(f"A volume that is '{status}' cannot {_verb(event)}.") from None
    return at_rest(attach_status) if isinstance(found, Rest) else found


def advance_volume_snapshot(status: P, event: VolumeEvent) -> P:
    """The state `event` leads to. Raises Invalid when a snapshot in `status` does not take it."""
    try:
        return SNAPSHOT_TRANSITIONS[status, event]
    except KeyError:
        raise Invalid(f"A snapshot that is '{status}' cannot {_verb(event)}.") from None


def _verb(event: VolumeEvent) -> str:
    return {
        VolumeEvent.DELETE: "be deleted",
        VolumeEvent.FORCE_DELETE: "be deleted",
        VolumeEvent.EXTEND: "be extended",
        VolumeEvent.REVERT: "be reverted",
        VolumeEvent.RETYPE: "be given another type",
        VolumeEvent.UPLOAD: "be copied to an image",
        VolumeEvent.BACK_UP: "be backed up",
        VolumeEvent.RESTORE: "be restored from a backup",
        VolumeEvent.TRANSFER: "be given to another project",
        VolumeEvent.MAINTAIN: "be migrated",
        VolumeEvent.UNMANAGE: "be unmanaged",
        VolumeEvent.REIMAGE: "be given another image",
    }.get(event, f"take the event '{event}'")
