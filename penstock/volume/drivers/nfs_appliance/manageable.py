"""Shares that could become volumes: found, sorted, paged. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.errors import Invalid
from penstock.volume.drivers.nfs_appliance.appliance import ApplianceShare
from penstock.volume.drivers.nfs_appliance.volumes import LABEL
from penstock.volume.errors import ManageExistingInvalidReference
from penstock.volume.models import VolumeModel

SOURCE_ID, SOURCE_NAME = "source-id", "source-name"
SORT_KEYS = ("size", "reference")


def reference_to(existing_ref: Mapping[str, Any]) -> tuple[str, str]:
    """Which share is meant: by ``source-id`` (the share's id) or ``source-name`` (its name).

    Raises ManageExistingInvalidReference.
    """
    for key in (SOURCE_ID, SOURCE_NAME):
        if existing_ref.get(key):
            return key, str(existing_ref[key])
    raise ManageExistingInvalidReference(f"Name a share by '{SOURCE_ID}', its id, or '{SOURCE_NAME}', its name.")


def manageable(shares: Sequence[ApplianceShare], managed: Sequence[VolumeModel]) -> list[dict[str, Any]]:
    """What is told of each share: whether it could be taken over, and the volume it is when it could not.

    The size is the share's, which is an upper bound: only who mounts it sees the file.
    """
    owners = {volume.provider_id: volume.id for volume in managed}
    names = {volume.name: volume.id for volume in managed}
    rows = []
    for share in shares:
        owner = owners.get(share.id) or names.get(share.labels.get(LABEL, ""))
        rows.append(
            {
                "reference": {SOURCE_ID: share.id},
                "size": share.size_gib,
                "safe_to_manage": owner is None,
                "reason_not_safe": "already managed" if owner else None,
                "cinder_id": owner,
                "extra_info": {"name": share.name},
            }
        )
    return rows


def page(
    rows: Sequence[dict[str, Any]],
    marker: Mapping[str, Any] | None,
    limit: int | None,
    offset: int,
    sort_keys: Sequence[str],
    sort_dirs: Sequence[str],
) -> list[dict[str, Any]]:
    """The rows in order, after `marker`, from `offset` on, at most `limit`. Raises Invalid."""
    ordered = list(rows)
    directions = [*sort_dirs, *["asc"] * len(sort_keys)]
    for key, direction in reversed(list(zip(sort_keys, directions, strict=False))):
        if key not in SORT_KEYS:
            raise Invalid(f"Sort by {' or '.join(SORT_KEYS)}, not by '{key}'.")
        ordered.sort(key=lambda row: _sortable(row[key]), reverse=direction == "desc")
    if marker:
        places = [number for number, row in enumerate(ordered) if dict(row["reference"]) == dict(marker)]
        if not places:
            raise Invalid(f"The marker {dict(marker)} is not in the list.")
        ordered = ordered[places[0] + 1 :]
    end = None if limit is None else offset + limit
    return ordered[offset:end]


def _sortable(value: Any) -> Any:
    return sorted(value.items()) if isinstance(value, Mapping) else value
