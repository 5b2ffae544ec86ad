"""What can be wrong between database, pools and exports, each with a name that ``--repair`` takes.

Of shares and of volumes; `QUOTA_DIFFERS` is of shares alone, those after `PLACEMENT` of volumes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A kind of finding; its value is its name on the command line."""

    DATASET_MISSING = "dataset-missing"
    DATASET_ORPHAN = "dataset-orphan"
    SNAPSHOT_MISSING = "snapshot-missing"
    SNAPSHOT_ORPHAN = "snapshot-orphan"
    QUOTA_DIFFERS = "quota-differs"
    EXPORT_MISSING = "export-missing"
    EXPORT_ORPHAN = "export-orphan"
    EXPORT_DIFFERS = "export-differs"
    TOMBSTONE = "tombstone"
    PROPERTY_DIFFERS = "property-differs"
    SET_ASIDE = "set-aside"
    STUCK = "stuck"
    PLACEMENT = "placement"
    SIZE_DIFFERS = "size-differs"
    LEFTOVER = "leftover"
    CONNECTION = "connection"
    REPLICATION = "replication"
    NOT_EXAMINED = "not-examined"


REPAIRS: dict[Kind, str] = {
    Kind.DATASET_MISSING: "put the share or volume in error and tell its owner",
    Kind.DATASET_ORPHAN: "DESTROY the dataset or volume ('penstock recover --merge' keeps it instead)",
    Kind.SNAPSHOT_MISSING: "put the snapshot in error and tell its owner",
    Kind.SNAPSHOT_ORPHAN: "DESTROY the snapshot ('penstock recover --merge' keeps it instead)",
    Kind.QUOTA_DIFFERS: "set the limit to the size in the database",
    Kind.EXPORT_MISSING: "export it again",
    Kind.EXPORT_ORPHAN: "stop serving the path or target",
    Kind.EXPORT_DIFFERS: "apply the share's access rules again, or the volume's attachments",
    Kind.TOMBSTONE: "destroy what nothing needs any more",
    Kind.PROPERTY_DIFFERS: "write on the dataset what the database says",
    Kind.SET_ASIDE: "nothing: look through it, and destroy it on its host ('zfs destroy -r') when nobody wants it",
    Kind.STUCK: "queue the operation again, or end it in error when it cannot be",
    Kind.PLACEMENT: "record the pool the share or volume is found on",
    Kind.SIZE_DIFFERS: "grow the volume to the size in the database, or record that it is larger",
    Kind.LEFTOVER: "DESTROY what a migration, or a creation that was cut off, or another operation left",
    Kind.CONNECTION: "shut out a machine that connected to a volume and never said that it uses it",
    Kind.REPLICATION: "nothing: what is told was lost in a failover, or is not copied as it should be",
    Kind.NOT_EXAMINED: "nothing: the driver cannot say it",
}
DESTRUCTIVE = frozenset({Kind.DATASET_ORPHAN, Kind.SNAPSHOT_ORPHAN, Kind.LEFTOVER})


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One difference. `subject` is the share's or snapshot's instance id, the id of a volume, of its snapshot,
    attachment or backup, a path or target, or a location on the storage.

    Not `can_repair`: an administrator has to. Not `is_drift`: it will end by itself, and is only told.
    """

    kind: Kind
    subject: str
    sentence: str
    can_repair: bool = True
    is_drift: bool = True
