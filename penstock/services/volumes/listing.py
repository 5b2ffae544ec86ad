"""Volumes as the API shows them: lines of columns, with what is kept beside the rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from penstock.context import RequestContext
from penstock.domain.attachments import AttachStatus
from penstock.domain.volumes import Volume
from penstock.domain.volumes_at_work import TypedVolume
from penstock.services.control_plane import ControlPlane
from penstock.services.volumes.visibility import is_hidden, missing_volume, owns
from penstock.store import volume_lines, volume_types, volumes
from penstock.store.database import Transaction
from penstock.store.keyset import KeysetPage
from penstock.store.volume_lines import COLUMNS, UseLine, VolumeLine
from penstock.store.volumes import VolumeFilter

__all__ = ["COLUMNS", "Listed", "Shown", "list_names", "list_shown", "show", "shown"]

_ID = COLUMNS.index("id")
_TYPE_ID = COLUMNS.index("volume_type_id")
_ATTACHED = COLUMNS.index("attach_status")
_PROJECT = COLUMNS.index("os-vol-tenant-attr:tenant_id")
_ADMIN_METADATA = COLUMNS.index("admin_metadata")


class Shown(NamedTuple):
    """A volume as one line of columns (see `store.volume_lines`), the name of its type, and who uses it."""

    line: VolumeLine
    type_name: str | None
    uses: Sequence[UseLine]


@dataclass(frozen=True, slots=True)
class Listed:
    """One page; `count` of all that match when it was asked for."""

    items: Sequence[Shown]
    count: int | None


@dataclass(frozen=True, slots=True)
class Names:
    """One page of ids and names, as `Listed`."""

    items: Sequence[VolumeLine]
    count: int | None


def show(plane: ControlPlane, context: RequestContext, volume_id: str) -> Shown:
    """The volume as it is shown. Raises NotFound."""
    with plane.database.read() as tx:
        line = volume_lines.line_by_id(tx, volume_id)
        if line is None or not owns(context, line[_PROJECT]) or is_hidden(context, _notes(line)):
            raise missing_volume(volume_id)
        return _beside(tx, [line])[0]


def shown(plane: ControlPlane, volume: Volume) -> Shown:
    """A volume that a use case just returned, as it is shown."""
    with plane.database.read() as tx:
        return _beside(tx, [volume_lines.line_of(volume)])[0]


def new_shown(made: TypedVolume) -> Shown:
    """A volume that was just made, and that nobody uses, as it is shown: nothing has to be read for it."""
    return Shown(volume_lines.line_of(made.volume), None if made.type is None else made.type.own.name, ())


def list_shown(
    plane: ControlPlane,
    context: RequestContext,
    wanted: VolumeFilter,
    page: KeysetPage,
    *,
    all_projects: bool = False,
    with_count: bool = False,
) -> Listed:
    """One page of the caller's volumes; of all projects' when policy let the caller say so.

    Raises Invalid (a sort key), NotFound (the marker).
    """
    if not all_projects:
        wanted = _own(context, wanted)
    with plane.database.read() as tx:
        lines = volume_lines.list_lines(tx, wanted, page)
        return Listed(_beside(tx, lines), volumes.count_volumes(tx, wanted) if with_count else None)


def list_names(
    plane: ControlPlane,
    context: RequestContext,
    wanted: VolumeFilter,
    page: KeysetPage,
    *,
    all_projects: bool = False,
    with_count: bool = False,
) -> Names:
    """As `list_shown`, but ids and names only."""
    if not all_projects:
        wanted = _own(context, wanted)
    with plane.database.read() as tx:
        lines = volume_lines.list_names(tx, wanted, page)
        return Names(lines, volumes.count_volumes(tx, wanted) if with_count else None)


def _own(context: RequestContext, wanted: VolumeFilter) -> VolumeFilter:
    """What the product made for an operation of its own counts for no quota and is not in a list. Of these a project
    has none; an administrator sees them by asking for them (``consumes_quota=false``)."""
    if wanted.uses_quota is False and not context.is_admin:
        return replace(wanted, project_id=context.project_id, ids=())
    return replace(wanted, project_id=context.project_id, uses_quota=wanted.uses_quota is not False)


def _notes(line: VolumeLine) -> Collection[str]:
    found: dict[str, str] = json.loads(line[_ADMIN_METADATA] or "{}")
    return found


def _beside(tx: Transaction, lines: Sequence[VolumeLine]) -> list[Shown]:
    """What is kept beside the rows, in a fixed number of queries however many volumes."""
    names = volume_types.names(tx)
    used = [line[_ID] for line in lines if line[_ATTACHED] != AttachStatus.DETACHED]
    uses = volume_lines.uses_of(tx, used) if used else {}
    return [Shown(line, names.get(line[_TYPE_ID]), uses.get(line[_ID], ())) for line in lines]
