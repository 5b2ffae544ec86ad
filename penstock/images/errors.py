"""What can be wrong with an image, under the published names."""

from __future__ import annotations

from penstock.errors import BackendFault, Invalid, NotFound


class ImageCopyFailure(BackendFault):
    """Copying between a volume and an image failed."""


class ImageTooBig(Invalid):
    """The image, as it unpacks, is larger than the volume, or than there is room for."""


class ImageUnacceptable(Invalid):
    """The image is not what it says, or not of a kind that is safe to read."""


class ImageNotFound(NotFound):
    """No such image, or not the caller's to see."""
