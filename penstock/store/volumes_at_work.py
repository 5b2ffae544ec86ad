"""Rows of volumes and snapshots with the types they have, as operations go by them."""

from __future__ import annotations

from penstock.domain.volume_snapshots import VolumeSnapshot
from penstock.domain.volume_types import WholeVolumeType
from penstock.domain.volumes import Volume
from penstock.domain.volumes_at_work import TypedSnapshot, TypedVolume
from penstock.errors import NotFound
from penstock.store import volume_qos, volume_types, volumes
from penstock.store.transaction import Transaction


class Types:
    """Volume types within one transaction: each is read once, with all that belongs to it."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._found: dict[str, WholeVolumeType | None] = {}

    def of(self, type_id: str | None) -> WholeVolumeType | None:
        """The type of that id; None where there is none."""
        if type_id is None:
            return None
        if type_id not in self._found:
            self._found[type_id] = self._read(type_id)
        return self._found[type_id]

    def _read(self, type_id: str) -> WholeVolumeType | None:
        both = volume_types.with_encryption(self._tx, type_id)
        if both is None:
            return None
        own, encryption = both
        qos = None if own.qos_specs_id is None else volume_qos.get(self._tx, own.qos_specs_id)
        return WholeVolumeType(own, encryption, qos)


def typed(types: Types, volume: Volume) -> TypedVolume:
    """The volume with its type."""
    return TypedVolume(volume, types.of(volume.volume_type_id))


def read_typed(tx: Transaction, volume: Volume) -> TypedVolume:
    """The same for one volume."""
    return typed(Types(tx), volume)


def typed_snapshot(types: Types, snapshot: VolumeSnapshot, volume: Volume) -> TypedSnapshot:
    """The snapshot of `volume`, both with their types."""
    return TypedSnapshot(snapshot, types.of(snapshot.volume_type_id), typed(types, volume))


def read_snapshot(tx: Transaction, snapshot: VolumeSnapshot, volume: Volume | None = None) -> TypedSnapshot:
    """The snapshot with what it is of, `volume` for who has read that already. Raises NotFound when that is gone."""
    volume = volume or volumes.get(tx, snapshot.volume_id)
    if volume is None:
        raise NotFound(f"The volume of snapshot {snapshot.id} does not exist any more.")
    return typed_snapshot(Types(tx), snapshot, volume)
