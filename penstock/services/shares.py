"""Show, list, count and rename shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from penstock.context import RequestContext
from penstock.domain.shares import Share
from penstock.services.control_plane import ControlPlane
from penstock.services.paging import Page
from penstock.services.visibility import changeable_share, own_share, visible_share
from penstock.store import instances, share_lines, shares, types
from penstock.store.database import Transaction
from penstock.store.share_filter import SORTABLE, ShareFilter
from penstock.store.share_lines import COLUMNS, CREATED_AT, ID, INSTANCE_ID, METADATA, TYPE_ID, ShareLine

__all__ = [
    "COLUMNS",
    "CREATED_AT",
    "ID",
    "METADATA",
    "SORT_KEYS",
    "Listed",
    "ShareChange",
    "ShareFilter",
    "Shown",
    "get",
    "list_shares",
    "show",
    "shown",
    "update",
]
SORT_KEYS = tuple(SORTABLE)


class Shown(NamedTuple):
    """A share as one line of columns (see `store.share_lines`), with what is kept beside its row.

    `paths` are its export paths in the driver's order, those for administrators only left out; empty unless asked for.
    """

    line: ShareLine
    type_name: str | None
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of shares; `count` of all that match when it was asked for."""

    items: list[Shown]
    count: int | None


@dataclass(frozen=True, slots=True)
class ShareChange:
    """New values of what an owner may change; None leaves it. An empty text clears it."""

    name: str | None = None
    description: str | None = None
    is_public: bool | None = None


def get(plane: ControlPlane, context: RequestContext, share_id: str) -> Share:
    """The share. Raises NotFound, also for what other projects keep private."""
    with plane.database.read() as tx:
        return visible_share(tx, context, share_id)


def show(plane: ControlPlane, context: RequestContext, share_id: str, *, with_paths: bool = False) -> Shown:
    """The share as it is shown. Raises NotFound."""
    with plane.database.read() as tx:
        return _shown(tx, visible_share(tx, context, share_id), with_paths=with_paths)


def shown(plane: ControlPlane, share: Share, *, with_paths: bool = False) -> Shown:
    """A share that a use case just returned, as it is shown."""
    with plane.database.read() as tx:
        return _shown(tx, share, with_paths=with_paths)


def list_shares(
    plane: ControlPlane,
    context: RequestContext,
    wanted: ShareFilter,
    page: Page,
    *,
    all_projects: bool = False,
    with_count: bool = False,
    with_paths: bool = False,
) -> Listed:
    """One page of the caller's shares; of all projects' when policy let the caller say so."""
    if not all_projects:
        wanted = replace(wanted, project_id=context.project_id, or_public=bool(wanted.is_public))
    if wanted.is_public:  # asks for others' public shares too, not for nothing but public ones
        wanted = replace(wanted, is_public=None)
    with plane.database.read() as tx:
        lines = share_lines.list_lines(tx, wanted, page)
        count = shares.count_shares(tx, wanted) if with_count else None
        return Listed(_beside(tx, lines, with_paths=with_paths), count)


def update(plane: ControlPlane, context: RequestContext, share_id: str, change: ShareChange) -> Share:
    """Change name, description or visibility. Raises NotFound, Forbidden. Safe to repeat."""
    values: dict[str, object] = {}
    if change.name is not None:
        values["display_name"] = change.name
    if change.description is not None:
        values["display_description"] = change.description
    if change.is_public is not None:
        values["is_public"] = change.is_public
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)
        if values:
            shares.update_share(tx, share.id, now=plane.clock.utc(), **values)
        return own_share(tx, context, share_id)


def _shown(tx: Transaction, share: Share, *, with_paths: bool) -> Shown:
    names = types.names(tx)
    locations = instances.export_locations_of(tx, share.instance.id) if with_paths else []
    return Shown(
        line=share_lines.line_of(share),
        type_name=names.get(share.share_type_id or ""),
        paths=tuple(location.path for location in locations if not location.is_admin_only),
    )


def _beside(tx: Transaction, lines: Sequence[ShareLine], *, with_paths: bool) -> list[Shown]:
    """What is kept beside the rows, in a fixed number of queries however many shares."""
    names = types.names(tx)
    if not with_paths:
        return [Shown(line, names.get(line[TYPE_ID]), ()) for line in lines]
    found = instances.locations_of_instances(tx, [line[INSTANCE_ID] for line in lines])
    paths = {key: tuple(item.path for item in mine if not item.is_admin_only) for key, mine in found.items()}
    return [Shown(line, names.get(line[TYPE_ID]), paths.get(line[INSTANCE_ID], ())) for line in lines]
