"""Who owns a dataset or snapshot, written on it in the command that makes it: what lets us destroy it.

On a volume (``penstock:kind`` = ``volume``; a zvol, or a filesystem with one file): ``penstock:id`` its id,
``penstock:project_id`` and ``penstock:user_id`` its owner, ``penstock:size_gib`` the size it was made with,
``penstock:type_id``, ``penstock:type_name``, and ``penstock:name`` its name then (percent-encoded). The id is the one
in its backend name; where that is not its own, after a migration by copy, ``penstock:volume_id`` is. What the product
made for one operation of its own says ``penstock:temporary``: no user ever had it.

On a snapshot (``penstock:kind`` = ``volume_snapshot``): ``penstock:id`` its id, with ``penstock:volume_id``,
``penstock:project_id``, ``penstock:user_id``, ``penstock:size_gib``, ``penstock:group_snapshot_id`` and
``penstock:name``. Snapshots taken together in one command cannot have different properties in it: they get
``penstock:kind`` in it and the rest in a second one, and until then their name is what tells whose they are.

``penstock:kind`` = ``volume_tombstone`` marks what its user deleted and a clone still needs; see `lineage`.
``volume_arriving``, with the volume's id, is a copy on its way to become the volume; see `migrating`.

Of replication: ``volume_replica``, with the volume's id, is a copy that nobody may use: it follows the volume, or was
the volume once and made way (``penstock:fenced``). ``volume_diverged`` is what was set aside of one, of the volume
``penstock:of``. ``penstock:source`` on a replica is the GUID of the dataset that holds the volumes it was copied from.
``penstock:deleted`` names the snapshot that was deleted last, or the reign that has begun since: a replica on which it
differs may have some too many.
``sync`` is a snapshot taken to move data. The other marks are those of `penstock.zfs.reigns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from penstock.volume.models import TEMPORARY, SnapshotModel, VolumeModel
from penstock.zfs.marks import ID, KIND, PREFIX, Marks
from penstock.zfs.properties import Property, local_value
from penstock.zfs.reigns import ACCEPTED, EPOCH, FENCED, PROMOTED, REVERTED_TO, SYNCED_AT, SYNCED_GUID


class Kind(StrEnum):
    """What a thing of ours is."""

    VOLUME = "volume"
    SNAPSHOT = "volume_snapshot"
    TOMBSTONE = "volume_tombstone"
    ARRIVING = "volume_arriving"
    REPLICA = "volume_replica"
    DIVERGED = "volume_diverged"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class VolumeIdentity(Marks):
    """What is written on a volume."""

    id: str
    project_id: str = ""
    user_id: str = ""
    size_gib: int = 0
    type_id: str | None = None
    type_name: str | None = None
    name: str | None = None
    volume_id: str | None = None
    temporary: str | None = None


@dataclass(frozen=True, slots=True)
class SnapshotIdentity(Marks):
    """What is written on a snapshot."""

    id: str
    volume_id: str = ""
    project_id: str = ""
    user_id: str = ""
    size_gib: int = 0
    group_snapshot_id: str | None = None
    name: str | None = None


def marks_of_volume(volume: VolumeModel) -> dict[str, str]:
    """The user properties of a volume."""
    volume_type = volume.volume_type
    return VolumeIdentity(
        id=volume.name_id,
        project_id=volume.project_id,
        user_id=volume.user_id,
        size_gib=volume.size,
        type_id=volume.volume_type_id,
        type_name=volume_type.name if volume_type else None,
        name=volume.display_name,
        volume_id=None if volume.id == volume.name_id else volume.id,
        temporary="true" if TEMPORARY in volume.admin_metadata else None,
    ).properties(Kind.VOLUME)


def marks_of_snapshot(snapshot: SnapshotModel) -> dict[str, str]:
    """The user properties of a snapshot."""
    return SnapshotIdentity(
        id=snapshot.id,
        volume_id=snapshot.volume_id,
        project_id=snapshot.project_id,
        user_id=snapshot.user_id,
        size_gib=snapshot.volume_size,
        group_snapshot_id=snapshot.group_snapshot_id,
        name=snapshot.display_name,
    ).properties(Kind.SNAPSHOT)


def kind_of(properties: Mapping[str, Property]) -> Kind | None:
    """What the thing is to us; None when it is not ours."""
    value = local_value(properties, KIND)
    return Kind(value) if value in {kind.value for kind in Kind} else None


def id_of(properties: Mapping[str, Property]) -> str | None:
    """The id written on it."""
    return local_value(properties, ID)


VOLUME_MARKS = tuple(f"penstock:{name}" for name in VolumeIdentity.__slots__)
SNAPSHOT_MARKS = tuple(f"penstock:{name}" for name in SnapshotIdentity.__slots__)
SOURCE = f"{PREFIX}source"
DELETED = f"{PREFIX}deleted"
REPLICA_MARKS = (EPOCH, FENCED, SYNCED_AT, SYNCED_GUID, PROMOTED, REVERTED_TO, SOURCE, DELETED, ACCEPTED)
EVERY_MARK = tuple(dict.fromkeys((*VOLUME_MARKS, *SNAPSHOT_MARKS, *REPLICA_MARKS, KIND)))
