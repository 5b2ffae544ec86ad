"""Metadata of shares: free pairs of text, but for the keys that are an administrator's (``admin_only_metadata``)."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.context import RequestContext
from penstock.domain.replication import RPO_KEY, parse_objective
from penstock.errors import Forbidden, NotFound
from penstock.services.control_plane import ControlPlane
from penstock.services.visibility import share_to_change, visible_share
from penstock.store import share_metadata


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
    """Set these pairs; with `replace` the rest goes, the administrator's excepted. Returns all that are there now.

    Raises NotFound, Forbidden, Invalid. Safe to repeat.
    """
    check_items(plane, items, may_set_reserved=may_set_reserved)
    with plane.database.begin() as tx:
        share = share_to_change(tx, context, share_id)
        share_metadata.put(tx, share.id, items, replace=replace, keeping=_reserved(plane))
        return share_metadata.get(tx, share.id)


def delete(plane: ControlPlane, context: RequestContext, share_id: str, key: str, *, may_set_reserved: bool) -> None:
    """Remove one pair. Raises NotFound (share or key), Forbidden."""
    check_reserved(plane, {key: ""}, may_set_reserved=may_set_reserved)
    with plane.database.begin() as tx:
        share = share_to_change(tx, context, share_id)
        if not share_metadata.delete_key(tx, share.id, key):
            raise NotFound(f"Share {share.id} has no metadata key '{key}'.")


def check_items(plane: ControlPlane, items: Mapping[str, str], *, may_set_reserved: bool) -> None:
    """Raise Forbidden for a key that only administrators may set, Invalid for an objective that is not one."""
    check_reserved(plane, items, may_set_reserved=may_set_reserved)
    if RPO_KEY in items:
        parse_objective(items[RPO_KEY])


def check_reserved(plane: ControlPlane, items: Mapping[str, str], *, may_set_reserved: bool) -> None:
    """Raise Forbidden for a key that only administrators may set."""
    reserved = [key for key in items if key in _reserved(plane)]
    if reserved and not may_set_reserved:
        raise Forbidden(f"Only an administrator may set the metadata key '{reserved[0]}'.")


def _reserved(plane: ControlPlane) -> list[str]:
    found: list[str] = plane.conf.admin_only_metadata
    return found
