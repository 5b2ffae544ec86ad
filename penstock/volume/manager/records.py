"""What a driver may ask of us (`penstock.volume.records.Records`), answered from the rows of its backend."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from penstock.context import RequestContext, admin_context
from penstock.domain.attachments import Attachment, AttachMode, AttachStatus, nested, same_initiator
from penstock.domain.operations import Call, OperationState
from penstock.domain.pools import service_host
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes import INTERNAL_PROJECT, TEMPORARY, Volume, VolumeStatus
from penstock.errors import Unavailable
from penstock.ids import AttachmentId, OperationId, VolumeSnapshotId, new_id
from penstock.operations.attempt import current
from penstock.operations.outcome import fault_of
from penstock.store import attachments, volume_snapshots, volumes
from penstock.store.database import Transaction
from penstock.volume.errors import SnapshotNotFound, VolumeNotFound
from penstock.volume.interface.values import ConnectionInfo, Connector, Context, Updates
from penstock.volume.manager import left_copies
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import snapshot_model, type_model, volume_model
from penstock.volume.manager.temporary import WORK_FOR, temporary, working_volume
from penstock.volume.manager.updates import checked, store_of_snapshot, store_of_volume
from penstock.volume.models import BackupModel, EncryptionModel, SnapshotModel, VolumeModel


class StoredRecords:
    """The rows of one backend."""

    def __init__(self, backend: VolumeBackend) -> None:
        self._backend = backend

    def volume(self, volume_id: str) -> VolumeModel:
        with self._backend.database.read() as tx:
            return volume_model(tx, self._backend, _volume(tx, volume_id))

    def snapshot(self, snapshot_id: str) -> SnapshotModel:
        with self._backend.database.read() as tx:
            return snapshot_model(tx, self._backend, _snapshot(tx, snapshot_id))

    def update_volume(self, volume_id: str, updates: Updates) -> VolumeModel:
        with self._backend.database.begin() as tx:
            store_of_volume(tx, volume_id, checked(updates), now=self._backend.now())
            volume = _volume(tx, volume_id)
            is_made = TEMPORARY in volume.admin_metadata and volume.status is VolumeStatus.CREATING
            if is_made and updates.get("status") == VolumeStatus.AVAILABLE:
                volumes.move(tx, volume, VolumeEvent.DONE, now=self._backend.now(), launched_at=self._backend.now())
            return volume_model(tx, self._backend, _volume(tx, volume_id))

    def update_volumes(self, updates: Mapping[str, Updates]) -> None:
        with self._backend.database.begin() as tx:
            for volume_id in sorted(volumes.by_ids(tx, list(updates))):
                store_of_volume(tx, volume_id, checked(updates[volume_id]), now=self._backend.now())

    def copy_left(self, volume: VolumeModel, backend_id: str) -> None:
        with self._backend.database.begin() as tx:
            left_copies.queue(tx, self._backend, volume, backend_id)

    def update_snapshot(self, snapshot_id: str, updates: Updates) -> SnapshotModel:
        with self._backend.database.begin() as tx:
            store_of_snapshot(tx, snapshot_id, checked(updates), now=self._backend.now())
            return snapshot_model(tx, self._backend, _snapshot(tx, snapshot_id))

    def temporary_volume(
        self, context: Context, like: VolumeModel, *, for_backup: BackupModel | None, size: int | None = None
    ) -> VolumeModel:
        now = self._backend.now()
        with self._backend.database.begin() as tx:
            # Of this operation, whichever attempt: what another one left may hold other data.
            work_for = _work(for_backup, like)
            known = working_volume(tx, work_for)
            if known is not None and known.status is not VolumeStatus.DELETING:
                return volume_model(tx, self._backend, known)
            volume = temporary(_volume(tx, like.id), now=now, size_gib=size, notes={WORK_FOR: work_for})
            volumes.insert_volume(tx, volume)
            return volume_model(tx, self._backend, volume)

    def temporary_snapshot(
        self, context: Context, volume: VolumeModel, *, for_backup: BackupModel | None
    ) -> SnapshotModel:
        now = self._backend.now()
        snapshot_id = VolumeSnapshotId(str(uuid.uuid5(uuid.NAMESPACE_OID, f"snapshot for {_work(for_backup, volume)}")))
        with self._backend.database.begin() as tx:
            known = volume_snapshots.get(tx, snapshot_id)
            if known is not None:
                return snapshot_model(tx, self._backend, known)
            parent = _volume(tx, volume.id)
            snapshot = VolumeSnapshot(
                id=snapshot_id,
                volume_id=parent.id,
                name=None,
                description=None,
                project_id=parent.project_id,
                user_id=parent.user_id,
                volume_size_gib=parent.size_gib,
                status=VolumeSnapshotStatus.CREATING,
                progress="0%",
                volume_type_id=parent.volume_type_id,
                group_snapshot_id=None,
                encryption_key_id=parent.encryption_key_id,
                uses_quota=False,
                provider_location=None,
                provider_id=None,
                provider_auth=None,
                created_at=now,
                updated_at=None,
            )
            volume_snapshots.insert_snapshot(tx, snapshot)
            return snapshot_model(tx, self._backend, snapshot)

    def forget_temporary_volume(self, volume_id: str) -> None:
        with self._backend.database.begin() as tx:
            volume = volumes.get(tx, volume_id)
            if volume is not None and TEMPORARY in volume.admin_metadata:
                volumes.delete_volume(tx, volume.id)

    def forget_temporary_snapshot(self, snapshot_id: str) -> None:
        with self._backend.database.begin() as tx:
            snapshot = volume_snapshots.get(tx, snapshot_id)
            if snapshot is not None and not snapshot.uses_quota:
                volume_snapshots.delete_snapshot(tx, snapshot.id)

    def encryption(self, context: Context, volume: VolumeModel) -> EncryptionModel | None:
        with self._backend.database.read() as tx:
            found = type_model(tx, volume.volume_type_id)
        return None if found is None else found.encryption

    def initialize_connection(self, context: Context, volume: VolumeModel, connector: Connector) -> ConnectionInfo:
        now = self._backend.now()
        with self._backend.database.begin() as tx:
            current = _volume(tx, volume.id)
            attachment = _of_initiator(current, connector)
            if attachment is None:
                attachment = _connection(current, connector, now)
                attachments.insert_attachment(tx, attachment)
            arguments = {"volume_id": current.id, "attachment_id": attachment.id}
            call = Call(service_host(volume.host), f"volume:{current.id}", "initialize_connection", arguments)
            operation_id = self._backend.queue.enqueue(tx, _caller(context), call)
        self._await(operation_id)
        with self._backend.database.read() as tx:
            found = attachments.get(tx, attachment.id)
        if found is None or found.connection_info is None:
            raise Unavailable(f"Volume {volume.id} was disconnected meanwhile.")
        return nested(found.connection_info)

    def terminate_connection(self, context: Context, volume: VolumeModel, connector: Connector, *, force: bool) -> None:
        with self._backend.database.begin() as tx:
            current = volumes.get(tx, volume.id)
            attachment = None if current is None else _of_initiator(current, connector)
            if current is None or attachment is None:
                return
            arguments = {"volume_id": current.id, "attachment_id": attachment.id, "force": force}
            call = Call(service_host(volume.host), f"volume:{current.id}", "terminate_connection", arguments)
            operation_id = self._backend.queue.enqueue(tx, _caller(context), call)
        self._await(operation_id)

    def _await(self, operation_id: OperationId) -> None:
        """Wait for what another backend does. Raises the fault that ended it, Unavailable when it has not ended."""
        timeout_s = self._backend.conf.rpc_response_timeout
        operation = self._backend.queue.wait(self._backend.database, operation_id, timeout_s=timeout_s)
        if operation is None:
            raise Unavailable("The other backend has not answered yet.")
        if operation.state is not OperationState.DONE:
            raise fault_of(operation.fault, operation.error)


def _work(for_backup: BackupModel | None, like: VolumeModel) -> str:
    """What something temporary is made for: the operation that is attempted; by hand, the backup or the volume."""
    operation = current()
    return str(operation.id) if operation is not None else for_backup.id if for_backup else like.id


def _caller(context: Context) -> RequestContext:
    return context if isinstance(context, RequestContext) else admin_context()


def _of_initiator(volume: Volume, connector: Connector) -> Attachment | None:
    found = (one for one in volume.attachments if one.connector and same_initiator(one.connector, connector))
    return next(found, None)


def _connection(volume: Volume, connector: Connector, now: datetime) -> Attachment:
    """A connection of nobody's: known, and taken away with the volume."""
    return Attachment(
        id=AttachmentId(new_id()),
        volume_id=volume.id,
        project_id=INTERNAL_PROJECT if TEMPORARY in volume.admin_metadata else volume.project_id,
        instance_uuid=None,
        attached_host=None,
        mountpoint=None,
        mode=AttachMode.RW,
        status=AttachStatus.DETACHED,
        connector=dict(connector),
        connection_info=None,
        attach_time=None,
        detach_time=None,
        created_at=now,
        updated_at=None,
    )


def _volume(tx: Transaction, volume_id: str) -> Volume:
    volume = volumes.get(tx, volume_id)
    if volume is None:
        raise VolumeNotFound(f"There is no volume {volume_id}.")
    return volume


def _snapshot(tx: Transaction, snapshot_id: str) -> VolumeSnapshot:
    snapshot = volume_snapshots.get(tx, snapshot_id)
    if snapshot is None:
        raise SnapshotNotFound(f"There is no snapshot {snapshot_id}.")
    return snapshot
