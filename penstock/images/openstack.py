"""Images of an OpenStack image service, by openstacksdk, which is only imported when one is configured."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from penstock.domain.driver_words import Context
from penstock.errors import BackendFault, Forbidden, Invalid, Unavailable
from penstock.images.copying import CHUNK_BYTES
from penstock.images.errors import ImageNotFound
from penstock.images.model import ImageModel
from penstock.images.service import Location, Sink

MADE_BY = "penstock"


class OpenstackImages:
    """The service that cloud `cloud` of clouds.yaml names, asked as the user named there.

    That user sees more than the caller may: what the caller may use is decided here, by visibility, owner and members.
    """

    def __init__(self, cloud: str, connection: Any = None) -> None:
        self._cloud = cloud
        self._connection = connection
        self._guard = threading.Lock()  # for the first connection, which several requests may want at once

    def show(self, context: Context, image_id: str) -> ImageModel:
        with _faults(image_id):
            found = self._images.get_image(image_id)
        if not self._may_see(context, found):
            raise ImageNotFound(f"Image {image_id} could not be found.")
        return _model(found)

    def get_location(self, context: Context, image_id: str) -> Location:
        self.show(context, image_id)
        with _faults(image_id):
            found = self._images.get_image(image_id)
        return found.direct_url, found.locations or []

    def local_file(self, context: Context, image_id: str) -> Path | None:
        """None: images of a service are downloaded."""
        return None

    def download(self, context: Context, image_id: str, data: Sink) -> None:
        self.show(context, image_id)
        with _faults(image_id):
            # The SDK checks nothing it streams; `Checked` does, where the bytes go.
            answer = self._images.download_image(image_id, stream=True)
            for chunk in answer.iter_content(CHUNK_BYTES):
                data.write(chunk)

    def create(self, context: Context, image_meta: Mapping[str, Any]) -> ImageModel:
        given = {**_changes(image_meta), "owner": context.project_id}
        given.setdefault("disk_format", "raw")
        given.setdefault("container_format", "bare")
        with _faults(str(image_meta.get("name"))):
            return _model(self._images.create_image(validate_checksum=False, **given))

    def update(
        self, context: Context, image_id: str, image_meta: Mapping[str, Any], data: Path | None = None
    ) -> ImageModel:
        image = self.show(context, image_id)
        if not context.is_admin and image.owner != context.project_id:
            raise Forbidden(f"Image {image_id} is not yours to change.")
        with _faults(image_id):
            changes = _changes(image_meta)
            changes = {name: value for name, value in changes.items() if name not in FIXED}
            if changes:
                self._images.update_image(image_id, **changes)
            if data is not None:
                found = self._images.get_image(image_id)
                with data.open("rb") as file:
                    found.data = file
                    found.upload(self._images)
            return _model(self._images.get_image(image_id))

    def delete(self, context: Context, image_id: str) -> None:
        with contextlib.suppress(ImageNotFound):
            image = self.show(context, image_id)
            if not context.is_admin and image.owner != context.project_id:
                raise Forbidden(f"Image {image_id} is not yours to delete.")
            with _faults(image_id):
                self._images.delete_image(image_id)

    def _may_see(self, context: Context, found: Any) -> bool:
        if context.is_admin or found.visibility in ("public", "community") or found.owner_id == context.project_id:
            return True
        if found.visibility != "shared":
            return False
        with _faults(found.id):
            members = self._images.members(found.id)
            return any(item.member_id == context.project_id and item.status == "accepted" for item in members)

    @property
    def _images(self) -> Any:
        with self._guard:
            if self._connection is None:
                self._connection = _connect(self._cloud)
            return self._connection.image


# What says where bytes are and of which kind cannot be changed once there are some; the service refuses it.
FIXED = frozenset({"id", "disk_format", "container_format"})
FIELDS = ("id", "name", "disk_format", "container_format", "visibility", "min_disk", "min_ram")


def _changes(image_meta: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: image_meta[name] for name in FIELDS if image_meta.get(name) is not None}
    if "protected" in image_meta:
        given["is_protected"] = bool(image_meta["protected"])
    return {**given, **{str(name): str(value) for name, value in (image_meta.get("properties") or {}).items()}}


def _model(found: Any) -> ImageModel:
    return ImageModel(
        id=found.id,
        name=found.name,
        status=found.status,
        disk_format=found.disk_format,
        container_format=found.container_format,
        size=found.size,
        virtual_size=found.virtual_size,
        min_disk=found.min_disk or 0,
        min_ram=found.min_ram or 0,
        checksum=found.checksum,
        os_hash_algo=found.hash_algo,
        os_hash_value=found.hash_value,
        owner=found.owner_id,
        visibility=found.visibility or "private",
        protected=bool(found.is_protected),
        properties={str(name): str(value) for name, value in (found.properties or {}).items()},
    )


def _connect(cloud: str) -> Any:
    try:
        import openstack
        from openstack.exceptions import SDKException
    except ImportError as err:
        raise Unavailable("The image service needs openstacksdk, which is not installed.") from err
    try:
        return openstack.connect(cloud=cloud, app_name=MADE_BY)
    except SDKException as err:
        raise Invalid(f"[images] cloud = {cloud}: {err}.") from err


@contextlib.contextmanager
def _faults(what: str) -> Iterator[None]:
    """openstacksdk's exceptions as ours; it is imported by then."""
    from keystoneauth1.exceptions import ClientException
    from openstack import exceptions
    from requests.exceptions import RequestException

    try:
        yield
    except exceptions.NotFoundException as err:
        raise ImageNotFound(f"Image {what} could not be found.") from err
    except exceptions.ForbiddenException as err:
        raise Forbidden(f"The image service forbids it: {err}.") from err
    except exceptions.HttpException as err:
        kind = Unavailable if err.status_code is None or err.status_code >= 500 else BackendFault
        raise kind(f"The image service answers: {err}.") from err
    except (ClientException, RequestException) as err:
        raise Unavailable(f"The image service does not answer: {err}.") from err
    except exceptions.SDKException as err:
        raise BackendFault(f"The image service: {err}.") from err
