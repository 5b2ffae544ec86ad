"""Migration of a whole share server, with all its shares and snapshots.

All are called on the destination's backend, two phases as for one share. Every method may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.share.interface.values import Context, ShareServer, Updates
from penstock.share.models import ShareModel, SnapshotModel


class ServerMigrationInterface:
    """What can be done to move one share server."""

    def share_server_migration_check_compatibility(
        self,
        context: Context,
        share_server: ShareServer,
        dest_host: str,
        old_share_network: Any,
        new_share_network: Any,
        shares_request_spec: Mapping[str, Any],
    ) -> Mapping[str, bool]:
        """Can the server come to `dest_host`, with what `shares_request_spec` asks for? Changes nothing.

        The specification has ``shares_size`` and ``snapshots_size`` in GiB and ``shares_req_spec``, one entry per
        share. Returns ``compatible``, ``writable``, ``nondisruptive``, ``preserve_snapshots``, ``migration_cancel``
        and ``migration_get_progress``.
        """
        return {
            "compatible": False,
            "writable": False,
            "nondisruptive": False,
            "preserve_snapshots": False,
            "migration_cancel": False,
            "migration_get_progress": False,
        }

    def share_server_migration_start(
        self,
        context: Context,
        src_share_server: ShareServer,
        dest_share_server: ShareServer,
        shares: Sequence[ShareModel],
        snapshots: Sequence[SnapshotModel],
    ) -> None:
        """Begin the copy and return."""
        raise NotImplementedError

    def share_server_migration_continue(
        self,
        context: Context,
        src_share_server: ShareServer,
        dest_share_server: ShareServer,
        shares: Sequence[ShareModel],
        snapshots: Sequence[SnapshotModel],
    ) -> bool:
        """Carry the copy on. Is the first phase done?"""
        raise NotImplementedError

    def share_server_migration_complete(
        self,
        context: Context,
        src_share_server: ShareServer,
        dest_share_server: ShareServer,
        shares: Sequence[ShareModel],
        snapshots: Sequence[SnapshotModel],
        new_network_info: Any,
    ) -> Updates | None:
        """Switch over to the destination, with its addresses in `new_network_info`, and remove the source's data.

        Returns None, or ``share_updates`` (by instance id: ``export_locations``, ``pool_name``) and
        ``snapshot_updates`` (by instance id: ``provider_location``, ``export_locations``).
        """
        raise NotImplementedError

    def share_server_migration_cancel(
        self,
        context: Context,
        src_share_server: ShareServer,
        dest_share_server: ShareServer,
        shares: Sequence[ShareModel],
        snapshots: Sequence[SnapshotModel],
    ) -> None:
        """Stop, and leave the source as it was before and nothing at the destination."""
        raise NotImplementedError

    def share_server_migration_get_progress(
        self,
        context: Context,
        src_share_server: ShareServer,
        dest_share_server: ShareServer,
        shares: Sequence[ShareModel],
        snapshots: Sequence[SnapshotModel],
    ) -> Mapping[str, Any]:
        """How far it is; returns at least ``total_progress``, a percentage. Changes nothing."""
        raise NotImplementedError
