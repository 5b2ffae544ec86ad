"""Metadata of shares: free pairs of text, but for the keys the scheduler keeps there."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.context import RequestContext
from penstock.errors import Forbidden, NotFound
from penstock.services import hints
from penstock.services.control_plane import ControlPlane
from penstock.services.visibility import share_to_change, visible_share
from penstock.store import shares

RESERVED = (hints.SAME, hints.DIFFERENT)


def get(plane: ControlPlane, context: RequestContext, share_id: str) -> dict[str, str]:
    """All pairs. Raises NotFound."""
    with plane.database.read() as tx:
        return visible_share(tx, context, share_id).metadata


def put(
    plane: ControlPlane,
    context: RequestContext,
    share_id: str,
    items: Mapping[str, str],
    *,
    replace: bool,
    may_set_reserved: bool,
) -> dict[str, str]:
    """Set these pairs; with `replace` the rest goes, the scheduler's excepted. Returns all that are there now.

    Raises NotFound, Forbidden. Safe to repeat.
    """
    check_reserved(items, may_set_reserved=may_set_reserved)
    with plane.database.begin() as tx:
        share = share_to_change(tx, context, share_id)
        kept = {key: share.metadata[key] for key in RESERVED if key in share.metadata and replace}
        shares.set_metadata(tx, share.id, {**kept, **items}, replace=replace)
        return shares.get_metadata(tx, share.id)


def delete(plane: ControlPlane, context: RequestContext, share_id: str, key: str, *, may_set_reserved: bool) -> None:
    """Remove one pair. Raises NotFound (share or key), Forbidden."""
    check_reserved({key: ""}, may_set_reserved=may_set_reserved)
    with plane.database.begin() as tx:
        share = share_to_change(tx, context, share_id)
        if not shares.delete_metadata(tx, share.id, key):
            raise NotFound(f"Share {share.id} has no metadata key '{key}'.")


def check_reserved(items: Mapping[str, str], *, may_set_reserved: bool) -> None:
    """Raise Forbidden for a key that only administrators may set."""
    reserved = [key for key in items if key in RESERVED]
    if reserved and not may_set_reserved:
        raise Forbidden(f"Only an administrator may set the metadata key '{reserved[0]}'.")
