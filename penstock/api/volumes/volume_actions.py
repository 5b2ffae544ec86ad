"""Actions on a volume: its size, flags, states and image metadata."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Flag, Name, Strict, Whole, parse_flag, parse_whole
from penstock.api.http import ACCEPTED, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.volumes.volume_requests import check_metadata
from penstock.errors import Invalid
from penstock.services.volumes import lifecycle, volumes

routes = Routes()

ACTION = "volumes/{volume_id}/action"
ADMIN = "volume_extension:volume_admin_actions"
IMAGE = "volume_extension:volume_image_metadata"


class Extend(Strict):
    """A larger size in GiB."""

    new_size: Whole


class Bootable(Strict):
    """Can machines start from it?"""

    bootable: Flag


class Readonly(Strict):
    """May it only be read?"""

    readonly: Flag


class Reset(Strict):
    """States to write by hand."""

    status: str | None = None
    attach_status: str | None = None
    migration_status: str | None = None


class Revert(Strict):
    """To which snapshot."""

    snapshot_id: Name


class ImageMetadata(Strict):
    """What to know of the image on it."""

    metadata: dict[str, Any]


class ImageKey(Strict):
    """What to know no more."""

    key: Name


@routes.action(ACTION, "os-extend")
def extend(request: ApiRequest) -> Answer:
    """Make it larger; since 3.42 also while it is attached."""
    size_gib = parse_whole("new_size", request.body_as(Extend).new_size, minimum=1)
    request.enforce("volume:extend")
    attached = request.version.at_least("3.42") and request.allows("volume:extend_attached_volume")
    lifecycle.extend(request.plane, request.context, request.params["volume_id"], size_gib, attached=attached)
    return ACCEPTED


@routes.action(ACTION, "os-set_bootable")
def set_bootable(request: ApiRequest) -> Answer:
    """Say whether machines can start from it."""
    request.enforce("volume:update")
    bootable = parse_flag("bootable", request.body_as(Bootable).bootable)
    volumes.set_bootable(request.plane, request.context, request.params["volume_id"], bootable=bootable)
    return Answer(None, 200)


@routes.action(ACTION, "os-update_readonly_flag")
def set_readonly(request: ApiRequest) -> Answer:
    """Say whether it may only be attached to be read."""
    request.enforce("volume:update_readonly_flag")
    readonly = parse_flag("readonly", request.body_as(Readonly).readonly)
    volumes.set_readonly(request.plane, request.context, request.params["volume_id"], readonly=readonly)
    return ACCEPTED


@routes.action(ACTION, "revert", "3.40")
def revert(request: ApiRequest) -> Answer:
    """Go back to the latest snapshot."""
    request.enforce("volume:revert_to_snapshot")
    snapshot_id = request.body_as(Revert).snapshot_id
    lifecycle.revert(request.plane, request.context, request.params["volume_id"], snapshot_id)
    return ACCEPTED


@routes.action(ACTION, "os-reset_status")
def reset_status(request: ApiRequest) -> Answer:
    """Write states by hand."""
    request.enforce(f"{ADMIN}:reset_status")
    asked = request.body_as(Reset)
    if asked == Reset():
        raise Invalid("Give a 'status', an 'attach_status' or a 'migration_status' to write.")
    wanted = lifecycle.Reset(*(_lower(text) for text in (asked.status, asked.attach_status, asked.migration_status)))
    lifecycle.reset_status(request.plane, request.context, request.params["volume_id"], wanted)
    return ACCEPTED


@routes.action(ACTION, "os-force_delete")
def force_delete(request: ApiRequest) -> Answer:
    """Delete it in whatever state it is."""
    request.enforce(f"{ADMIN}:force_delete")
    request.no_arguments()
    lifecycle.delete(request.plane, request.context, request.params["volume_id"], force=True)
    return ACCEPTED


@routes.action(ACTION, "os-set_image_metadata")
def set_image_metadata(request: ApiRequest) -> Answer:
    """Know more of the image on it."""
    request.enforce(f"{IMAGE}:set")
    items = check_metadata(request.body_as(ImageMetadata).metadata)
    known = volumes.put_image_metadata(request.plane, request.context, request.params["volume_id"], items)
    return Answer({"metadata": known})


@routes.action(ACTION, "os-unset_image_metadata")
def unset_image_metadata(request: ApiRequest) -> Answer:
    """Know less of the image on it."""
    request.enforce(f"{IMAGE}:remove")
    key = request.body_as(ImageKey).key
    volumes.delete_image_metadata(request.plane, request.context, request.params["volume_id"], key)
    return Answer(None, 200)


@routes.action(ACTION, "os-show_image_metadata")
def show_image_metadata(request: ApiRequest) -> Answer:
    """What is known of the image on it."""
    request.enforce(f"{IMAGE}:show")
    request.no_arguments()
    volume = volumes.get(request.plane, request.context, request.params["volume_id"])
    return Answer({"metadata": volume.image_metadata})


def _lower(text: str | None) -> str | None:
    return None if text is None else text.strip().lower()
