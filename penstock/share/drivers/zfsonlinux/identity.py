"""Who owns a dataset or snapshot, written on it: what lets us destroy it, and `penstock recover` rebuild the database.

Everything the database must know of a share and cannot be read from ZFS itself is a user property, set in the command
that makes the dataset, snapshot or clone (by ``zfs set`` when we take over an existing one, ``penstock:kind`` last, so
that a half marked thing is not ours yet). Only values whose source is ``local`` count: inherited ones belong to an
ancestor, received ones to another host.

On a dataset (``penstock:kind`` = ``share``):

=====================  ============================================================================================
``penstock:id``        the share instance's id: what every change and destroy is checked against
``penstock:share_id``  the share's id; ``penstock:project_id``, ``penstock:user_id`` its owner
``penstock:size_gib``  the size it was made with, for when ``refquota``, which is the size, was taken away. Resizing
                       does not write it: on zfs-fuse that is a command of its own, as long as the resizing itself
``penstock:epoch``     of which reign its data is, 1 at first; the fence of replication, see `ReplicaMarks`
``penstock:protocol``  the share's protocol, ``NFS``
``penstock:type_id``   the share type's id, and ``penstock:type_name`` its name where known
``penstock:name``      the share's name when it was made, percent-encoded UTF-8 (cut at 1024 bytes); a convenience
``penstock:rules``     the access rules wanted, see `access` and `stored_text`; written before they are put in force, so
                       a host that restarts, or a pool that is imported elsewhere, exports what was last wanted
``penstock:deletion``  while the share is in the recycle bin: when it is to be deleted for good, UTC; not on others
=====================  ============================================================================================

On a snapshot (``penstock:kind`` = ``snapshot``): ``penstock:id`` is the snapshot instance's id, with
``penstock:snapshot_id``, ``penstock:instance_id`` (the share instance it was taken of), ``penstock:share_id``,
``penstock:project_id``, ``penstock:user_id``, ``penstock:size_gib`` and ``penstock:name``.

``penstock:kind`` = ``tombstone`` marks what its user deleted and a clone still needs; see `lineage`. Of replication:
``sync`` is a snapshot taken to move data, with ``penstock:for_<instance id>`` for each replica whose next increment
starts from it; ``receiving`` an empty dataset that a replica's first copy arrives in; ``diverged`` what was set aside,
``rehearsal`` a clone to try a promotion with. Those three name their replica by ``penstock:of``, not by
``penstock:id``: nobody may take them for the replica itself.

Not stored, because it is read: the pool and path (where the dataset is), used space, quota, thick or thin
(``refreservation``), lineage (``origin``), times (``creation``). Not stored because the driver is never told: later
renames, metadata, descriptions. Values are ASCII; absent ones are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Self

from penstock.share.replication import PromotionKind, Role
from penstock.zfs import marks
from penstock.zfs.marks import Marks
from penstock.zfs.properties import Property, local_value
from penstock.zfs.reigns import FENCED, FIRST_EPOCH, OF, PROMOTED, REVERTED_TO, SYNCED_AT, SYNCED_GUID, Fence

PREFIX, KIND, ID = marks.PREFIX, marks.KIND, marks.ID
RULES = f"{PREFIX}rules"
DELETION = f"{PREFIX}deletion"
SHARE_ID = f"{PREFIX}share_id"
ROLE = f"{PREFIX}role"
HOSTS = f"{PREFIX}hosts"


class Kind(StrEnum):
    """What a thing of ours is."""

    SHARE = "share"
    SNAPSHOT = "snapshot"
    TOMBSTONE = "tombstone"  # deleted by its user, kept because a clone needs it
    SYNC = "sync"
    RECEIVING = "receiving"
    DIVERGED = "diverged"
    REHEARSAL = "rehearsal"


@dataclass(frozen=True, slots=True)
class ShareIdentity(Marks):
    """What is written on a share's dataset. `id` is the instance's."""

    id: str
    share_id: str = ""
    project_id: str = ""
    user_id: str = ""
    size_gib: int = 0
    epoch: int = FIRST_EPOCH
    protocol: str = "NFS"
    type_id: str | None = None
    type_name: str | None = None
    name: str | None = None

    @classmethod
    def read(cls, properties: Mapping[str, Property]) -> Self | None:
        """From local properties; None when it is not a share of ours."""
        found = cls.read_marks(properties)
        if kind_of(properties) is not Kind.SHARE or not found["id"]:
            return None
        return cls(
            id=found["id"],
            share_id=found["share_id"] or "",
            project_id=found["project_id"] or "",
            user_id=found["user_id"] or "",
            size_gib=_number(found["size_gib"], 0),
            epoch=_number(found["epoch"], FIRST_EPOCH),
            protocol=found["protocol"] or "NFS",
            type_id=found["type_id"],
            type_name=found["type_name"],
            name=found["name"],
        )


@dataclass(frozen=True, slots=True)
class SnapshotIdentity(Marks):
    """What is written on a snapshot. `id` is the snapshot instance's, `instance_id` the share instance's."""

    id: str
    snapshot_id: str = ""
    instance_id: str = ""
    share_id: str = ""
    project_id: str = ""
    user_id: str = ""
    size_gib: int = 0
    name: str | None = None

    @classmethod
    def read(cls, properties: Mapping[str, Property]) -> Self | None:
        """From local properties; None when it is not a snapshot of ours."""
        found = cls.read_marks(properties)
        if kind_of(properties) is not Kind.SNAPSHOT or not found["id"]:
            return None
        return cls(
            id=found["id"],
            snapshot_id=found["snapshot_id"] or "",
            instance_id=found["instance_id"] or "",
            share_id=found["share_id"] or "",
            project_id=found["project_id"] or "",
            user_id=found["user_id"] or "",
            size_gib=_number(found["size_gib"], 0),
            name=found["name"],
        )


@dataclass(frozen=True, slots=True)
class ReplicaMarks:
    """What is written on a copy of a replicated share, beside its identity.

    =========================  ========================================================================================
    ``penstock:role``          ``active`` (also when absent), ``replica`` or ``demoted``; only ``active`` accepts writes
    ``penstock:fenced``        on a copy that was active: ``epoch:successor``, the reign it made way for
    ``penstock:synced_at``     when what it holds was the active replica's state, by the control plane's clock (UTC)
    ``penstock:synced_guid``   the GUID of the snapshot that it was brought to
    ``penstock:promoted``      ``planned`` or ``unplanned``: how it became active
    ``penstock:reverted_to``   on the active: GUID of the snapshot its owner reverted to, so that replicas go back, too
    ``penstock:hosts``         where the share's other copies are, ``host@backend#pool`` each: who to ask before serving
    =========================  ========================================================================================
    """

    role: Role | None = None
    fence: Fence | None = None
    synced_at: datetime | None = None
    synced_guid: int | None = None
    promoted: PromotionKind | None = None
    reverted_to: int | None = None
    hosts: tuple[str, ...] = ()

    @property
    def is_replicated(self) -> bool:
        """Has it ever been part of a set of replicas?"""
        return self.role is not None

    @classmethod
    def read(cls, properties: Mapping[str, Property]) -> Self:
        """From local properties; what cannot be understood is taken for a copy that must not serve."""
        found = ((name, local_value(properties, name)) for name in REPLICA_MARKS)
        text = {name: value for name, value in found if value}
        try:
            return cls(
                role=Role(text[ROLE]) if ROLE in text else None,
                fence=Fence.parse(text[FENCED]) if FENCED in text else None,
                synced_at=datetime.fromisoformat(text[SYNCED_AT]) if SYNCED_AT in text else None,
                synced_guid=int(text[SYNCED_GUID]) if SYNCED_GUID in text else None,
                promoted=PromotionKind(text[PROMOTED]) if PROMOTED in text else None,
                reverted_to=int(text[REVERTED_TO]) if REVERTED_TO in text else None,
                hosts=tuple(text[HOSTS].split(",")) if HOSTS in text else (),
            )
        except ValueError:
            return cls(role=Role.DEMOTED)


def kind_of(properties: Mapping[str, Property]) -> Kind | None:
    """What the thing is to us; None when it is not ours."""
    value = local_value(properties, KIND)
    return Kind(value) if value in {kind.value for kind in Kind} else None


def owner_id(properties: Mapping[str, Property]) -> str | None:
    """The instance id written on it, whatever its kind."""
    return local_value(properties, ID)


def _names(kinds: Iterable[type]) -> tuple[str, ...]:
    names = dict.fromkeys(PREFIX + field.name for kind in kinds for field in fields(kind))
    return (*names, KIND)


SHARE_MARKS = _names([ShareIdentity])
SNAPSHOT_MARKS = _names([SnapshotIdentity])
REPLICA_MARKS = (ROLE, FENCED, SYNCED_AT, SYNCED_GUID, PROMOTED, REVERTED_TO, HOSTS)
ALL_MARKS = (*_names([ShareIdentity, SnapshotIdentity]), *REPLICA_MARKS, OF)


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default
