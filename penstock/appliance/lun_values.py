"""A LUN as its dataset's properties tell it, and as clients see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from penstock.appliance.faults import InvalidArgument, UnknownArgument
from penstock.appliance.media import Medium
from penstock.appliance.names import CUSTOM, KIND, PREFIX, WIRE_CUSTOM
from penstock.errors import BackendFault
from penstock.zfs.names import Dataset, SnapshotName, parse_target
from penstock.zfs.properties import Properties, bytes_of, local_value

MASK_ALL = "com.sun.ms.vss.hg.maskAll"
DEFAULT_GROUP = "default"
GUID, PROTECTED = PREFIX + "lunguid", PREFIX + "nodestroy"
GROUPS, NUMBER, TARGET_GROUP = PREFIX + "groups", PREFIX + "number", PREFIX + "targetgroup"
BLOCK, ALONE = PREFIX + "volblocksize", PREFIX + "replicates-alone"
NATIVE = ("origin", "mountpoint", "compression", "logbias", "refreservation", "used", "creation")
OWN = (KIND, GUID, PROTECTED, GROUPS, NUMBER, TARGET_GROUP, BLOCK, ALONE)


@dataclass(frozen=True, slots=True)
class Lun:
    """One LUN. `number` is its LU number, None while nobody sees it. `custom` has the schema's values as they came."""

    dataset: Dataset
    guid: str
    size_bytes: int
    path: str
    groups: tuple[str, ...]
    number: int | None
    target_group: str
    is_protected: bool
    is_sparse: bool
    origin: SnapshotName | None
    block_bytes: int
    compression: str
    logbias: str
    used_bytes: int
    custom: Mapping[str, Any] = field(default_factory=dict)


def names_of(custom: Mapping[str, str], medium: Medium) -> list[str]:
    """The properties by which a LUN is read."""
    return list(dict.fromkeys([*OWN, *NATIVE, medium.size_property, *(CUSTOM + name for name in custom)]))


def read(dataset: Dataset, properties: Properties, custom: Mapping[str, str], medium: Medium) -> Lun:
    """Raises BackendFault for properties that nobody of us wrote."""
    origin = properties["origin"]
    number = local_value(properties, NUMBER)
    try:
        groups = msgspec.json.decode(local_value(properties, GROUPS) or "[]", type=tuple[str, ...])
        values = {name: local_value(properties, CUSTOM + name) for name in custom}
        return Lun(
            dataset=dataset,
            guid=local_value(properties, GUID) or "",
            size_bytes=medium.size_bytes(properties),
            path=medium.path(dataset, properties),
            groups=groups,
            number=None if number is None else int(number),
            target_group=local_value(properties, TARGET_GROUP) or "default",
            is_protected=local_value(properties, PROTECTED) == "true",
            is_sparse=bytes_of(properties, "refreservation") == 0,
            origin=_snapshot(origin.value) if origin.is_set else None,
            block_bytes=int(local_value(properties, BLOCK) or 8192),
            compression=properties["compression"].value,
            logbias=properties["logbias"].value,
            used_bytes=bytes_of(properties, "used"),
            custom={name: msgspec.json.decode(value) for name, value in values.items() if value is not None},
        )
    except (msgspec.DecodeError, ValueError) as err:
        raise BackendFault(f"{dataset} has properties that are not ours: {err}") from err


def _snapshot(text: str) -> SnapshotName:
    found = parse_target(text)
    if not isinstance(found, SnapshotName):
        raise BackendFault(f"{text!r} is not a snapshot, and cannot be an origin")
    return found


def view(lun: Lun, pool: str, *, as_scalars: bool) -> dict[str, Any]:
    """``lun``, under the names of the protocol."""
    project = lun.dataset.parent
    groups = list(lun.groups)
    numbers = [-1 if lun.number is None else lun.number] * len(groups)
    shown: dict[str, Any] = {"initiatorgroup": groups or [MASK_ALL], "assignednumber": numbers or [-1]}
    if as_scalars:
        shown = {key: value[0] for key, value in shown.items()}
    origin = {} if lun.origin is None else {"origin": _origin_view(lun.origin, pool)}
    return {
        "name": lun.dataset.name,
        "pool": pool,
        "project": project.name if project else "",
        "lunguid": lun.guid,
        **shown,
        "targetgroup": lun.target_group,
        "volsize": lun.size_bytes,
        "volblocksize": lun.block_bytes,
        "sparse": lun.is_sparse,
        "compression": lun.compression,
        "logbias": lun.logbias,
        "nodestroy": lun.is_protected,
        "space_total": lun.used_bytes,
        "status": "online",
        **origin,
        **{WIRE_CUSTOM + name: value for name, value in lun.custom.items()},
        "href": f"/api/storage/v1/pools/{pool}/projects/{project.name if project else ''}/luns/{lun.dataset.name}",
    }


def _origin_view(origin: SnapshotName, pool: str) -> dict[str, str]:
    project = origin.dataset.parent
    return {
        "pool": pool,
        "project": project.name if project else "",
        "share": origin.dataset.name,
        "snapshot": origin.name,
    }


def custom_property(name: str, value: Any, kinds: Mapping[str, str]) -> tuple[str, str]:
    """The property of a ``custom:`` argument. Raises UnknownArgument without schema, InvalidArgument."""
    short = name.removeprefix(WIRE_CUSTOM)
    kind = kinds.get(short)
    if kind is None:
        raise UnknownArgument(f"the schema has no property {short!r:.80}")
    text = msgspec.json.encode(_checked(short, value, kind)).decode()
    if not text.isascii() or len(text) > 900:
        raise InvalidArgument(f"{name}: at most 900 characters of ASCII can be kept")
    return CUSTOM + short, text


def _checked(name: str, value: Any, kind: str) -> Any:
    if kind == "Boolean":
        if value in ("true", "false"):
            return value == "true"
        if isinstance(value, bool):
            return value
    elif kind in ("Integer", "PositiveInteger"):
        if isinstance(value, int) and not isinstance(value, bool) and (value > 0 or kind == "Integer"):
            return value
    elif isinstance(value, str):
        return value
    raise InvalidArgument(f"{WIRE_CUSTOM}{name}: {value!r:.60} is not a {kind}")


def groups_property(groups: tuple[str, ...]) -> Mapping[str, str]:
    """Who sees it, as it is kept. Raises InvalidArgument for more than a property holds."""
    text = msgspec.json.encode(list(groups)).decode()
    if len(text.encode()) > 1000 or not text.isprintable():
        raise InvalidArgument("initiatorgroup: more groups than can be kept for one LUN")
    return {GROUPS: text}
