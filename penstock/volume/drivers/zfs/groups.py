"""Groups: volume by volume as for any driver, but for snapshots, which are of one moment in one transaction group."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from penstock.errors import Conflict
from penstock.volume.driver import ISCSIDriver
from penstock.volume.drivers.zfs import spec
from penstock.volume.drivers.zfs.finding import Finder
from penstock.volume.drivers.zfs.identity import Kind, marks_of_snapshot
from penstock.volume.drivers.zfs.storage import Storage
from penstock.volume.interface.groups import GroupAnswer
from penstock.volume.interface.values import Context, Updates, VolumeUpdates
from penstock.volume.models import GroupModel, GroupSnapshotModel, SnapshotModel, VolumeModel
from penstock.zfs.marks import KIND


class GroupMethods(ISCSIDriver):
    """Generic volume groups; every volume of one may lie on another pool of the backend."""

    storage: Storage
    finder: Finder

    def create_group(self, context: Context, group: GroupModel) -> Updates | None:
        return {"status": "available"}

    def update_group(
        self,
        context: Context,
        group: GroupModel,
        add_volumes: Sequence[VolumeModel] | None = None,
        remove_volumes: Sequence[VolumeModel] | None = None,
    ) -> tuple[Updates | None, VolumeUpdates | None, VolumeUpdates | None]:
        return None, None, None

    def delete_group(self, context: Context, group: GroupModel, volumes: Sequence[VolumeModel]) -> GroupAnswer:
        for volume in volumes:
            self.delete_volume(volume)
        return {"status": "deleted"}, [{"id": volume.id, "status": "deleted"} for volume in volumes]

    def create_group_from_src(
        self,
        context: Context,
        group: GroupModel,
        volumes: Sequence[VolumeModel],
        group_snapshot: GroupSnapshotModel | None = None,
        snapshots: Sequence[SnapshotModel] | None = None,
        source_group: GroupModel | None = None,
        source_vols: Sequence[VolumeModel] | None = None,
    ) -> GroupAnswer:
        taken = {snapshot.id: snapshot for snapshot in snapshots or ()}
        sources = {volume.id: volume for volume in source_vols or ()}
        updates = []
        for volume in volumes:
            if volume.snapshot_id in taken:
                update = self.create_volume_from_snapshot(volume, taken[volume.snapshot_id])
            else:
                update = self.create_cloned_volume(volume, sources[str(volume.source_volid)])
            updates.append({**(update or {}), "id": volume.id, "status": "available"})
        return {"status": "available"}, updates

    def create_group_snapshot(
        self, context: Context, group_snapshot: GroupSnapshotModel, snapshots: Sequence[SnapshotModel]
    ) -> GroupAnswer:
        """One command, and so one moment, for each pool; whose each is, is written afterwards."""
        targets = {one.id: self.finder.existing(one.volume)[0].snapshot(spec.snapshot_name(one)) for one in snapshots}
        missing = [one for one in snapshots if self.finder.snapshot(one) is None]
        if missing and len(missing) < len(snapshots):
            done = ", ".join(one.id for one in snapshots if one not in missing)
            raise Conflict(f"Some of group snapshot {group_snapshot.id} was taken at another moment: {done}.")
        for _, together in groupby(sorted(missing, key=lambda one: targets[one.id].pool), lambda o: targets[o.id].pool):
            self.storage.zfs.snapshot([targets[one.id] for one in together], {KIND: Kind.SNAPSHOT.value})
        for one in snapshots:
            self.storage.zfs.set(targets[one.id], marks_of_snapshot(one))
        updates = [{"id": one.id, "status": "available", "provider_id": str(targets[one.id])} for one in snapshots]
        return {"status": "available"}, updates

    def delete_group_snapshot(
        self, context: Context, group_snapshot: GroupSnapshotModel, snapshots: Sequence[SnapshotModel]
    ) -> GroupAnswer:
        for snapshot in snapshots:
            self.delete_snapshot(snapshot)
        return {"status": "deleted"}, [{"id": snapshot.id, "status": "deleted"} for snapshot in snapshots]
