"""Volumes as files, each on an NFS share of its own, of an appliance that can snapshot and clone shares.

A volume's ``provider_location`` is what an NFS client mounts, its ``provider_id`` the share's id, a snapshot's the
share snapshot's. Shares are mounted only while their file is worked on, at the mount points os-brick uses; where the
kernel has no NFS client, the same is done through libnfs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import structlog
from oslo_config import cfg

from penstock.domain.attachments import host_address, is_same_address
from penstock.dotted_names import load_class
from penstock.errors import Conflict, Invalid
from penstock.host.local import LocalHost
from penstock.units import bytes_to_gib_ceil
from penstock.volume.data_path.local import KERNEL, USERSPACE, kernel_can
from penstock.volume.driver import VolumeDriver
from penstock.volume.drivers.nfs_appliance.appliance import Appliance, ApplianceShare, Room
from penstock.volume.drivers.nfs_appliance.file_plan import SeenFile, only_file
from penstock.volume.drivers.nfs_appliance.files import LibnfsFiles, MountedFiles, ShareFiles
from penstock.volume.drivers.nfs_appliance.manageable import SOURCE_ID, manageable, page, reference_to
from penstock.volume.drivers.nfs_appliance.options import OPTIONS, Settings, settings_of
from penstock.volume.drivers.nfs_appliance.volumes import LABEL, VolumeShares, export_of
from penstock.volume.errors import (
    InvalidConnectorException,
    ManageExistingInvalidReference,
    SnapshotIsBusy,
    VolumeIsBusy,
)
from penstock.volume.generic.capabilities import backend_name
from penstock.volume.interface.values import ConnectionInfo, Connector, Context, Updates
from penstock.volume.models import SnapshotModel, VolumeModel

log = structlog.get_logger(__name__)

T = TypeVar("T")


class NfsApplianceDriver(VolumeDriver):
    """See the module. `appliance` and `files` replace what the configuration names."""

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

    # --- the backend --------------------------------------------------------------------------------------------

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

    # --- volumes ------------------------------------------------------------------------------------------------

    def create_volume(self, volume: VolumeModel) -> Updates:
        """Make the volume's share and its file. Repeatable: what was begun is completed.

        A share whose file cannot be made is left for the next try, or for `delete_volume`, which finds it by its label.
        """
        return self._of_share(volume, self.shares.make(volume), may_create=True)

    def _of_share(self, volume: VolumeModel, share: ApplianceShare, *, may_create: bool) -> Updates:
        self.shares.put_right(volume, share, may_create=may_create)
        return {"provider_location": export_of(share), "provider_id": share.id}

    def delete_volume(self, volume: VolumeModel) -> None:
        """Destroy the volume's share, snapshots that are left included. Raises VolumeIsBusy."""
        if self._mounted is not None and volume.provider_location:
            self._mounted.unmount(volume.provider_location)  # in case somebody left it mounted
        try:
            self.shares.delete(volume)
        except Conflict as err:
            raise VolumeIsBusy(f"Volume {volume.id} was not deleted: {err}") from err

    def extend_volume(self, volume: VolumeModel, new_size: int) -> None:
        """Grow the share, then the file; also while the volume is attached. Repeatable."""
        share = self.shares.of(volume)
        larger = volume.updated({"size": new_size})
        self.shares.make(larger.updated({"provider_id": share.id}))
        self.shares.put_right(larger, share, may_create=False)

    def create_cloned_volume(self, volume: VolumeModel, src_vref: VolumeModel) -> Updates:
        """Clone by way of a snapshot of the source. Repeatable.

        The snapshot goes at once where the appliance can do without it, else with the source.
        """
        name = f"cinder-snapshot={volume.id}"
        origin = self.shares.find(src_vref)
        known = self.shares.find(volume)
        if known is None:
            taken = self.appliance.make_snapshot(self.shares.of(src_vref).id, name)
            share = self.shares.make(volume, snapshot_id=taken.id)
        else:
            share = self.shares.make(volume)
        if origin is not None:
            self._drop_snapshot(origin, name)
        return self._of_share(volume, share, may_create=False)

    def _drop_snapshot(self, share: ApplianceShare, name: str) -> None:
        for found in self.appliance.snapshots(share.id):
            if found.name != name:
                continue
            try:
                self.appliance.delete_snapshot(found.id)
            except Conflict as err:
                log.info("nfs.snapshot_kept", share_id=share.id, snapshot=name, reason=str(err))

    def update_migrated_volume(
        self, ctxt: Context, volume: VolumeModel, new_volume: VolumeModel, original_volume_status: str
    ) -> Updates:
        """The data stays where it was copied to, under the name it has there."""
        return {"_name_id": new_volume.name_id, "provider_location": new_volume.provider_location}

    # --- snapshots ----------------------------------------------------------------------------------------------

    def create_snapshot(self, snapshot: SnapshotModel) -> Updates:
        share = self.shares.of(snapshot.volume)
        return {"provider_id": self.appliance.make_snapshot(share.id, snapshot.name).id}

    def delete_snapshot(self, snapshot: SnapshotModel) -> None:
        """Destroy the snapshot. Raises SnapshotIsBusy when the appliance needs it for volumes made of it."""
        found = self.shares.snapshot(snapshot)
        if found is None:
            return
        try:
            self.appliance.delete_snapshot(found.id)
        except Conflict as err:
            raise SnapshotIsBusy(f"Snapshot {snapshot.id} was not deleted: {err}") from err

    def create_volume_from_snapshot(self, volume: VolumeModel, snapshot: SnapshotModel) -> Updates:
        """Clone the snapshot's share; its file gets the volume's name and size. Repeatable."""
        known = self.shares.find(volume)
        snapshot_id = None if known is not None else self.shares.snapshot_of(snapshot).id
        return self._of_share(volume, self.shares.make(volume, snapshot_id=snapshot_id), may_create=False)

    def snapshot_revert_use_temp_snapshot(self) -> bool:
        """A share's revert is one step of the appliance; and it wants the snapshot to be the latest."""
        return not self.appliance.can_revert()

    def revert_to_snapshot(self, context: Context, volume: VolumeModel, snapshot: SnapshotModel) -> None:
        """Revert the share, and give the file the volume's present size. Raises NotImplementedError where the appliance
        cannot revert: the manager copies then.
        """
        if not self.appliance.can_revert():
            raise NotImplementedError
        share = self.shares.of(volume)
        self.appliance.revert_share(share.id, self.shares.snapshot_of(snapshot).id)
        self.shares.put_right(volume, share, may_create=False)

    # --- connections --------------------------------------------------------------------------------------------

    def validate_connector(self, connector: Connector) -> None:
        _client(connector)

    def ensure_export(self, context: Context, volume: VolumeModel) -> Updates | None:
        """The appliance keeps exports by itself; tell where the share is now, which a failover may have changed."""
        export = export_of(self.shares.of(volume))
        return {"provider_location": export} if export != volume.provider_location else None

    def create_export(self, context: Context, volume: VolumeModel, connector: Connector) -> Updates | None:
        """The share is the export; who may mount it is said when a connection is made."""
        return self.ensure_export(context, volume)

    def remove_export(self, context: Context, volume: VolumeModel) -> None:
        """Unmount the share from this machine, where os-brick may have mounted it: it never unmounts."""
        if self._mounted is not None and volume.provider_location:
            self._mounted.unmount(volume.provider_location)

    def initialize_connection(self, volume: VolumeModel, connector: Connector, **kwargs: Any) -> ConnectionInfo:
        """Let the connector's address mount the share, and tell it how. Raises InvalidConnectorException."""
        client = _client(connector)
        share = self.shares.of(volume)
        self.appliance.allow(share.id, client, as_root=not self.settings.secure_operations)
        return {
            "driver_volume_type": self.driver_volume_type,
            "data": {
                "export": export_of(share),
                "name": volume.name,
                "options": self.settings.client_options,
                "format": "raw",  # nobody is to guess it from bytes that a guest wrote
            },
            "mount_point_base": self.settings.mount_base,
        }

    def terminate_connection(self, volume: VolumeModel, connector: Connector | None, **kwargs: Any) -> bool | None:
        """Take the address off the share, unless another attachment comes from it; None takes all off."""
        share = self.shares.find(volume)
        if share is None:
            return None
        if connector is None:
            for client in self.appliance.clients(share.id):
                self.appliance.deny(share.id, client)
            return None
        address = str(connector.get("ip") or "")
        attached = [str(item.connector.get("ip")) for item in volume.volume_attachment]
        if len([one for one in attached if is_same_address(one, address)]) > 1:
            return True
        for client in self.appliance.clients(share.id):
            if is_same_address(client, address):
                self.appliance.deny(share.id, client)
        return None

    # --- taking over and letting go ---------------------------------------------------------------------------------

    def manage_existing(self, volume: VolumeModel, existing_ref: Mapping[str, Any]) -> Updates:
        """Take over a share that holds one file: the file gets the volume's name. Repeatable."""
        share = self._referred(existing_ref)
        self._the_file(share, volume)
        self.appliance.label_share(share.id, {LABEL: volume.name})
        return self._of_share(volume, share, may_create=False)

    def manage_existing_get_size(self, volume: VolumeModel, existing_ref: Mapping[str, Any]) -> int:
        return bytes_to_gib_ceil(self._the_file(self._referred(existing_ref), volume).size_bytes)

    def _referred(self, existing_ref: Mapping[str, Any]) -> ApplianceShare:
        key, wanted = reference_to(existing_ref)
        ids = [wanted]
        if key != SOURCE_ID:
            ids = [share.id for share in self.appliance.shares() if share.name == wanted]
        found = self.appliance.share(ids[0]) if len(ids) == 1 else None
        if found is None:
            raise ManageExistingInvalidReference(f"There is no share, or more than one, with {key} '{wanted}'.")
        return found

    def _the_file(self, share: ApplianceShare, volume: VolumeModel) -> SeenFile:
        label = share.labels.get(LABEL)
        if label not in (None, volume.name):
            raise ManageExistingInvalidReference(f"Share {share.id} is {label} already.")
        found = only_file(self.shares.look(share))
        if found is None:
            raise ManageExistingInvalidReference(f"Share {share.id} does not hold exactly one file.")
        return found

    def get_manageable_volumes(
        self,
        cinder_volumes: Sequence[VolumeModel],
        marker: Mapping[str, Any] | None,
        limit: int,
        offset: int,
        sort_keys: Sequence[str],
        sort_dirs: Sequence[str],
    ) -> list[dict[str, Any]]:
        rows = manageable(self.appliance.shares(), cinder_volumes)
        return page(rows, marker, limit, offset, sort_keys, sort_dirs)

    def unmanage(self, volume: VolumeModel) -> None:
        """Forget the volume: its share and file stay as they are, without our label."""
        share = self.shares.find(volume)
        if share is not None:
            self.appliance.label_share(share.id, {LABEL: None})

    def manage_existing_snapshot(self, snapshot: SnapshotModel, existing_ref: Mapping[str, Any]) -> Updates:
        """Take over a snapshot of the volume's share, by ``source-id`` or ``source-name``."""
        return {"provider_id": self._snapshot_referred(snapshot, existing_ref)}

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotModel, existing_ref: Mapping[str, Any]) -> int:
        self._snapshot_referred(snapshot, existing_ref)
        return snapshot.volume.size

    def _snapshot_referred(self, snapshot: SnapshotModel, existing_ref: Mapping[str, Any]) -> str:
        key, wanted = reference_to(existing_ref)
        owner = self.shares.of(snapshot.volume)
        for found in self.appliance.snapshots(owner.id):
            if wanted == (found.id if key == SOURCE_ID else found.name):
                return str(found.id)
        raise ManageExistingInvalidReference(f"The volume's share has no snapshot with {key} '{wanted}'.")


def _client(connector: Connector) -> str:
    """Who is let in: one machine, never a network. Raises InvalidConnectorException."""
    if not connector.get("ip"):
        raise InvalidConnectorException(missing="ip")
    try:
        return host_address(str(connector["ip"]))
    except Invalid as err:
        raise InvalidConnectorException(f"The connector's ip: {err.message}") from err


def _known(gib: float | None) -> float | str:
    return "unknown" if gib is None else gib


def _set_up(value: T | None) -> T:
    if value is None:
        raise Invalid("The backend has not been set up yet.")
    return value
