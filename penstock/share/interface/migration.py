"""Migration of one share to another pool or backend, carried out by the drivers.

Two phases: `migration_start` and `migration_continue` copy while the share is in use, `migration_complete` switches
over. All are called on the source's backend. `source_snapshots` are the snapshots to bring along, `snapshot_mappings`
maps their ids to the destination's snapshots. Every method may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.share.interface.values import Context, ShareServer, Updates
from penstock.share.models import ShareModel, SnapshotModel


class MigrationInterface:
    """What can be done to move one share."""

    def migration_check_compatibility(
        self,
        context: Context,
        source_share: ShareModel,
        destination_share: ShareModel,
        share_server: ShareServer = None,
        destination_share_server: ShareServer = None,
    ) -> Mapping[str, bool]:
        """Can this driver bring the share there, and how well? Changes nothing.

        Returns ``compatible``, ``writable`` (clients keep writing in the first phase), ``preserve_metadata``,
        ``nondisruptive`` and ``preserve_snapshots``.
        """
        return {
            "compatible": False,
            "writable": False,
            "preserve_metadata": False,
            "nondisruptive": False,
            "preserve_snapshots": False,
        }

    def migration_start(
        self,
        context: Context,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mapping[str, SnapshotModel],
        share_server: ShareServer = None,
        destination_share_server: ShareServer = None,
    ) -> None:
        """Begin the copy and return; the rest happens in `migration_continue`."""
        raise NotImplementedError

    def migration_continue(
        self,
        context: Context,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mapping[str, SnapshotModel],
        share_server: ShareServer = None,
        destination_share_server: ShareServer = None,
    ) -> bool:
        """Carry the copy on; called every `migration_driver_continue_update_interval` seconds. Is the first phase
        done?
        """
        raise NotImplementedError

    def migration_complete(
        self,
        context: Context,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mapping[str, SnapshotModel],
        share_server: ShareServer = None,
        destination_share_server: ShareServer = None,
    ) -> Updates | None:
        """Bring over what changed last, switch the clients, and remove the source's data.

        Returns None, or ``export_locations`` and ``snapshot_updates`` (by destination snapshot id:
        ``provider_location``, ``export_locations``).
        """
        raise NotImplementedError

    def migration_cancel(
        self,
        context: Context,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mapping[str, SnapshotModel],
        share_server: ShareServer = None,
        destination_share_server: ShareServer = None,
    ) -> None:
        """Stop, and leave the source as it was before and nothing at the destination."""
        raise NotImplementedError

    def migration_get_progress(
        self,
        context: Context,
        source_share: ShareModel,
        destination_share: ShareModel,
        source_snapshots: Sequence[SnapshotModel],
        snapshot_mappings: Mapping[str, SnapshotModel],
        share_server: ShareServer = None,
        destination_share_server: ShareServer = None,
    ) -> Mapping[str, Any]:
        """How far it is; returns at least ``total_progress``, a percentage. Changes nothing."""
        raise NotImplementedError
