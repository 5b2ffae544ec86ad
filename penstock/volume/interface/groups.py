"""Groups of volumes, for drivers that treat them as one. Without these, the manager goes volume by volume.

Each method returns updates of the group, and of its members where it names them, each a mapping with ``id`` and
``status``. None is success. A member whose status is ``error`` or ``error_deleting`` makes the whole so.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.volume.interface.values import Context, Updates, VolumeUpdates
from penstock.volume.models import GroupModel, GroupSnapshotModel, SnapshotModel, VolumeModel

GroupAnswer = tuple[Updates | None, VolumeUpdates | None]


class GroupInterface:
    """Generic volume groups."""

    def create_group(self, context: Context, group: GroupModel) -> Updates | None:
        """Make the group, empty. Returns its update; status ``error`` in it is a failure."""
        raise NotImplementedError

    def delete_group(self, context: Context, group: GroupModel, volumes: Sequence[VolumeModel]) -> GroupAnswer:
        """Destroy the group and its volumes. Returns updates of the group and its volumes."""
        raise NotImplementedError

    def update_group(
        self,
        context: Context,
        group: GroupModel,
        add_volumes: Sequence[VolumeModel] | None = None,
        remove_volumes: Sequence[VolumeModel] | None = None,
    ) -> tuple[Updates | None, VolumeUpdates | None, VolumeUpdates | None]:
        """Put volumes into the group and take others out. Returns updates of the group, the former and the latter."""
        raise NotImplementedError

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
        """Make the group's `volumes` from `snapshots` of a group snapshot, or from `source_vols` of a group.

        Returns updates of the group and its volumes.
        """
        raise NotImplementedError

    def create_group_snapshot(
        self, context: Context, group_snapshot: GroupSnapshotModel, snapshots: Sequence[SnapshotModel]
    ) -> GroupAnswer:
        """Take `snapshots`, all at the same moment where the group's type asks for that.

        Returns updates of the group snapshot and of the snapshots.
        """
        raise NotImplementedError

    def delete_group_snapshot(
        self, context: Context, group_snapshot: GroupSnapshotModel, snapshots: Sequence[SnapshotModel]
    ) -> GroupAnswer:
        """Destroy `snapshots`. Returns updates of the group snapshot and of the snapshots."""
        raise NotImplementedError


class ConsistencyGroupInterface:
    """What groups were called before they were generic; kept for drivers that still implement it."""

    def create_consistencygroup(self, context: Context, group: GroupModel) -> Updates | None:
        """As `GroupInterface.create_group`."""
        raise NotImplementedError

    def create_consistencygroup_from_src(
        self,
        context: Context,
        group: GroupModel,
        volumes: Sequence[VolumeModel],
        cgsnapshot: GroupSnapshotModel | None = None,
        snapshots: Sequence[SnapshotModel] | None = None,
        source_cg: GroupModel | None = None,
        source_vols: Sequence[VolumeModel] | None = None,
    ) -> GroupAnswer:
        """As `GroupInterface.create_group_from_src`."""
        raise NotImplementedError

    def delete_consistencygroup(
        self, context: Context, group: GroupModel, volumes: Sequence[VolumeModel]
    ) -> GroupAnswer:
        """As `GroupInterface.delete_group`."""
        raise NotImplementedError

    def update_consistencygroup(
        self,
        context: Context,
        group: GroupModel,
        add_volumes: Sequence[VolumeModel] | None = None,
        remove_volumes: Sequence[VolumeModel] | None = None,
    ) -> tuple[Updates | None, VolumeUpdates | None, VolumeUpdates | None]:
        """As `GroupInterface.update_group`."""
        raise NotImplementedError

    def create_cgsnapshot(
        self, context: Context, cgsnapshot: GroupSnapshotModel, snapshots: Sequence[SnapshotModel]
    ) -> GroupAnswer:
        """As `GroupInterface.create_group_snapshot`."""
        raise NotImplementedError

    def delete_cgsnapshot(
        self, context: Context, cgsnapshot: GroupSnapshotModel, snapshots: Sequence[SnapshotModel]
    ) -> GroupAnswer:
        """As `GroupInterface.delete_group_snapshot`."""
        raise NotImplementedError
