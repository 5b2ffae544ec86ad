"""Types of volume groups: what kinds of groups an administrator offers, to all projects or to some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.domain.volume_groups import VolumeGroupType
from penstock.errors import Invalid
from penstock.ids import VolumeGroupTypeId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.type_catalog import TypeCatalog, TypeChange
from penstock.store import volume_group_types as rows

CATALOG = TypeCatalog("group type", rows.ROWS)
get = CATALOG.get
find = CATALOG.find
list_types = CATALOG.list_types
set_specs = CATALOG.set_specs
delete_spec = CATALOG.delete_spec


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
        CATALOG.refuse_taken(tx, wanted.name)
        rows.insert_type(tx, made)
    return made


def default(plane: ControlPlane) -> VolumeGroupType:
    """The type that requests without one get. Raises NotFound when none is configured."""
    return CATALOG.configured(plane, "default_group_type")


def update(plane: ControlPlane, type_id: str, change: TypeChange) -> VolumeGroupType:
    """Rename, describe, open or close. Raises NotFound, Conflict when the name is taken."""
    return CATALOG.update(plane, type_id, change)


def delete(plane: ControlPlane, type_id: str) -> None:
    """Forget the type. Raises NotFound, Invalid while groups have it."""
    with plane.database.begin() as tx:
        found = CATALOG.known(tx, type_id)
        if rows.in_use(tx, found.id):
            raise Invalid(f"Group type '{found.name}' still has groups.")
        rows.delete_type(tx, found.id)
