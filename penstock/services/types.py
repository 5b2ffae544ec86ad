"""Share types: what an administrator offers, under a name, to all projects or to some."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.context import RequestContext
from penstock.domain.replication import RPO_KEY, TYPE_SPEC, parse_objective, parse_replication_type
from penstock.domain.types import REQUIRED_SPEC, SNAPSHOT_SPECS, ShareType, parse_claim
from penstock.errors import Conflict, Forbidden, Invalid, NotFound
from penstock.ids import ShareTypeId, new_id
from penstock.services import type_choice
from penstock.services.control_plane import ControlPlane
from penstock.services.type_access import TypeAccess
from penstock.store import types as rows
from penstock.store.database import Transaction

ZONES_SPEC = "availability_zones"
BOOLEAN_SPECS = (REQUIRED_SPEC, *SNAPSHOT_SPECS)
_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
LONGEST_VALUE = 255
ACCESS = TypeAccess("share type", rows)


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
        _refuse_taken(tx, wanted.name)
        rows.insert_type(tx, made)
    return made


def get(plane: ControlPlane, context: RequestContext, type_id: str) -> ShareType:
    """The type by id, if it is open to the caller. Raises NotFound."""
    with plane.database.read() as tx:
        return type_choice.find_by_id(tx, context, type_id)


def default(plane: ControlPlane) -> ShareType:
    """The type that requests without one get. Raises NotFound when none is configured."""
    name = plane.conf.default_share_type
    if name:
        with plane.database.read() as tx:
            found = rows.get_by_name(tx, name)
        if found is not None:
            return found
    raise NotFound("No default share type is configured (default_share_type), or it does not exist.")


def list_types(plane: ControlPlane, context: RequestContext, wanted: TypeFilter) -> list[ShareType]:
    """Types, oldest first; others than administrators only see what is open to their project."""
    is_public = wanted.is_public if context.is_admin else True
    with plane.database.read() as tx:
        if is_public:
            found = rows.list_types(tx, project_id=context.project_id or "")
        else:
            found = rows.list_types(tx, is_public=is_public)
    return [share_type for share_type in found if _has_specs(share_type, wanted.extra_specs)]


def update(plane: ControlPlane, type_id: str, change: TypeChange) -> ShareType:
    """Rename, describe, open or close. Raises NotFound, Conflict when the name is taken."""
    with plane.database.begin() as tx:
        found = _type(tx, type_id)
        if change.name is not None and change.name != found.name:
            _refuse_taken(tx, change.name)
        values = {
            "name": found.name if change.name is None else change.name,
            "description": found.description if change.description is None else (change.description or None),
            "is_public": found.is_public if change.is_public is None else change.is_public,
        }
        now = plane.clock.utc()
        rows.update_type(tx, found.id, now=now, **values)
        return _type(tx, type_id)


def delete(plane: ControlPlane, type_id: str) -> None:
    """Forget the type. Raises NotFound, Invalid while shares have it or share group types name it."""
    with plane.database.begin() as tx:
        found = _type(tx, type_id)
        if rows.in_use(tx, found.id):
            raise Invalid(f"Share type '{found.name}' still has shares, or belongs to a share group type.")
        rows.delete_type(tx, found.id)


def set_specs(plane: ControlPlane, type_id: str, specs: Mapping[str, str]) -> dict[str, str]:
    """Set these extra specs, keep the others; returns what was set. Raises NotFound, Invalid."""
    checked = checked_specs(specs)
    with plane.database.begin() as tx:
        found = _type(tx, type_id)
        rows.set_extra_specs(tx, found.id, checked)
    return checked


def get_specs(plane: ControlPlane, type_id: str) -> dict[str, str]:
    """All extra specs. Raises NotFound."""
    with plane.database.read() as tx:
        return _type(tx, type_id).extra_specs


def delete_spec(plane: ControlPlane, type_id: str, key: str, *, required: tuple[str, ...] = (REQUIRED_SPEC,)) -> None:
    """Remove one extra spec. Raises NotFound, Forbidden for one that is `required`."""
    with plane.database.begin() as tx:
        found = _type(tx, type_id)
        if key in required:
            raise Forbidden(f"Every share type needs the extra spec '{key}'.")
        if not rows.delete_extra_spec(tx, found.id, key):
            raise NotFound(f"Share type {found.id} has no extra spec '{key[:64]}'.")


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


def _type(tx: Transaction, type_id: str) -> ShareType:
    found = rows.get(tx, type_id)
    if found is None:
        raise ACCESS.missing(type_id)
    return found


def _refuse_taken(tx: Transaction, name: str) -> None:
    if rows.get_by_name(tx, name) is not None:
        raise Conflict(f"There is a share type named '{name}' already.")
