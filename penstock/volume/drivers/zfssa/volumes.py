"""Volumes and snapshots as LUNs of one project: made, cloned, grown and deleted, each safe to be asked for again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from penstock.errors import Conflict, Fault, Invalid
from penstock.units import bytes_to_gib_ceil, gib_to_bytes
from penstock.volume.drivers.zfssa.calls import Appliance
from penstock.volume.drivers.zfssa.faults import Absent, Denied, Taken
from penstock.volume.drivers.zfssa.options import Settings
from penstock.volume.drivers.zfssa.values import MANAGED, MASK_ALL, Lun, Origin
from penstock.volume.errors import SnapshotIsBusy, SnapshotNotFound, VolumeIsBusy, VolumeNotFound

SPEC_PREFIX = "zfssa:"
SPECS = ("volblocksize", "sparse", "compression", "logbias")
TEMPORARY_SNAPSHOT = "tmp-snapshot-"

log = structlog.get_logger(__name__)


def temporary_snapshot(volume_id: str) -> str:
    """The snapshot that a volume with this id was cloned of, when it was cloned of a volume."""
    return TEMPORARY_SNAPSHOT + volume_id


class Volumes:
    """The LUNs of one pool. Threads may share it."""

    def __init__(self, appliance: Appliance, settings: Settings) -> None:
        self.appliance = appliance
        self.settings = settings

    def find(self, name: str, project: str = "") -> Lun:
        """The LUN. Raises VolumeNotFound."""
        where = project or self.settings.project
        try:
            return self.appliance.lun(self.settings.pool, where, name)
        except Absent as absent:
            raise VolumeNotFound(f"the appliance has no LUN {where}/{name}") from absent

    def properties(self, volume: Any) -> dict[str, Any]:
        """What a new LUN is to be: the options, and the volume type's extra specs over them, sent as they are."""
        settings = self.settings
        wanted: dict[str, Any] = {
            "volblocksize": settings.block_size,
            "sparse": settings.is_sparse,
            "compression": settings.compression,
            "logbias": settings.logbias,
        }
        volume_type = volume["volume_type"]
        specs = volume_type["extra_specs"] if volume_type else {}
        return wanted | {name: specs[SPEC_PREFIX + name] for name in SPECS if SPEC_PREFIX + name in specs}

    # --- made --------------------------------------------------------------------------------------------------------

    def create(self, volume: Any, *, project: str = "", name: str = "", more: Mapping[str, Any] | None = None) -> None:
        """A LUN for the volume. Made already is fine; raises Conflict for a LUN of that name that is not what we make.

        Raises OverLimit.
        """
        where, called = project or self.settings.project, name or volume["name"]
        body = {
            "name": called,
            "volsize": f"{volume['size']}g",
            "targetgroup": self.settings.target_group,
            "initiatorgroup": MASK_ALL,
            MANAGED: True,
            **self.properties(volume),
            **(more or {}),
        }
        try:
            self.appliance.create_lun(self.settings.pool, where, body)
        except Taken as taken:
            found = self.find(called, where)
            is_ours = found.is_managed and found.origin is None and not found.groups
            if not is_ours or found.size_bytes != gib_to_bytes(volume["size"]):
                raise Conflict(f"{where}/{called} exists and is not the empty volume that was asked for") from taken

    def clone(self, volume: Any, source: Origin, source_size_gib: int) -> None:
        """The volume as a clone of the snapshot, grown to its size. Cloned already is fine.

        Raises Invalid (smaller than the source), VolumeNotFound (the source), Conflict.
        """
        if volume["size"] < source_size_gib:
            raise Invalid(f"The new volume is {volume['size']} GiB, smaller than its source of {source_size_gib} GiB.")
        self.find(source.share, source.project)
        wanted = {key: value for key, value in self.properties(volume).items() if key != "volblocksize"}
        where = self.settings.pool, source.project, source.share, source.snapshot
        body = {"project": self.settings.project, "share": volume["name"], "nodestroy": True, **wanted, MANAGED: True}
        try:
            self.appliance.clone_snapshot(*where, body)
        except Taken as taken:
            found = self.find(volume["name"])
            if found.origin != source or not found.is_managed:
                raise Conflict(f"{volume['name']} exists and is no clone of {source.snapshot}") from taken
        except Absent as absent:
            raise SnapshotNotFound(f"the appliance has no snapshot {source.share}@{source.snapshot}") from absent
        if volume["size"] > source_size_gib:
            self.extend(volume["name"], volume["size"])

    def clone_volume(self, volume: Any, source_name: str, source_size_gib: int) -> None:
        """The volume as a clone of another: through a snapshot that lives as long as the clone.

        What was begun is undone when it fails, and the fault goes on.
        """
        if volume["size"] < source_size_gib:
            raise Invalid(f"The new volume is {volume['size']} GiB, smaller than its source of {source_size_gib} GiB.")
        settings = self.settings
        source = Origin(settings.project, source_name, temporary_snapshot(volume["id"]))
        self.create_snapshot(source_name, source.snapshot)
        try:
            self.clone(volume, source, source_size_gib)
        except Fault:
            self._undo_clone(volume, source)
            raise

    def _undo_clone(self, volume: Any, source: Origin) -> None:
        """Best effort: the same call again begins where this ends, and deleting the volume ends it too."""
        try:
            is_made = self._is_clone_of(volume["name"], source)
            if is_made:
                self.delete(volume["name"], volume["id"])  # the snapshot goes with it
            else:
                self.appliance.delete_snapshot(self.settings.pool, source.project, source.share, source.snapshot)
        except Absent:
            return
        except Fault as fault:
            log.warning("zfssa.clone_not_undone", volume=volume["id"], fault=fault.message)

    def _is_clone_of(self, name: str, source: Origin) -> bool:
        try:
            return self.find(name).origin == source
        except VolumeNotFound:
            return False

    def extend(self, name: str, size_gib: int) -> None:
        """Grow it. Safe to repeat. Raises VolumeNotFound, OverLimit."""
        try:
            self._set(name, {"volsize": gib_to_bytes(size_gib)})
        except Absent as absent:
            raise VolumeNotFound(f"the appliance has no LUN {name}") from absent

    def rename(self, old: str, new: str) -> None:
        """Give it another name. Done already is fine. Raises VolumeNotFound, Taken (both are there)."""
        try:
            self._set(old, {"name": new})
        except Absent:
            self.find(new)

    def _set(self, name: str, body: Mapping[str, Any]) -> None:
        self.appliance.set_lun(self.settings.pool, self.settings.project, name, body)

    # --- deleted -----------------------------------------------------------------------------------------------------

    def delete(self, name: str, volume_id: str) -> Lun | None:
        """Destroy it, with the snapshot it was cloned of when that was made for it. What it was; None when absent.

        Raises VolumeIsBusy when volumes were cloned of it.
        """
        try:
            found = self.find(name)
        except VolumeNotFound:
            log.warning("zfssa.volume_absent", volume=name)
            return None
        is_unprotected = found.origin is not None and found.is_protected
        if is_unprotected:
            self._set(name, {"nodestroy": False})
        try:
            self._destroy(name, volume_id, found.origin)
        except Absent:
            log.info("zfssa.volume_gone", volume=name)  # meanwhile, or by an earlier try whose answer was lost
        except Denied as denied:
            if is_unprotected:
                self._set(name, {"nodestroy": True})
            raise VolumeIsBusy(f"{name} was not deleted: volumes were cloned of it ({denied.message})") from denied
        return found

    def _destroy(self, name: str, volume_id: str, origin: Origin | None) -> None:
        pool = self.settings.pool
        if origin is not None and origin.snapshot == temporary_snapshot(volume_id):
            # takes its clone along, which is the volume, and only that
            self.appliance.delete_snapshot(pool, origin.project, origin.share, origin.snapshot)
        else:
            self.appliance.delete_lun(pool, self.settings.project, name)

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def create_snapshot(self, volume_name: str, name: str) -> None:
        """Take it. Taken already is fine: names hold an id that is never used again. Raises VolumeNotFound."""
        try:
            self.appliance.create_snapshot(self.settings.pool, self.settings.project, volume_name, name)
        except Taken as taken:
            log.info("zfssa.snapshot_taken", snapshot=name, fault=taken.message)
        except Absent as absent:
            raise VolumeNotFound(f"the appliance has no LUN {volume_name}") from absent

    def delete_snapshot(self, volume_name: str, name: str) -> None:
        """Destroy it; absent is fine. Raises SnapshotIsBusy while clones live on it."""
        where = self.settings.pool, self.settings.project, volume_name, name
        try:
            if self.appliance.snapshot(*where).clones:
                raise SnapshotIsBusy(snapshot_name=name)
            self.appliance.delete_snapshot(*where)
        except Absent:
            log.warning("zfssa.snapshot_absent", snapshot=name)
        except Denied as denied:  # cloned since we looked
            raise SnapshotIsBusy(f"{name} was not deleted: {denied.message}") from denied


def size_gib(lun: Lun) -> int:
    """The LUN's size in GiB, rounded up."""
    return bytes_to_gib_ceil(lun.size_bytes)
