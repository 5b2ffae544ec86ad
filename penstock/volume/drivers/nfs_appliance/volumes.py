"""Volumes as files on shares: which share is a volume's, how large it must be, and its file put right.

A share is known again by its label ``penstock_volume``, which says the name the volume's file has; that is kept through
migrations, which change a volume's id but not the name of its data.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from penstock.domain.attachments import is_same_address
from penstock.errors import BackendFault, Conflict
from penstock.units import gib_to_bytes
from penstock.volume.drivers.nfs_appliance.appliance import Appliance, ApplianceShare, ApplianceSnapshot
from penstock.volume.drivers.nfs_appliance.file_plan import SeenFile, WantedFile, plan_file
from penstock.volume.drivers.nfs_appliance.files import ShareFiles
from penstock.volume.drivers.nfs_appliance.options import Settings
from penstock.volume.errors import SnapshotNotFound, VolumeNotFound
from penstock.volume.interface.values import Updates
from penstock.volume.models import SnapshotModel, VolumeModel

log = structlog.get_logger(__name__)

LABEL = "penstock_volume"
VOLUME_PREFIX = "cinder_"
# Besides the bytes of a full volume, the file system wants room to say where they are: ZFS about 1 in 1000.
SLACK = 256


def share_size_gib(volume_gib: int) -> int:
    """How large the share of a volume must be for the volume to be written full."""
    return volume_gib + 1 + volume_gib // SLACK


class VolumeShares:
    """The shares of volumes on `appliance`, and their files through `files`."""

    def __init__(self, appliance: Appliance, files: ShareFiles, settings: Settings) -> None:
        self._appliance = appliance
        self._files = files
        self._settings = settings

    def find(self, volume: VolumeModel) -> ApplianceShare | None:
        """The volume's share, by what was stored, else by its label; None when there is none. Raises Conflict."""
        if volume.provider_id:
            return self._appliance.share(volume.provider_id)
        labelled = self._appliance.shares_labelled(LABEL, volume.name)
        if len(labelled) > 1:
            raise Conflict(f"{len(labelled)} shares say that they hold {volume.name}.")
        return self._appliance.share(labelled[0].id) if labelled else None

    def of(self, volume: VolumeModel) -> ApplianceShare:
        """The volume's share. Raises VolumeNotFound."""
        share = self.find(volume)
        if share is None:
            raise VolumeNotFound(f"Volume {volume.id} has no share on the appliance.")
        return share

    def make(self, volume: VolumeModel, *, snapshot_id: str | None = None) -> ApplianceShare:
        """The volume's share, empty or of a snapshot; one that was begun is completed.

        `provider_id` of the volume is what a finished creation left: where that is a share, it is the one.
        """
        known = self.find(volume)
        size = share_size_gib(volume.size)
        if known is None:
            name = VOLUME_PREFIX + volume.name
            known = self._appliance.make_share(name, size, {LABEL: volume.name}, snapshot_id=snapshot_id)
        known = self._appliance.ready_share(known.id)
        if known.size_gib < size:
            self._appliance.grow_share(known.id, size)
        return known

    def put_right(self, volume: VolumeModel, share: ApplianceShare, *, may_create: bool) -> None:
        """Give the volume's file its name, size and permissions."""
        settings = self._settings
        want = WantedFile(volume.name, gib_to_bytes(volume.size), settings.file_mode, settings.sparse)
        with _LetIn(self._appliance, settings, share, is_used=_is_attached_to(volume, settings.our_address)):
            export = export_of(share)
            steps = plan_file(want, self._files.look(export), may_create=may_create)
            if steps:
                self._files.carry_out(export, steps)

    def complete(self, volume: VolumeModel, share: ApplianceShare, *, may_create: bool) -> Updates:
        """`put_right`, and what the volume's row is to say of its share."""
        self.put_right(volume, share, may_create=may_create)
        return {"provider_location": export_of(share), "provider_id": share.id}

    def look(self, share: ApplianceShare) -> Sequence[SeenFile]:
        """The files of a share, which need not be a volume's."""
        with _LetIn(self._appliance, self._settings, share, is_used=LABEL not in share.labels):
            return self._files.look(export_of(share))

    def delete(self, volume: VolumeModel) -> None:
        """Destroy the volume's share with its snapshots; it is fine when there is none."""
        share = self.find(volume)
        if share is None:
            return
        for snapshot in self._appliance.snapshots(share.id):
            self._appliance.delete_snapshot(snapshot.id)
        self._appliance.delete_share(share.id)

    def snapshot(self, snapshot: SnapshotModel) -> ApplianceSnapshot | None:
        """The snapshot on the appliance, by its id or by its name on its volume's share; None when there is none."""
        share = self.find(snapshot.volume)
        if share is None:
            return None
        wanted = snapshot.provider_id
        for found in self._appliance.snapshots(share.id):
            if found.id == wanted or (not wanted and found.name == snapshot.name):
                return found
        return None

    def snapshot_of(self, snapshot: SnapshotModel) -> ApplianceSnapshot:
        """The snapshot on the appliance. Raises SnapshotNotFound."""
        found = self.snapshot(snapshot)
        if found is None:
            raise SnapshotNotFound(f"Snapshot {snapshot.id} is not on the appliance.")
        return found


class _LetIn:
    """This machine may mount the share within the block.

    A rule that was there before stays where it `is_used`; else it is what a crash left of an earlier block.
    """

    def __init__(self, appliance: Appliance, settings: Settings, share: ApplianceShare, *, is_used: bool) -> None:
        self._appliance = appliance
        self._settings = settings
        self._share = share
        self._stays = is_used

    def __enter__(self) -> None:
        address = self._settings.our_address
        self._stays = self._stays and address in self._appliance.clients(self._share.id)
        self._appliance.allow(self._share.id, address, as_root=not self._settings.secure_operations)

    def __exit__(self, *_failure: object) -> None:
        if not self._stays:
            self._appliance.deny(self._share.id, self._settings.our_address)


def _is_attached_to(volume: VolumeModel, address: str) -> bool:
    return any(is_same_address(str(item.connector.get("ip")), address) for item in volume.volume_attachment)


def export_of(share: ApplianceShare) -> str:
    """What an NFS client mounts. Raises BackendFault for a share that has no export."""
    if not share.export:
        raise BackendFault(f"Share {share.id} has no export location.")
    return share.export
