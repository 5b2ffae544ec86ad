"""Share group types: what kinds of groups an administrator offers, to all projects or to some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.context import RequestContext
from penstock.domain.group_types import ShareGroupType
from penstock.errors import Invalid
from penstock.ids import ShareGroupTypeId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.type_catalog import TypeCatalog
from penstock.services.types import CATALOG as SHARE_TYPES
from penstock.store import group_types as rows

CATALOG = TypeCatalog("share group type", rows.ROWS)
get = CATALOG.get
set_specs = CATALOG.set_specs
delete_spec = CATALOG.delete_spec


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
        members = {SHARE_TYPES.find_any(tx, name).id for name in wanted.share_types}
        CATALOG.refuse_taken(tx, wanted.name)
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


def default(plane: ControlPlane) -> ShareGroupType:
    """The type that requests without one get. Raises NotFound when none is configured."""
    return CATALOG.configured(plane, "default_share_group_type")


def list_types(
    plane: ControlPlane, context: RequestContext, *, is_public: bool | None, group_specs: Mapping[str, str]
) -> list[ShareGroupType]:
    """Types with these group specs; see `TypeCatalog.list_types`."""
    found = CATALOG.list_types(plane, context, is_public=is_public)
    return [item for item in found if group_specs.items() <= item.group_specs.items()]


def delete(plane: ControlPlane, type_id: str) -> None:
    """Forget the type. Raises NotFound."""
    with plane.database.begin() as tx:
        rows.delete_type(tx, CATALOG.known(tx, type_id).id)


def get_specs(plane: ControlPlane, type_id: str) -> dict[str, str]:
    """All group specs. Raises NotFound."""
    with plane.database.read() as tx:
        return CATALOG.known(tx, type_id).group_specs
