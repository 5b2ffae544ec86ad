"""Share group types: what kinds of groups an administrator offers, to all projects or to some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.context import RequestContext
from penstock.domain.group_types import ShareGroupType
from penstock.errors import Conflict, Invalid, NotFound
from penstock.ids import ShareGroupTypeId, new_id
from penstock.services import type_choice
from penstock.services.control_plane import ControlPlane
from penstock.services.type_access import TypeAccess
from penstock.store import group_types as rows
from penstock.store.database import Transaction

ACCESS = TypeAccess("share group type", rows)


@dataclass(frozen=True, slots=True)
class NewGroupType:
    """What is asked for. `share_types` are names or ids."""

    name: str
    share_types: Sequence[str]
    is_public: bool = True
    group_specs: Mapping[str, str] = field(default_factory=dict)


def create(plane: ControlPlane, wanted: NewGroupType) -> ShareGroupType:
    """A new type. Raises Invalid without share types, NotFound for an unknown one, Conflict when the name is taken."""
    if not wanted.share_types:
        raise Invalid("A share group type needs at least one share type.")
    with plane.database.begin() as tx:
        members = {type_choice.find_any(tx, name).id for name in wanted.share_types}
        if rows.get_by_name(tx, wanted.name) is not None:
            raise Conflict(f"There is a share group type named '{wanted.name}' already.")
        made = ShareGroupType(
            id=ShareGroupTypeId(new_id()),
            name=wanted.name,
            is_public=wanted.is_public,
            created_at=plane.clock.utc(),
            updated_at=None,
            share_type_ids=tuple(sorted(members)),
            group_specs=dict(wanted.group_specs),
        )
        rows.insert_type(tx, made)
    return made


def get(plane: ControlPlane, context: RequestContext, type_id: str) -> ShareGroupType:
    """The type by id, if it is open to the caller. Raises NotFound."""
    with plane.database.read() as tx:
        found = _type(tx, type_id)
        if found.is_public or context.is_admin or context.project_id in rows.projects_of(tx, found.id):
            return found
    raise ACCESS.missing(type_id)


def default(plane: ControlPlane) -> ShareGroupType:
    """The type that requests without one get. Raises NotFound when none is configured."""
    name = plane.conf.default_share_group_type
    if name:
        with plane.database.read() as tx:
            found = rows.get_by_name(tx, name)
        if found is not None:
            return found
    raise NotFound("No default share group type is configured (default_share_group_type), or it does not exist.")


def list_types(
    plane: ControlPlane, context: RequestContext, *, is_public: bool | None, group_specs: Mapping[str, str]
) -> list[ShareGroupType]:
    """Types with these group specs, oldest first. `is_public` True: those open to the caller's project, which is all
    that others than administrators ever see; False: the private ones; None: every one."""
    with plane.database.read() as tx:
        if is_public or not context.is_admin:
            found = rows.list_types(tx, project_id=context.project_id or "")
        else:
            found = rows.list_types(tx, is_public=is_public)
    return [item for item in found if group_specs.items() <= item.group_specs.items()]


def delete(plane: ControlPlane, type_id: str) -> None:
    """Forget the type. Raises NotFound."""
    with plane.database.begin() as tx:
        rows.delete_type(tx, _type(tx, type_id).id)


def get_specs(plane: ControlPlane, type_id: str) -> dict[str, str]:
    """All group specs. Raises NotFound."""
    with plane.database.read() as tx:
        return _type(tx, type_id).group_specs


def set_specs(plane: ControlPlane, type_id: str, specs: Mapping[str, str]) -> None:
    """Set these group specs, keep the others. Raises NotFound."""
    with plane.database.begin() as tx:
        rows.set_specs(tx, _type(tx, type_id).id, specs)


def delete_spec(plane: ControlPlane, type_id: str, key: str) -> None:
    """Remove one group spec. Raises NotFound."""
    with plane.database.begin() as tx:
        found = _type(tx, type_id)
        if not rows.delete_spec(tx, found.id, key):
            raise NotFound(f"Share group type {found.id} has no group spec '{key[:64]}'.")


def _type(tx: Transaction, type_id: str) -> ShareGroupType:
    found = rows.get(tx, type_id)
    if found is None:
        raise ACCESS.missing(type_id)
    return found
