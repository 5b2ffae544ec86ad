"""Actions between volumes and images: a volume becomes an image, and an image is written over a volume."""

from __future__ import annotations

from penstock.api.bodies import Flag, Name, Strict, parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.services.volumes import images
from penstock.services.volumes.images import NewImage

routes = Routes()

ACTION = "volumes/{volume_id}/action"


class Upload(Strict):
    """The image to make; ``visibility`` and ``protected`` since 3.1."""

    image_name: Name
    force: Flag = False
    disk_format: Name = "raw"
    container_format: Name = "bare"
    visibility: Name | None = None
    protected: Flag = None


class Reimage(Strict):
    """The image to write."""

    image_id: Name
    reimage_reserved: Flag = False


@routes.action(ACTION, "os-volume_upload_image")
def upload(request: ApiRequest) -> Answer:
    """Make an image of it."""
    asked = request.body_as(Upload)
    request.enforce("volume_extension:volume_actions:upload_image")
    is_newer = request.version.at_least("3.1")
    visibility = (asked.visibility if is_newer else None) or "private"
    if visibility == "public":
        request.enforce("volume_extension:volume_actions:upload_public")
    protected = is_newer and asked.protected is not None and parse_flag("protected", asked.protected)
    force = asked.force is not None and parse_flag("force", asked.force)
    wanted = NewImage(asked.image_name, asked.disk_format, asked.container_format, visibility, protected, force)
    accepted = images.upload(request.plane, request.context, request.params["volume_id"], wanted)
    volume = accepted.volume
    shown = {
        "id": volume.id,
        "updated_at": stamp(volume.updated_at),
        "status": "uploading",
        "display_description": volume.description,
        "size": volume.size_gib,
        "volume_type": volume.volume_type_id,
        "image_id": accepted.image_id,
        "container_format": wanted.container_format,
        "disk_format": wanted.disk_format,
        "image_name": wanted.name,
    }
    if is_newer:
        shown.update(visibility=wanted.visibility, protected=wanted.protected)
    return Answer({"os-volume_upload_image": shown}, 202)


@routes.action(ACTION, "os-reimage", "3.68")
def reimage(request: ApiRequest) -> Answer:
    """Write an image over it."""
    asked = request.body_as(Reimage)
    request.enforce("volume:reimage")
    reserved = asked.reimage_reserved is not None and parse_flag("reimage_reserved", asked.reimage_reserved)
    if reserved:
        request.enforce("volume:reimage_reserved")
    images.reimage(request.plane, request.context, request.params["volume_id"], asked.image_id, reserved=reserved)
    return ACCEPTED
