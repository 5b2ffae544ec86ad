"""Volume types and their extra specs: what an administrator offers, under a name, to all projects or to some."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.context import RequestContext
from penstock.domain.volume_types import ZONES_SPEC, VolumeType
from penstock.errors import Conflict, Invalid, NotFound
from penstock.ids import VolumeTypeId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.type_access import TypeAccess
from penstock.store import operations, volume_groups
from penstock.store import volume_types as rows
from penstock.store.database import Transaction

ACCESS = TypeAccess("volume type", rows)
_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
LONGEST_VALUE = 255


@dataclass(frozen=True, slots=True)
class NewType:
    """What is asked for."""

    name: str
    description: str | None = None
    is_public: bool = True
    extra_specs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TypeChange:
    """What to change; None leaves it, an empty description removes it."""

    name: str | None = None
    description: str | None = None
    is_public: bool | None = None


@dataclass(frozen=True, slots=True)
class TypeFilter:
    """What a list is narrowed to. `is_public` None: every type there is, else those open to the caller's project
    (True) or the private ones (False)."""

    is_public: bool | None = True
    name: str | None = None
    description: str | None = None
    extra_specs: Mapping[str, str] = field(default_factory=dict)


def create(plane: ControlPlane, wanted: NewType) -> VolumeType:
    """A new type. Raises Invalid for extra specs that cannot be, Conflict when the name is taken."""
    made = VolumeType(
        id=VolumeTypeId(new_id()),
        name=wanted.name,
        description=wanted.description,
        is_public=wanted.is_public,
        qos_specs_id=None,
        created_at=plane.clock.utc(),
        updated_at=None,
        extra_specs=checked_specs(wanted.extra_specs),
    )
    with plane.database.begin() as tx:
        _refuse_taken(tx, wanted.name)
        rows.insert_type(tx, made)
    return made


def get(plane: ControlPlane, context: RequestContext, type_id: str) -> VolumeType:
    """The type by id, if it is open to the caller. Raises NotFound."""
    with plane.database.read() as tx:
        found = rows.get(tx, type_id)
        if found is None or not ACCESS.is_open(tx, context, found):
            raise ACCESS.missing(type_id)
        return found


def list_types(plane: ControlPlane, context: RequestContext, wanted: TypeFilter) -> list[VolumeType]:
    """Types, oldest first; others than administrators only see what is open to their project."""
    is_public = wanted.is_public if context.is_admin else True
    with plane.database.read() as tx:
        if is_public:
            found = rows.list_types(tx, project_id=context.project_id or "")
        else:
            found = rows.list_types(tx, is_public=is_public)
    return [item for item in found if _fits(item, wanted)]


def update(plane: ControlPlane, type_id: str, change: TypeChange) -> VolumeType:
    """Rename, describe, open or close. Raises NotFound, Conflict when the name is taken."""
    with plane.database.begin() as tx:
        found = known_type(tx, type_id)
        if change.name is not None and change.name != found.name:
            _refuse_taken(tx, change.name)
        values = {
            "name": found.name if change.name is None else change.name,
            "description": found.description if change.description is None else (change.description or None),
            "is_public": found.is_public if change.is_public is None else change.is_public,
        }
        rows.update_type(tx, found.id, now=plane.clock.utc(), **values)
        return known_type(tx, type_id)


def delete(plane: ControlPlane, type_id: str) -> None:
    """Forget the type. Raises NotFound, Invalid while something has it or it is a default."""
    with plane.database.begin() as tx:
        found = known_type(tx, type_id)
        if found.name == plane.conf.default_volume_type:
            raise Invalid(f"Volume type '{found.name}' is the configured default (default_volume_type).")
        if rows.is_default(tx, found.id):
            raise Invalid(f"Volume type '{found.name}' is the default of a project; unset that first.")
        if rows.in_use(tx, found.id):
            raise Invalid(f"Volume type '{found.name}' still has volumes.")
        if any(item.call.arguments.get("new_type_id") == found.id for item in operations.pending(tx)):
            raise Invalid(f"A volume is about to be of type '{found.name}'.")
        if volume_groups.takes_type(tx, found.id):
            raise Invalid(f"Volume type '{found.name}' is one that a group of volumes takes.")
        rows.delete_type(tx, found.id)


def set_specs(plane: ControlPlane, type_id: str, specs: Mapping[str, str]) -> dict[str, str]:
    """Set these extra specs, keep the others; returns what was set. Raises NotFound, Invalid."""
    checked = checked_specs(specs)
    with plane.database.begin() as tx:
        rows.set_extra_specs(tx, known_type(tx, type_id).id, checked)
    return checked


def get_specs(plane: ControlPlane, context: RequestContext, type_id: str) -> dict[str, str]:
    """All extra specs. Raises NotFound."""
    return get(plane, context, type_id).extra_specs


def delete_spec(plane: ControlPlane, type_id: str, key: str) -> None:
    """Remove one extra spec. Raises NotFound."""
    with plane.database.begin() as tx:
        found = known_type(tx, type_id)
        if not rows.delete_extra_spec(tx, found.id, key):
            raise NotFound(f"Volume type {found.id} has no extra spec '{key[:64]}'.")


def checked_specs(specs: Mapping[str, str]) -> dict[str, str]:
    """Extra specs in their stored form. Raises Invalid, naming the spec."""
    return {key: _checked_spec(key, value) for key, value in specs.items()}


def known_type(tx: Transaction, type_id: str) -> VolumeType:
    """The type by id, whomever it is open to. Raises NotFound."""
    found = rows.get(tx, type_id)
    if found is None:
        raise ACCESS.missing(type_id)
    return found


def _checked_spec(key: str, value: str) -> str:
    if not _KEY.fullmatch(key):
        raise Invalid("The name of an extra spec has 1 to 255 letters, digits, '_', '.', ':' and '-'.")
    if len(value) > LONGEST_VALUE:
        raise Invalid(f"The extra spec '{key}' must have at most {LONGEST_VALUE} characters.")
    if key.startswith("provisioning:") and key.endswith("_vol_size") and not value.isdecimal():
        raise Invalid(f"The extra spec '{key}' must be a whole number of GiB, not '{value}'.")
    if key == ZONES_SPEC:
        zones = [zone.strip() for zone in value.split(",")]
        if not all(zones):
            raise Invalid(f"The extra spec '{ZONES_SPEC}' must be names of zones with commas between, not '{value}'.")
        return ",".join(zones)
    return value


def _fits(item: VolumeType, wanted: TypeFilter) -> bool:
    if wanted.name is not None and item.name != wanted.name:
        return False
    if wanted.description is not None and item.description != wanted.description:
        return False
    return wanted.extra_specs.items() <= item.extra_specs.items()


def _refuse_taken(tx: Transaction, name: str) -> None:
    if rows.get_by_name(tx, name) is not None:
        raise Conflict(f"There is a volume type named '{name}' already.")
