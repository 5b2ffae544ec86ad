"""Backups: read a volume's bytes into the archive, and write them onto a volume. Every function may be called again.

A volume in use is read from a temporary clone of it, which goes when the backup is whole or has failed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from penstock.backups.archive import Archive
from penstock.context import RequestContext
from penstock.domain.backups import Backup, BackupStatus
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_message_codes import VolumeMessageAction, VolumeMessageResource
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import BackendFault, Fault, NotFound, Unsupported
from penstock.images.nodes import file_node
from penstock.operations.attempt import done_with
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import backups, volume_snapshots, volumes
from penstock.store.database import Transaction
from penstock.units import GIB
from penstock.volume.data_path.local import attached_node
from penstock.volume.manager import elsewhere
from penstock.volume.manager import volumes as volume_theme
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import volume_model
from penstock.volume.manager.notices import tell_project
from penstock.volume.manager.updates import checked
from penstock.volume.models import BackupModel, VolumeModel
from penstock.volume.records import Records

log = structlog.get_logger(__name__)

FILES = ("file", "host_device")  # qemu's names of what can be opened as a file here


def create(backend: VolumeBackend, records: Records, context: RequestContext, backup_id: str) -> None:
    """Make the backup; a failure leaves the volume as it was, and the backup in error with the reason."""
    with backend.database.read() as tx:
        backup = backups.get(tx, backup_id)
        if backup is None or backup.status is not BackupStatus.CREATING:
            return
    try:
        with backend.copying():
            stored = _read_in(backend, records, context, backup)
    except Fault as fault:
        if is_final(fault):
            _fail(backend, context, backup, VolumeMessageAction.BACKUP_CREATE, fault)
        raise
    now = backend.now()
    with backend.database.begin() as tx:
        done_with(tx, "create_backup")
        backups.change(tx, backup, BackupStatus.AVAILABLE, now=now, object_count=stored)
        _release_source(tx, backend, backup)


def delete(backend: VolumeBackend, context: RequestContext, backup_id: str) -> None:
    """Remove the backup from the archive and forget its row."""
    with backend.database.read() as tx:
        backup = backups.get(tx, backup_id)
        if backup is None or backup.status is not BackupStatus.DELETING:
            return
    try:
        with driver_call("delete backups"):
            archive(backend).delete(backup.id)
    except Fault as fault:
        if is_final(fault):
            with backend.database.begin() as tx:
                reason = fault.message[:1024]
                backups.change(tx, backup, BackupStatus.ERROR_DELETING, now=backend.now(), fail_reason=reason)
                _tell(tx, backend, context, backup, VolumeMessageAction.BACKUP_DELETE, fault)
        raise
    with backend.database.begin() as tx:
        done_with(tx, "delete_backup")
        _release_source(tx, backend, backup)  # of one that was deleted by force while it was made
        backups.delete_backup(tx, backup.id)


def restore(backend: VolumeBackend, context: RequestContext, backup_id: str, volume_id: str) -> None:
    """Write the backup onto the volume; when that fails for good what is on it is not known, and it says so."""
    with backend.database.read() as tx:
        backup, volume = backups.get(tx, backup_id), volumes.get(tx, volume_id)
        if backup is None or volume is None or volume.status is not VolumeStatus.RESTORING_BACKUP:
            return
        model = volume_model(tx, backend, volume)
    try:
        write_out(backend, context, backup, model)
    except Fault as fault:
        if is_final(fault):
            _not_restored(backend, context, backup, volume, fault)
        raise
    now = backend.now()
    with backend.database.begin() as tx:
        done_with(tx, "restore_backup")
        volumes.move(tx, volume, VolumeEvent.DONE, now=now)
        _restored(tx, backend, backup.id)


def create_volume(backend: VolumeBackend, context: RequestContext, volume_id: str, backup_id: str) -> None:
    """Make the volume with the contents of the backup."""
    with backend.database.read() as tx:
        volume, backup = volumes.get(tx, volume_id), backups.get(tx, backup_id)
        if volume is None or volume.status is not VolumeStatus.CREATING or not backend.holds(volume):
            return
        model = volume_model(tx, backend, volume)
    try:
        source = _there(backup, backup_id)
        with elsewhere.tried(backend, context, volume), driver_call("create volumes"):
            update = checked(backend.driver.create_volume(model))
        write_out(backend, context, source, model.updated(update))
    except Fault as fault:
        if is_final(fault):
            action = VolumeMessageAction.BACKUP_RESTORE
            volume_theme.fail(backend, context, volume, VolumeEvent.FAILED, action, fault)
        raise
    volume_theme.created(backend, volume, update)


def write_out(backend: VolumeBackend, context: RequestContext, backup: Backup, model: VolumeModel) -> None:
    """Write the backup's bytes onto the volume, by way of a file here."""
    driver = backend.driver
    with backend.copying(), _room(backend) as folder:
        path = folder / "backup"
        manifest = archive(backend).read(backup.id, path)
        if manifest.size_bytes > model.size * GIB:
            raise BackendFault(f"Backup {backup.id} has {manifest.size_bytes} bytes, more than the volume holds.")
        here = driver.local_properties()
        with driver_call("write backups onto volumes"):
            attached, model = driver.attach_here(context, model, here)
            try:
                driver.converter().qemu_img.write(
                    file_node(path),
                    "raw",
                    attached_node(attached),
                    size_bytes=manifest.size_bytes,
                    target_is_zero=False,
                    bps_limit=driver.throttle.bps_limit,
                )
            finally:
                driver.detach_here(context, attached, model, here)


def archive(backend: VolumeBackend) -> Archive:
    """Where backups are kept."""
    return Archive(Path(backend.conf.backup_posix_path))


def backup_model(backup: Backup) -> BackupModel:
    """The backup as drivers are told of it."""
    return BackupModel(
        id=backup.id,
        volume_id=backup.volume_id,
        status=backup.status.value,
        size=backup.size_gib,
        project_id=backup.project_id,
        user_id=backup.user_id,
        display_name=backup.name,
        snapshot_id=backup.snapshot_id,
        parent_id=backup.parent_id,
        container=backup.container,
        object_count=backup.object_count,
        encryption_key_id=backup.encryption_key_id,
        host=backup.host,
        created_at=backup.created_at,
    )


def _read_in(backend: VolumeBackend, records: Records, context: RequestContext, backup: Backup) -> int:
    """Read the volume's bytes into the archive; returns how many blocks were kept."""
    driver = backend.driver
    with driver_call("say what a backup is to be read from"):
        device, is_snapshot = driver.get_backup_device(context, backup_model(backup))
    if is_snapshot or not isinstance(device, VolumeModel):
        raise Unsupported("Backups are read from volumes; set backup_use_temp_snapshot to False.")
    try:
        with _bytes_of(backend, context, device, backup.size_gib) as path:
            manifest = archive(backend).write(
                backup.id,
                backup.volume_id,
                path,
                size_bytes=backup.size_gib * GIB,
                parent_id=backup.parent_id,
                compression="none" if backend.conf.backup_compression_algorithm in ("none", "off", "no") else "zlib",
            )
    finally:
        if device.id != backup.volume_id:
            _discard(backend, records, device)
    return manifest.stored_blocks


@contextmanager
def _bytes_of(backend: VolumeBackend, context: RequestContext, device: VolumeModel, size_gib: int) -> Iterator[Path]:
    """The volume as a file or device here; where it can only be reached by qemu, a copy of it for the time."""
    driver = backend.driver
    here = driver.local_properties()
    with driver_call("read volumes"):
        attached, device = driver.attach_here(context, device, here)
        try:
            node = attached_node(attached)
            if node.driver in FILES:
                yield Path(node.options["filename"])
                return
            with _room(backend) as folder:
                path = folder / "volume"
                driver.converter().qemu_img.pack(node, str(path), "raw", size_bytes=size_gib * GIB)
                yield path
        finally:
            driver.detach_here(context, attached, device, here)


@contextmanager
def _room(backend: VolumeBackend) -> Iterator[Path]:
    folder = Path(backend.conf.image_conversion_dir)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="backup-", dir=folder) as made:
        yield Path(made)


def _discard(backend: VolumeBackend, records: Records, device: VolumeModel) -> None:
    """A clone that cannot be deleted now is found at the next start, when nobody needs it."""
    try:
        with driver_call("delete volumes"):
            backend.driver.delete_volume(device)
        records.forget_temporary_volume(device.id)
    except Fault as fault:
        log.warning("backup.clone_left_behind", volume=device.id, fault=str(fault))


def _release_source(tx: Transaction, backend: VolumeBackend, backup: Backup) -> None:
    """What was backed up is as it was before."""
    now = backend.now()
    if backup.snapshot_id is not None:
        snapshot = volume_snapshots.get(tx, backup.snapshot_id)
        if snapshot is not None and snapshot.status is VolumeSnapshotStatus.BACKING_UP:
            volume_snapshots.move(tx, snapshot, VolumeEvent.DONE, now=now)
        return
    volume = volumes.get(tx, backup.volume_id)
    if volume is not None and volume.status is VolumeStatus.BACKING_UP:
        volumes.move(tx, volume, VolumeEvent.DONE, now=now, previous_status=None)


def _fail(
    backend: VolumeBackend, context: RequestContext, backup: Backup, action: VolumeMessageAction, fault: Fault
) -> None:
    with backend.database.begin() as tx:
        backups.change(tx, backup, BackupStatus.ERROR, now=backend.now(), fail_reason=fault.message[:1024])
        _release_source(tx, backend, backup)
        _tell(tx, backend, context, backup, action, fault)


def _not_restored(
    backend: VolumeBackend, context: RequestContext, backup: Backup, volume: Volume, fault: Fault
) -> None:
    with backend.database.begin() as tx:
        volumes.move(tx, volume, VolumeEvent.FAILED, now=backend.now())
        _restored(tx, backend, backup.id)
        _tell(tx, backend, context, backup, VolumeMessageAction.BACKUP_RESTORE, fault)


def _restored(tx: Transaction, backend: VolumeBackend, backup_id: str) -> None:
    backup = backups.get(tx, backup_id)
    if backup is not None and backup.status is BackupStatus.RESTORING:
        backups.change(tx, backup, BackupStatus.AVAILABLE, now=backend.now())


def _tell(
    tx: Transaction,
    backend: VolumeBackend,
    context: RequestContext,
    backup: Backup,
    action: VolumeMessageAction,
    fault: Fault,
) -> None:
    kind = VolumeMessageResource.VOLUME_BACKUP
    tell_project(tx, backend, context, backup.project_id, kind, backup.id, action, fault)


def _there(backup: Backup | None, backup_id: str) -> Backup:
    if backup is None:
        raise NotFound(f"There is no backup {backup_id} any more.")
    return backup
