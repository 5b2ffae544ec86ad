"""Images straight onto the storage host's own device or file, where that is this machine; else as for any driver."""

from __future__ import annotations

from penstock.errors import Unsupported
from penstock.host.runner import Host
from penstock.images.model import ImageModel
from penstock.images.nodes import BlockNode, file_node
from penstock.images.service import ImageService
from penstock.volume.driver import ISCSIDriver
from penstock.volume.drivers.zfs.finding import Finder
from penstock.volume.drivers.zfs.options import Settings
from penstock.volume.drivers.zfs.storage import Storage
from penstock.volume.interface.values import Context
from penstock.volume.models import VolumeModel


class ImageMethods(ISCSIDriver):
    """iSCSI is not in the way of data that are here already."""

    _sparse_copy_volume_data = True
    settings: Settings
    storage: Storage
    finder: Finder
    _storage_host: Host | None

    def local_path(self, volume: VolumeModel) -> str:
        """Raises Unsupported when the storage host is another machine."""
        if not self._is_here:
            raise Unsupported(f"Volume {volume.id} is on {self.storage.host.name}, not on this machine.")
        dataset, _ = self.finder.existing(volume)
        return self.storage.medium.path(dataset)

    @property
    def _is_here(self) -> bool:
        return self.settings.remote is None and self._storage_host is None

    def _copy_image_data_to_volume(
        self, context: Context, volume: VolumeModel, image_service: ImageService, image_id: str, encrypted: bool = False
    ) -> None:
        if encrypted or not self._is_here:
            super()._copy_image_data_to_volume(context, volume, image_service, image_id, encrypted)
            return
        self.converter().to_volume(
            context,
            image_service,
            image_id,
            self._node(volume),
            size_gib=volume.size,
            target_is_zero=volume.launched_at is None,
            bps_limit=self._throttle.bps_limit,
        )

    def copy_volume_to_image(
        self, context: Context, volume: VolumeModel, image_service: ImageService, image_meta: object
    ) -> ImageModel:
        if not self._is_here:
            return super().copy_volume_to_image(context, volume, image_service, image_meta)
        return self.converter().to_image(
            context,
            image_service,
            image_meta,  # type: ignore[arg-type] # a mapping, as published
            self._node(volume),
            size_gib=volume.size,
            bps_limit=self._throttle.bps_limit,
        )

    def _node(self, volume: VolumeModel) -> BlockNode:
        return file_node(self.local_path(volume))
