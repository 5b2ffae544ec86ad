"""A replicated volume's copies, one on each side: what each says of itself, and which of them is to be believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self
from uuid import NAMESPACE_OID, uuid5

from penstock.errors import Conflict
from penstock.volume.drivers.zfs.identity import DELETED, REPLICA_MARKS, SOURCE, Kind, id_of, kind_of
from penstock.volume.drivers.zfs.sides import Side
from penstock.volume.models import VolumeModel
from penstock.zfs.bases import End, Naming
from penstock.zfs.client import Zfs
from penstock.zfs.marks import ID, KIND
from penstock.zfs.names import Dataset, SnapshotName, parse_target
from penstock.zfs.properties import Properties, local_value
from penstock.zfs.reigns import (
    ACCEPTED,
    EPOCH,
    FENCED,
    FIRST_EPOCH,
    OF,
    PROMOTED,
    REVERTED_TO,
    SYNCED_AT,
    SYNCED_GUID,
    Fence,
)

UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# snapshots that we give other names than those of syncs: users', of clones, of moves
NAMING = Naming("penstock-sync-", f"(snapshot|clone|move)-{UUID}(-{UUID})?")
LOOKED_AT = (ID, *REPLICA_MARKS, KIND, OF, "readonly", "mounted", "origin", "type", "refreservation", "guid")


@dataclass(frozen=True, slots=True)
class Reign:
    """What the row of a volume keeps for us (``replication_driver_data``): of which reign it is, and where its copies
    are that are not where a new volume would be made, by side.

    `given` is the highest number that was given out for a reign, whether that began or not: no copy is of a higher one,
    also none on a side that is away.
    """

    epoch: int = 0
    places: Mapping[str, str] = field(default_factory=dict)
    given: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", max(self.given, self.epoch))

    @classmethod
    def of(cls, volume: VolumeModel) -> Self:
        """As last written; what is not ours is nothing."""
        try:
            told = json.loads(volume.replication_driver_data or "{}")
            places = {str(k): str(v) for k, v in dict(told.get("places", {})).items()}
            return cls(int(told.get("epoch", 0)), places, int(told.get("given", 0)))
        except (ValueError, TypeError, AttributeError):
            return cls()

    def __str__(self) -> str:
        ahead = {"given": self.given} if self.given > self.epoch else {}
        return json.dumps({"epoch": self.epoch, "places": dict(self.places), **ahead}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """A copy's dataset as it is now. `accepted`: somebody wants it served though it is older than the volume was; what
    was written since is lost then. `last_deleted` is another one after each deletion of a snapshot that it heard of.
    """

    kind: Kind | None
    epoch: int
    fence: Fence | None
    synced_at: datetime | None
    synced_guid: int | None
    promoted: str | None
    reverted_to: int | None
    source_guid: str | None
    is_readonly: bool
    is_mounted: bool
    is_zvol: bool
    origin: SnapshotName | None
    has_reservation: bool
    accepted: datetime | None = None
    last_deleted: str | None = None


@dataclass(frozen=True, slots=True)
class VolumeCopy:
    """The volume on one side. `seen` is None while nothing of it is there."""

    volume: VolumeModel
    side: Side
    dataset: Dataset
    seen: Seen | None

    @property
    def id(self) -> str:
        """Tells this copy from the volume's others, wherever they are."""
        return copy_id(self.volume, self.side.id)

    @property
    def zfs(self) -> Zfs:
        """ZFS where it is."""
        return self.side.storage.zfs

    @property
    def end(self) -> End:
        """As one end of a sync."""
        return End(self.id, self.zfs, self.dataset, NAMING, self.seen.synced_guid if self.seen is not None else None)

    @property
    def epoch(self) -> int:
        """Of which reign its data is; 0 while nothing is there."""
        return self.seen.epoch if self.seen is not None else 0

    @property
    def fence(self) -> Fence | None:
        """For which reign it made way."""
        return self.seen.fence if self.seen is not None else None

    @property
    def highest_epoch(self) -> int:
        """The highest reign it knows of."""
        return max(self.epoch, self.fence.epoch if self.fence is not None else 0)

    @property
    def is_active(self) -> bool:
        """May it be served?"""
        return self.seen is not None and self.seen.kind is Kind.VOLUME and self.seen.fence is None

    @property
    def was_active(self) -> bool:
        """Was it the volume, and was it not brought back into line since?"""
        return self.is_active or self.fence is not None

    @property
    def is_whole(self) -> bool:
        """Has it ever held what the volume held?"""
        return self.was_active or (self.seen is not None and self.seen.synced_at is not None)

    def again(self) -> VolumeCopy:
        """Looked at once more."""
        return look_at(self.volume, self.side, self.dataset)


def copy_id(volume: VolumeModel, side: str) -> str:
    """The id of a volume's copy on a side: always the same."""
    return str(uuid5(NAMESPACE_OID, f"penstock volume {volume.name_id} on {side}"))


def observe_copy(volume: VolumeModel, side: Side, *, is_served: bool) -> VolumeCopy:
    """The copy as it is now; `is_served` as for `Side.place`. Raises Unavailable, Conflict (its place is taken)."""
    return look_at(volume, side, side.place(volume, Reign.of(volume).places, is_served=is_served))


def look_at(volume: VolumeModel, side: Side, dataset: Dataset) -> VolumeCopy:
    """The same, at that place."""
    zfs = side.storage.zfs
    found = zfs.get_many([dataset], LOOKED_AT).get(str(dataset))
    if found is None:
        return VolumeCopy(volume, side, dataset, None)
    return VolumeCopy(volume, side, dataset, seen_of(volume, side.id, dataset, found))


def seen_of(volume: VolumeModel, side: str, dataset: Dataset, found: Properties) -> Seen:
    """From properties `LOOKED_AT`; what cannot be understood is taken for a copy that must not serve. Raises Conflict:
    it is somebody else's."""
    kind = kind_of(found)
    is_theirs = kind not in (Kind.VOLUME, Kind.REPLICA, None) or id_of(found) not in (volume.name_id, None)
    if is_theirs and not (kind is Kind.DIVERGED and local_value(found, OF) == volume.name_id):
        raise Conflict(f"{dataset} on {side} is not volume {volume.id}'s: it is {id_of(found) or kind}")
    origin = found["origin"].value
    target = parse_target(origin) if origin not in ("", "-") else None
    told = (EPOCH, FENCED, SYNCED_AT, SYNCED_GUID, REVERTED_TO, ACCEPTED)
    text = {name: local_value(found, name) or "" for name in told}
    try:
        epoch = int(text[EPOCH] or FIRST_EPOCH)
        fence = Fence.parse(text[FENCED]) if text[FENCED] else None
        synced_at = datetime.fromisoformat(text[SYNCED_AT]) if text[SYNCED_AT] else None
        accepted = datetime.fromisoformat(text[ACCEPTED]) if text[ACCEPTED] else None
        synced_guid, reverted_to = (int(value) if value else None for value in (text[SYNCED_GUID], text[REVERTED_TO]))
    except ValueError:
        epoch, fence, synced_at, synced_guid, reverted_to, accepted = 0, Fence(0, ""), None, None, None, None
    return Seen(
        kind=kind_of(found) if local_value(found, ID) or kind_of(found) is Kind.DIVERGED else None,
        epoch=epoch,
        fence=fence,
        synced_at=synced_at,
        synced_guid=synced_guid,
        promoted=local_value(found, PROMOTED),
        reverted_to=reverted_to,
        source_guid=local_value(found, SOURCE),
        is_readonly=local_value(found, "readonly") == "on",
        is_mounted=found["mounted"].value == "yes",
        is_zvol=found["type"].value == "volume",
        origin=target if isinstance(target, SnapshotName) else None,
        has_reservation=found["refreservation"].value not in ("none", "0", "-"),
        accepted=accepted,
        last_deleted=local_value(found, DELETED),
    )
