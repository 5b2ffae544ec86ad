"""LUNs that somebody else made, brought under management and let go again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.errors import Invalid
from penstock.volume.drivers.zfssa.faults import Absent
from penstock.volume.drivers.zfssa.values import MANAGED, Lun
from penstock.volume.drivers.zfssa.volumes import Volumes, size_gib
from penstock.volume.errors import (
    ManageExistingAlreadyManaged,
    ManageExistingInvalidReference,
    VolumeNotFound,
)

SOURCE_NAME = "source-name"
UNMANAGED = "unmanaged-"

_SORTS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "size": lambda row: row["size"],
    "reference": lambda row: row["reference"][SOURCE_NAME],
}


class Managing:
    """The LUNs of one project."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    def size_gib(self, reference: Mapping[str, Any]) -> int:
        """The LUN's size in GiB, rounded up. Raises ManageExistingInvalidReference."""
        return size_gib(self._find(reference))

    def take_over(self, volume: Any, reference: Mapping[str, Any]) -> None:
        """Give it the volume's name and our mark. Safe to repeat.

        Raises ManageExistingInvalidReference, ManageExistingAlreadyManaged, Invalid (strict, and the LUN has no mark).
        """
        try:
            found = self._find(reference)
        except ManageExistingInvalidReference:
            if self._is_taken_over(volume):
                return
            raise
        if self._volumes.settings.is_strict:
            if found.is_managed is None:
                raise Invalid(
                    f"The LUN {found.name} has no property cinder_managed, and zfssa_manage_policy is strict: set it "
                    "to false there first."
                )
            if found.is_managed:
                raise ManageExistingAlreadyManaged(f"The LUN {found.name} is managed already.")
        self._set(found.name, {"name": volume["name"], MANAGED: True})

    def let_go(self, volume: Any) -> None:
        """Give it another name and take our mark away. Safe to repeat; absent is fine."""
        try:
            self._set(volume["name"], {"name": UNMANAGED + volume["name"], MANAGED: False})
        except Absent:
            return

    def listing(
        self,
        known: Sequence[Any],
        marker: str | None,
        limit: int | None,
        offset: int | None,
        sort_keys: Sequence[str],
        sort_dirs: Sequence[str],
    ) -> list[dict[str, Any]]:
        """What could be managed, a page of it. `known`: the volumes that are."""
        settings = self._volumes.settings
        ids = {volume["name"]: volume["id"] for volume in known}
        rows = [self._row(each, ids) for each in self._volumes.appliance.luns(settings.pool, settings.project)]
        rows.sort(key=_SORTS["reference"])
        for key, direction in reversed(list(zip(sort_keys, sort_dirs, strict=False))):
            if key not in _SORTS:
                raise Invalid(f"Manageable volumes cannot be sorted by {key}.")
            rows.sort(key=_SORTS[key], reverse=direction == "desc")
        return _page(rows, marker, limit, offset)

    def _row(self, lun: Lun, ids: Mapping[str, str]) -> dict[str, Any]:
        cinder_id = ids.get(lun.name)
        reason = None
        if lun.is_managed or cinder_id is not None:
            reason = "already managed" if cinder_id is not None else "managed by another cinder instance?"
        elif lun.is_managed is None and self._volumes.settings.is_strict:
            reason = "cinder_managed schema not present"
        return {
            "reference": {SOURCE_NAME: lun.name},
            "size": size_gib(lun),
            "safe_to_manage": reason is None,
            "reason_not_safe": reason,
            "cinder_id": cinder_id,
            "extra_info": None,
        }

    def _find(self, reference: Mapping[str, Any]) -> Lun:
        name = reference.get(SOURCE_NAME)
        if not isinstance(name, str) or not name:
            raise ManageExistingInvalidReference(f"The reference must have the LUN's name as '{SOURCE_NAME}'.")
        try:
            return self._volumes.find(name)
        except VolumeNotFound as absent:
            raise ManageExistingInvalidReference(f"There is no LUN {name!r} in the project.") from absent

    def _is_taken_over(self, volume: Any) -> bool:
        """Whether an earlier try renamed it: the volume's name holds an id that nobody else has."""
        try:
            return self._volumes.find(volume["name"]).is_managed is True
        except VolumeNotFound:
            return False

    def _set(self, name: str, body: Mapping[str, Any]) -> None:
        settings = self._volumes.settings
        self._volumes.appliance.set_lun(settings.pool, settings.project, name, body)


def _page(
    rows: list[dict[str, Any]], marker: str | None, limit: int | None, offset: int | None
) -> list[dict[str, Any]]:
    start = 0
    if marker:
        names = [row["reference"][SOURCE_NAME] for row in rows]
        wanted = marker.get(SOURCE_NAME) if isinstance(marker, dict) else marker
        if wanted not in names:
            raise Invalid(f"There is no LUN {marker!r} to go on from.")
        start = names.index(wanted) + 1
    start += int(offset or 0)
    return rows[start:] if limit is None else rows[start : start + int(limit)]
