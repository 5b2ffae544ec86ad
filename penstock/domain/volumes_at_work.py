"""What an operation on a volume goes by: rows that were read together."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.domain.volume_snapshots import VolumeSnapshot
from penstock.domain.volume_types import WholeVolumeType
from penstock.domain.volumes import Volume
from penstock.ids import VolumeSnapshotId


@dataclass(frozen=True, slots=True)
class TypedVolume:
    """A volume with its type, if it has one."""

    volume: Volume
    type: WholeVolumeType | None


@dataclass(frozen=True, slots=True)
class TypedSnapshot:
    """A snapshot with its type, which need not be its volume's any more, and the volume it is of."""

    snapshot: VolumeSnapshot
    type: WholeVolumeType | None
    of: TypedVolume


Source = TypedSnapshot | TypedVolume


@dataclass(frozen=True, slots=True)
class VolumeToMake:
    """A new volume with the snapshot or volume it is made from; None for an empty one, an image or a backup."""

    made: TypedVolume
    source: Source | None


@dataclass(frozen=True, slots=True)
class VolumeToDelete:
    """A volume with the snapshots it has."""

    gone: TypedVolume
    snapshots: tuple[VolumeSnapshotId, ...]
