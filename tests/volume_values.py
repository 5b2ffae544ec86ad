"""Volumes, snapshots and backends as tests of volume drivers want them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.config.backend import BackendConfiguration, volume_backend
from penstock.config.loading import load
from penstock.volume.errors import SnapshotNotFound, VolumeNotFound
from penstock.volume.models import BackupModel, EncryptionModel, SnapshotModel, VolumeModel

HOST = "here@third#pool"
PROJECT, USER = "9f1d6f4a9d0b4b3f8a4e4d3d0c1b2a39", "user"


def a_volume_backend(folder: Path, text: str = "", *, default: str = "") -> BackendConfiguration:
    """The section ``[third]`` with `text`, and [DEFAULT] with `default`."""
    path = folder / "penstock.conf"
    path.write_text(f"[DEFAULT]\nstate_path = {folder}\n{default}\n[third]\n{text}\n")
    return volume_backend(load([path]), "third")


def a_volume(volume_id: str, size: int = 1, **fields: Any) -> VolumeModel:
    """A volume; its name is that of the default template."""
    known: dict[str, Any] = {
        "name": f"volume-{fields.get('name_id', volume_id)}",
        "name_id": volume_id,
        "status": "creating",
        "host": HOST,
        "project_id": PROJECT,
        "user_id": USER,
    }
    return VolumeModel(id=volume_id, size=size, **{**known, **fields})


def a_snapshot(snapshot_id: str, volume: VolumeModel, **fields: Any) -> SnapshotModel:
    """A snapshot of `volume`; its name is that of the default template."""
    known: dict[str, Any] = {
        "name": f"snapshot-{snapshot_id}",
        "volume_id": volume.id,
        "volume_size": volume.size,
        "status": "creating",
        "project_id": PROJECT,
        "user_id": USER,
        "volume": volume,
    }
    return SnapshotModel(id=snapshot_id, **{**known, **fields})


class MemoryRecords:
    """What a manager keeps for a driver, in memory."""

    def __init__(self, *things: VolumeModel | SnapshotModel) -> None:
        self.volumes = {thing.id: thing for thing in things if isinstance(thing, VolumeModel)}
        self.snapshots = {thing.id: thing for thing in things if isinstance(thing, SnapshotModel)}
        self.temporary_of: dict[str, str] = {}  # a backup's id -> the volume or snapshot made for it
        self.elsewhere: dict[str, Any] = {}  # a volume's id -> connection information that its manager answers
        self.connected: set[str] = set()
        self.left: list[tuple[VolumeModel, str]] = []  # copies to be removed later, with their sides

    def volume(self, volume_id: str) -> VolumeModel:
        try:
            return self.volumes[volume_id]
        except KeyError:
            raise VolumeNotFound(volume_id) from None

    def snapshot(self, snapshot_id: str) -> SnapshotModel:
        try:
            return self.snapshots[snapshot_id]
        except KeyError:
            raise SnapshotNotFound(snapshot_id) from None

    def update_volume(self, volume_id: str, updates: Mapping[str, Any]) -> VolumeModel:
        self.volumes[volume_id] = self.volume(volume_id).updated(updates)
        return self.volumes[volume_id]

    def update_volumes(self, updates: Mapping[str, Mapping[str, Any]]) -> None:
        for volume_id in updates.keys() & self.volumes.keys():
            self.update_volume(volume_id, updates[volume_id])

    def copy_left(self, volume: VolumeModel, backend_id: str) -> None:
        self.left.append((volume, backend_id))

    def update_snapshot(self, snapshot_id: str, updates: Mapping[str, Any]) -> SnapshotModel:
        self.snapshots[snapshot_id] = self.snapshot(snapshot_id).updated(updates)
        return self.snapshots[snapshot_id]

    def temporary_volume(
        self, context: Any, like: VolumeModel, *, for_backup: BackupModel | None, size: int | None = None
    ) -> VolumeModel:
        key = for_backup.id if for_backup else like.id
        known = self.temporary_of.setdefault(key, f"temporary-{len(self.volumes)}")
        made = dataclasses.replace(
            like, id=known, name_id=known, name=f"volume-{known}", size=size or like.size, status="creating"
        )
        return self.volumes.setdefault(known, made)

    def temporary_snapshot(self, context: Any, volume: VolumeModel, *, for_backup: BackupModel | None) -> SnapshotModel:
        known = self.temporary_of.setdefault(for_backup.id if for_backup else volume.id, "temporary-snapshot")
        return self.snapshots.setdefault(known, a_snapshot(known, volume))

    def forget_temporary_volume(self, volume_id: str) -> None:
        self.volumes.pop(volume_id, None)

    def forget_temporary_snapshot(self, snapshot_id: str) -> None:
        self.snapshots.pop(snapshot_id, None)

    def encryption(self, context: Any, volume: VolumeModel) -> EncryptionModel | None:
        return None

    def initialize_connection(self, context: Any, volume: VolumeModel, connector: Mapping[str, Any]) -> Any:
        self.connected.add(volume.id)
        return self.elsewhere[volume.id]

    def terminate_connection(
        self, context: Any, volume: VolumeModel, connector: Mapping[str, Any], *, force: bool
    ) -> None:
        self.connected.discard(volume.id)
