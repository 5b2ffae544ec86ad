"""`VolumeManager`: the methods by which one backend's volumes are worked on.

Each method is one operation. It may be called again after a crash at any point and then ends as one call would have. A
retryable fault that is not the last attempt's passes through and leaves the state as it is, for the next attempt; any
other fault leaves a truthful state and a message to the owner, and is raised so that the operation is recorded as
failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.volume.manager import (
    backups,
    connections,
    elsewhere,
    group_snapshots,
    groups,
    images,
    left_copies,
    manage,
    marking,
    migration,
    replication,
    retyping,
    snapshots,
    transfers,
    volumes,
)
from penstock.volume.manager.in_service import BackendInService

log = structlog.get_logger(__name__)


class VolumeManager(BackendInService):
    """Manages the volumes of one backend."""

    # --- volumes ------------------------------------------------------------------------------------------------

    def create_volume(
        self,
        context: RequestContext,
        volume_id: str,
        image_id: str | None = None,
        backup_id: str | None = None,
        asked: Mapping[str, Any] | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        """Make the volume, empty or from its source: a snapshot or volume that its row names, an image, a backup.

        Refused by this backend, it is tried at another that does as `asked`; `refused` names those who were tried.
        """
        try:
            if image_id is not None:
                images.create(self.backend, context, volume_id, image_id)
            elif backup_id is not None:
                backups.create_volume(self.backend, context, volume_id, backup_id)
            else:
                volumes.create(self.backend, context, volume_id)
        except elsewhere.Moved as moved:
            log.info("volume.goes_on_elsewhere", volume=volume_id, reason=str(moved))

    def forget_refused(self, context: RequestContext, volume_id: str, host: str, about: Mapping[str, Any]) -> None:
        """Take away what was begun here of a volume that was made elsewhere then."""
        elsewhere.forget_refused(self.backend, volume_id, host, about)

    def copy_volume_to_image(self, context: RequestContext, volume_id: str, image_meta: Mapping[str, Any]) -> None:
        """Make the volume an image."""
        images.upload(self.backend, context, volume_id, image_meta)

    def reimage(self, context: RequestContext, volume_id: str, image_id: str) -> None:
        """Put another image on the volume."""
        images.reimage(self.backend, context, volume_id, image_id)

    def delete_volume(
        self, context: RequestContext, volume_id: str, cascade: bool = False, force: bool = False
    ) -> None:
        """Destroy the volume. With `force` it is forgotten even when the backend cannot do its part."""
        volumes.delete(self.backend, context, volume_id, cascade=cascade, force=force)

    def extend_volume(self, context: RequestContext, volume_id: str, new_size: int) -> None:
        """Let the volume hold `new_size` GiB."""
        volumes.extend(self.backend, context, volume_id, new_size)

    def revert_to_snapshot(self, context: RequestContext, volume_id: str, snapshot_id: str) -> None:
        """Put the volume back to the snapshot, in place."""
        volumes.revert(self.backend, self.records, context, volume_id, snapshot_id)

    def manage_existing(self, context: RequestContext, volume_id: str, ref: Mapping[str, Any]) -> None:
        """Take over what `ref` names."""
        manage.manage_volume(self.backend, context, volume_id, ref)

    def unmanage(self, context: RequestContext, volume_id: str) -> None:
        """Forget the volume and leave it on the backend."""
        manage.unmanage_volume(self.backend, context, volume_id)

    def get_manageable_volumes(
        self,
        context: RequestContext,
        marker: Mapping[str, Any] | None,
        limit: int,
        offset: int,
        sort_keys: list[str],
        sort_dirs: list[str],
    ) -> list[dict[str, Any]]:
        """What could be taken over as volumes."""
        return manage.manageable_volumes(self.backend, marker, limit, offset, sort_keys, sort_dirs)

    def retype(
        self, context: RequestContext, volume_id: str, new_type_id: str, host: str, migration_policy: str = "never"
    ) -> None:
        """Give the volume another type, on the pool `host`."""
        retyping.retype(self.backend, context, volume_id, new_type_id, host, migration_policy)

    def migrate_volume(self, context: RequestContext, volume_id: str, host: str, force_host_copy: bool = False) -> None:
        """Move the volume to the pool `host`."""
        migration.migrate(self.backend, context, volume_id, host, force_host_copy=force_host_copy)

    def accept_transfer(self, context: RequestContext, volume_id: str, new_user: str, new_project: str) -> None:
        """Hand over what the driver keeps by owner."""
        transfers.accept(self.backend, context, volume_id, new_user, new_project)

    # --- snapshots ----------------------------------------------------------------------------------------------

    def create_snapshot(self, context: RequestContext, snapshot_id: str) -> None:
        """Take the snapshot."""
        snapshots.create(self.backend, context, snapshot_id)

    def delete_snapshot(self, context: RequestContext, snapshot_id: str, force: bool = False) -> None:
        """Destroy the snapshot. With `force` it is forgotten even when the backend cannot do its part."""
        snapshots.delete(self.backend, context, snapshot_id, force=force)

    def manage_existing_snapshot(self, context: RequestContext, snapshot_id: str, ref: Mapping[str, Any]) -> None:
        """Take over the snapshot that `ref` names."""
        manage.manage_snapshot(self.backend, context, snapshot_id, ref)

    def unmanage_snapshot(self, context: RequestContext, snapshot_id: str) -> None:
        """Forget the snapshot and leave it on the backend."""
        manage.unmanage_snapshot(self.backend, context, snapshot_id)

    def get_manageable_snapshots(
        self,
        context: RequestContext,
        marker: Mapping[str, Any] | None,
        limit: int,
        offset: int,
        sort_keys: list[str],
        sort_dirs: list[str],
    ) -> list[dict[str, Any]]:
        """What could be taken over as snapshots."""
        return manage.manageable_snapshots(self.backend, marker, limit, offset, sort_keys, sort_dirs)

    # --- the whole backend --------------------------------------------------------------------------------------

    def freeze_host(self, context: RequestContext) -> None:
        """Take nothing new, and have the storage change nothing."""
        replication.freeze(self.backend, context)

    def thaw_host(self, context: RequestContext) -> None:
        """The end of `freeze_host`."""
        replication.thaw(self.backend, context)

    def failover_host(self, context: RequestContext, secondary_backend_id: str | None = None) -> None:
        """Serve the volumes from a replication target, or from here again (``default``)."""
        replication.failover(self.backend, context, secondary_backend_id)

    def remove_left_copy(self, context: RequestContext, side: str, about: Mapping[str, Any]) -> None:
        """Take away the copy of a volume that was replicated from a side that was away when it was to go."""
        left_copies.remove(self.backend, side, about)

    # --- backups ------------------------------------------------------------------------------------------------

    def create_backup(self, context: RequestContext, backup_id: str) -> None:
        """Back up the volume or snapshot that the backup's row names."""
        backups.create(self.backend, self.records, context, backup_id)

    def restore_backup(self, context: RequestContext, backup_id: str, volume_id: str) -> None:
        """Write the backup onto the volume."""
        backups.restore(self.backend, context, backup_id, volume_id)

    def delete_backup(self, context: RequestContext, backup_id: str) -> None:
        """Remove the backup."""
        backups.delete(self.backend, context, backup_id)

    # --- groups --------------------------------------------------------------------------------------------------

    def create_group(self, context: RequestContext, group_id: str) -> None:
        """Make the group, empty."""
        groups.create(self.backend, context, group_id)

    def create_group_from_src(self, context: RequestContext, group_id: str) -> None:
        """Make the group with its volumes, from a group snapshot or another group."""
        groups.create_from_source(self.backend, context, group_id)

    def update_group(
        self, context: RequestContext, group_id: str, add_volumes: list[str], remove_volumes: list[str]
    ) -> None:
        """Take volumes into the group and out of it."""
        groups.update(self.backend, context, group_id, add_volumes, remove_volumes)

    def delete_group(self, context: RequestContext, group_id: str) -> None:
        """Destroy the group and its volumes."""
        groups.delete(self.backend, context, group_id)

    def create_group_snapshot(self, context: RequestContext, group_snapshot_id: str) -> None:
        """Take snapshots of all volumes of a group."""
        group_snapshots.create(self.backend, context, group_snapshot_id)

    def delete_group_snapshot(self, context: RequestContext, group_snapshot_id: str) -> None:
        """Destroy them."""
        group_snapshots.delete(self.backend, context, group_snapshot_id)

    # --- connections --------------------------------------------------------------------------------------------

    def look_ahead(self, method: str, about: Any) -> Callable[[], Any] | None:
        """A look at what that method will want to know of what it is about (`operations.queue.OperationQueue.enqueue`),
        to be taken while it is being asked for; None when there is nothing to look at."""
        if method in connections.CONNECTING:
            return connections.look_ahead(self.backend, about)
        return volumes.look_ahead(self.backend, about) if method == "create_volume" else None

    def attachment_update(self, context: RequestContext, volume_id: str, attachment_id: str) -> None:
        """Connect the initiator that the attachment names."""
        connections.update(self.backend, context, attachment_id)

    def attachment_delete(
        self, context: RequestContext, volume_id: str, attachment_id: str, force: bool = False
    ) -> None:
        """End the attachment. With `force` it is forgotten even when the backend cannot do its part."""
        connections.end(self.backend, context, volume_id, attachment_id, force=force)

    def initialize_connection(self, context: RequestContext, volume_id: str, attachment_id: str) -> None:
        """Connect the initiator that the row names, for the older action."""
        connections.initialize(self.backend, context, attachment_id)

    def terminate_connection(
        self, context: RequestContext, volume_id: str, attachment_id: str, force: bool = False
    ) -> None:
        """Let the initiator that the row names connect no more."""
        connections.terminate(self.backend, context, attachment_id, force=force)

    def attach_volume(self, context: RequestContext, volume_id: str, attachment_id: str) -> None:
        """Write that the volume is used, as the row says by whom."""
        connections.attach(self.backend, context, attachment_id)

    # --- marks and exports on the storage ------------------------------------------------------------------------

    def settle_export(self, context: RequestContext, volume_id: str) -> None:
        """Let in exactly whom the volume's attachments name."""
        marking.settle_export(self.backend, context, volume_id)

    def write_identity(self, context: RequestContext, volume_id: str) -> None:
        """Write on the storage what the row says of the volume, where the driver keeps that there."""
        marking.write_identity(self.backend, volume_id)
