"""Taking over shares and their snapshots as volumes, and letting them go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.units import bytes_to_gib_ceil
from penstock.volume.drivers.nfs_appliance.appliance import ApplianceShare
from penstock.volume.drivers.nfs_appliance.backend import SharesBackend
from penstock.volume.drivers.nfs_appliance.file_plan import SeenFile, only_file
from penstock.volume.drivers.nfs_appliance.manageable import SOURCE_ID, manageable, page, reference_to
from penstock.volume.drivers.nfs_appliance.volumes import LABEL
from penstock.volume.errors import ManageExistingInvalidReference
from penstock.volume.interface.values import Updates
from penstock.volume.models import SnapshotModel, VolumeModel


class TakingOver(SharesBackend):
    """The methods of managing and unmanaging."""

    def manage_existing(self, volume: VolumeModel, existing_ref: Mapping[str, Any]) -> Updates:
        """Take over a share that holds one file: the file gets the volume's name. Repeatable."""
        share = self._referred(existing_ref)
        self._the_file(share, volume)
        self.appliance.label_share(share.id, {LABEL: volume.name})
        return self.shares.complete(volume, share, may_create=False)

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
