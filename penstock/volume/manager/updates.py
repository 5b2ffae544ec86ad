"""A driver's model update, stored: its own columns and metadata, and nothing else it may name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from penstock.domain.volumes import driver_values
from penstock.errors import BackendFault
from penstock.store import volume_snapshots, volumes
from penstock.store.database import Transaction

SNAPSHOT_COLUMNS = ("provider_location", "provider_id", "provider_auth", "encryption_key_id")


def checked(answer: Any) -> Mapping[str, Any]:
    """A driver's model update; None is none. Raises BackendFault for anything else."""
    if answer is None:
        return {}
    if not isinstance(answer, Mapping):
        raise BackendFault(f"The driver answered with a model update of the type {type(answer).__name__}.")
    return answer


def store_of_volume(tx: Transaction, volume_id: str, update: Mapping[str, Any], *, now: datetime) -> None:
    """Store what a driver says of a volume."""
    values = driver_values(update)
    if values:
        volumes.update_volume(tx, volume_id, now=now, **values)
    put_notes(tx, volume_id, update)


def put_notes(tx: Transaction, volume_id: str, update: Mapping[str, Any]) -> None:
    """Store the metadata in a model update; the pairs it does not name stay."""
    for notes, key in ((volumes.METADATA, "metadata"), (volumes.ADMIN_METADATA, "admin_metadata")):
        items = update.get(key)
        if isinstance(items, Mapping):
            notes.put(tx, volume_id, {str(name): str(value) for name, value in items.items()})


def snapshot_values(update: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a snapshot that a driver's model update sets."""
    return {name: value for name, value in update.items() if name in SNAPSHOT_COLUMNS}


def store_of_snapshot(tx: Transaction, snapshot_id: str, update: Mapping[str, Any], *, now: datetime) -> None:
    """Store what a driver says of a snapshot."""
    values = snapshot_values(update)
    if values:
        volume_snapshots.update_snapshot(tx, snapshot_id, now=now, **values)
