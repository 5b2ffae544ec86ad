"""Images onto volumes and back. Every function may be called again after a crash.

The image is asked for as its user: what the operation may do beyond that is not for reading others' images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_message_codes import VolumeMessageAction
from penstock.domain.volumes import Volume, VolumeStatus, driver_values
from penstock.errors import Fault, NotFound, Unsupported
from penstock.images.copying import check_usable
from penstock.images.errors import ImageNotFound
from penstock.images.model import ImageModel
from penstock.images.service import ImageService
from penstock.operations.attempt import done_with
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import volumes
from penstock.volume.manager import elsewhere, image_cache
from penstock.volume.manager import volumes as volume_theme
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import volume_model
from penstock.volume.manager.updates import checked, put_notes
from penstock.volume.models import VolumeModel

log = structlog.get_logger(__name__)

BEGUN = (VolumeStatus.CREATING, VolumeStatus.DOWNLOADING)


def create(backend: VolumeBackend, context: RequestContext, volume_id: str, image_id: str) -> None:
    """Make the volume with the image on it: a clone where the backend or the cache has it, else a copy."""
    with backend.database.read() as tx:
        volume = volumes.get(tx, volume_id)
        if volume is None or volume.status not in BEGUN or not backend.holds(volume):
            return
    caller = replace(context, is_admin=False)
    try:
        service = _service(backend)
        with driver_call("be given the image"):
            image = service.show(caller, image_id)
            check_usable(image, volume.size_gib)
        volume = _made(backend, context, caller, volume, service, image)
        if volume.status is VolumeStatus.DOWNLOADING:
            _copy(backend, caller, volume, service, image)
    except Fault as fault:
        if is_final(fault):
            with backend.database.read() as tx:
                current = volumes.get(tx, volume_id)
            if current is not None:
                action = VolumeMessageAction.COPY_IMAGE_TO_VOLUME
                volume_theme.fail(backend, context, current, VolumeEvent.FAILED, action, fault)
        raise
    _finish(backend, volume, image, "create_volume")
    image_cache.remember(backend, volume.id, image)


def reimage(backend: VolumeBackend, context: RequestContext, volume_id: str, image_id: str) -> None:
    """Put another image on the volume; what was on it is gone."""
    with backend.database.read() as tx:
        volume = volumes.get(tx, volume_id)
        if volume is None or volume.status is not VolumeStatus.DOWNLOADING:
            return
    caller = replace(context, is_admin=False)
    try:
        service = _service(backend)
        with driver_call("be given the image"):
            image = service.show(caller, image_id)
            check_usable(image, volume.size_gib)
        _copy(backend, caller, volume, service, image, is_used=True)
    except Fault as fault:
        if is_final(fault):
            action = VolumeMessageAction.REIMAGE_VOLUME
            volume_theme.fail(backend, context, volume, VolumeEvent.FAILED, action, fault)
        raise
    _finish(backend, volume, image, "reimage")


def upload(backend: VolumeBackend, context: RequestContext, volume_id: str, image_meta: Mapping[str, Any]) -> None:
    """Make the volume an image; when that fails for good the image is taken away, and the volume is as it was."""
    with backend.database.read() as tx:
        volume = volumes.get(tx, volume_id)
        if volume is None or volume.status is not VolumeStatus.UPLOADING:
            return
        model = volume_model(tx, backend, volume)
    caller = replace(context, is_admin=False)
    image_id = str(image_meta["id"])
    try:
        service = _service(backend)
        with driver_call("be given an image to fill"):
            try:
                made = service.show(caller, image_id)
            except (ImageNotFound, NotFound):
                made = service.create(caller, {**image_meta, "protected": False})
        if made.status != "active":  # an attempt that died later than its copy left it whole
            with backend.copying(), driver_call("copy volumes to images"):
                backend.driver.copy_volume_to_image(caller, model, service, {**image_meta, "protected": False})
        if image_meta.get("protected"):  # last: what is protected could not be withdrawn
            with driver_call("protect images"):
                service.update(caller, image_id, {"protected": True})
    except Fault as fault:
        if is_final(fault):
            _withdraw(backend, caller, image_id)
            action = VolumeMessageAction.COPY_VOLUME_TO_IMAGE
            volume_theme.fail(backend, context, volume, VolumeEvent.FAILED, action, fault)
        raise
    with backend.database.begin() as tx:
        done_with(tx, "copy_volume_to_image")
        volumes.move(tx, volume, VolumeEvent.DONE, now=backend.now())


def _service(backend: VolumeBackend) -> ImageService:
    if backend.images is None:
        raise Unsupported("No image service is configured.")
    return backend.images


def _made(
    backend: VolumeBackend,
    context: RequestContext,
    caller: RequestContext,
    volume: Volume,
    service: ImageService,
    image: ImageModel,
) -> Volume:
    """The volume on the backend: still ``creating`` when the image is on it, ``downloading`` when it has to be copied.

    A clone is not stored before its image is known to be whole: the next attempt makes it again.
    """
    with backend.database.read() as tx:
        model = volume_model(tx, backend, volume)
    if volume.status is VolumeStatus.DOWNLOADING:  # interrupted
        with driver_call("clean up"):
            backend.driver.clear_download(caller, model)
        return volume
    with driver_call("clone images"):
        location = service.get_location(caller, image.id)
        answer, is_cloned = backend.driver.clone_image(caller, model, location, image, service)
    if not is_cloned:
        cached = image_cache.clone(backend, model, image)
        answer, is_cloned = cached if cached is not None else (None, False)
    if not is_cloned:
        with elsewhere.tried(backend, context, volume), driver_call("create volumes"):
            answer = backend.driver.create_volume(model)
    update = checked(answer)
    with backend.database.begin(durable=False) as tx:
        values = driver_values(update)
        if is_cloned and values:
            volumes.update_volume(tx, volume.id, now=backend.now(), **values)
        elif not is_cloned:
            volumes.move(tx, volume, VolumeEvent.DOWNLOAD, now=backend.now(), **values)
        put_notes(tx, volume.id, update)
        return volumes.get(tx, volume.id) or volume


def _copy(
    backend: VolumeBackend,
    caller: RequestContext,
    volume: Volume,
    service: ImageService,
    image: ImageModel,
    *,
    is_used: bool = False,
) -> None:
    with backend.database.read() as tx:
        model: VolumeModel = volume_model(tx, backend, volume)
    if is_used and model.launched_at is None:
        # It may hold parts of another image: the driver must not take it for one that nobody wrote to.
        model = model.updated({"launched_at": backend.now()})
    with backend.copying(), driver_call("copy images to volumes"):
        if model.encryption_key_id:
            backend.driver.copy_image_to_encrypted_volume(caller, model, service, image.id)
        else:
            backend.driver.copy_image_to_volume(caller, model, service, image.id)


def _finish(backend: VolumeBackend, volume: Volume, image: ImageModel, method: str) -> None:
    now = backend.now()
    with backend.database.begin() as tx:
        done_with(tx, method)
        volumes.move(tx, volume, VolumeEvent.DONE, now=now, launched_at=volume.launched_at or now, is_bootable=True)
        volumes.IMAGE_METADATA.put(tx, volume.id, image_notes(image), replace=True)


def image_notes(image: ImageModel) -> dict[str, str]:
    """What is known of the image on a volume, under the published names."""
    found = {
        "image_id": image.id,
        "image_name": image.name,
        "checksum": image.checksum,
        "container_format": image.container_format,
        "disk_format": image.disk_format,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "size": image.size,
    }
    notes = {name: str(value) for name, value in found.items() if value is not None}
    return {**{str(name): str(value) for name, value in image.properties.items()}, **notes}


def _withdraw(backend: VolumeBackend, caller: RequestContext, image_id: str) -> None:
    try:
        _service(backend).delete(caller, image_id)
    except Fault as fault:
        log.warning("image.left_behind", image=image_id, fault=str(fault))
