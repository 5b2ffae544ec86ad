"""The published interface of volume drivers, whole: `BaseVD`, `VolumeDriver`, `ISCSIDriver` and the mix-ins.

The methods are declared by theme in `penstock.volume.interface`, each with its contract; what works for any driver is
in `penstock.volume.generic`. Here they become the classes that drivers derive from. A method that is not overridden
raises NotImplementedError, which the manager answers by doing it generically or for the user.
"""

from __future__ import annotations

import abc
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import structlog
from oslo_config import cfg

from penstock.config.backend import BackendConfiguration
from penstock.config.volume_options import BACKUP, IMAGE, ISER, NVMET, SCST, VOLUME_BACKEND_OPTIONS, VOLUME_OPTIONS
from penstock.errors import Fault, Invalid, Unsupported
from penstock.volume.errors import InvalidConnectorException
from penstock.volume.generic.backup_device import BackupDevice
from penstock.volume.generic.capabilities import Capabilities, backend_name
from penstock.volume.generic.image_copy import ImageCopy
from penstock.volume.generic.throttle import Throttle
from penstock.volume.interface.groups import ConsistencyGroupInterface, GroupInterface
from penstock.volume.interface.migration import MigrationInterface
from penstock.volume.interface.mixins import (
    CloneableImageVD,
    ExtendVD,
    LocalVD,
    ManageableSnapshotsVD,
    ManageableVD,
    MigrateVD,
    TransferVD,
)
from penstock.volume.interface.replication import ReplicationInterface
from penstock.volume.interface.values import ConnectionInfo, Connector, Context, Updates
from penstock.volume.iscsi import iscsi_properties
from penstock.volume.models import SnapshotModel, VolumeModel
from penstock.volume.records import Records

log = structlog.get_logger(__name__)

Execute = Callable[..., tuple[str, str]]

volume_opts = VOLUME_OPTIONS
iser_opts = ISER
nvmet_opts = NVMET
scst_opts = SCST
backup_opts = BACKUP
image_opts = IMAGE

__all__ = [
    "BaseVD",
    "CloneableImageVD",
    "ExtendVD",
    "ISCSIDriver",
    "LocalVD",
    "ManageableSnapshotsVD",
    "ManageableVD",
    "MigrateVD",
    "TransferVD",
    "VolumeDriver",
    "capabilities_of",
]


class BaseVD(
    Capabilities,
    ImageCopy,
    BackupDevice,
    MigrationInterface,
    ReplicationInterface,
    GroupInterface,
):
    """Base of every volume driver.

    Keywords: ``configuration`` is the backend's section, ``db`` what may be asked of the manager, ``host`` is
    ``host@backend``, ``cluster_name`` the cluster it is in, ``execute`` how commands are run. Raises Invalid for a
    clustered backend that is to be replicated by a driver which cannot. Nothing is contacted here; that is `do_setup`.
    """

    VERSION = "N/A"
    SUPPORTS_ACTIVE_ACTIVE = False  # may several processes serve the same backend?
    SUPPORTED = True  # False keeps the backend from starting, unless enable_unsupported_driver is set
    REPLICATION_FEATURE_CHECKERS: ClassVar[Mapping[str, str]] = {"v2.1": "failover_host", "a/a": "failover_completed"}

    def __init__(self, execute: Execute | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        # Drivers read them without asking whether they are there; those that need them are always given them.
        self.db = cast("Records", kwargs.get("db"))
        self.configuration = cast("BackendConfiguration", kwargs.get("configuration"))
        self.host: str | None = kwargs.get("host")
        self.cluster_name: str | None = kwargs.get("cluster_name")
        self.active_backend_id: str | None = kwargs.get("active_backend_id")
        self._execute: Execute = execute or _no_executor
        self._stats: dict[str, Any] = {}
        self._throttle = Throttle()
        self.pools: list[Any] = []
        self.capabilities: dict[str, Any] = {}
        self._initialized = False
        if self.configuration is not None:
            self.configuration.append_config_values(VOLUME_BACKEND_OPTIONS)
            replicated = self.configuration.safe_get("replication_device")
            if self.cluster_name and replicated and not self.supports_replication_feature("a/a"):
                raise Invalid(f"{type(self).__name__} cannot replicate a backend that is served by a cluster.")

    # --- the backend --------------------------------------------------------------------------------------------

    def do_setup(self, context: Context) -> None:
        """Connect and prepare; called at start, and again until it succeeds. Raises Unavailable, Invalid."""

    @abc.abstractmethod
    def check_for_setup_error(self) -> None:
        """Called after `do_setup`: raise the fault, in words, that keeps this backend from serving volumes."""

    def set_initialized(self) -> None:
        """Called when `do_setup` and `check_for_setup_error` have succeeded."""
        self._initialized = True

    @property
    def initialized(self) -> bool:
        """Has the driver been set up?"""
        return self._initialized

    @property
    def supported(self) -> bool:
        """Do those who wrote the driver stand by it?"""
        return self.SUPPORTED

    def set_throttle(self) -> None:
        """Take the limit of volume copies from ``volume_copy_bps_limit``."""
        self._throttle = Throttle(int(self.configuration.safe_get("volume_copy_bps_limit") or 0))

    def get_version(self) -> str:
        """The driver's version, in its own form."""
        return self.VERSION

    @staticmethod
    def get_driver_options() -> Sequence[cfg.Opt]:
        """The options that the driver adds to its section. Drivers override it with their own."""
        return volume_opts

    @staticmethod
    def _get_oslo_driver_opts(*cfg_names: str) -> list[cfg.Opt]:
        """Those of the options any volume backend has that are called `cfg_names`. Raises Invalid for another name."""
        known = {option.name: option for option in VOLUME_BACKEND_OPTIONS}
        unknown = [name for name in cfg_names if name not in known]
        if unknown:
            raise Invalid(f"Volume backends have no option {', '.join(unknown)}.")
        return [known[name] for name in cfg_names]

    def _driver_data_namespace(self) -> str:
        """What the driver's private data are filed under."""
        settings = self.configuration
        if settings is None:
            return type(self).__name__
        return (
            settings.safe_get("driver_data_namespace")
            or settings.safe_get("volume_backend_name")
            or settings.config_group
        )

    @classmethod
    def supports_replication_feature(cls, feature: str) -> bool:
        """Does the driver have `feature`: ``v2.1``, failing over, or ``a/a``, doing so in a cluster?"""
        method = cls.REPLICATION_FEATURE_CHECKERS.get(feature)
        return method is not None and not cls._is_base_method(method)

    @classmethod
    def _is_base_method(cls, method_name: str) -> bool:
        """Is the method what it is in `BaseVD`?"""
        return getattr(cls, method_name) is getattr(BaseVD, method_name)

    # --- commands -----------------------------------------------------------------------------------------------

    def _is_non_recoverable(self, err: str, non_recoverable_list: Sequence[str]) -> bool:
        """Does `err` say that trying again would not help?"""
        return any(item in err for item in non_recoverable_list)

    def _try_execute(self, *command: str, **kwargs: Any) -> bool:
        """Run a command that may fail now and then, up to ``num_shell_tries`` times, 1, 4, 9 ... seconds apart.

        ``no_retry_list`` are texts whose appearance in the complaint ends it at once. Raises the last failure.
        """
        hopeless = kwargs.pop("no_retry_list", [])
        tries = 0
        while True:
            try:
                self._execute(*command, **kwargs)
            except Fault as err:
                tries += 1
                if tries >= self.configuration.num_shell_tries or self._is_non_recoverable(str(err), hopeless):
                    raise
                log.info("volume.command_tried_again", command=command[0], tries=tries, error=str(err))
                time.sleep(tries**2)  # as published; what the command waits for tells nobody when it is over
            else:
                return True


class VolumeDriver(ManageableVD, CloneableImageVD, ManageableSnapshotsVD, MigrateVD, ConsistencyGroupInterface, BaseVD):
    """What drivers derive from: nothing is abstract, and each method says that it is not implemented until it is."""

    def check_for_setup_error(self) -> None:
        raise NotImplementedError

    def create_volume(self, volume: VolumeModel) -> Updates | None:
        raise NotImplementedError

    def delete_volume(self, volume: VolumeModel) -> None:
        raise NotImplementedError

    def local_path(self, volume: VolumeModel) -> str:
        """The path of the volume on this machine, for drivers whose volumes are files or devices of it."""
        raise NotImplementedError

    def get_pool(self, volume: VolumeModel) -> str | None:
        return None

    def accept_transfer(self, context: Context, volume: VolumeModel, new_user: str, new_project: str) -> Updates | None:
        return None

    def migrate_volume(
        self, context: Context, volume: VolumeModel, host: Mapping[str, Any]
    ) -> tuple[bool, Updates | None]:
        return False, None

    def clone_image(  # type: ignore[override] # the published mix-in declares it without its context
        self,
        context: Context,
        volume: VolumeModel,
        image_location: Any,
        image_meta: Any,
        image_service: Any,
    ) -> tuple[Updates | None, bool]:
        return None, False

    def manage_existing(self, volume: VolumeModel, existing_ref: Mapping[str, Any]) -> Updates | None:
        raise NotImplementedError

    def manage_existing_get_size(self, volume: VolumeModel, existing_ref: Mapping[str, Any]) -> int:
        raise NotImplementedError

    def get_manageable_volumes(
        self,
        cinder_volumes: Sequence[VolumeModel],
        marker: Mapping[str, Any] | None,
        limit: int,
        offset: int,
        sort_keys: Sequence[str],
        sort_dirs: Sequence[str],
    ) -> list[dict[str, Any]]:
        raise NotImplementedError

    def unmanage(self, volume: VolumeModel) -> None:
        """Forget the volume and leave its data as it is; for most drivers there is nothing to do."""

    def manage_existing_snapshot(self, snapshot: SnapshotModel, existing_ref: Mapping[str, Any]) -> Updates | None:
        raise NotImplementedError

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotModel, existing_ref: Mapping[str, Any]) -> int | None:
        raise NotImplementedError

    def get_manageable_snapshots(
        self,
        cinder_snapshots: Sequence[SnapshotModel],
        marker: Mapping[str, Any] | None,
        limit: int,
        offset: int,
        sort_keys: Sequence[str],
        sort_dirs: Sequence[str],
    ) -> list[dict[str, Any]]:
        raise NotImplementedError

    def ensure_export(self, context: Context, volume: VolumeModel) -> Updates | None:
        raise NotImplementedError

    def create_export(self, context: Context, volume: VolumeModel, connector: Connector) -> Updates | None:
        raise NotImplementedError

    def create_export_snapshot(self, context: Context, snapshot: SnapshotModel, connector: Connector) -> Updates | None:
        raise NotImplementedError

    def remove_export(self, context: Context, volume: VolumeModel) -> None:
        raise NotImplementedError

    def remove_export_snapshot(self, context: Context, snapshot: SnapshotModel) -> None:
        raise NotImplementedError

    def initialize_connection(self, volume: VolumeModel, connector: Connector, **kwargs: Any) -> ConnectionInfo:
        raise NotImplementedError

    def terminate_connection(self, volume: VolumeModel, connector: Connector | None, **kwargs: Any) -> bool | None:
        """Let `connector` in no longer; for drivers that let in everybody there is nothing to do."""
        return None


class ISCSIDriver(VolumeDriver):
    """Base of drivers whose volumes are iSCSI LUNs described by ``provider_location`` and ``provider_auth``.

    ``provider_location`` is ``address:port;address:port,group target lun``, one address or more; ``provider_auth`` is
    ``CHAP user password``, or nothing.
    """

    def validate_connector(self, connector: Connector) -> None:
        """Raises InvalidConnectorException for a connector without ``initiator``."""
        if not connector.get("initiator"):
            raise InvalidConnectorException(missing="initiator")

    def initialize_connection(self, volume: VolumeModel, connector: Connector, **kwargs: Any) -> ConnectionInfo:
        """How to connect, from what the volume's export left in the volume. Changes nothing."""
        multipath = bool(connector.get("multipath"))
        return {"driver_volume_type": "iscsi", "data": self._get_iscsi_properties(volume, multipath=multipath)}

    def _get_iscsi_properties(self, volume: VolumeModel, multipath: bool = False) -> dict[str, Any]:
        """The connection's data in os-brick's words. Raises Invalid for a volume that is not exported."""
        return iscsi_properties(
            volume, multipath=multipath, discard=bool(self.configuration.safe_get("report_discard_supported"))
        )

    def terminate_connection(self, volume: VolumeModel, connector: Connector | None, **kwargs: Any) -> bool | None:
        return None

    def _update_volume_stats(self) -> None:
        self._update_pools_and_stats(
            {
                "volume_backend_name": backend_name(self.configuration),
                "vendor_name": "Open Source",
                "driver_version": "1.0",
                "storage_protocol": "iSCSI",
                "pools": [],
            }
        )


PUBLISHED = frozenset(
    name for name in dir(VolumeDriver) if not name.startswith("_") and callable(getattr(VolumeDriver, name))
)


def capabilities_of(driver: BaseVD) -> frozenset[str]:
    """The published methods that `driver` implements itself: what it can do better than, or beyond, the generic way."""
    kind = type(driver)
    return frozenset(name for name in PUBLISHED if hasattr(kind, name) and not _is_generic(kind, name))


def _is_generic(kind: type, name: str) -> bool:
    found = inspect.getattr_static(kind, name)
    return any(found is inspect.getattr_static(base, name, None) for base in (VolumeDriver, BaseVD))


def _no_executor(*argv: object, **_options: object) -> tuple[str, str]:
    raise Unsupported(f"This driver was made without a way to run commands, and wants to run {argv[:1]}.")
