"""What the appliance answers, parsed once into values that cannot be wrong (protocol page, sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.volume.drivers.zfssa.faults import Garbled

MASK_ALL = "com.sun.ms.vss.hg.maskAll"
DEFAULT_GROUP = "default"
MANAGED, IMAGE_ID, UPDATED_AT = "custom:cinder_managed", "custom:image_id", "custom:updated_at"


@dataclass(frozen=True, slots=True)
class Origin:
    """The snapshot that a clone was made of."""

    project: str
    share: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class Lun:
    """A LUN. `groups` and `numbers` belong together, one number for each group it is shown to; hidden: both empty.

    `is_managed` is None where the property is not there at all, which is not the same as False.
    """

    name: str
    guid: str
    size_bytes: int
    groups: tuple[str, ...]
    numbers: tuple[int, ...]
    is_protected: bool
    target_group: str
    origin: Origin | None = None
    image_id: str | None = None
    updated_at: str | None = None
    is_managed: bool | None = None

    def number_for(self, groups: Sequence[str]) -> int | None:
        """The LU number under which the first of the groups that sees it sees it; None when none does."""
        seen = dict(zip(self.groups, self.numbers, strict=True))
        return next((seen[group] for group in groups if group in seen), None)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of a LUN, and how many clones live on it."""

    name: str
    clones: int


@dataclass(frozen=True, slots=True)
class Group:
    """An initiator group."""

    name: str
    initiators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Space:
    """Of a project, in bytes: free in the pool, and used by the project."""

    available_bytes: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class Pool:
    """What a pool says of itself. `owner` and `asn` are the node's that owns it."""

    profile: str
    asn: str
    owner: str


@dataclass(frozen=True, slots=True)
class Node:
    """One head of an appliance."""

    asn: str
    name: str


@dataclass(frozen=True, slots=True)
class Peer:
    """The other head of a cluster, and its state as this one sees it."""

    asn: str
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class ReplicationTarget:
    """Another appliance that this one can send to. `address` is ``ip:216``."""

    asn: str
    address: str
    label: str


@dataclass(frozen=True, slots=True)
class ReplicationAction:
    """How far a replication has come."""

    state: str
    last_result: str


def lun(found: Any, what: str) -> Lun:
    """One LUN of ``lun`` or ``luns[]``."""
    data = mapping(found, what)
    groups, numbers = _presentation(data, what)
    origin = data.get("origin")
    managed = data.get(MANAGED)
    return Lun(
        name=text(data, "name", what),
        guid=text(data, "lunguid", what, default=""),
        size_bytes=integer(data, "volsize", what),
        groups=groups,
        numbers=numbers,
        is_protected=data.get("nodestroy") is True,
        target_group=text(data, "targetgroup", what, default=""),
        origin=None if not origin else _origin(origin, what),
        image_id=_optional_text(data, IMAGE_ID),
        updated_at=_optional_text(data, UPDATED_AT),
        is_managed=None if managed is None or managed == "" else managed in (True, "true", "True"),
    )


def _presentation(data: Mapping[str, Any], what: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Aligned lists in current firmware, bare scalars in 2013.1.2.x."""
    groups, numbers = data.get("initiatorgroup"), data.get("assignednumber")
    group_list = groups if isinstance(groups, list) else [] if groups is None else [groups]
    number_list = numbers if isinstance(numbers, list) else [numbers] * len(group_list)
    if len(group_list) != len(number_list):
        raise Garbled(f"{what}: {len(group_list)} initiator groups but {len(number_list)} LU numbers")
    shown = [(group, number) for group, number in zip(group_list, number_list, strict=True) if group != MASK_ALL]
    for group, number in shown:
        if not isinstance(group, str) or isinstance(number, bool) or not str(number).isdecimal():
            raise Garbled(f"{what}: {number!r} is not the LU number of an initiator group")
    return tuple(group for group, _ in shown), tuple(int(number) for _, number in shown)


def _origin(found: Any, what: str) -> Origin:
    data = mapping(found, what)
    return Origin(text(data, "project", what), text(data, "share", what), text(data, "snapshot", what))


def snapshot(found: Any, what: str) -> Snapshot:
    """``snapshot``."""
    data = mapping(found, what)
    return Snapshot(text(data, "name", what), integer(data, "numclones", what))


def group(found: Any, what: str) -> Group:
    """``group`` or one of ``groups[]``. A list of initiators that is null is refused: it would be written back."""
    data = mapping(found, what)
    initiators = data.get("initiators")
    if not isinstance(initiators, list) or not all(isinstance(iqn, str) for iqn in initiators):
        raise Garbled(f"{what}: the group's initiators are no list of names")
    return Group(text(data, "name", what), tuple(initiators))


def space(found: Any, what: str) -> Space:
    """``project``."""
    data = mapping(found, what)
    return Space(integer(data, "space_available", what), integer(data, "space_total", what))


def pool(found: Any, what: str) -> Pool:
    """``pool``."""
    data = mapping(found, what)
    return Pool(text(data, "profile", what), text(data, "asn", what), text(data, "owner", what))


def node(found: Any, what: str) -> Node:
    """``version``."""
    data = mapping(found, what)
    return Node(text(data, "asn", what), text(data, "nodename", what))


def peer(found: Any, what: str) -> Peer:
    """``cluster``; empty texts on an appliance with one head."""
    data = mapping(found, what)
    names = ("peer_asn", "peer_hostname", "peer_state")
    asn, name, state = (text(data, key, what, default="") for key in names)
    return Peer(asn, name, state)


def replication_target(found: Any, what: str) -> ReplicationTarget:
    """One of ``targets[]``."""
    data = mapping(found, what)
    return ReplicationTarget(text(data, "asn", what), text(data, "address", what), text(data, "label", what))


def replication_action(found: Any, what: str) -> ReplicationAction:
    """``action``."""
    data = mapping(found, what)
    return ReplicationAction(text(data, "state", what), text(data, "last_result", what))


# --- fields ---------------------------------------------------------------------------------------------------------


def mapping(found: Any, what: str) -> Mapping[str, Any]:
    """A JSON object. Raises Garbled."""
    if not isinstance(found, dict):
        raise Garbled(f"{what}: an object was expected, not {found!r:.80}")
    return found


def rows(found: Any, what: str) -> list[Any]:
    """A JSON array. Raises Garbled."""
    if not isinstance(found, list):
        raise Garbled(f"{what}: a list was expected, not {found!r:.80}")
    return found


def text(data: Mapping[str, Any], name: str, what: str, *, default: str | None = None) -> str:
    """A field of text; with `default` it may be missing or null. Raises Garbled."""
    found = data.get(name)
    if found is None and default is not None:
        return default
    if not isinstance(found, str):
        raise Garbled(f"{what}: the field {name} is missing or no text")
    return found


def integer(data: Mapping[str, Any], name: str, what: str) -> int:
    """A whole number that is not negative. Raises Garbled."""
    found = data.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or found < 0 or found != int(found):
        raise Garbled(f"{what}: the field {name} is missing or no number")
    return int(found)


def _optional_text(data: Mapping[str, Any], name: str) -> str | None:
    found = data.get(name)
    return None if found in (None, "") else str(found)
