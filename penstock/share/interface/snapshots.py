"""Snapshots of shares. `snapshot.share` is the share instance it was taken of; every method may be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.share.interface.values import Context, ShareServer, Updates
from penstock.share.models import AccessModel, SnapshotModel


class SnapshotInterface:
    """What can be done with one snapshot."""

    def create_snapshot(
        self, context: Context, snapshot: SnapshotModel, share_server: ShareServer = None
    ) -> Updates | None:
        """Freeze the share's present contents under the snapshot's id; when it is there already, it is not taken again.

        Returns None, or ``provider_location`` (the driver's own name, handed back in later calls) and
        ``export_locations`` when snapshots can be mounted.
        """
        raise NotImplementedError

    def delete_snapshot(self, context: Context, snapshot: SnapshotModel, share_server: ShareServer = None) -> None:
        """Destroy the snapshot; it is fine when there is none. Shares made from it must stay as they are."""
        raise NotImplementedError

    def revert_to_snapshot(
        self,
        context: Context,
        snapshot: SnapshotModel,
        share_access_rules: Sequence[AccessModel],
        snapshot_access_rules: Sequence[AccessModel],
        share_server: ShareServer = None,
    ) -> None:
        """Put the share's contents back to the snapshot, in place: same exports, same rules. The snapshot stays.

        It is the newest snapshot we know of; the caller has checked. Raises Conflict when the backend has a newer one
        that would be destroyed.
        """
        raise NotImplementedError

    def manage_existing_snapshot(self, snapshot: SnapshotModel, driver_options: Mapping[str, Any]) -> Updates:
        """Take over the existing snapshot named by ``snapshot.provider_location``.

        Returns ``size`` in GiB, rounded up, and what else changed (``provider_location``, ``export_locations``). Raises
        ManageInvalidShareSnapshot.
        """
        raise NotImplementedError

    def manage_existing_snapshot_with_server(
        self, snapshot: SnapshotModel, driver_options: Mapping[str, Any], share_server: ShareServer = None
    ) -> Updates:
        """As `manage_existing_snapshot`, for a share on a share server."""
        raise NotImplementedError

    def unmanage_snapshot(self, snapshot: SnapshotModel) -> None:
        """Forget the snapshot and leave it where it is. Raises UnmanageInvalidShareSnapshot."""

    def unmanage_snapshot_with_server(self, snapshot: SnapshotModel, share_server: ShareServer = None) -> None:
        """As `unmanage_snapshot`, for a share on a share server."""
