"""Metadata of snapshots: free pairs of text (2.73)."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.context import RequestContext
from penstock.errors import NotFound
from penstock.services.control_plane import ControlPlane
from penstock.services.visibility import own_snapshot, snapshot_to_change
from penstock.store import snapshots


def get(plane: ControlPlane, context: RequestContext, snapshot_id: str) -> dict[str, str]:
    """All pairs. Raises NotFound."""
    with plane.database.read() as tx:
        return own_snapshot(tx, context, snapshot_id).metadata


def put(
    plane: ControlPlane, context: RequestContext, snapshot_id: str, items: Mapping[str, str], *, replace: bool
) -> dict[str, str]:
    """Set these pairs; with `replace` the rest goes. Returns all that are there now. Safe to repeat.

    Raises NotFound.
    """
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        snapshots.set_metadata(tx, snapshot.id, items, replace=replace)
        return snapshots.get_metadata(tx, snapshot.id)


def delete(plane: ControlPlane, context: RequestContext, snapshot_id: str, key: str) -> None:
    """Remove one pair. Raises NotFound (snapshot or key)."""
    with plane.database.begin() as tx:
        snapshot = snapshot_to_change(tx, context, snapshot_id)
        if not snapshots.delete_metadata(tx, snapshot.id, key):
            raise NotFound(f"Snapshot {snapshot.id} has no metadata key '{key}'.")
