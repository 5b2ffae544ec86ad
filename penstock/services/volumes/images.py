"""Volumes to images, and images onto volumes that exist. The bytes are moved by the backend's worker."""

from __future__ import annotations

from dataclasses import dataclass, replace

from penstock.context import RequestContext
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Invalid
from penstock.ids import new_id
from penstock.images.copying import check_usable
from penstock.images.model import ImageModel
from penstock.services.control_plane import ControlPlane
from penstock.services.volumes import calls
from penstock.services.volumes.visibility import volume_to_change
from penstock.store import volumes

DISK_FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx")
VISIBILITIES = ("private", "shared", "community", "public")


@dataclass(frozen=True, slots=True)
class NewImage:
    """What an image of a volume is asked for with. `force` makes it of a volume that is in use."""

    name: str
    disk_format: str = "raw"
    container_format: str = "bare"
    visibility: str = "private"
    protected: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Uploading:
    """An accepted upload: the volume as it is now, and the id that its image has, or will have in a moment."""

    volume: Volume
    image_id: str


def usable(plane: ControlPlane, context: RequestContext, image_id: str, size_gib: int | None) -> ImageModel:
    """The image, of which a volume of `size_gib` can be made as far as its record tells.

    Asks the image service: not to be called in a transaction. Raises ImageNotFound, Invalid, Unavailable.
    """
    if plane.images is None:
        raise Invalid("No image service is configured.")
    if size_gib is None:
        raise Invalid("Give a 'size' in GiB, a whole number of at least 1.")
    image = plane.images.show(replace(context, is_admin=False), image_id)
    check_usable(image, size_gib)
    return image


def upload(plane: ControlPlane, context: RequestContext, volume_id: str, wanted: NewImage) -> Uploading:
    """Accept to make the volume an image. Raises NotFound, Invalid. Repeating it makes another image."""
    if wanted.disk_format not in DISK_FORMATS:
        raise Invalid(f"'{wanted.disk_format[:32]}' is not a disk format; use one of {', '.join(DISK_FORMATS)}.")
    if wanted.container_format != "bare":
        raise Invalid("Volumes become images in the container format 'bare' only.")
    if wanted.visibility not in VISIBILITIES:
        raise Invalid(f"'{wanted.visibility[:32]}' is not a visibility; use one of {', '.join(VISIBILITIES)}.")
    image_id = new_id()
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        if volume.is_migrating:
            raise Invalid(f"Volume {volume.id} is being migrated.")
        if volume.status is VolumeStatus.IN_USE and not wanted.force:
            raise Invalid(f"Volume {volume.id} is in use; an image of it is made with 'force'.")
        notes = {key: value for key, value in volume.image_metadata.items() if key not in _OF_THE_IMAGE}
        meta = {
            "id": image_id,
            "name": wanted.name,
            "disk_format": wanted.disk_format,
            "container_format": wanted.container_format,
            "visibility": wanted.visibility,
            "protected": wanted.protected,
            "min_disk": 0 if wanted.disk_format == "raw" else volume.size_gib,
            "properties": notes,
        }
        volumes.move(tx, volume, VolumeEvent.UPLOAD, now=plane.clock.utc(), previous_status=volume.status)
        arguments = {"volume_id": volume.id, "image_meta": meta}
        calls.enqueue(tx, plane, context, volume, "copy_volume_to_image", arguments)
        return Uploading(volumes.get(tx, volume.id) or volume, image_id)


def reimage(
    plane: ControlPlane, context: RequestContext, volume_id: str, image_id: str, *, reserved: bool = False
) -> None:
    """Accept to put another image on the volume (since 3.68); of a reserved one where `reserved` says so.

    Raises NotFound, ImageNotFound, Invalid.
    """
    with plane.database.read() as tx:
        size_gib = volume_to_change(tx, context, volume_id).size_gib
    usable(plane, context, image_id, size_gib)
    with plane.database.begin() as tx:
        volume = volume_to_change(tx, context, volume_id)
        if volume.status is VolumeStatus.RESERVED and not reserved:
            raise Invalid(f"Volume {volume.id} is reserved; it is given another image with 'reimage_reserved'.")
        calls.placed_on(volume)
        calls.refuse_connected(volume)
        volumes.move(tx, volume, VolumeEvent.REIMAGE, now=plane.clock.utc(), previous_status=volume.status)
        calls.enqueue(tx, plane, context, volume, "reimage", {"volume_id": volume.id, "image_id": image_id})


_OF_THE_IMAGE = frozenset(
    {"image_id", "image_name", "checksum", "container_format", "disk_format", "min_disk", "min_ram", "size"}
)
