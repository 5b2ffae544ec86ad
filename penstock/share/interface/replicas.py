"""Replicas: further copies of a share on other backends of the same `replication_domain`.

`replica_list` holds all replicas of the share, the one the call is about among them; the writable one has
``replica_state`` ``active``. `replica_snapshots` holds, for each snapshot that is available,
``{"active_replica_snapshot": ..., "share_replica_snapshot": ...}``: the snapshot on the active replica and the one that
has to exist on this replica. Every method may be repeated. At no time may two replicas accept writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.share.interface.values import Context, ShareServer, Updates
from penstock.share.models import AccessModel, ShareModel, SnapshotModel

SnapshotPair = Mapping[str, SnapshotModel]


class ReplicaInterface:
    """What can be done with the replicas of one share and their snapshots."""

    def create_replica(
        self,
        context: Context,
        replica_list: Sequence[ShareModel],
        new_replica: ShareModel,
        access_rules: Sequence[AccessModel],
        replica_snapshots: Sequence[SnapshotPair],
        share_server: ShareServer = None,
    ) -> Updates | None:
        """Make `new_replica` on this backend and start bringing it the active replica's data.

        `access_rules` are those the share obeys. Returns None, or ``export_locations``, ``replica_state`` (``active``
        only where all replicas are writable, else ``in_sync``, ``out_of_sync`` or ``error``) and
        ``access_rules_status``. Called on the new replica's backend.
        """
        raise NotImplementedError

    def delete_replica(
        self,
        context: Context,
        replica_list: Sequence[ShareModel],
        replica_snapshots: Sequence[SnapshotModel],
        replica: ShareModel,
        share_server: ShareServer = None,
    ) -> Sequence[str] | None:
        """Destroy `replica` and its snapshots, which may still be on their way; fine when there is none.

        Returns None, or the names of what was kept aside because no other replica has it. Called on its backend, which
        may be asked while the other backends are down.
        """
        raise NotImplementedError

    def promote_replica(
        self,
        context: Context,
        replica_list: Sequence[ShareModel],
        replica: ShareModel,
        access_rules: Sequence[AccessModel],
        share_server: ShareServer = None,
    ) -> Sequence[ShareModel | Updates] | None:
        """Make `replica` the active one, after making sure the old one accepts no more writes.

        Returns None or the replicas with changed ``export_locations``, ``access_rules_status`` and ``replica_state``. A
        fault leaves the state of all replicas open until `update_replica_state`. Called on `replica`'s backend.
        """
        raise NotImplementedError

    def update_replica_state(
        self,
        context: Context,
        replica_list: Sequence[ShareModel],
        replica: ShareModel,
        access_rules: Sequence[AccessModel],
        replica_snapshots: Sequence[SnapshotPair],
        share_server: ShareServer = None,
    ) -> str | None:
        """Bring `replica`, which is not active, up to date, mending what broke, and say how it is.

        Returns ``in_sync``, ``out_of_sync``, ``error``, or None for no change; ``in_sync`` only when all
        `replica_snapshots` are there. Called every `replica_state_update_interval` seconds and on resync.
        """
        raise NotImplementedError

    def create_replicated_snapshot(
        self,
        context: Context,
        replica_list: Sequence[ShareModel],
        replica_snapshots: Sequence[SnapshotModel],
        share_server: ShareServer = None,
    ) -> Sequence[Updates]:
        """Take a snapshot on the active replica and have it carried to the others; `replica_snapshots` are its
        instances.

        Returns updates with ``id`` for each instance whose fate is known; ``status`` ``available`` confirms it. A
        fault puts all instances in error. Called on the active replica's backend.
        """
        raise NotImplementedError

    def delete_replicated_snapshot(
        self,
        context: Context,
        replica_list: Sequence[ShareModel],
        replica_snapshots: Sequence[SnapshotModel],
        share_server: ShareServer = None,
    ) -> Sequence[Updates]:
        """Destroy all instances of one snapshot; returns updates with ``id`` and ``status`` ``deleted`` for those gone.

        A fault puts all instances in ``error_deleting``. Called on the active replica's backend.
        """
        raise NotImplementedError

    def update_replicated_snapshot(
        self,
        context: Context,
        replica_list: Sequence[ShareModel],
        share_replica: ShareModel,
        replica_snapshots: Sequence[SnapshotModel],
        replica_snapshot: SnapshotModel,
        share_server: ShareServer = None,
    ) -> Updates | None:
        """How one snapshot instance on `share_replica`, ``creating`` or ``deleting``, is getting on.

        Returns its updates. Raises SnapshotResourceNotFound when it is not there: the end of a deletion, an error
        otherwise; SnapshotLost when the active one does not have it either. Called on the replica's backend,
        periodically.
        """
        raise NotImplementedError

    def revert_to_replicated_snapshot(
        self,
        context: Context,
        active_replica: ShareModel,
        replica_list: Sequence[ShareModel],
        active_replica_snapshot: SnapshotModel,
        replica_snapshots: Sequence[SnapshotModel],
        share_access_rules: Sequence[AccessModel],
        snapshot_access_rules: Sequence[AccessModel],
        share_server: ShareServer = None,
    ) -> None:
        """As `revert_to_snapshot`, on the active replica of a replicated share, the others following."""
        raise NotImplementedError
