"""Share groups: the manager's published methods. This release makes none and says so."""

from __future__ import annotations

from typing import Any, NoReturn

from penstock.errors import Unsupported


class GroupMethods:
    """What a manager does with share groups; every method raises Unsupported."""

    def create_share_group(self, context: Any, share_group_id: str) -> NoReturn:
        """Make the group, empty or from a group snapshot."""
        raise _unsupported()

    def delete_share_group(self, context: Any, share_group_id: str) -> NoReturn:
        """Remove the group."""
        raise _unsupported()

    def create_share_group_snapshot(self, context: Any, share_group_snapshot_id: str) -> NoReturn:
        """Snapshot all shares of the group."""
        raise _unsupported()

    def delete_share_group_snapshot(self, context: Any, share_group_snapshot_id: str) -> NoReturn:
        """Destroy the group's snapshot."""
        raise _unsupported()


def _unsupported() -> Unsupported:
    return Unsupported("Share groups are not offered by this release.")
