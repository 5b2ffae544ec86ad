"""Shares: make, remove, resize, adopt, let go, and report on them.

Every method may be called again after a crash at any point of the first call, and must then end as one call would have.
`share` is a frozen `ShareModel`; `share_server` is None unless the backend makes share servers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.share.interface.values import Context, ExportLocation, ShareServer, Updates
from penstock.share.models import ShareModel, SnapshotModel


class ShareInterface:
    """What can be done with one share."""

    def create_share(
        self, context: Context, share: ShareModel, share_server: ShareServer = None
    ) -> Sequence[ExportLocation] | ExportLocation | str:
        """Make an empty share of `share.size` GiB on the pool named in `share.host`, mountable by nobody yet.

        Returns its export locations. A share of the same id that is there already is completed, not refused. Raises
        Conflict when something else has the name, InsufficientCapacity, Unavailable.
        """
        raise NotImplementedError

    def create_share_from_snapshot(
        self,
        context: Context,
        share: ShareModel,
        snapshot: SnapshotModel,
        share_server: ShareServer = None,
        parent_share: ShareModel | None = None,
    ) -> Updates | Sequence[ExportLocation]:
        """Make a share with the contents of `snapshot`, at least as large as it; `parent_share` is what it was taken
        of.

        Returns export locations, or a mapping of ``status`` (``available`` or ``creating_from_snapshot``) and
        ``export_locations``. After ``creating_from_snapshot`` the work goes on in the background and
        `get_share_status` is asked for it. Repeatable; a copy half made is continued or made again. Raises
        ShareBackendException.
        """
        raise NotImplementedError

    def delete_share(self, context: Context, share: ShareModel, share_server: ShareServer = None) -> None:
        """Take the share from its clients at once and destroy it with its data. It is fine when there is none."""
        raise NotImplementedError

    def extend_share(self, share: ShareModel, new_size: int, share_server: ShareServer = None) -> None:
        """Let the share hold `new_size` GiB, more than `share.size`. Repeatable. Raises InsufficientCapacity."""
        raise NotImplementedError

    def shrink_share(self, share: ShareModel, new_size: int, share_server: ShareServer = None) -> None:
        """Let the share hold only `new_size` GiB, less than `share.size`. Repeatable.

        Raises ShareShrinkingPossibleDataLoss, and changes nothing, when more than that is in use.
        """
        raise NotImplementedError

    def ensure_share(
        self, context: Context, share: ShareModel, share_server: ShareServer = None
    ) -> Sequence[ExportLocation] | None:
        """Called at start for each share when `ensure_shares` is not there: see that it is mounted and exported.

        Returns its export locations when they may have changed, else None. Raises ShareResourceNotFound when the share
        is gone.
        """
        raise NotImplementedError

    def ensure_shares(self, context: Context, shares: Sequence[ShareModel]) -> Mapping[str, Updates] | None:
        """The same for all shares of the backend in one call, which should cost a fixed number of commands per pool.

        Returns, by instance id, ``export_locations``, ``status`` (``available`` or ``error``) and
        ``reapply_access_rules`` of those that changed. Without it, `ensure_share` is called for each, unless
        `get_backend_info` answers as it did when all was ensured last.
        """
        raise NotImplementedError

    def get_pool(self, share: ShareModel) -> str | None:
        """The name of the pool the share lies on, without host and backend; None when this backend has no pools."""
        return None

    def get_share_status(self, share: ShareModel, share_server: ShareServer = None) -> Updates:
        """How far the background creation of `share` (``creating_from_snapshot``) got; asked every
        `periodic_interval` s.

        Returns ``status`` (``available``, ``creating_from_snapshot`` or ``error``), ``progress`` such as ``"50%"``,
        and ``export_locations`` once available. Raises ShareBackendException, which ends the creation in error.
        """
        raise NotImplementedError

    def update_share_usage_size(self, context: Context, shares: Sequence[ShareModel]) -> Sequence[Updates]:
        """How much of each of `shares` is in use.

        Returns ``{"id": instance id, "used_size": GiB as a number or text, "gathered_at": naive UTC datetime}`` for
        those it could tell.
        """
        raise NotImplementedError

    def manage_existing(self, share: ShareModel, driver_options: Mapping[str, Any]) -> Updates:
        """Take over storage that exists at ``share.export_locations[0]``, without disturbing its users.

        `driver_options` are the administrator's. Returns ``size`` in GiB, rounded up, and ``export_locations``.
        Repeatable. Raises ManageInvalidShare (the reason in words), ManageExistingShareTypeMismatch.
        """
        raise NotImplementedError

    def manage_existing_with_server(
        self, share: ShareModel, driver_options: Mapping[str, Any], share_server: ShareServer = None
    ) -> Updates:
        """As `manage_existing`, for a share on a share server."""
        raise NotImplementedError

    def unmanage(self, share: ShareModel) -> None:
        """Forget the share and leave it, its data and its exports as they are. Repeatable. Raises
        UnmanageInvalidShare.
        """

    def unmanage_with_server(self, share: ShareModel, share_server: ShareServer = None) -> None:
        """As `unmanage`, for a share on a share server."""
