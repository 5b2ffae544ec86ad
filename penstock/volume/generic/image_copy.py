"""Images onto volumes and back, for any driver: attach here, convert, detach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.errors import Unsupported
from penstock.host.local import LocalHost
from penstock.images.copying import Converter
from penstock.images.model import ImageModel
from penstock.images.qemu_img import Limits, QemuImg
from penstock.images.service import ImageService
from penstock.volume.data_path.local import attached_node
from penstock.volume.generic.attaching import LocalAttachment
from penstock.volume.generic.throttle import Throttle
from penstock.volume.interface.values import Context, Updates
from penstock.volume.models import VolumeModel


class ImageCopy(LocalAttachment):
    """Copies between volumes and images, part of every driver."""

    _throttle: Throttle
    _sparse_copy_volume_data = False
    """Does a volume read as zeros where nobody wrote? Then a copy onto a new one leaves zeros out."""

    @property
    def throttle(self) -> Throttle:
        """How fast volumes are copied."""
        return self._throttle

    def copy_image_to_volume(
        self, context: Context, volume: VolumeModel, image_service: ImageService, image_id: str
    ) -> None:
        """Unpack an image onto the volume, unencrypted. Repeatable: it begins anew.

        Raises ImageUnacceptable, ImageTooBig, ImageCopyFailure, ImageNotFound, and what attaching raises.
        """
        self._copy_image_data_to_volume(context, volume, image_service, image_id, encrypted=False)

    def copy_image_to_encrypted_volume(
        self, context: Context, volume: VolumeModel, image_service: ImageService, image_id: str
    ) -> None:
        """As `copy_image_to_volume`, through the encryption that the volume's type asks for.

        Raises Unsupported: that takes a key manager, and this product has none. Nothing is written.
        """
        self._copy_image_data_to_volume(context, volume, image_service, image_id, encrypted=True)

    def _copy_image_data_to_volume(
        self, context: Context, volume: VolumeModel, image_service: ImageService, image_id: str, encrypted: bool = False
    ) -> None:
        if encrypted:
            raise Unsupported(
                f"Volume {volume.id} is encrypted by whoever attaches it; without a key manager an image cannot be put "
                "onto it."
            )
        # Zeros may be left out only where nobody wrote yet: a volume that was available once holds somebody's data.
        is_new = volume.launched_at is None
        properties = self.local_properties()
        attach_info, volume = self._attach_volume(context, volume, properties)
        try:
            self.converter().to_volume(
                context,
                image_service,
                image_id,
                attached_node(attach_info),
                size_gib=volume.size,
                target_is_zero=is_new and self._sparse_copy_volume_data,
                bps_limit=self._throttle.bps_limit,
            )
        finally:
            self._detach_volume(context, attach_info, volume, properties, force=True)

    def copy_volume_to_image(
        self, context: Context, volume: VolumeModel, image_service: ImageService, image_meta: Any
    ) -> ImageModel:
        """Make the volume the bytes of image ``image_meta["id"]``, in its ``disk_format``. Repeatable.

        Returns the image as it is then. Raises ImageUnacceptable, ImageCopyFailure, and what attaching raises.
        """
        properties = self.local_properties()
        attach_info, volume = self._attach_volume(context, volume, properties)
        try:
            return self.converter().to_image(
                context,
                image_service,
                image_meta,
                attached_node(attach_info),
                size_gib=volume.size,
                bps_limit=self._throttle.bps_limit,
            )
        finally:
            # It was only read: nothing is lost when its detaching fails.
            self._detach_volume(context, attach_info, volume, properties, force=True, ignore_errors=True)

    def clone_image(
        self,
        context: Context,
        volume: VolumeModel,
        image_location: Any,
        image_meta: Any,
        image_service: ImageService,
    ) -> tuple[Updates | None, bool]:
        """Make the volume from an image without copying. Returns a model update, and whether that was done.

        (None, False) leaves it to a copy; nothing may have changed then.
        """
        return None, False

    def clear_download(self, context: Context, volume: VolumeModel) -> None:
        """Clean up after a copy of an image that was interrupted. Repeatable."""

    def converter(self) -> Converter:
        """How images are copied here, by the options of [DEFAULT]."""
        conf = self.configuration.conf
        limits = Limits(conf.image_conversion_cpu_limit, conf.image_conversion_address_space_limit)
        return Converter(
            QemuImg(LocalHost("here"), limits),
            Path(conf.image_conversion_dir),
            vmdk_types=frozenset(conf.vmdk_allowed_types),
            compress_uploads=conf.image_compress_on_upload,
            allow_conversion=not conf.image_conversion_disable,
        )
