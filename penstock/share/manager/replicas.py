"""Replicas of shares: the manager's published methods. What they do is in the modules named by what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.context import RequestContext
from penstock.domain.pools import service_host
from penstock.operations.queue import OperationQueue
from penstock.share.locks import NamedLocks
from penstock.share.manager import promotion, replica_lifecycle, replicated_snapshots, syncing
from penstock.share.manager.backend import Backend
from penstock.share.manager.locks import locked_share_replica_operation
from penstock.share.manager.looks import Looks, Start
from penstock.share.manager.syncs import Syncs
from penstock.store import replicas


class ReplicaMethods:
    """What a manager does with replicas. Each method may be called again after a crash at any point."""

    backend: Backend
    locks: NamedLocks
    queue: OperationQueue
    syncs: Syncs
    looks: Looks

    @locked_share_replica_operation
    def create_share_replica(
        self,
        context: RequestContext,
        share_replica_id: str,
        share_id: str | None = None,
        request_spec: Mapping[str, Any] | None = None,  # placement has been decided
        filter_properties: Mapping[str, Any] | None = None,  # as above
    ) -> None:
        """Make the replica `share_replica_id` of `share_id`, out of sync: syncs bring the data.

        A fault that is final leaves it in ``error``.
        """
        replica_lifecycle.create(self.backend, context, share_id, share_replica_id)
        self._want_looks(share_id)

    @locked_share_replica_operation
    def delete_share_replica(
        self, context: RequestContext, share_replica_id: str, share_id: str | None = None, force: bool = False
    ) -> None:
        """Destroy the replica `share_replica_id` of `share_id`, after its sync has been stopped.

        A fault that is final leaves it in ``error_deleting``; with `force` it is forgotten all the same.
        """
        replica_lifecycle.delete(self.backend, self.syncs, context, share_id, share_replica_id, force=force)

    @locked_share_replica_operation
    def promote_share_replica(
        self,
        context: RequestContext,
        share_replica_id: str,
        share_id: str | None = None,
        quiesce_wait_time: float | None = None,
    ) -> None:
        """Make the replica `share_replica_id` the active one of `share_id`.

        `quiesce_wait_time` (seconds) bounds how long it waits for running syncs. A fault that is final leaves the
        replica in ``replica_state`` ``error`` and the others ``out_of_sync`` until a look finds how they are.
        """
        try:
            promotion.promote(self.backend, self.syncs, context, share_id, share_replica_id, quiesce_wait_time)
        finally:
            self._want_looks(share_id)

    def _want_looks(self, share_id: str | None) -> None:
        """What is to be copied or mended soon does not wait for the next look, which may be a minute away."""
        with self.backend.database.read() as tx:
            found = replicas.of_share(tx, share_id or "")
        for share in found:
            if share.instance.host is not None:
                self.queue.look_wanted(service_host(share.instance.host)).set()

    def update_share_replica(self, context: RequestContext, share_replica_id: str, share_id: str | None = None) -> None:
        """Bring the replica up to date now.

        Without the lock of the others: it may take hours, and a promotion or deletion ends it.
        """
        syncing.sync(self.backend, self.syncs, context, share_replica_id)

    @locked_share_replica_operation
    def create_replicated_snapshot(
        self, context: RequestContext, snapshot_id: str, share_id: str | None = None
    ) -> None:
        """Take the snapshot `snapshot_id` of a share with replicas, at the active one; a fault that is final leaves
        all its instances in ``error``."""
        replicated_snapshots.create(self.backend, context, snapshot_id)
        self._want_looks(share_id)

    @locked_share_replica_operation
    def delete_replicated_snapshot(
        self, context: RequestContext, snapshot_id: str, share_id: str | None = None, force: bool = False
    ) -> None:
        """Destroy the snapshot `snapshot_id` of a share with replicas; a fault that is final leaves all its instances
        in ``error_deleting``, and with `force` they are forgotten all the same."""
        replicated_snapshots.delete(self.backend, context, snapshot_id, force=force)

    @locked_share_replica_operation
    def end_share_replication(
        self, context: RequestContext, share_replica_id: str, share_id: str | None = None
    ) -> None:
        """Let go of what the share's former replicas left at the one that is the last, if it still is."""
        replica_lifecycle.end_replication(self.backend, share_id, share_replica_id)

    def periodic_share_replica_update(self, context: RequestContext) -> None:
        """Look at all replicas on this backend, and bring those up to date that are due."""
        self.look_at_replicas(context, _at_once)

    def look_at_replicas(self, context: RequestContext, start: Start) -> float:
        """The same with syncs begun by `start`; returns the seconds until the next look."""
        return self.looks.look(context, start)

    def periodic_share_replica_snapshot_update(self, context: RequestContext) -> None:
        """See how far the snapshots of replicas on this backend are."""
        replicated_snapshots.update_all(self.backend, self.queue, context)


def _at_once(sync: Any) -> None:
    sync()
