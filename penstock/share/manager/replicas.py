"""Replicas of shares: the manager's published methods. This release makes none and says so."""

from __future__ import annotations

from typing import Any, NoReturn

from penstock.errors import Unsupported
from penstock.share.manager.locks import locked_share_replica_operation


class ReplicaMethods:
    """What a manager does with replicas; every method raises Unsupported."""

    @locked_share_replica_operation
    def create_share_replica(self, **kwargs: Any) -> NoReturn:
        """Make the replica `share_replica_id` of `share_id`."""
        raise _unsupported()

    @locked_share_replica_operation
    def delete_share_replica(self, **kwargs: Any) -> NoReturn:
        """Destroy the replica `share_replica_id` of `share_id`."""
        raise _unsupported()

    @locked_share_replica_operation
    def promote_share_replica(self, **kwargs: Any) -> NoReturn:
        """Make the replica `share_replica_id` the active one of `share_id`."""
        raise _unsupported()

    @locked_share_replica_operation
    def update_share_replica(self, context: Any, share_replica_id: str, share_id: str | None = None) -> NoReturn:
        """Bring the replica up to date now."""
        raise _unsupported()

    @locked_share_replica_operation
    def create_replicated_snapshot(self, **kwargs: Any) -> NoReturn:
        """Take the snapshot `snapshot_id` of a share with replicas."""
        raise _unsupported()

    @locked_share_replica_operation
    def delete_replicated_snapshot(self, **kwargs: Any) -> NoReturn:
        """Destroy the snapshot `snapshot_id` of a share with replicas."""
        raise _unsupported()

    def periodic_share_replica_update(self, context: Any) -> NoReturn:
        """Bring all replicas on this backend up to date."""
        raise _unsupported()

    def periodic_share_replica_snapshot_update(self, context: Any) -> NoReturn:
        """See how far the snapshots of replicas on this backend are."""
        raise _unsupported()


def _unsupported() -> Unsupported:
    return Unsupported("Share replicas are not offered by this release.")
