"""What a repair does: to the rows in one transaction, conditional on their being as they were examined; to the storage
by an operation, in order with everything else about the volume.

What no row is about is done at once: planned from an examination made right before (`treatment.treat`), and the driver
checks the marks on the storage again before it changes or destroys anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from penstock.domain.attachments import Attachment, AttachStatus
from penstock.domain.backups import Backup, BackupStatus
from penstock.domain.operations import Call
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_message_codes import VolumeMessageAction, VolumeMessageDetail
from penstock.domain.volume_snapshots import VolumeSnapshot
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Conflict, Fault, NotFound
from penstock.operations.driver_calls import driver_call
from penstock.store import attachments, backups, operations, volume_placement, volume_snapshots, volumes
from penstock.store.database import Transaction, hold
from penstock.units import bytes_to_gib_ceil
from penstock.volume.inventory import FoundVolume, FoundVolumeSnapshot
from penstock.volume.manager.notices import tell_owner
from penstock.volume.models import SnapshotModel, VolumeModel
from penstock.volume_site import VolumeSite

LEFT = "It was left unfinished and cannot be taken up again."


@dataclass(frozen=True, slots=True)
class LoseVolume:
    """Put it in error, and tell its owner that it was not found."""

    volume: Volume

    def carry_out(self, site: VolumeSite) -> None:
        backend = site.backend
        with backend.database.begin() as tx:
            _check_idle(tx, site, self.volume.id)
            volumes.move(tx, self.volume, VolumeEvent.LOST, now=backend.now())
            _tell_lost(tx, site, self.volume)


@dataclass(frozen=True, slots=True)
class LoseSnapshot:
    """The same for a snapshot."""

    snapshot: VolumeSnapshot

    def carry_out(self, site: VolumeSite) -> None:
        backend = site.backend
        with backend.database.begin() as tx:
            _check_idle(tx, site, self.snapshot.volume_id)
            volume_snapshots.move(tx, self.snapshot, VolumeEvent.LOST, now=backend.now())
            _tell_lost(tx, site, self.snapshot)


@dataclass(frozen=True, slots=True)
class EndWork:
    """End what is in work as the start of the daemon does: `how` is one of `volume.manager.starting`."""

    of: Volume | VolumeSnapshot
    how: Callable[[Any, Any, Any], None]

    def carry_out(self, site: VolumeSite) -> None:
        volume_id = self.of.volume_id if isinstance(self.of, VolumeSnapshot) else self.of.id
        with site.backend.database.read() as tx:
            _check_idle(tx, site, volume_id)
        self.how(site.backend, site.context, self.of)


@dataclass(frozen=True, slots=True)
class Queue:
    """Queue the manager's `method` for the volume; with `event` it first moves to what that leads to."""

    volume: Volume
    method: str
    arguments: dict[str, Any] = field(default_factory=dict)
    event: VolumeEvent | None = None

    def carry_out(self, site: VolumeSite) -> None:
        with site.backend.database.begin() as tx:
            if self.event is not None:
                _check_idle(tx, site, self.volume.id)
                volumes.move(tx, self.volume, self.event, now=site.backend.now())
            else:
                _check_as_examined(tx, site, self.volume)
            call = Call(site.backend.host, f"volume:{self.volume.id}", self.method, self.arguments)
            site.queue.enqueue(tx, site.context, call)


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Write the pool and the place the volume was found at."""

    volume: Volume
    found: FoundVolume

    def carry_out(self, site: VolumeSite) -> None:
        backend = site.backend
        with backend.database.begin() as tx:
            _check_as_examined(tx, site, self.volume)
            values = {"host": f"{backend.host}#{self.found.pool}", "provider_id": self.found.location}
            volumes.update_volume(tx, self.volume.id, now=backend.now(), **values)


@dataclass(frozen=True, slots=True)
class RecordSize:
    """Write that the volume is larger: what it holds cannot be cut off."""

    volume: Volume
    found: FoundVolume

    def carry_out(self, site: VolumeSite) -> None:
        with site.backend.database.begin() as tx:
            _check_as_examined(tx, site, self.volume)
            size_gib = bytes_to_gib_ceil(self.found.size_bytes)
            volumes.update_volume(tx, self.volume.id, now=site.backend.now(), size_gib=size_gib)


@dataclass(frozen=True, slots=True)
class SettleAttachment:
    """Write the state an attachment is in as far as anybody knows."""

    volume: Volume
    attachment: Attachment
    status: AttachStatus

    def carry_out(self, site: VolumeSite) -> None:
        now = site.backend.now()
        with site.backend.database.begin() as tx:
            _check_idle(tx, site, self.volume.id)
            attachments.change(tx, self.attachment, self.status, now=now)
            volumes.follow_attachments(tx, self.volume.id, now=now)
            if self.status is AttachStatus.ERROR_ATTACHING:
                action = VolumeMessageAction.UPDATE_ATTACHMENT
                tell_owner(tx, site.backend, site.context, self.volume, action, Fault(LEFT))


@dataclass(frozen=True, slots=True)
class EndBackup:
    """Put it in error with the reason; one that was being restored from is as it was."""

    backup: Backup

    def carry_out(self, site: VolumeSite) -> None:
        with site.backend.database.begin() as tx:
            _check_idle(tx, site, self.backup.volume_id)
            is_whole = self.backup.status is BackupStatus.RESTORING
            status = BackupStatus.AVAILABLE if is_whole else BackupStatus.ERROR
            reason = None if is_whole else LEFT
            backups.change(tx, self.backup, status, now=site.backend.now(), fail_reason=reason)


@dataclass(frozen=True, slots=True)
class DeleteBackup:
    """Queue its deletion again."""

    backup: Backup

    def carry_out(self, site: VolumeSite) -> None:
        with site.backend.database.begin() as tx:
            current = backups.get(tx, self.backup.id)
            if current is None or current.status is not self.backup.status:
                raise Conflict(f"Backup {self.backup.id} was changed meanwhile.")
            arguments = {"backup_id": self.backup.id}
            call = Call(site.backend.host, f"backup:{self.backup.id}", "delete_backup", arguments)
            site.queue.enqueue(tx, site.context, call)


# --- what no row is about ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DestroyVolume:
    """Destroy what lies on the storage for no row, with its snapshots and its target."""

    found: FoundVolume

    def carry_out(self, site: VolumeSite) -> None:
        _refuse_known(site, self.found.id)
        with driver_call("delete volumes"):
            site.driver.delete_volume(model_of(site, self.found))


@dataclass(frozen=True, slots=True)
class DestroySnapshot:
    """Destroy a snapshot of `parent` that no row is about."""

    found: FoundVolumeSnapshot
    parent: FoundVolume

    def carry_out(self, site: VolumeSite) -> None:
        _refuse_known(site, self.found.id)
        volume = model_of(site, self.parent)
        snapshot = SnapshotModel(
            id=self.found.id,
            name=site.backend.conf.snapshot_name_template % self.found.id,
            volume_id=self.found.volume_id,
            volume_size=self.found.size_gib,
            status="deleting",
            project_id=self.found.project_id or "",
            user_id=self.found.user_id or "",
            volume=volume,
            provider_id=self.found.location,
        )
        with driver_call("delete snapshots"):
            site.driver.delete_snapshot(snapshot)


@dataclass(frozen=True, slots=True)
class StopExporting:
    """Take a target away from the server."""

    name: str

    def carry_out(self, site: VolumeSite) -> None:
        site.holder.stop_exporting([self.name])


@dataclass(frozen=True, slots=True)
class Discard:
    """Destroy the copy that a migration left."""

    location: str

    def carry_out(self, site: VolumeSite) -> None:
        site.holder.discard(self.location)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Destroy a tombstone that nothing needs."""

    location: str

    def carry_out(self, site: VolumeSite) -> None:
        site.holder.sweep([self.location])


def model_of(site: VolumeSite, found: FoundVolume) -> VolumeModel:
    """What a driver is handed for a volume that only the storage knows."""
    backend = site.backend
    return VolumeModel(
        id=found.volume_id,
        name=backend.conf.volume_name_template % found.id,
        name_id=found.id,
        size=bytes_to_gib_ceil(found.size_bytes),
        status=VolumeStatus.DELETING.value,
        host=f"{backend.host}#{found.pool}",
        project_id=found.project_id or "",
        user_id=found.user_id or "",
        display_name=found.name,
        volume_type_id=found.type_id,
        provider_id=found.location,
        provider_location=found.provider_location,
        created_at=found.created_at,
        launched_at=found.created_at,
    )


def _tell_lost(tx: Transaction, site: VolumeSite, of: Volume | VolumeSnapshot) -> None:
    action, detail = VolumeMessageAction.LOOK_AT_VOLUME, VolumeMessageDetail.VOLUME_LOST
    fault = NotFound("It was not found on the storage backend.")
    tell_owner(tx, site.backend, site.context, of, action, fault, detail=detail)


def _refuse_known(site: VolumeSite, thing_id: str) -> None:
    """A row that came meanwhile, by ``penstock recover`` or a creation, makes it somebody's."""
    with site.backend.database.read() as tx:
        # after a migration by a copy what is written on a dataset is the `name_id` of its row
        is_volume = any(thing_id in (home.id, home.name_id) for home in volume_placement.homes(tx))
        if is_volume or volume_snapshots.get(tx, thing_id) is not None:
            raise Conflict(f"{thing_id} has a row by now.")


def _check_as_examined(tx: Transaction, site: VolumeSite, volume: Volume) -> None:
    """Raises Conflict when the row is another than was examined, or somebody works on the volume."""
    hold(tx, f"volume {volume.id}")  # as who accepts a request about it does
    _check_idle(tx, site, volume.id)
    if volumes.get(tx, volume.id) != volume:
        raise Conflict(f"Volume {volume.id} was changed meanwhile.")


def _check_idle(tx: Transaction, site: VolumeSite, volume_id: str) -> None:
    waiting = operations.pending(tx, resource_key=f"volume:{volume_id}")
    if any(operation.request_id != site.context.request_id for operation in waiting):  # our own repairs come in order
        raise Conflict(f"An operation on volume {volume_id} has begun meanwhile; look again when it is done.")
