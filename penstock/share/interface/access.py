"""Access rules: bring the backend to the wanted set.

Either `update_access` alone, or `allow_access` and `deny_access`, which are called rule by rule when `update_access` is
not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.share.interface.values import Context, ShareServer, Updates
from penstock.share.models import AccessModel, ShareModel, SnapshotModel


class AccessInterface:
    """Who may use a share, or a mounted snapshot."""

    def update_access(
        self,
        context: Context,
        share: ShareModel,
        access_rules: Sequence[AccessModel],
        add_rules: Sequence[AccessModel],
        delete_rules: Sequence[AccessModel],
        share_server: ShareServer = None,
    ) -> Mapping[str, Updates] | None:
        """Make `access_rules` the rules in force, all of them and no others.

        `add_rules` is the part of them that is new since the last success, `delete_rules` what has to go; both may be
        empty, then the whole set is checked against the backend and put right. A rule to add may be there already and
        a rule to delete may never have been applied: neither is a fault. A client that lost its rule is refused at
        once.

        Returns None, or for single rules, by ``access_id``: ``access_key`` and ``state`` (``active`` or ``error``). A
        rule in error is not offered again until it is deleted. Raises InvalidShareAccess, InvalidShareAccessLevel
        (better: the one rule's ``error``); a raised fault puts all rules being applied or denied in error.
        """
        raise NotImplementedError

    def allow_access(
        self, context: Context, share: ShareModel, access: AccessModel, share_server: ShareServer = None
    ) -> str | None:
        """Let one client in; returns its access key where the protocol has such a thing. It may be there already."""
        raise NotImplementedError

    def deny_access(
        self, context: Context, share: ShareModel, access: AccessModel, share_server: ShareServer = None
    ) -> None:
        """Shut one client out. It is fine when it was never let in."""
        raise NotImplementedError

    def snapshot_update_access(
        self,
        context: Context,
        snapshot: SnapshotModel,
        access_rules: Sequence[AccessModel],
        add_rules: Sequence[AccessModel],
        delete_rules: Sequence[AccessModel],
        share_server: ShareServer = None,
    ) -> None:
        """As `update_access`, for a snapshot that clients can mount; nothing is ever writable."""
        raise NotImplementedError
