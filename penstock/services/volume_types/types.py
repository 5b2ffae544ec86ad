"""Volume types and their extra specs: what an administrator offers, under a name, to all projects or to some."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.context import RequestContext
from penstock.domain.volume_types import ZONES_SPEC, VolumeType
from penstock.errors import Invalid
from penstock.ids import VolumeTypeId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.type_catalog import NewType, TypeCatalog, TypeChange
from penstock.store import operations, volume_groups
from penstock.store import volume_types as rows

CATALOG = TypeCatalog("volume type", rows.ROWS)
get = CATALOG.get
known_type = CATALOG.known
delete_spec = CATALOG.delete_spec
_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
LONGEST_VALUE = 255


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
        CATALOG.refuse_taken(tx, wanted.name)
        rows.insert_type(tx, made)
    return made


def list_types(plane: ControlPlane, context: RequestContext, wanted: TypeFilter) -> list[VolumeType]:
    """Types, oldest first; others than administrators only see what is open to their project."""
    found = CATALOG.list_types(plane, context, is_public=wanted.is_public)
    return [item for item in found if _fits(item, wanted)]


def update(plane: ControlPlane, type_id: str, change: TypeChange) -> VolumeType:
    """Rename, describe, open or close. Raises NotFound, Conflict when the name is taken."""
    return CATALOG.update(plane, type_id, change)


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
    CATALOG.set_specs(plane, type_id, checked)
    return checked


def get_specs(plane: ControlPlane, context: RequestContext, type_id: str) -> dict[str, str]:
    """All extra specs. Raises NotFound."""
    return get(plane, context, type_id).extra_specs


def checked_specs(specs: Mapping[str, str]) -> dict[str, str]:
    """Extra specs in their stored form. Raises Invalid, naming the spec."""
    return {key: _checked_spec(key, value) for key, value in specs.items()}


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
