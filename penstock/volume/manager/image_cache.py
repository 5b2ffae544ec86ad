"""A volume of each image that was copied to the backend, so that the next ones are its clones.

Where ``image_volume_cache_enabled`` is set. An entry is a volume that no user sees and no quota counts; the oldest go
when there are more, or larger ones, than the options allow. Failing to keep one harms nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from penstock.context import admin_context
from penstock.domain.operations import Call
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volumes import INTERNAL_PROJECT, Volume, VolumeStatus, driver_values
from penstock.errors import Fault
from penstock.images.model import ImageModel
from penstock.operations.driver_calls import driver_call
from penstock.store import volumes
from penstock.store.database import Transaction
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import volume_model
from penstock.volume.manager.temporary import temporary
from penstock.volume.manager.updates import checked, put_notes
from penstock.volume.models import VolumeModel

log = structlog.get_logger(__name__)

CACHED_IMAGE = "image_cache"  # admin metadata: which image, in which state, on which pool


def clone(backend: VolumeBackend, model: VolumeModel, image: ImageModel) -> tuple[Mapping[str, Any], bool] | None:
    """Make the volume from the entry of the image on its pool. Returns the model update and True, None without one."""
    if not _is_enabled(backend):
        return None
    with backend.database.read() as tx:
        entry = volumes.by_admin_metadata(tx, CACHED_IMAGE, _key(image, model.host))
        if entry is None or entry.status is not VolumeStatus.AVAILABLE or entry.size_gib > model.size:
            return None
        source = volume_model(tx, backend, entry)
    try:
        with driver_call("clone volumes"):
            return checked(backend.driver.create_cloned_volume(model, source)), True
    except Fault as fault:
        if fault.retryable:
            raise
        log.warning("image_cache.not_cloned", image=image.id, fault=str(fault))
        return None


def remember(backend: VolumeBackend, volume_id: str, image: ImageModel) -> None:
    """Keep a clone of the new volume as the entry of its image, unless there is one; then let go of the oldest."""
    if not _is_enabled(backend):
        return
    with backend.database.begin() as tx:
        volume = volumes.get(tx, volume_id)
        if volume is None or volume.host is None or volume.status is not VolumeStatus.AVAILABLE:
            return
        key = _key(image, volume.host)
        known = volumes.by_admin_metadata(tx, CACHED_IMAGE, key)
        if known is not None and known.status is not VolumeStatus.ERROR:
            return
        entry = temporary(volume, now=backend.now(), notes={CACHED_IMAGE: key}, project_id=INTERNAL_PROJECT)
        volumes.insert_volume(tx, entry)
        source, model = volume_model(tx, backend, volume), volume_model(tx, backend, entry)
    try:
        with driver_call("clone volumes"):
            update = checked(backend.driver.create_cloned_volume(model, source))
    except Fault as fault:
        log.warning("image_cache.not_kept", image=image.id, fault=str(fault))
        with backend.database.begin() as tx:
            _discard(tx, backend, entry)
        return
    now = backend.now()
    with backend.database.begin() as tx:
        volumes.move(tx, entry, VolumeEvent.DONE, now=now, launched_at=now, **driver_values(update))
        put_notes(tx, entry.id, update)
        _evict(tx, backend, keeping=entry.id)


def _evict(tx: Transaction, backend: VolumeBackend, *, keeping: str) -> None:
    most = int(backend.configuration.safe_get("image_volume_cache_max_count") or 0)
    most_gib = int(backend.configuration.safe_get("image_volume_cache_max_size_gb") or 0)
    entries = [one for one in volumes.of_backend(tx, backend.host) if CACHED_IMAGE in one.admin_metadata]
    for entry in list(entries):  # oldest first
        is_over = (most and len(entries) > most) or (most_gib and sum(one.size_gib for one in entries) > most_gib)
        if is_over and entry.id != keeping and entry.status is VolumeStatus.AVAILABLE:
            entries.remove(entry)
            _discard(tx, backend, entry)


def _discard(tx: Transaction, backend: VolumeBackend, entry: Volume) -> None:
    current = volumes.get(tx, entry.id)
    if current is not None:
        volumes.ADMIN_METADATA.remove(tx, entry.id, CACHED_IMAGE)
        volumes.move(tx, current, VolumeEvent.FORCE_DELETE, now=backend.now())
        call = Call(backend.host, f"volume:{entry.id}", "delete_volume", {"volume_id": entry.id})
        backend.queue.enqueue(tx, admin_context(), call)


def _is_enabled(backend: VolumeBackend) -> bool:
    return bool(backend.configuration.safe_get("image_volume_cache_enabled"))


def _key(image: ImageModel, host: str) -> str:
    """The image as it is now: another checksum, or another time of change, is another image."""
    state = image.os_hash_value or image.checksum or image.updated_at
    return f"{image.id} {state} {host}"
