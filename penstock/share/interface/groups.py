"""Share groups: shares that are snapshotted together. Every method may be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.share.interface.values import Context, ShareServer, Updates

GroupAnswer = tuple[Updates | None, Sequence[Updates] | None]


class GroupInterface:
    """What can be done with one share group and its snapshots.

    The groups come as mappings with the published names: ``id``, ``status``, ``host``, ``shares``, ``share_types`` ...
    """

    def create_share_group(
        self, context: Context, share_group_dict: Mapping[str, Any], share_server: ShareServer = None
    ) -> Updates | None:
        """Prepare an empty group; returns updates of the group or None."""
        raise NotImplementedError

    def create_share_group_from_share_group_snapshot(
        self,
        context: Context,
        share_group_dict: Mapping[str, Any],
        share_group_snapshot_dict: Mapping[str, Any],
        share_server: ShareServer = None,
    ) -> GroupAnswer:
        """Make the group and all its shares from the members of the group snapshot.

        Returns updates of the group, and for each share ``id``, ``export_locations`` and, when it goes on in the
        background, ``status`` ``creating_from_snapshot`` (see `get_share_status`).
        """
        raise NotImplementedError

    def delete_share_group(
        self, context: Context, share_group_dict: Mapping[str, Any], share_server: ShareServer = None
    ) -> Updates | None:
        """Remove the group, which has no shares any more; returns updates of the group or None."""
        raise NotImplementedError

    def create_share_group_snapshot(
        self, context: Context, snap_dict: Mapping[str, Any], share_server: ShareServer = None
    ) -> GroupAnswer:
        """Snapshot all members (``share_group_snapshot_members``), at one moment where the backend claims it can.

        Returns updates of the group snapshot, and for each member ``id`` and e.g. ``provider_location``.
        """
        raise NotImplementedError

    def delete_share_group_snapshot(
        self, context: Context, snap_dict: Mapping[str, Any], share_server: ShareServer = None
    ) -> GroupAnswer:
        """Destroy the snapshots of all members; fine when some are gone. Returns updates as above."""
        raise NotImplementedError
