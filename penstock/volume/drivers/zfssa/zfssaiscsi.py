"""The ZFS Storage Appliance's iSCSI driver, under its published module and class names."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

from penstock.config.backend import volume_backend
from penstock.errors import Unavailable
from penstock.exports.iscsi import check_initiator
from penstock.volume.driver import ISCSIDriver
from penstock.volume.drivers.zfssa import setting_up
from penstock.volume.drivers.zfssa.calls import Appliance
from penstock.volume.drivers.zfssa.image_cache import ImageCache, is_cache_volume
from penstock.volume.drivers.zfssa.journal import Journal
from penstock.volume.drivers.zfssa.location import Location
from penstock.volume.drivers.zfssa.managing import Managing
from penstock.volume.drivers.zfssa.migration import Migration
from penstock.volume.drivers.zfssa.migration_tasks import (
    MigrateVolumeCleanUp,
    MigrateVolumeCreateAction,
    MigrateVolumeInit,
    MigrateVolumeMoveVol,
    MigrateVolumeSendReplUpdate,
    MigrateVolumeSeverRepl,
)
from penstock.volume.drivers.zfssa.options import (
    SAN,
    ZFSSA_OPTS,
    Settings,
    address_of,
    login_of,
    read_settings,
)
from penstock.volume.drivers.zfssa.presenting import Presenting
from penstock.volume.drivers.zfssa.reporting import stats
from penstock.volume.drivers.zfssa.values import Origin
from penstock.volume.drivers.zfssa.volumes import Volumes

__all__ = [
    "MigrateVolumeCleanUp",
    "MigrateVolumeCreateAction",
    "MigrateVolumeInit",
    "MigrateVolumeMoveVol",
    "MigrateVolumeSendReplUpdate",
    "MigrateVolumeSeverRepl",
    "ZFSSAISCSIDriver",
    "factory_zfssa",
]


OPTIONS: tuple[cfg.Opt, ...] = (*SAN, *ZFSSA_OPTS)


def factory_zfssa() -> Appliance:
    """An appliance that nobody has connected to yet."""
    return Appliance()


class ZFSSAISCSIDriver(ISCSIDriver):
    """Volumes as LUNs of one project of a ZFS Storage Appliance, or of anything that speaks its protocol.

    All methods may be asked for again after a crash or a lost answer. Beside what they name they raise
    VolumeBackendAPIException for refusals of the appliance, Unavailable while it cannot be reached.
    """

    VERSION = "1.0.4"
    CI_WIKI_NAME = "Oracle_ZFSSA_CI"
    protocol = "iSCSI"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zfssa = factory_zfssa()
        self.configuration.append_config_values(OPTIONS)
        self._settings: Settings | None = None

    @staticmethod
    def get_driver_options() -> tuple[cfg.Opt, ...]:
        """The options of its section."""
        return OPTIONS

    # --- beginning ---------------------------------------------------------------------------------------------------

    def do_setup(self, context: Any) -> None:
        """Log in, and have project, properties, initiators, groups and target there. Safe to repeat.

        Raises Invalid for options that do not fit, Unavailable for a portal whose name is not known.
        """
        settings = read_settings(self.configuration)
        self.zfssa.connect(settings.address, settings.login)
        setting_up.set_up(self.zfssa, settings)
        folder = Path(self.configuration.conf.state_path) / "zfssa"
        self._volumes = Volumes(self.zfssa, settings)
        self._cache = ImageCache(self._volumes, folder / "locks")
        self._managing = Managing(self._volumes)
        self._presenting = Presenting(self.zfssa, settings, self._volumes, _portal(settings))
        journal = Journal(folder / "migrations" / settings.backend_name)
        self._migration = Migration(self.zfssa, settings, self._volumes, journal, self._connect)
        self._settings = settings

    def check_for_setup_error(self) -> None:
        """Whether pool, project and initiators are there. Raises Absent, Invalid."""
        setting_up.check(self.zfssa, self._ready())

    def _ready(self) -> Settings:
        if self._settings is None:
            raise Unavailable("the ZFS appliance driver is not set up")
        return self._settings

    # --- volumes and snapshots ---------------------------------------------------------------------------------------

    def create_volume(self, volume: Any) -> None:
        """A LUN of the volume's name and size, shown to nobody. Raises OverLimit, Conflict."""
        self._ready()
        self._volumes.create(volume)

    def delete_volume(self, volume: Any) -> None:
        """Destroy the LUN; absent is fine. A cached image goes with the last volume made of it. Raises VolumeIsBusy."""
        self._ready()
        gone = self._volumes.delete(volume["name"], volume["id"])
        if gone is not None:
            self._cache.forget_unused(gone.origin, gone.name)

    def create_snapshot(self, snapshot: Any) -> None:
        """Take it. Raises VolumeNotFound."""
        self._ready()
        self._volumes.create_snapshot(snapshot["volume_name"], snapshot["name"])

    def delete_snapshot(self, snapshot: Any) -> None:
        """Destroy it; absent is fine. Raises SnapshotIsBusy."""
        self._ready()
        self._volumes.delete_snapshot(snapshot["volume_name"], snapshot["name"])

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        """A clone of the snapshot, grown to the volume's size. Raises Invalid (smaller), VolumeNotFound."""
        source = Origin(self._ready().project, snapshot["volume_name"], snapshot["name"])
        self._volumes.clone(volume, source, snapshot["volume_size"])

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> None:
        """A clone of the volume as it is now, grown to the new one's size. Undone when it fails."""
        self._ready()
        self._volumes.clone_volume(volume, src_vref["name"], src_vref["size"])

    def extend_volume(self, volume: Any, new_size: int) -> None:
        """Grow it to `new_size` GiB. Raises VolumeNotFound, OverLimit."""
        self._ready()
        self._volumes.extend(volume["name"], new_size)

    # --- reaching ----------------------------------------------------------------------------------------------------

    def validate_connector(self, connector: Any) -> None:
        """Raises Invalid also for what is not the name of one initiator."""
        super().validate_connector(connector)
        check_initiator(connector["initiator"])

    def create_export(self, context: Any, volume: Any, connector: Any = None) -> None:
        """Nothing: a LUN is shown when a host connects."""

    def ensure_export(self, context: Any, volume: Any) -> None:
        """Nothing: the appliance keeps what it shows."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """Nothing: a LUN is hidden when a host leaves."""

    def local_path(self, volume: Any) -> Any:
        """Nothing: no LUN is on this machine."""

    def initialize_connection(self, volume: Any, connector: Any, **kwargs: Any) -> dict[str, Any]:
        """Show the LUN to the connector's initiator; what os-brick needs to log in. See `Presenting.show`."""
        self._ready()
        return self._presenting.show(volume, self._project_of(volume), connector)

    def terminate_connection(self, volume: Any, connector: Any, **kwargs: Any) -> None:
        """Hide the LUN from the connector's initiator, from everybody when it is None. See `Presenting.hide`."""
        self._ready()
        self._presenting.hide(volume, self._project_of(volume), connector)

    def _project_of(self, volume: Any) -> str:
        settings = self._ready()
        return settings.cache_project if is_cache_volume(volume["name"]) else settings.project

    # --- the rest ----------------------------------------------------------------------------------------------------

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        """What the scheduler is told; empty before the first refresh. Raises Invalid for a pool of the other head."""
        if refresh:
            self._stats = stats(self.zfssa, self._ready(), version=self.VERSION)
        return self._stats

    def clone_image(  # type: ignore[override] # the published mix-in declares it without its context
        self, context: Any, volume: Any, image_location: Any, image_meta: Mapping[str, Any], image_service: Any
    ) -> tuple[None, bool]:
        """The volume as a clone of the cached image. ``(None, False)``: make it in the generic way."""
        self._ready()

        def copy_image(cache_volume: Any) -> None:
            self.copy_image_to_volume(context, cache_volume, image_service, image_meta["id"])

        return None, self._cache.clone_image(volume, dict(image_meta), copy_image)

    def migrate_volume(self, ctxt: Any, volume: Any, host: Mapping[str, Any]) -> tuple[bool, None]:
        """Move it to another appliance by replication. ``(False, None)``: it cannot be, use the generic way."""
        self._ready()
        return self._migration.migrate(self, volume, host), None

    def _connect(self, host: str, place: Location) -> Appliance:
        """Log in to another backend's appliance, with its section's credentials when this process has it, else ours."""
        section = host.partition("@")[2].partition("#")[0]
        conf = self.configuration.conf
        is_known = section in (conf.enabled_backends or ())
        theirs = volume_backend(conf, section) if is_known else self.configuration
        theirs.append_config_values(OPTIONS)
        appliance = Appliance(clock=self.zfssa.clock)
        return appliance.connect(address_of(theirs, host=place.host), login_of(theirs))

    def update_migrated_volume(
        self, ctxt: Any, volume: Any, new_volume: Any, original_volume_status: str
    ) -> dict[str, Any]:
        """Give the new LUN the volume's name. Done already is fine."""
        self._ready()
        self._volumes.rename(new_volume["name"], volume["name"])
        return {"_name_id": None}

    def manage_existing_get_size(self, volume: Any, existing_ref: Mapping[str, Any]) -> int:
        """GiB, rounded up. Raises ManageExistingInvalidReference."""
        self._ready()
        return self._managing.size_gib(existing_ref)

    def manage_existing(self, volume: Any, existing_ref: Mapping[str, Any]) -> None:
        """Rename and mark the LUN. See `Managing.take_over`."""
        self._ready()
        self._managing.take_over(volume, existing_ref)

    def unmanage(self, volume: Any) -> None:
        """Rename the LUN and take our mark away; it stays."""
        self._ready()
        self._managing.let_go(volume)

    def get_manageable_volumes(
        self,
        cinder_volumes: Sequence[Any],
        marker: Any,
        limit: int | None,
        offset: int | None,
        sort_keys: Sequence[str],
        sort_dirs: Sequence[str],
    ) -> list[dict[str, Any]]:
        """The LUNs of the project, and which of them could be managed."""
        self._ready()
        return self._managing.listing(cinder_volumes, marker, limit, offset, sort_keys, sort_dirs)


def _portal(settings: Settings) -> str:
    """Where hosts log in, by address: they may know other names than we do. Raises Unavailable."""
    try:
        found = socket.getaddrinfo(settings.portal_host, settings.portal_port, type=socket.SOCK_STREAM)
    except OSError as err:
        raise Unavailable(f"zfssa_target_portal: the host {settings.portal_host} is not known: {err}") from err
    address = str(found[0][4][0])
    return f"[{address}]:{settings.portal_port}" if ":" in address else f"{address}:{settings.portal_port}"
