"""Types of volume groups: what kinds of groups an administrator offers, to all projects or to some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.context import RequestContext
from penstock.domain.volume_groups import VolumeGroupType
from penstock.errors import Conflict, Invalid, NotFound
from penstock.ids import VolumeGroupTypeId, is_uuid, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.type_access import TypeAccess
from penstock.services.volume_types.types import TypeChange
from penstock.store import volume_group_types as rows
from penstock.store.database import Transaction

ACCESS = TypeAccess("group type", rows)


@dataclass(frozen=True, slots=True)
class NewGroupType:
    """What is asked for."""

    name: str
    description: str | None = None
    is_public: bool = True
    group_specs: Mapping[str, str] = field(default_factory=dict)


def create(plane: ControlPlane, wanted: NewGroupType) -> VolumeGroupType:
    """A new type. Raises Conflict when the name is taken."""
    made = VolumeGroupType(
        id=VolumeGroupTypeId(new_id()),
        name=wanted.name,
        description=wanted.description,
        is_public=wanted.is_public,
        created_at=plane.clock.utc(),
        updated_at=None,
        group_specs=dict(wanted.group_specs),
    )
    with plane.database.begin() as tx:
        _refuse_taken(tx, wanted.name)
        rows.insert_type(tx, made)
    return made


def get(plane: ControlPlane, context: RequestContext, type_id: str) -> VolumeGroupType:
    """The type by id, if it is open to the caller. Raises NotFound."""
    with plane.database.read() as tx:
        found = rows.get(tx, type_id)
        if found is None or not ACCESS.is_open(tx, context, found):
            raise ACCESS.missing(type_id)
        return found


def find(tx: Transaction, context: RequestContext, name_or_id: str) -> VolumeGroupType:
    """The type called so, if it is open to the caller. Raises NotFound."""
    found = rows.get(tx, name_or_id) if is_uuid(name_or_id) else None
    found = found or rows.get_by_name(tx, name_or_id)
    if found is None or not ACCESS.is_open(tx, context, found):
        raise ACCESS.missing(name_or_id)
    return found


def default(plane: ControlPlane) -> VolumeGroupType:
    """The type that requests without one get. Raises NotFound when none is configured."""
    name = plane.conf.default_group_type
    if name:
        with plane.database.read() as tx:
            found = rows.get_by_name(tx, name)
        if found is not None:
            return found
    raise NotFound("No default group type is configured (default_group_type), or it does not exist.")


def list_types(plane: ControlPlane, context: RequestContext, *, is_public: bool | None) -> list[VolumeGroupType]:
    """Types, oldest first. `is_public` True: those open to the caller's project, which is all that others than
    administrators ever see; False: the private ones; None: every one."""
    with plane.database.read() as tx:
        if is_public or not context.is_admin:
            return rows.list_types(tx, project_id=context.project_id or "")
        return rows.list_types(tx, is_public=is_public)


def update(plane: ControlPlane, type_id: str, change: TypeChange) -> VolumeGroupType:
    """Rename, describe, open or close. Raises NotFound, Conflict when the name is taken."""
    with plane.database.begin() as tx:
        found = _known(tx, type_id)
        if change.name is not None and change.name != found.name:
            _refuse_taken(tx, change.name)
        values = {
            "name": found.name if change.name is None else change.name,
            "description": found.description if change.description is None else (change.description or None),
            "is_public": found.is_public if change.is_public is None else change.is_public,
        }
        rows.update_type(tx, found.id, now=plane.clock.utc(), **values)
        return _known(tx, type_id)


def delete(plane: ControlPlane, type_id: str) -> None:
    """Forget the type. Raises NotFound, Invalid while groups have it."""
    with plane.database.begin() as tx:
        found = _known(tx, type_id)
        if rows.in_use(tx, found.id):
            raise Invalid(f"Group type '{found.name}' still has groups.")
        rows.delete_type(tx, found.id)


def set_specs(plane: ControlPlane, type_id: str, specs: Mapping[str, str]) -> None:
    """Set these group specs, keep the others. Raises NotFound."""
    with plane.database.begin() as tx:
        rows.set_specs(tx, _known(tx, type_id).id, specs)


def delete_spec(plane: ControlPlane, type_id: str, key: str) -> None:
    """Remove one group spec. Raises NotFound."""
    with plane.database.begin() as tx:
        found = _known(tx, type_id)
        if not rows.delete_spec(tx, found.id, key):
            raise NotFound(f"Group type {found.id} has no group spec '{key[:64]}'.")


def _known(tx: Transaction, type_id: str) -> VolumeGroupType:
    found = rows.get(tx, type_id)
    if found is None:
        raise ACCESS.missing(type_id)
    return found


def _refuse_taken(tx: Transaction, name: str) -> None:
    if rows.get_by_name(tx, name) is not None:
        raise Conflict(f"There is a group type named '{name}' already.")
