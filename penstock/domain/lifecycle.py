"""How states change: one table for shares and one for snapshots, and the only functions that read them.

Every other line that writes a status goes through `store.*.move`, which asks these tables. Documentation diagrams are
made from them (``script/docs``).
"""

from __future__ import annotations

from enum import StrEnum

from penstock.domain.shares import ShareStatus as S
from penstock.domain.snapshots import SnapshotStatus as P
from penstock.errors import InvalidShare


class Event(StrEnum):
    """What happens to a share instance or a snapshot instance."""

    DONE = "done"
    FAILED = "failed"
    CONTINUES = "continues"  # creation from a snapshot goes on in the background
    REFUSED = "refused"  # the backend would not do it, to keep data, and changed nothing
    DELETE = "delete"
    FORCE_DELETE = "force_delete"
    EXTEND = "extend"
    SHRINK = "shrink"
    UNMANAGE = "unmanage"
    REVERT = "revert"
    LOST = "lost"  # found missing on the backend
    MIGRATE = "migrate"
    MOVED = "moved"  # another instance speaks now: this one goes
    PROMOTE = "promote"  # another replica is to become the active one
    HEALED = "healed"  # a replica in error was found well, and serving, by a look at it


_SHARE: dict[tuple[S, Event], S] = {
    (S.CREATING, Event.DONE): S.AVAILABLE,
    (S.CREATING, Event.FAILED): S.ERROR,
    (S.CREATING, Event.CONTINUES): S.CREATING_FROM_SNAPSHOT,
    (S.CREATING_FROM_SNAPSHOT, Event.DONE): S.AVAILABLE,
    (S.CREATING_FROM_SNAPSHOT, Event.CONTINUES): S.CREATING_FROM_SNAPSHOT,
    (S.CREATING_FROM_SNAPSHOT, Event.FAILED): S.ERROR,
    (S.AVAILABLE, Event.EXTEND): S.EXTENDING,
    (S.EXTENDING, Event.DONE): S.AVAILABLE,
    (S.EXTENDING, Event.FAILED): S.EXTENDING_ERROR,
    (S.AVAILABLE, Event.SHRINK): S.SHRINKING,
    (S.SHRINKING, Event.DONE): S.AVAILABLE,
    (S.SHRINKING, Event.FAILED): S.SHRINKING_ERROR,
    (S.SHRINKING, Event.REFUSED): S.AVAILABLE,  # a user message says why
    (S.AVAILABLE, Event.REVERT): S.REVERTING,
    (S.REVERTING, Event.DONE): S.AVAILABLE,
    (S.REVERTING, Event.FAILED): S.REVERTING_ERROR,
    (S.REVERTING, Event.REFUSED): S.AVAILABLE,
    (S.MANAGING, Event.DONE): S.AVAILABLE,
    (S.MANAGING, Event.FAILED): S.MANAGE_ERROR,
    (S.UNMANAGING, Event.DONE): S.UNMANAGED,
    (S.UNMANAGING, Event.FAILED): S.UNMANAGE_ERROR,
    (S.DELETING, Event.DONE): S.DELETED,
    (S.DELETING, Event.FAILED): S.ERROR_DELETING,
    (S.AVAILABLE, Event.LOST): S.ERROR,
    (S.ERROR, Event.HEALED): S.AVAILABLE,
    (S.AVAILABLE, Event.MIGRATE): S.MIGRATING,
    (S.MIGRATING, Event.REFUSED): S.AVAILABLE,  # it failed or was cancelled, and the share is as it was
    (S.MIGRATING, Event.FAILED): S.ERROR,
    (S.MIGRATING, Event.MOVED): S.DELETING,
    (S.MIGRATING_TO, Event.DONE): S.AVAILABLE,
    (S.MIGRATING_TO, Event.MOVED): S.DELETING,
    (S.REPLICATION_CHANGE, Event.DONE): S.AVAILABLE,
    (S.REPLICATION_CHANGE, Event.FAILED): S.ERROR,
    (S.REPLICATION_CHANGE, Event.REFUSED): S.AVAILABLE,  # nothing was changed; a user message says why
}
DELETABLE = (
    S.AVAILABLE,
    S.ERROR,
    S.INACTIVE,
    S.EXTENDING_ERROR,
    S.SHRINKING_ERROR,
    S.SHRINKING_POSSIBLE_DATA_LOSS_ERROR,
    S.REVERTING_ERROR,
    S.MANAGE_ERROR,
    S.UNMANAGE_ERROR,
    S.ERROR_DELETING,
)
# Of the active replica, which may be on a host that is gone and so be stuck in a resize: the resize is given up.
PROMOTABLE = (
    S.AVAILABLE,
    S.ERROR,
    S.INACTIVE,
    S.EXTENDING,
    S.EXTENDING_ERROR,
    S.SHRINKING,
    S.SHRINKING_ERROR,
    S.SHRINKING_POSSIBLE_DATA_LOSS_ERROR,
    S.REVERTING_ERROR,
)
UNMANAGEABLE = (S.AVAILABLE, S.ERROR, S.MANAGE_ERROR, S.UNMANAGE_ERROR)
SHARE_TRANSITIONS: dict[tuple[S, Event], S] = {
    **_SHARE,
    **{(status, Event.DELETE): S.DELETING for status in DELETABLE},
    **{(status, Event.FORCE_DELETE): S.DELETING for status in S if status is not S.DELETED},
    **{(status, Event.UNMANAGE): S.UNMANAGING for status in UNMANAGEABLE},
    **{(status, Event.PROMOTE): S.REPLICATION_CHANGE for status in PROMOTABLE},
}

SNAPSHOT_DELETABLE = (P.AVAILABLE, P.ERROR, P.ERROR_DELETING, P.MANAGE_ERROR, P.UNMANAGE_ERROR)
SNAPSHOT_TRANSITIONS: dict[tuple[P, Event], P] = {
    (P.CREATING, Event.DONE): P.AVAILABLE,
    (P.CREATING, Event.FAILED): P.ERROR,
    (P.MANAGING, Event.DONE): P.AVAILABLE,
    (P.MANAGING, Event.FAILED): P.MANAGE_ERROR,
    (P.UNMANAGING, Event.DONE): P.UNMANAGED,
    (P.UNMANAGING, Event.FAILED): P.UNMANAGE_ERROR,
    (P.AVAILABLE, Event.REVERT): P.RESTORING,
    (P.RESTORING, Event.DONE): P.AVAILABLE,
    (P.RESTORING, Event.FAILED): P.AVAILABLE,
    (P.RESTORING, Event.REFUSED): P.AVAILABLE,
    (P.DELETING, Event.DONE): P.DELETED,
    (P.DELETING, Event.FAILED): P.ERROR_DELETING,
    (P.AVAILABLE, Event.LOST): P.ERROR,
    (P.AVAILABLE, Event.MIGRATE): P.MIGRATING,
    (P.MIGRATING, Event.REFUSED): P.AVAILABLE,
    (P.MIGRATING_TO, Event.DONE): P.AVAILABLE,
    **{(status, Event.DELETE): P.DELETING for status in SNAPSHOT_DELETABLE},
    **{(status, Event.FORCE_DELETE): P.DELETING for status in P if status is not P.DELETED},
    **{(status, Event.UNMANAGE): P.UNMANAGING for status in (P.AVAILABLE, P.ERROR, P.MANAGE_ERROR, P.UNMANAGE_ERROR)},
}

# States in which an operation is under way.
SHARE_TRANSITIONAL = (
    S.CREATING,
    S.CREATING_FROM_SNAPSHOT,
    S.DELETING,
    S.MANAGING,
    S.UNMANAGING,
    S.EXTENDING,
    S.SHRINKING,
    S.MIGRATING,
    S.MIGRATING_TO,
    S.SERVER_MIGRATING,
    S.SERVER_MIGRATING_TO,
    S.REVERTING,
    S.ENSURING,
    S.REPLICATION_CHANGE,
)


def advance_share(status: S, event: Event) -> S:
    """The state `event` leads to. Raises InvalidShare when a share in `status` does not take it."""
    try:
        return SHARE_TRANSITIONS[status, event]
    except KeyError:
        raise InvalidShare(f"A share that is '{status}' cannot {_verb(event)}.") from None


def advance_snapshot(status: P, event: Event) -> P:
    """The state `event` leads to. Raises InvalidShare when a snapshot in `status` does not take it."""
    try:
        return SNAPSHOT_TRANSITIONS[status, event]
    except KeyError:
        raise InvalidShare(f"A snapshot that is '{status}' cannot {_verb(event)}.") from None


def _verb(event: Event) -> str:
    return {
        Event.DELETE: "be deleted",
        Event.FORCE_DELETE: "be deleted",
        Event.EXTEND: "be extended",
        Event.SHRINK: "be shrunk",
        Event.UNMANAGE: "be unmanaged",
        Event.REVERT: "be reverted",
        Event.PROMOTE: "have another active replica",
        Event.MIGRATE: "be migrated",
    }.get(event, f"take the event '{event}'")
