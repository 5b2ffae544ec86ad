"""Replication of a backend, or of groups, to the targets that ``replication_device`` names."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.volume.interface.values import Context, Updates, VolumeUpdates
from penstock.volume.models import GroupModel, VolumeModel

Failover = tuple[str, VolumeUpdates, VolumeUpdates]
"""The target failed over to; ``{"volume_id": ..., "updates": {...}}`` and ``{"group_id": ..., "updates": {...}}``."""


class ReplicationInterface:
    """Failing over, of a whole backend or of a group of volumes."""

    def freeze_backend(self, context: Context) -> bool:
        """New volumes and changes are refused from now on. Returns whether the backend agrees."""
        return True

    def thaw_backend(self, context: Context) -> bool:
        """The end of `freeze_backend`. Returns whether the backend agrees."""
        return True

    def failover_host(
        self,
        context: Context,
        volumes: Sequence[VolumeModel],
        secondary_id: str | None = None,
        groups: Sequence[GroupModel] | None = None,
    ) -> Failover:
        """Serve `volumes`, all there are on the backend, from target `secondary_id`; ``default`` is the way back.

        None lets the driver choose. Each volume's update says its ``replication_status``. Raises
        InvalidReplicationTarget (nothing has changed), UnableToFailOver.
        """
        raise NotImplementedError

    def failover(
        self,
        context: Context,
        volumes: Sequence[VolumeModel],
        secondary_id: str | None = None,
        groups: Sequence[GroupModel] | None = None,
    ) -> Failover:
        """As `failover_host`, for one member of a cluster; the others are told by `failover_completed`."""
        return self.failover_host(context, volumes, secondary_id, groups)

    def failover_completed(self, context: Context, active_backend_id: str | None = None) -> None:
        """Another member of the cluster failed the backend over to `active_backend_id`; None is the way back."""
        raise NotImplementedError

    def enable_replication(
        self, context: Context, group: GroupModel, volumes: Sequence[VolumeModel]
    ) -> tuple[Updates | None, VolumeUpdates | None]:
        """Replicate the group from now on. Returns updates of the group and of its volumes."""
        raise NotImplementedError

    def disable_replication(
        self, context: Context, group: GroupModel, volumes: Sequence[VolumeModel]
    ) -> tuple[Updates | None, VolumeUpdates | None]:
        """Replicate the group no longer. Returns updates of the group and of its volumes."""
        raise NotImplementedError

    def failover_replication(
        self,
        context: Context,
        group: GroupModel,
        volumes: Sequence[VolumeModel],
        secondary_backend_id: str | None = None,
    ) -> tuple[Updates | None, VolumeUpdates | None]:
        """Serve the group from `secondary_backend_id`. Returns updates of the group and of its volumes."""
        raise NotImplementedError

    def get_replication_error_status(
        self, context: Context, groups: Sequence[GroupModel]
    ) -> tuple[VolumeUpdates, VolumeUpdates]:
        """What broke since last asked: ``{"group_id": ..., "replication_status": ...}`` for groups, the same with
        ``volume_id`` for volumes.
        """
        return [], []

    def get_replication_updates(self, context: Context) -> VolumeUpdates:
        """The old form of `get_replication_error_status`; nothing calls it."""
        raise NotImplementedError
