"""Volumes as files, each on an NFS share of its own, of an appliance that can snapshot and clone shares.

A volume's ``provider_location`` is what an NFS client mounts, its ``provider_id`` the share's id, a snapshot's the
share snapshot's. Shares are mounted only while their file is worked on, at the mount points os-brick uses; where the
kernel has no NFS client, the same is done through libnfs.
"""

from __future__ import annotations

import structlog

from penstock.errors import Conflict
from penstock.volume.drivers.nfs_appliance.appliance import ApplianceShare
from penstock.volume.drivers.nfs_appliance.connecting import ConnectionMethods
from penstock.volume.drivers.nfs_appliance.taking_over import TakingOver
from penstock.volume.errors import SnapshotIsBusy, VolumeIsBusy
from penstock.volume.interface.values import Context, Updates
from penstock.volume.models import SnapshotModel, VolumeModel

log = structlog.get_logger(__name__)


class NfsApplianceDriver(ConnectionMethods, TakingOver):
    """See the module; here are the methods of volumes and snapshots. `appliance` and `files` replace what the
    configuration names."""

    # --- volumes ------------------------------------------------------------------------------------------------

    def create_volume(self, volume: VolumeModel) -> Updates:
        """Make the volume's share and its file. Repeatable: what was begun is completed.

        A share whose file cannot be made is left for the next try, or for `delete_volume`, which finds it by its label.
        """
        return self.shares.complete(volume, self.shares.make(volume), may_create=True)

    def delete_volume(self, volume: VolumeModel) -> None:
        """Destroy the volume's share, snapshots that are left included. Raises VolumeIsBusy."""
        self.unmount_here(volume)
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
        return self.shares.complete(volume, share, may_create=False)

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
        return self.shares.complete(volume, self.shares.make(volume, snapshot_id=snapshot_id), may_create=False)

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
