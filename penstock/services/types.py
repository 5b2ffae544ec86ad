"""Share types: what an administrator offers, under a name, to all projects or to some."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.context import RequestContext
from penstock.domain.replication import RPO_KEY, TYPE_SPEC, parse_objective, parse_replication_type
from penstock.domain.types import REQUIRED_SPEC, SNAPSHOT_SPECS, ShareType, parse_claim
from penstock.errors import Forbidden, Invalid
from penstock.ids import ShareTypeId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.type_catalog import NewType, TypeCatalog, TypeChange
from penstock.store import types as rows

ZONES_SPEC = "availability_zones"
BOOLEAN_SPECS = (REQUIRED_SPEC, *SNAPSHOT_SPECS)
_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
LONGEST_VALUE = 255
CATALOG = TypeCatalog("share type", rows.ROWS)
get = CATALOG.get


@dataclass(frozen=True, slots=True)
class TypeFilter:
    """What a list is narrowed to. `is_public` None: every type there is, else those open to the caller's project
    (True) or the private ones (False)."""

    is_public: bool | None = True
    extra_specs: Mapping[str, str] = field(default_factory=dict)


def create(plane: ControlPlane, wanted: NewType) -> ShareType:
    """A new type. Raises Invalid for extra specs that cannot be, Conflict when the name is taken."""
    specs = checked_specs(wanted.extra_specs)
    if REQUIRED_SPEC not in specs:
        raise Invalid(f"A share type needs the extra spec '{REQUIRED_SPEC}'.")
    made = ShareType(
        id=ShareTypeId(new_id()),
        name=wanted.name,
        description=wanted.description,
        is_public=wanted.is_public,
        created_at=plane.clock.utc(),
        updated_at=None,
        extra_specs=specs,
    )
    with plane.database.begin() as tx:
        CATALOG.refuse_taken(tx, wanted.name)
        rows.insert_type(tx, made)
    return made


def default(plane: ControlPlane) -> ShareType:
    """The type that requests without one get. Raises NotFound when none is configured."""
    return CATALOG.configured(plane, "default_share_type")


def list_types(plane: ControlPlane, context: RequestContext, wanted: TypeFilter) -> list[ShareType]:
    """Types, oldest first; others than administrators only see what is open to their project."""
    found = CATALOG.list_types(plane, context, is_public=wanted.is_public)
    return [share_type for share_type in found if _has_specs(share_type, wanted.extra_specs)]


def update(plane: ControlPlane, type_id: str, change: TypeChange) -> ShareType:
    """Rename, describe, open or close. Raises NotFound, Conflict when the name is taken."""
    return CATALOG.update(plane, type_id, change)


def delete(plane: ControlPlane, type_id: str) -> None:
    """Forget the type. Raises NotFound, Invalid while shares have it or share group types name it."""
    with plane.database.begin() as tx:
        found = CATALOG.known(tx, type_id)
        if rows.in_use(tx, found.id):
            raise Invalid(f"Share type '{found.name}' still has shares, or belongs to a share group type.")
        rows.delete_type(tx, found.id)


def set_specs(plane: ControlPlane, type_id: str, specs: Mapping[str, str]) -> dict[str, str]:
    """Set these extra specs, keep the others; returns what was set. Raises NotFound, Invalid."""
    checked = checked_specs(specs)
    CATALOG.set_specs(plane, type_id, checked)
    return checked


def get_specs(plane: ControlPlane, type_id: str) -> dict[str, str]:
    """All extra specs. Raises NotFound."""
    with plane.database.read() as tx:
        return CATALOG.known(tx, type_id).extra_specs


def delete_spec(plane: ControlPlane, type_id: str, key: str, *, required: tuple[str, ...] = (REQUIRED_SPEC,)) -> None:
    """Remove one extra spec. Raises NotFound, Forbidden for one that is `required`."""
    if key in required:
        with plane.database.read() as tx:
            CATALOG.known(tx, type_id)
        raise Forbidden(f"Every share type needs the extra spec '{key}'.")
    CATALOG.delete_spec(plane, type_id, key)


def checked_specs(specs: Mapping[str, str]) -> dict[str, str]:
    """Extra specs in their stored form. Raises Invalid, naming the spec."""
    return {key: _checked_spec(key, value) for key, value in specs.items()}


def _checked_spec(key: str, value: str) -> str:
    if not _KEY.fullmatch(key):
        raise Invalid("The name of an extra spec has 1 to 255 letters, digits, '_', '.', ':' and '-'.")
    if not value or len(value) > LONGEST_VALUE:
        raise Invalid(f"The extra spec '{key}' must have 1 to {LONGEST_VALUE} characters.")
    if key in BOOLEAN_SPECS:
        parse_claim(key, value)
    if key == TYPE_SPEC:
        parse_replication_type(value)
    if key == RPO_KEY:
        parse_objective(value)
    if key.startswith("provisioning:") and key.endswith("_size") and not value.isdigit():
        raise Invalid(f"The extra spec '{key}' must be a whole number of GiB, not '{value}'.")
    if key == ZONES_SPEC:
        return ",".join(_zones(value))
    return value


def _zones(value: str) -> list[str]:
    zones = [zone.strip() for zone in value.split(",")]
    if not all(zones):
        raise Invalid(f"The extra spec '{ZONES_SPEC}' must be names of zones with commas between, not '{value}'.")
    return zones


def _has_specs(share_type: ShareType, wanted: Mapping[str, str]) -> bool:
    for key, value in wanted.items():
        has = share_type.extra_specs.get(key)
        if key == ZONES_SPEC:
            offered = set(_zones(has)) if has else None  # a type without zones is offered in all of them
            if offered is not None and not set(_zones(value)) <= offered:
                return False
        elif has != value:
            return False
    return True
