"""An image onto a volume, and a volume into an image: checked, limited, and undone when it fails."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from penstock.domain.driver_words import Context
from penstock.images.errors import ImageCopyFailure, ImageTooBig, ImageUnacceptable
from penstock.images.formats import Inspected, inspect, qemu_format
from penstock.images.leftovers import own_prefix, sweep
from penstock.images.model import ImageModel
from penstock.images.nodes import BlockNode, file_node
from penstock.images.qemu_img import QemuImg
from penstock.images.service import ImageService, Sink
from penstock.units import GIB

log = structlog.get_logger(__name__)

CHUNK_BYTES = 2**20
PREFIX = "image-"
# The one container an image with a single disk comes in; the others hold several files.
BARE = "bare"


@dataclass(frozen=True, slots=True)
class Converter:
    """Copies between images and volumes. `folder` is where images lie meanwhile."""

    qemu_img: QemuImg
    folder: Path
    vmdk_types: frozenset[str] = frozenset({"streamOptimized", "monolithicSparse"})
    compress_uploads: bool = True
    allow_conversion: bool = True

    def to_volume(
        self,
        context: Context,
        images: ImageService,
        image_id: str,
        target: BlockNode,
        *,
        size_gib: int,
        target_is_zero: bool,
        bps_limit: int = 0,
    ) -> None:
        """Unpack the image onto `target`, a volume of `size_gib`. Repeatable; `target_is_zero` as in `QemuImg.write`.

        Raises ImageUnacceptable, ImageTooBig (the volume is then untouched), ImageCopyFailure, ImageNotFound.
        """
        image = images.show(context, image_id)
        check_usable(image, size_gib)
        with self._file(context, images, image) as path:
            found = self.inspected(path, image)
            if found.virtual_bytes > size_gib * GIB:
                raise ImageTooBig(
                    f"Image {image_id} unpacks to {found.virtual_bytes} bytes, more than the volume's {size_gib} GiB."
                )
            if found.qemu_format != "raw" and not self.allow_conversion:
                raise ImageUnacceptable(f"Image {image_id} is {image.disk_format}, and only raw images are taken here.")
            self.qemu_img.write(
                file_node(path),
                found.qemu_format,
                target,
                size_bytes=found.virtual_bytes,
                target_is_zero=target_is_zero,
                bps_limit=bps_limit,
            )
        log.info("image.copied", image_id=image_id, target=str(target), bytes=found.virtual_bytes)

    def to_image(
        self,
        context: Context,
        images: ImageService,
        image_meta: Mapping[str, Any],
        source: BlockNode,
        *,
        size_gib: int,
        bps_limit: int = 0,
    ) -> ImageModel:
        """Make the volume at `source` the bytes of image ``image_meta["id"]``, in its ``disk_format``.

        The bytes of a volume are its user's: they are taken as raw, whatever they look like. Returns the image as it is
        then. Raises ImageUnacceptable, ImageTooBig (no room to pack it in), ImageCopyFailure.
        """
        disk_format = str(image_meta.get("disk_format") or "raw")
        packed_format = qemu_format(disk_format)
        if image_meta.get("container_format", BARE) != BARE:
            raise ImageUnacceptable(f"Volumes become images in container format {BARE} only.")
        size_bytes = size_gib * GIB
        with self._room() as folder:
            path = Path(folder, "image")
            self.qemu_img.pack(
                source,
                str(path),
                packed_format,
                size_bytes=size_bytes,
                compressed=self.compress_uploads and packed_format in ("qcow2", "vmdk"),
                bps_limit=bps_limit,
            )
            kept = {name: value for name, value in image_meta.items() if name != "id"}
            return images.update(context, str(image_meta["id"]), kept, path)

    def inspected(self, path: Path, image: ImageModel) -> Inspected:
        """What the file is, by our own look and by qemu's. Raises ImageUnacceptable."""
        found = inspect(path, image.disk_format, vmdk_types=self.vmdk_types)
        if found.qemu_format == "raw":
            return found
        told = self.qemu_img.info(file_node(path), found.qemu_format)
        specific = told.get("format-specific", {}).get("data", {})
        for name, value in (
            ("backing-filename", told.get("backing-filename")),
            ("data-file", specific.get("data-file")),
        ):
            if value:
                raise ImageUnacceptable(f"Image {image.id} refers to another file ({name}), which is never followed.")
        if told.get("encrypted"):
            raise ImageUnacceptable(f"Image {image.id} is encrypted; nobody gave us the key.")
        return Inspected(found.qemu_format, int(told["virtual-size"]))

    @contextlib.contextmanager
    def _file(self, context: Context, images: ImageService, image: ImageModel) -> Iterator[Path]:
        """The image as a file that is whole: the service's own, or one fetched for the time."""
        own = images.local_file(context, image.id)
        if own is not None:
            yield own
            return
        with self._room(image.size or 0) as folder:
            path = Path(folder, "image")
            with path.open("wb") as file:
                checked = Checked(file, image)
                images.download(context, image.id, checked)
            checked.verify()
            yield path

    @contextlib.contextmanager
    def _room(self, size_bytes: int = 0) -> Iterator[str]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(self.folder).free
        if size_bytes > free:
            raise ImageTooBig(f"The image has {size_bytes} bytes, and {self.folder} has room for {free}.")
        sweep(self.folder, PREFIX)
        with tempfile.TemporaryDirectory(prefix=own_prefix(PREFIX), dir=self.folder) as folder:
            yield folder


def check_usable(image: ImageModel, size_gib: int) -> None:
    """Can a volume of `size_gib` be made from the image, as far as its record tells? Raises ImageUnacceptable,
    ImageTooBig.
    """
    if image.status != "active":
        raise ImageUnacceptable(f"Image {image.id} is not active but {image.status}.")
    if image.container_format not in (None, BARE):
        raise ImageUnacceptable(f"Image {image.id} is in container format {image.container_format}, not {BARE}.")
    qemu_format(image.disk_format)
    if image.min_disk > size_gib:
        raise ImageTooBig(f"Image {image.id} asks for a disk of {image.min_disk} GiB, and the volume has {size_gib}.")
    known = max(image.virtual_size or 0, (image.size or 0) if image.disk_format in ("raw", "iso") else 0)
    if known > size_gib * GIB:
        raise ImageTooBig(f"Image {image.id} has {known} bytes, more than the {size_gib} GiB of the volume.")


class Nowhere:
    """Where bytes go that are only looked at."""

    def write(self, data: bytes, /) -> int:
        return len(data)


class Checked:
    """A file to write an image to, which counts and hashes on the way."""

    def __init__(self, file: Sink, image: ImageModel) -> None:
        self._file = file
        self._image = image
        self._digest = digest_of(image)
        self._written = 0

    def write(self, data: bytes) -> int:
        """Write `data`. Raises ImageUnacceptable past the size the record tells."""
        self._written += len(data)
        if self._image.size is not None and self._written > self._image.size:
            raise ImageUnacceptable(
                f"Image {self._image.id} is longer than the {self._image.size} bytes it should have."
            )
        if self._digest is not None:
            self._digest.update(data)
        return self._file.write(data)

    def hexdigest(self) -> str | None:
        """The hash of what was written; None when the image's record has none to compare with."""
        return None if self._digest is None else str(self._digest.hexdigest())

    def verify(self) -> None:
        """Raises ImageUnacceptable when what was written is not what the record tells of, ImageCopyFailure when it is
        only the beginning.
        """
        image = self._image
        if image.size is not None and self._written != image.size:
            raise ImageCopyFailure(f"Image {image.id} ended after {self._written} of {image.size} bytes.")
        wanted = image.os_hash_value or image.checksum
        if self._digest is not None and self.hexdigest() != wanted:
            raise ImageUnacceptable(f"Image {image.id} is damaged: its checksum is not {wanted}.")


def digest_of(image: ImageModel) -> Any:
    """A fresh hash by which to check the image; None when its record has none that we know."""
    if image.os_hash_value and image.os_hash_algo and image.os_hash_algo in hashlib.algorithms_available:
        return hashlib.new(image.os_hash_algo, usedforsecurity=False)
    if image.checksum and not image.os_hash_value:
        return hashlib.md5(usedforsecurity=False)
    return None
