"""What a share with replicas, or one on the move, does not take."""

from __future__ import annotations

from penstock.domain.shares import Share
from penstock.errors import Conflict, InvalidShare

# The published states after which nothing moves any more.
ENDED = (
    "migration_success",
    "migration_error",
    "migration_cancelled",
    "data_copying_cancelled",
    "data_copying_error",
)


def refuse_replicas(share: Share, what: str) -> None:
    """Raise Conflict for a share that has replicas beside the active one and so cannot be `what`, e.g. ``deleted``."""
    if share.has_replicas:
        raise Conflict(f"Share {share.id} has replicas; it can be {what} when all but the active one are deleted.")


def refuse_moving(share: Share, what: str) -> None:
    """Raise InvalidShare for a share that is being migrated; `what` is what has to wait, e.g. ``promote a replica``."""
    if share.task_state is not None and share.task_state not in ENDED:
        raise InvalidShare(f"Share {share.id} is being moved ({share.task_state}); {what} afterwards.")
