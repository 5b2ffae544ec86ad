"""Images as files of a folder: put there by an administrator, or made of volumes."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from penstock.clock import Clock
from penstock.domain.driver_words import Context
from penstock.errors import Conflict, Forbidden, Invalid
from penstock.ids import new_id
from penstock.images.copying import CHUNK_BYTES, Checked, Nowhere
from penstock.images.errors import ImageNotFound, ImageUnacceptable
from penstock.images.model import ImageModel
from penstock.images.service import Location, Sink
from penstock.images.sidecar import FORMATS, SUFFIX, may_see, record_of, text_of

HASH = "sha512"
# A file as it was when its checksum was found right: another size, time or inode is another file.
Seen = tuple[int, int, int]


class DirectoryImages:
    """The images of `folder`: files with a known suffix, each with a record ``<file>.json`` beside it or none.

    Images made here are ``<id>.<format>``; an image without a record is everybody's to use, through us: a folder and
    files made here are for their owner alone, because they may be of private volumes.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._verified: dict[Path, Seen] = {}
        self._guard = threading.Lock()  # for _verified, and so that one file is not hashed twice at once

    def images(self, context: Context) -> list[ImageModel]:
        """All that the caller may see, by name."""
        found = (image for _, image in self._all())
        return sorted(
            (image for image in found if may_see(image, context.project_id, is_admin=context.is_admin)),
            key=lambda image: (image.name or "", image.id),
        )

    def show(self, context: Context, image_id: str) -> ImageModel:
        return self._find(context, image_id)[1]

    def get_location(self, context: Context, image_id: str) -> Location:
        path, _ = self._find(context, image_id)
        return f"file://{path}", [{"url": f"file://{path}", "metadata": {}}]

    def local_file(self, context: Context, image_id: str) -> Path | None:
        """The file itself, its checksum verified at its first use and after every change."""
        path, image = self._find(context, image_id)
        self._verify(path, image)
        return path

    def download(self, context: Context, image_id: str, data: Sink) -> None:
        path, _ = self._find(context, image_id)
        _read(path, data)

    def create(self, context: Context, image_meta: Mapping[str, Any]) -> ImageModel:
        now = self._clock.utc()
        image = ImageModel(
            id=str(image_meta.get("id") or new_id()),
            name=image_meta.get("name"),
            status="queued",
            disk_format=image_meta.get("disk_format") or "raw",
            container_format=image_meta.get("container_format") or "bare",
            owner=context.project_id,
            visibility=image_meta.get("visibility") or "private",
            protected=bool(image_meta.get("protected", False)),
            min_disk=int(image_meta.get("min_disk") or 0),
            min_ram=int(image_meta.get("min_ram") or 0),
            properties={str(name): str(value) for name, value in (image_meta.get("properties") or {}).items()},
            created_at=now,
            updated_at=now,
        )
        if image.disk_format not in FORMATS.values():
            raise ImageUnacceptable(f"Images of format '{image.disk_format}' are not made here.")
        self._keep(self._place(image), image)
        return image

    def update(
        self, context: Context, image_id: str, image_meta: Mapping[str, Any], data: Path | None = None
    ) -> ImageModel:
        path, image = self._find(context, image_id)
        self._check_owner(context, image)
        changes = {name: value for name, value in image_meta.items() if name in CHANGEABLE}
        if "properties" in changes:
            changes["properties"] = {**image.properties, **changes["properties"]}
        image = dataclasses.replace(image, **changes, updated_at=self._clock.utc())
        if data is not None:
            image = self._take_in(path, image, data)
        self._keep(path, image)
        return image

    def delete(self, context: Context, image_id: str) -> None:
        try:
            path, image = self._find(context, image_id)
        except ImageNotFound:
            return
        self._check_owner(context, image)
        if image.protected:
            raise Conflict(f"Image {image_id} is protected from deletion.")
        path.unlink(missing_ok=True)
        path.with_name(path.name + SUFFIX).unlink(missing_ok=True)

    def _take_in(self, path: Path, image: ImageModel, data: Path) -> ImageModel:
        """Make file `data` the image's bytes, in one step, and remember its checksum."""
        beside = path.with_name(f".{path.name}.new")
        told = dataclasses.replace(image, size=None, os_hash_algo=HASH, os_hash_value="to be told")
        checked = Checked(Nowhere(), told)
        _read(data, checked)
        try:
            data.rename(beside)
        except OSError:  # another file system
            _sparse_copy(data, beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.chmod(0o600)
        beside.replace(path)
        with self._guard:
            self._verified[path] = _seen(path)
        return dataclasses.replace(
            image,
            status="active",
            size=path.stat().st_size,
            checksum=None,
            os_hash_algo=HASH,
            os_hash_value=checked.hexdigest(),
        )

    def _verify(self, path: Path, image: ImageModel) -> None:
        with self._guard:
            if image.os_hash_value is None and image.checksum is None:
                return
            if self._verified.get(path) == _seen(path):
                return
            seen = _seen(path)
            checked = Checked(Nowhere(), image)
            _read(path, checked)
            checked.verify()
            self._verified[path] = seen

    def _find(self, context: Context, image_id: str) -> tuple[Path, ImageModel]:
        for path, image in self._all():
            if image.id == image_id and may_see(image, context.project_id, is_admin=context.is_admin):
                return path, image
        raise ImageNotFound(f"Image {image_id} could not be found.")

    def _all(self) -> Iterator[tuple[Path, ImageModel]]:
        """Every image of the folder; files without bytes yet are known by their record."""
        if not self._folder.is_dir():
            return
        names = {path.name.removesuffix(SUFFIX) for path in self._folder.iterdir() if not path.name.startswith(".")}
        for name in sorted(names):
            path = self._folder / name
            if path.suffix.lower() in FORMATS and not path.is_symlink():
                yield path, record_of(path)

    def _place(self, image: ImageModel) -> Path:
        if "/" in image.id or image.id.startswith("."):
            raise Invalid(f"'{image.id}' cannot be the id of an image.")
        return self._folder / f"{image.id}.{image.disk_format}"

    def _keep(self, path: Path, image: ImageModel) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        record = path.with_name(path.name + SUFFIX)
        beside = record.with_name(f".{record.name}.new")
        with open(beside, "w", opener=_owners_only) as file:
            file.write(text_of(image))
        beside.replace(record)

    def _check_owner(self, context: Context, image: ImageModel) -> None:
        if not context.is_admin and image.owner != context.project_id:
            raise Forbidden(f"Image {image.id} is not yours to change.")


CHANGEABLE = frozenset({"name", "properties", "min_disk", "min_ram", "visibility", "protected", "virtual_size"})


def _read(path: Path, sink: Sink) -> None:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sink.write(chunk)


def _seen(path: Path) -> Seen:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _owners_only(path: str, flags: int) -> int:
    """A file for its owner alone, also when it was there already."""
    file = os.open(path, flags, 0o600)
    os.fchmod(file, 0o600)
    return file


def _sparse_copy(source: Path, target: Path) -> None:
    """Copy a file, its holes as holes; nobody else may read the copy."""
    with source.open("rb") as reading, open(target, "wb", opener=_owners_only) as writing:
        size = source.stat().st_size
        writing.truncate(size)
        at = 0
        while at < size:
            try:
                at = os.lseek(reading.fileno(), at, os.SEEK_DATA)
            except OSError:  # no data after `at`
                break
            end = os.lseek(reading.fileno(), at, os.SEEK_HOLE)
            reading.seek(at)
            writing.seek(at)
            while at < end:
                chunk = reading.read(min(CHUNK_BYTES, end - at))
                writing.write(chunk)
                at += len(chunk)
        writing.flush()
