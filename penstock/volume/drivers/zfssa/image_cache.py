"""Images kept on the appliance: each once as a LUN with a snapshot, of which volumes are cloned in an instant.

A cache volume carries the image's id and time of change. One that is out of date goes, unless clones live on it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import structlog

from penstock.errors import Conflict, Fault
from penstock.volume.drivers.zfssa import locks
from penstock.volume.drivers.zfssa.faults import Absent
from penstock.volume.drivers.zfssa.values import IMAGE_ID, UPDATED_AT, Lun, Origin
from penstock.volume.drivers.zfssa.volumes import Volumes
from penstock.volume.errors import VolumeNotFound

CACHE_VOLUME = "os-cache-vol-"
CACHE_SNAPSHOT = "image-"

CopyImage = Callable[[Any], None]
"""Copies the image to a cache volume, given as the driver's interface has volumes."""

log = structlog.get_logger(__name__)


def is_cache_volume(name: str) -> bool:
    """Is it an image's, and so in the cache project?"""
    return name.startswith(CACHE_VOLUME)


class ImageCache:
    """The cache project of one pool. Safe between threads and processes of this machine."""

    def __init__(self, volumes: Volumes, lock_folder: Path) -> None:
        self._volumes = volumes
        self._appliance = volumes.appliance
        self._settings = volumes.settings
        self._lock_folder = lock_folder

    def clone_image(self, volume: Any, image: dict[str, Any], copy_image: CopyImage) -> bool:
        """Make the volume a clone of the image. False when it is to be made otherwise: no cache, or no room in it.

        An image that is not there, or is out of date, is copied first, once, whoever else asks for it. Safe to repeat.
        """
        if not self._settings.has_cache:
            return False
        size_bytes = int(image.get("virtual_size") or image["size"])
        # a whole number of GiB leaves no room for what a format rounds up
        size_gib = size_bytes // 2**30 + 1
        if size_gib > volume["size"]:
            log.info("zfssa.image_too_big", image=image["id"], size_gib=size_gib, volume_gib=volume["size"])
            return False
        name = CACHE_VOLUME + image["id"]
        try:
            with self._locked(name):
                source = self._verified(volume, image, name, size_gib, copy_image)
                self._volumes.clone(volume, source, size_gib)
        except Fault as fault:
            log.warning("zfssa.image_not_cloned", image=image["id"], volume=volume["id"], fault=fault.message)
            return False
        return True

    def forget_unused(self, origin: Origin | None, gone: str) -> None:
        """After the volume `gone` was deleted: remove the cache volume it was cloned of, if it was the last clone."""
        if origin is None or origin.project != self._settings.cache_project or not is_cache_volume(origin.share):
            return
        where = self._settings.pool, origin.project, origin.share
        try:
            with self._locked(origin.share):
                clones = self._appliance.snapshot(*where, origin.snapshot).clones
                if clones == 0 or (clones == 1 and self._is_gone(gone)):  # the count lags behind a deletion
                    self._appliance.delete_lun(*where)
        except Fault as fault:  # the volume is deleted, which is what was asked for; the next deletion looks again
            log.warning("zfssa.cache_kept", cache_volume=origin.share, fault=fault.message)

    def _is_gone(self, name: str) -> bool:
        try:
            self._volumes.find(name)
        except VolumeNotFound:
            return True
        return False

    def _verified(self, volume: Any, image: dict[str, Any], name: str, size_gib: int, copy_image: CopyImage) -> Origin:
        """The image's snapshot, as the image is now. Raises Conflict when an old one is in use."""
        project = self._settings.cache_project
        origin = Origin(project, name, CACHE_SNAPSHOT + image["id"])
        try:
            found = self._volumes.find(name, project)
        except VolumeNotFound:
            self._fill(volume, image, origin, size_gib, copy_image)
            return origin
        if self._is_current(found, image, origin):
            return origin
        self._appliance.delete_lun(self._settings.pool, project, name)
        self._fill(volume, image, origin, size_gib, copy_image)
        return origin

    def _is_current(self, found: Lun, image: dict[str, Any], origin: Origin) -> bool:
        """Raises Conflict for a LUN that is not ours, or one out of date in use."""
        if found.image_id is None or found.updated_at is None:
            raise Conflict(f"{found.name} in the cache project carries no image; it was not made by us")
        try:
            clones = self._appliance.snapshot(self._settings.pool, origin.project, origin.share, origin.snapshot).clones
        except Absent:
            # the snapshot is taken last: a copy that was interrupted, of which nothing was cloned
            return False
        if found.image_id == image["id"] and found.updated_at == _time_of(image):
            return True
        if clones:
            raise Conflict(f"the image {image['id']} has changed, and {clones} volumes live on the cached one")
        return False

    def _fill(self, volume: Any, image: dict[str, Any], origin: Origin, size_gib: int, copy_image: CopyImage) -> None:
        """Make the cache volume, copy the image, take the snapshot; undone when one of them fails."""
        cache_volume = volume.updated({"name": origin.share, "size": size_gib})
        more = {IMAGE_ID: image["id"], UPDATED_AT: _time_of(image)}
        self._volumes.create(cache_volume, project=origin.project, more=more)
        with ExitStack() as undo:  # whatever it is that the copy raises
            undo.callback(self._remove, origin)
            copy_image(cache_volume)
            self._appliance.create_snapshot(self._settings.pool, origin.project, origin.share, origin.snapshot)
            undo.pop_all()

    def _remove(self, origin: Origin) -> None:
        try:
            self._appliance.delete_lun(self._settings.pool, origin.project, origin.share)
        except Fault as fault:  # the next request for the image finds it without its snapshot, and removes it
            log.warning("zfssa.cache_volume_left", cache_volume=origin.share, fault=fault.message)

    def _locked(self, name: str) -> Any:
        return locks.hold(self._lock_folder, f"{self._settings.address}/{self._settings.pool}/{name}")


def _time_of(image: dict[str, Any]) -> str:
    changed = image["updated_at"]
    return str(changed.isoformat() if hasattr(changed, "isoformat") else changed)
