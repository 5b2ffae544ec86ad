"""Show, sum up and change volumes. Lists are in `listing`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from penstock.context import RequestContext
from penstock.domain.volumes import READONLY, Volume, VolumeStatus
from penstock.errors import Invalid, NotFound
from penstock.services.control_plane import ControlPlane
from penstock.services.volumes.visibility import own_volume, seen_volume, volume_to_change
from penstock.store import volumes
from penstock.store.notes import Notes
from penstock.store.volumes import VolumeFilter, VolumeSummary

__all__ = [
    "SORT_KEYS",
    "VolumeChange",
    "VolumeFilter",
    "VolumeSummary",
    "delete_image_metadata",
    "delete_metadata",
    "get",
    "put_image_metadata",
    "put_metadata",
    "set_bootable",
    "set_readonly",
    "summary",
    "update",
]
SORT_KEYS = tuple(volumes.SORTABLE)


@dataclass(frozen=True, slots=True)
class VolumeChange:
    """New values of what an owner may change; None leaves it. An empty text clears it. `metadata` replaces all."""

    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] | None = None


def get(plane: ControlPlane, context: RequestContext, volume_id: str) -> Volume:
    """The volume with its attachments and metadata. Raises NotFound."""
    with plane.database.read() as tx:
        return seen_volume(tx, context, volume_id)


def summary(
    plane: ControlPlane, context: RequestContext, wanted: VolumeFilter, *, all_projects: bool = False
) -> VolumeSummary:
    """What the caller's volumes come to; all projects' when policy let the caller say so."""
    if not all_projects:
        wanted = replace(wanted, project_id=context.project_id, uses_quota=True)
    with plane.database.read() as tx:
        return volumes.summary(tx, wanted)


def update(plane: ControlPlane, context: RequestContext, volume_id: str, change: VolumeChange) -> Volume:
    """Change name, description or metadata. Raises NotFound. Safe to repeat."""
    wanted = {"display_name": change.name, "display_description": change.description}
    values = {column: value for column, value in wanted.items() if value is not None}
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        if values:
            volumes.update_volume(tx, volume.id, now=plane.clock.utc(), **values)
        if change.metadata is not None:
            volumes.METADATA.put(tx, volume.id, change.metadata, replace=True)
        return own_volume(tx, context, volume_id)


def put_metadata(
    plane: ControlPlane,
    context: RequestContext,
    volume_id: str,
    items: Mapping[str, str],
    *,
    replace: bool,
    check: Callable[[Mapping[str, str]], None] | None = None,
) -> dict[str, str]:
    """Set these pairs; with `replace` the rest goes. Returns all there are now. Safe to repeat.

    Raises NotFound, and what `check` raises of the pairs there are before.
    """
    return _put(plane, context, volume_id, volumes.METADATA, items, replace=replace, check=check)


def delete_metadata(plane: ControlPlane, context: RequestContext, volume_id: str, key: str) -> None:
    """Remove one pair. Raises NotFound (volume or key)."""
    _delete(plane, context, volume_id, volumes.METADATA, key)


def put_image_metadata(
    plane: ControlPlane, context: RequestContext, volume_id: str, items: Mapping[str, str]
) -> dict[str, str]:
    """Set these pairs of what is known of the image on it; the others stay. Returns all. Raises NotFound."""
    return _put(plane, context, volume_id, volumes.IMAGE_METADATA, items, replace=False)


def delete_image_metadata(plane: ControlPlane, context: RequestContext, volume_id: str, key: str) -> None:
    """Remove one pair of what is known of the image on it. Raises NotFound (volume or key)."""
    _delete(plane, context, volume_id, volumes.IMAGE_METADATA, key)


def set_bootable(plane: ControlPlane, context: RequestContext, volume_id: str, *, bootable: bool) -> None:
    """Say whether machines can start from it. Raises NotFound. Safe to repeat."""
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        volumes.update_volume(tx, volume.id, now=plane.clock.utc(), is_bootable=bootable)


def set_readonly(plane: ControlPlane, context: RequestContext, volume_id: str, *, readonly: bool) -> None:
    """Say whether it may only be attached to be read. Raises NotFound, Invalid (not available: whoever is connected
    goes on to write). Safe to repeat."""
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        if volume.status is not VolumeStatus.AVAILABLE:
            raise Invalid(f"Volume {volume.id} is '{volume.status}'; it can be made read-only when 'available'.")
        volumes.ADMIN_METADATA.put(tx, volume.id, {READONLY: str(readonly)})


def _put(
    plane: ControlPlane,
    context: RequestContext,
    volume_id: str,
    notes: Notes,
    items: Mapping[str, str],
    *,
    replace: bool,
    check: Callable[[Mapping[str, str]], None] | None = None,
) -> dict[str, str]:
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        if check is not None:
            check(notes.get(tx, volume.id))
        notes.put(tx, volume.id, items, replace=replace)
        return notes.get(tx, volume.id)


def _delete(plane: ControlPlane, context: RequestContext, volume_id: str, notes: Notes, key: str) -> None:
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        if not notes.remove(tx, volume.id, key):
            raise NotFound(f"Volume {volume.id} has no metadata key '{key[:64]}'.")
