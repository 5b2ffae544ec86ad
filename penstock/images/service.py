"""What an image service can do for volumes, whichever it is: the published calls drivers make, and ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from penstock.domain.driver_words import Context
from penstock.images.model import ImageModel

Location = tuple[str | None, Sequence[Mapping[str, Any]]]
"""The direct URL, and all places with their metadata; None and empty where the service tells none."""


class Sink(Protocol):
    """What an image is downloaded to: an open file, or whatever counts and hashes on the way to one."""

    def write(self, data: bytes, /) -> int: ...


class ImageService(Protocol):
    """Images, as far as the caller may see them. Every method raises ImageNotFound for one that is not there or not
    theirs, Unavailable when the service cannot answer.
    """

    def show(self, context: Context, image_id: str) -> ImageModel:
        """The image's record."""
        ...

    def get_location(self, context: Context, image_id: str) -> Location:
        """Where the bytes are, for backends that can clone from there."""
        ...

    def local_file(self, context: Context, image_id: str) -> Path | None:
        """The image as a file of this machine, not to be changed; None when it has to be downloaded."""
        ...

    def download(self, context: Context, image_id: str, data: Sink) -> None:
        """Write the image's bytes to `data`."""
        ...

    def create(self, context: Context, image_meta: Mapping[str, Any]) -> ImageModel:
        """A new image without bytes, ``queued``; `image_meta` has published field names."""
        ...

    def update(
        self, context: Context, image_id: str, image_meta: Mapping[str, Any], data: Path | None = None
    ) -> ImageModel:
        """Change fields of the record, and give it the bytes in file `data`, which make it ``active``.

        The file may be gone afterwards.
        """
        ...

    def delete(self, context: Context, image_id: str) -> None:
        """Remove the image; it is fine when there is none."""
        ...
