"""A backend of volumes on shares: its options, its appliance and how shares are reached, its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from oslo_config import cfg

from penstock.dotted_names import load_class
from penstock.errors import Invalid
from penstock.host.local import LocalHost
from penstock.volume.data_path.local import KERNEL, USERSPACE, kernel_can
from penstock.volume.driver import VolumeDriver
from penstock.volume.drivers.nfs_appliance.appliance import Appliance, Room
from penstock.volume.drivers.nfs_appliance.files import LibnfsFiles, MountedFiles, ShareFiles
from penstock.volume.drivers.nfs_appliance.options import OPTIONS, Settings, settings_of
from penstock.volume.drivers.nfs_appliance.volumes import VolumeShares, export_of
from penstock.volume.generic.capabilities import backend_name
from penstock.volume.interface.values import ConnectionInfo, Context
from penstock.volume.models import VolumeModel

T = TypeVar("T")


class SharesBackend(VolumeDriver):
    """What the driver's other parts stand on. `appliance` and `files` replace what the configuration names."""

    VERSION = "1.0.0"
    driver_volume_type = "nfs"
    _sparse_copy_volume_data = True  # a new file reads as zeros

    def __init__(
        self, *args: Any, appliance: Appliance | None = None, files: ShareFiles | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self._given = appliance, files
        self._mounted: MountedFiles | None = None
        self._settings: Settings | None = None
        self._shares: VolumeShares | None = None
        self._appliance: Appliance | None = None

    @staticmethod
    def get_driver_options() -> Sequence[cfg.Opt]:
        return OPTIONS

    def do_setup(self, context: Context) -> None:
        """Read the options and choose how shares are reached. Raises Invalid, Unsupported."""
        settings = settings_of(self.configuration)
        appliance, files = self._given
        if appliance is None:
            appliance = load_class(self.configuration.nas_appliance)(self.configuration)
        if files is None:
            files = self._files_of(settings)
        self._mounted = files if isinstance(files, MountedFiles) else None
        self._settings, self._appliance = settings, appliance
        self._shares = VolumeShares(appliance, files, settings)

    def _files_of(self, settings: Settings) -> ShareFiles:
        way, host = self.configuration.volume_data_path, LocalHost("here")
        if way == KERNEL or (way != USERSPACE and kernel_can("nfs")):
            return MountedFiles(host, settings.mount_base, settings.mount_options, settings.mount_attempts)
        return LibnfsFiles(host, settings.mount_attempts)

    def check_for_setup_error(self) -> None:
        """Raises Invalid, Unauthorized, Unavailable: the appliance cannot be used, and why."""
        self.appliance.check()

    @property
    def settings(self) -> Settings:
        """The options. Raises Invalid before `do_setup`."""
        return _set_up(self._settings)

    @property
    def appliance(self) -> Appliance:
        """The appliance. Raises Invalid before `do_setup`."""
        return _set_up(self._appliance)

    @property
    def shares(self) -> VolumeShares:
        """The volumes' shares. Raises Invalid before `do_setup`."""
        return _set_up(self._shares)

    def secure_file_operations_enabled(self) -> bool:
        return self.settings.secure_operations

    def unmount_here(self, volume: VolumeModel) -> None:
        """Unmount its share from this machine, where os-brick may have mounted it: that never unmounts."""
        if self._mounted is not None and volume.provider_location:
            self._mounted.unmount(volume.provider_location)

    def _disconnected_left(self, conn: ConnectionInfo) -> None:
        if self._mounted is not None:
            self._mounted.unmount(str(conn["data"]["export"]))

    def local_path(self, volume: VolumeModel) -> str:
        """The path of the volume's file while its share is mounted here by the kernel."""
        files = self._mounted or MountedFiles(LocalHost("here"), self.settings.mount_base, None, 1)
        return str(files.mount_point(volume.provider_location or export_of(self.shares.of(volume))) / volume.name)

    def _update_volume_stats(self) -> None:
        room = self.appliance.room() if self._appliance is not None else Room(None, None)
        settings = self.configuration
        name = backend_name(self.configuration)
        pool = {
            "pool_name": name,
            "total_capacity_gb": _known(room.total_gib),
            "free_capacity_gb": _known(room.free_gib),
            "reserved_percentage": settings.reserved_percentage,
            "max_over_subscription_ratio": settings.max_over_subscription_ratio,
            "thin_provisioning_support": settings.nfs_sparsed_volumes,
            "thick_provisioning_support": not settings.nfs_sparsed_volumes,
            "sparse_copy_volume": True,
            "multiattach": True,
            "online_extend_support": True,
            "QoS_support": False,
            "filter_function": self.get_filter_function(),
            "goodness_function": self.get_goodness_function(),
        }
        self._stats = {
            "volume_backend_name": name,
            "vendor_name": "Open Source",
            "driver_version": self.VERSION,
            "storage_protocol": "NFS",
            "sparse_copy_volume": True,
            "pools": [pool],
        }

    def get_pool(self, volume: VolumeModel) -> str | None:
        return backend_name(self.configuration)


def _known(gib: float | None) -> float | str:
    return "unknown" if gib is None else gib


def _set_up(value: T | None) -> T:
    if value is None:
        raise Invalid("The backend has not been set up yet.")
    return value
