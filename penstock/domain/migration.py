"""A share on its way to another pool: what was asked for, how far it is, and what comes next. Pure.

The state that users see is the share's ``task_state``, under its published names; the rest is in `Migration`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from penstock.domain.operations import Call
from penstock.domain.pools import service_host
from penstock.ids import InstanceId, ShareId, ShareTypeId


class TaskState(StrEnum):
    """The published states of a migration (``task_state`` of a share; null when it never migrated)."""

    STARTING = "migration_starting"
    IN_PROGRESS = "migration_in_progress"
    COMPLETING = "migration_completing"
    SUCCESS = "migration_success"
    ERROR = "migration_error"
    CANCELLED = "migration_cancelled"
    DRIVER_STARTING = "migration_driver_starting"
    DRIVER_IN_PROGRESS = "migration_driver_in_progress"
    DRIVER_PHASE1_DONE = "migration_driver_phase1_done"
    DATA_COPYING_STARTING = "data_copying_starting"
    DATA_COPYING_IN_PROGRESS = "data_copying_in_progress"
    DATA_COPYING_COMPLETING = "data_copying_completing"
    DATA_COPYING_COMPLETED = "data_copying_completed"
    DATA_COPYING_CANCELLED = "data_copying_cancelled"
    DATA_COPYING_ERROR = "data_copying_error"


# A migration in one of these holds its share.
ACTIVE = frozenset(
    {
        TaskState.STARTING,
        TaskState.IN_PROGRESS,
        TaskState.COMPLETING,
        TaskState.DRIVER_STARTING,
        TaskState.DRIVER_IN_PROGRESS,
        TaskState.DRIVER_PHASE1_DONE,
        TaskState.DATA_COPYING_STARTING,
        TaskState.DATA_COPYING_IN_PROGRESS,
        TaskState.DATA_COPYING_COMPLETING,
        TaskState.DATA_COPYING_COMPLETED,
    }
)
# The first phase is done; the switch waits for an administrator.
PHASE1_DONE = frozenset({TaskState.DRIVER_PHASE1_DONE, TaskState.DATA_COPYING_COMPLETED})
NOT_BEGUN = frozenset(
    {TaskState.STARTING, TaskState.IN_PROGRESS, TaskState.DRIVER_STARTING, TaskState.DATA_COPYING_STARTING}
)


@dataclass(frozen=True, slots=True)
class MigrationFlags:
    """What a migration was asked to hold to. A True forbids ways to migrate that cannot; False does not care."""

    force_host_assisted: bool = False
    preserve_metadata: bool = True
    writable: bool = True
    nondisruptive: bool = False
    preserve_snapshots: bool = True

    @property
    def only_by_driver(self) -> tuple[str, ...]:
        """The published names of those that only a driver can keep."""
        wanted = {
            "preserve_metadata": self.preserve_metadata,
            "writable": self.writable,
            "nondisruptive": self.nondisruptive,
            "preserve_snapshots": self.preserve_snapshots,
        }
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)


@dataclass(frozen=True, slots=True)
class Migration:
    """The latest migration of a share.

    `is_host_assisted` is None until it is decided. `is_unfinished` says that there are rows or data of it to complete
    or to take away. `moved_bytes`, `total_bytes` and `eta_s` (seconds to the end of the first phase) are None while
    unknown. `note` says what it waits for, or why it failed. `destination_connection` is what the destination's driver
    said of reaching it, as JSON.
    """

    share_id: ShareId
    source_instance_id: InstanceId
    destination_instance_id: InstanceId
    destination_host: str
    flags: MigrationFlags
    new_share_type_id: ShareTypeId | None
    is_unfinished: bool
    is_host_assisted: bool | None
    cancel_requested: bool
    moved_bytes: int | None
    total_bytes: int | None
    eta_s: int | None
    note: str | None
    destination_connection: str | None
    created_at: datetime
    updated_at: datetime | None

    @property
    def percent(self) -> int | None:
        """How much of the data has been copied, 0 to 99: 100 is for the end of the first phase."""
        if self.moved_bytes is None or not self.total_bytes:
            return None
        return max(0, min(99, self.moved_bytes * 100 // self.total_bytes))


class Turn(StrEnum):
    """What is to be done next, by the name of the manager's method."""

    START = "migration_start"
    CONTINUE = "continue_migration"
    MAKE_DESTINATION = "make_migration_destination"
    COPY = "copy_migrating_data"
    COMPLETE = "migration_complete"
    CANCEL = "migration_cancel"

    @property
    def is_at_destination(self) -> bool:
        """Is it the destination's backend that does it?"""
        return self is Turn.MAKE_DESTINATION


_TURNS: dict[TaskState, Turn] = {
    TaskState.STARTING: Turn.START,
    TaskState.IN_PROGRESS: Turn.MAKE_DESTINATION,
    TaskState.DRIVER_STARTING: Turn.START,
    TaskState.DRIVER_IN_PROGRESS: Turn.CONTINUE,
    TaskState.DATA_COPYING_STARTING: Turn.COPY,
    TaskState.DATA_COPYING_IN_PROGRESS: Turn.COPY,
    TaskState.DATA_COPYING_COMPLETING: Turn.COPY,
    TaskState.COMPLETING: Turn.COMPLETE,
}


def call_of(migration: Migration, turn: Turn, source_host: str) -> Call:
    """The operation that takes the turn. All of one migration have one resource, so they run one after the other."""
    host = migration.destination_host if turn.is_at_destination else source_host
    arguments: dict[str, object] = {
        "src_instance_id": migration.source_instance_id,
        "dest_instance_id": migration.destination_instance_id,
    }
    if turn is Turn.START:
        arguments = {
            "share_id": migration.share_id,
            "dest_host": migration.destination_host,
            "force_host_assisted_migration": migration.flags.force_host_assisted,
            "preserve_metadata": migration.flags.preserve_metadata,
            "writable": migration.flags.writable,
            "nondisruptive": migration.flags.nondisruptive,
            "preserve_snapshots": migration.flags.preserve_snapshots,
            "new_share_network_id": None,
            "new_share_type_id": migration.new_share_type_id,
        }
    return Call(service_host(host), f"migration:{migration.share_id}", turn.value, arguments)


def next_turn(migration: Migration, task_state: str | None) -> Turn | None:
    """What is to be done next; None when nothing is, or it is for an administrator to say."""
    if not migration.is_unfinished:
        return None
    if migration.cancel_requested or task_state not in ACTIVE:
        return Turn.CANCEL
    state = TaskState(task_state)
    if state in PHASE1_DONE:
        return None
    return _TURNS[state]
