"""Attaching a volume to this machine, to read or write its data here: the same steps whatever the driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from penstock.config.backend import BackendConfiguration
from penstock.errors import Fault, Invalid
from penstock.volume.data_path import attached
from penstock.volume.data_path.local import KERNEL, LocalConnector, connector_for, here, is_by_kernel
from penstock.volume.errors import (
    DeviceUnavailable,
    ExportFailure,
    RemoveExportException,
    VolumeBackendAPIException,
    VolumeNotFound,
)
from penstock.volume.interface.connections import ConnectionInterface
from penstock.volume.interface.values import ConnectionInfo, Connector, Context
from penstock.volume.models import AttachmentModel, SnapshotModel, VolumeModel
from penstock.volume.records import Records

log = structlog.get_logger(__name__)

AttachInfo = Mapping[str, Any]
"""``conn`` (connection information), ``device`` (its ``path``, its ``node`` where none was made), ``connector``; and
``note``, the file that tells of it where the kernel did it."""


class LocalAttachment(ConnectionInterface):
    """Attach and detach, part of every driver. The steps are methods of their own, so that a driver can change one.

    Names with two underscores are ours alone: no driver's own method takes their place by accident.
    """

    configuration: BackendConfiguration
    db: Records

    def secure_file_operations_enabled(self) -> bool:
        """Are the volumes files that root must not touch?"""
        return False

    def local_properties(self) -> dict[str, Any]:
        """This machine as a connector, in os-brick's words."""
        return here(str(self.configuration.conf.my_ip)).properties(
            multipath=self.configuration.use_multipath_for_image_xfer,
            enforce_multipath=self.configuration.enforce_multipath_for_image_xfer,
        )

    def attach_here(
        self, context: Context, volume: VolumeModel, properties: Connector, *, remote: bool = False
    ) -> tuple[AttachInfo, VolumeModel]:
        """Attach `volume` to this machine, for those outside a driver; see `_attach_volume`."""
        return self._attach_volume(context, volume, properties, remote=remote)

    def detach_here(
        self,
        context: Context,
        attach_info: AttachInfo,
        volume: VolumeModel,
        properties: Connector,
        *,
        remote: bool = False,
    ) -> None:
        """Undo `attach_here`, going on after a step that failed; the first failure is raised in the end."""
        self._detach_volume(context, attach_info, volume, properties, force=True, remote=remote)

    def _attach_volume(
        self, context: Context, volume: VolumeModel, properties: Connector, remote: bool = False
    ) -> tuple[AttachInfo, VolumeModel]:
        """Attach `volume` to this machine, which is `properties`. A `remote` volume is one of another backend.

        Returns what `_detach_volume` wants back, and the volume as it is then. What was half done is undone. Raises
        ExportFailure, VolumeBackendAPIException, DeviceUnavailable.
        """
        if remote:
            conn = self.db.initialize_connection(context, volume, properties)
        else:
            conn, volume = self.__export_here(context, volume, properties)
        data = dict(conn["data"])
        if data.get("encrypted") is None:
            data["encrypted"] = volume.is_encrypted
        conn = {**conn, "data": data}
        note = None
        try:
            if is_by_kernel(str(conn["driver_volume_type"]), self.configuration.volume_data_path):
                note = attached.note(self.__notes, volume.id, conn)
            return {**self._connect_device(conn), "note": note}, volume
        except Fault as err:
            attach_info = getattr(err, "attach_info", None)
            if note is not None and (attach_info or not _is_connected_here(volume, properties)):
                # The kernel may have a session, also where no device of it was told.
                attach_info = {"device": {}, **(attach_info or {}), "conn": conn, "note": note}
            self._detach_volume(context, attach_info, volume, properties, force=True, remote=remote, ignore_errors=True)
            raise

    @property
    def __notes(self) -> Path:
        return Path(self.configuration.conf.state_path, "attached", self.configuration.config_group)

    def detach_left_here(self) -> None:
        """Detach what a process of this backend that died had attached to this machine. Safe to repeat.

        Called before any operation of the backend runs. What cannot be detached stays noted, for the next start. An
        attachment of somebody else here to the same volume keeps it.
        """
        for note in attached.left(self.__notes):
            try:
                if not self.__is_used_here(note.volume_id):
                    connector = self.__connector(note.connection, KERNEL)  # whatever way is configured by now
                    connector.disconnect_volume(note.connection["data"], {}, force=True)
                    self._disconnected_left(note.connection)
                attached.forget(note.path)
            except (Fault, OSError) as err:
                log.warning("volume.stays_attached_here", volume_id=note.volume_id, error=str(err))
                continue
            log.info("volume.detached_here", volume_id=note.volume_id)

    def _disconnected_left(self, conn: ConnectionInfo) -> None:
        """What is left of the connection of a process that died, where that is more than a connector takes away."""

    def __is_used_here(self, volume_id: str) -> bool:
        try:
            return _is_connected_here(self.db.volume(volume_id), self.local_properties())
        except VolumeNotFound:
            return False

    def __export_here(
        self, context: Context, volume: VolumeModel, properties: Connector
    ) -> tuple[ConnectionInfo, VolumeModel]:
        try:
            update = self.create_export(context, volume, properties)
        except Fault as err:
            raise ExportFailure(f"Volume {volume.id} could not be exported: {err}") from err
        if update:
            volume = self.db.update_volume(volume.id, update)
        try:
            return self.initialize_connection(volume, properties), volume
        except Fault as err:
            if not _is_connected_here(volume, properties):
                self.__undo(lambda: self.__close(context, volume, properties, force=True), volume.id)
            raise VolumeBackendAPIException(f"The backend tells no way to volume {volume.id}: {err}") from err

    def _attach_snapshot(self, ctxt: Context, snapshot: SnapshotModel, properties: Connector) -> ConnectionInfo:
        """Export `snapshot` to this machine. Returns the connection information. Raises as `_attach_volume`."""
        try:
            update = self.create_export_snapshot(ctxt, snapshot, properties)
        except Fault as err:
            raise ExportFailure(f"Snapshot {snapshot.id} could not be exported: {err}") from err
        if update:
            snapshot = self.db.update_snapshot(snapshot.id, update)
        try:
            conn = self.initialize_connection_snapshot(snapshot, properties)
            if conn is None:
                raise Invalid("the driver does not attach snapshots")
        except Fault as err:
            self.__undo(lambda: self.remove_export_snapshot(ctxt, snapshot), snapshot.id)
            raise VolumeBackendAPIException(f"The backend tells no way to snapshot {snapshot.id}: {err}") from err
        return conn

    def _connect_device(self, conn: ConnectionInfo) -> AttachInfo:
        """Make the device that `conn` describes. Raises DeviceUnavailable, with what to detach."""
        connector = self.__connector(conn, self.configuration.volume_data_path)
        device = connector.connect_volume(conn["data"])
        attach_info = {"conn": conn, "device": device, "connector": connector}
        # A network file system that is not root's shows root nothing.
        if not connector.check_valid_device(device["path"], not self.secure_file_operations_enabled()):
            raise DeviceUnavailable(f"Nothing can be read at {device['path']}.", attach_info=attach_info)
        return attach_info

    def __connector(self, conn: ConnectionInfo, way: str) -> LocalConnector:
        settings = self.configuration
        return connector_for(
            str(conn["driver_volume_type"]),
            conn,
            way=way,
            initiator=self.local_properties()["initiator"],
            use_multipath=settings.use_multipath_for_image_xfer,
            device_scan_attempts=settings.num_volume_device_scan_tries,
            lock_path=f"{settings.conf.state_path}/locks",
        )

    def _detach_volume(
        self,
        context: Context,
        attach_info: AttachInfo | None,
        volume: VolumeModel,
        properties: Connector,
        force: bool = False,
        remote: bool = False,
        ignore_errors: bool = False,
    ) -> None:
        """Undo `_attach_volume`. `force` goes on after a step failed, and raises the first failure in the end, unless
        `ignore_errors`.

        Who is attached to the volume keeps what it has: the export, and on this machine the device and the way to it.
        """
        if not remote and _is_connected_here(volume, properties):
            return
        steps = [partial(self.__disconnect, attach_info, force)] if attach_info else []
        if remote:
            steps.append(partial(self.db.terminate_connection, context, volume, properties, force=force))
        else:
            steps.append(partial(self.__close, context, volume, properties, force=force))
        failed: list[Fault] = []
        for step in steps:
            try:
                step()
            except Fault as err:
                log.warning("volume.detach_failed", volume_id=volume.id, error=str(err))
                failed.append(err)
                if not force:
                    break
        if failed and not ignore_errors:
            raise failed[0]

    def __disconnect(self, attach_info: AttachInfo, force: bool) -> None:
        """Errors are raised whoever ignores them later: the note goes only when nothing is attached any more."""
        conn = attach_info["conn"]
        connector = attach_info.get("connector") or self.__connector(conn, self.configuration.volume_data_path)
        connector.disconnect_volume(conn["data"], attach_info["device"], force=force)
        note = attach_info.get("note")
        if note is not None:
            attached.forget(note)

    def __close(self, context: Context, volume: VolumeModel, properties: Connector, *, force: bool) -> None:
        """Let this machine in no longer. The export goes unless somebody else is connected; `force`: also then when
        the connection stays."""
        is_shared = any(one.connector for one in volume.volume_attachment)
        try:
            is_shared = self.__terminate(volume, properties, force) or is_shared
        except Fault:
            if force and not is_shared:
                self.__undo(lambda: self.__unexport(context, volume), volume.id)
            raise
        if not is_shared:
            self.__unexport(context, volume)

    def __terminate(self, volume: VolumeModel, properties: Connector, force: bool) -> bool:
        """Does the driver say that others share the export?"""
        try:
            return self.terminate_connection(volume, properties, force=force) is True
        except Fault as err:
            raise VolumeBackendAPIException(f"Volume {volume.id} keeps its connection: {err}") from err

    def __unexport(self, context: Context, volume: VolumeModel) -> None:
        try:
            self.remove_export(context, volume)
        except Fault as err:
            raise RemoveExportException(f"Volume {volume.id} keeps its export: {err}") from err

    def __undo(self, step: Callable[[], None], thing_id: str) -> None:
        """Take back what was begun, on the way out with another fault: that one is what is to be told."""
        try:
            step()
        except Fault as err:
            log.warning("volume.undo_failed", id=thing_id, error=str(err))


def _is_connected_here(volume: VolumeModel, properties: Connector) -> bool:
    """Has this machine, which is `properties`, an attachment of the volume? What is let in is let in once."""
    return any(_is_of(one, properties) for one in volume.volume_attachment)


def _is_of(attachment: AttachmentModel, properties: Connector) -> bool:
    """By what the backend knows a machine by; by either where the attachment does not tell."""
    protocol = attachment.connection_info.get("driver_volume_type")
    names = {"iscsi": ("initiator",), "iser": ("initiator",), "nfs": ("ip",)}.get(str(protocol), ("initiator", "ip"))
    return any(properties.get(name) and attachment.connector.get(name) == properties[name] for name in names)
