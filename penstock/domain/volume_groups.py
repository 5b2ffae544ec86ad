"""Groups of volumes and snapshots of all of a group: what they are and may become."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from penstock.domain.volumes import ReplicationStatus
from penstock.errors import Invalid
from penstock.ids import GroupSnapshotId, ProjectId, UserId, VolumeGroupId, VolumeGroupTypeId, VolumeTypeId


class GroupStatus(StrEnum):
    """The published states of a group, and of a group snapshot, which is never ``updating``."""

    CREATING = "creating"
    AVAILABLE = "available"
    UPDATING = "updating"
    DELETING = "deleting"
    DELETED = "deleted"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"


class GroupEvent(StrEnum):
    """What happens to a group or a group snapshot."""

    DONE = "done"
    FAILED = "failed"
    UPDATE = "update"
    DELETE = "delete"


_S, _E = GroupStatus, GroupEvent
GROUP_TRANSITIONS: dict[tuple[GroupStatus, GroupEvent], GroupStatus] = {
    (_S.CREATING, _E.DONE): _S.AVAILABLE,
    (_S.CREATING, _E.FAILED): _S.ERROR,
    (_S.AVAILABLE, _E.UPDATE): _S.UPDATING,
    (_S.UPDATING, _E.DONE): _S.AVAILABLE,
    (_S.UPDATING, _E.FAILED): _S.ERROR,
    **{(status, _E.DELETE): _S.DELETING for status in (_S.AVAILABLE, _S.ERROR, _S.ERROR_DELETING)},
    (_S.DELETING, _E.DONE): _S.DELETED,
    (_S.DELETING, _E.FAILED): _S.ERROR_DELETING,
}


@dataclass(frozen=True, slots=True)
class VolumeGroupType:
    """A kind of groups that an administrator offers. One that is not public is open to the projects it was given to."""

    id: VolumeGroupTypeId
    name: str
    description: str | None
    is_public: bool
    created_at: datetime
    updated_at: datetime | None
    group_specs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VolumeGroup:
    """Volumes that go together, all on the pool `host`; None when no pool could take them."""

    id: VolumeGroupId
    name: str | None
    description: str | None
    project_id: ProjectId
    user_id: UserId
    group_type_id: VolumeGroupTypeId
    volume_type_ids: tuple[VolumeTypeId, ...]
    host: str | None
    availability_zone: str | None
    status: GroupStatus
    group_snapshot_id: str | None
    source_group_id: str | None
    replication_status: ReplicationStatus | None
    created_at: datetime
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class GroupSnapshot:
    """Snapshots of all volumes that a group had then."""

    id: GroupSnapshotId
    group_id: VolumeGroupId
    name: str | None
    description: str | None
    project_id: ProjectId
    user_id: UserId
    group_type_id: VolumeGroupTypeId
    status: GroupStatus
    created_at: datetime
    updated_at: datetime | None


def advance_group(what: str, status: GroupStatus, event: GroupEvent) -> GroupStatus:
    """The state `event` leads to. Raises Invalid when `what` (``group``, ``group snapshot``) does not take it."""
    try:
        return GROUP_TRANSITIONS[status, event]
    except KeyError:
        verb = {GroupEvent.DELETE: "be deleted", GroupEvent.UPDATE: "be changed"}.get(event, f"take '{event}'")
        raise Invalid(f"A {what} that is '{status}' cannot {verb}.") from None
