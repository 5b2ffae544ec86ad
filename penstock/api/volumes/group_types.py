"""The resources ``group_types`` and ``group_types/{type_id}/group_specs`` (since 3.11)."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Flag, Name, Strict, Text, check_pairs, parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.paging import marked_page_of
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.volumes.type_fields import SORT_KEYS, change_of, name_of
from penstock.domain.volume_groups import VolumeGroupType
from penstock.errors import Invalid, NotFound
from penstock.services.paging import part_of
from penstock.services.volume_types import group_types
from penstock.services.volume_types.group_types import NewGroupType

routes = Routes()

ALL, ONE = "group_types", "group_types/{type_id}"
SPECS, SPEC = "group_types/{type_id}/group_specs", "group_types/{type_id}/group_specs/{key}"
SPEC_RULE = "group:group_types_specs"


class TypeFields(Strict):
    """A new type, or what of one can change."""

    name: Name | None = None
    description: Text | None = None
    is_public: Flag = None
    group_specs: dict[str, Any] | None = None


class TypeBody(Strict):
    """``{"group_type": {...}}``"""

    group_type: TypeFields


class SpecsBody(Strict):
    """``{"group_specs": {...}}``"""

    group_specs: dict[str, Any]


@routes.get(ALL, "3.11")
def index(request: ApiRequest) -> Answer:
    """Types open to the caller, or with ``is_public`` also others, for administrators."""
    wish = request.query.get("is_public", "true")
    is_public = None if wish.lower() in ("all", "none", "") else parse_flag("is_public", wish)
    page = marked_page_of(request, SORT_KEYS)
    found = part_of(group_types.list_types(request.plane, request.context, is_public=is_public), page, value_of=getattr)
    return Answer({"group_types": [_view(request, item) for item in found]})


@routes.get("group_types/default", "3.11")
def default(request: ApiRequest) -> Answer:
    """The type that requests without one get."""
    return Answer({"group_type": _view(request, group_types.default(request.plane))})


@routes.get(ONE, "3.11")
def show(request: ApiRequest) -> Answer:
    """One type."""
    return Answer({"group_type": _view(request, _get(request))})


@routes.post(ALL, "3.11")
def create(request: ApiRequest) -> Answer:
    """A new type."""
    request.enforce("group:group_types:create")
    asked = request.body_as(TypeBody).group_type
    wanted = NewGroupType(
        name=name_of("group type", asked.name),
        description=asked.description or None,
        is_public=asked.is_public is None or parse_flag("is_public", asked.is_public),
        group_specs=check_pairs("group_specs", asked.group_specs or {}, value_length=255),
    )
    return Answer({"group_type": _view(request, group_types.create(request.plane, wanted))}, 202)


@routes.put(ONE, "3.11")
def update(request: ApiRequest) -> Answer:
    """Rename, describe, open or close."""
    request.enforce("group:group_types:update")
    asked = request.body_as(TypeBody).group_type
    if asked.group_specs is not None:
        raise Invalid("Group specs are changed under 'group_specs' of the type.")
    change = change_of("group type", asked)
    changed = group_types.update(request.plane, request.params["type_id"], change)
    return Answer({"group_type": _view(request, changed)})


@routes.delete(ONE, "3.11")
def delete(request: ApiRequest) -> Answer:
    """Forget a type that no group has."""
    request.enforce("group:group_types:delete")
    group_types.delete(request.plane, request.params["type_id"])
    return ACCEPTED


@routes.get(SPECS, "3.11")
def list_specs(request: ApiRequest) -> Answer:
    """All group specs of a type."""
    request.enforce(f"{SPEC_RULE}:get_all")
    return Answer({"group_specs": _get(request).group_specs})


@routes.post(SPECS, "3.11")
def create_specs(request: ApiRequest) -> Answer:
    """Set some, keep the others."""
    request.enforce(f"{SPEC_RULE}:create")
    specs = check_pairs("group_specs", request.body_as(SpecsBody).group_specs, value_length=255)
    if not specs:
        raise Invalid("'group_specs' is empty: there is nothing to set.")
    group_types.set_specs(request.plane, request.params["type_id"], specs)
    return Answer({"group_specs": specs}, 202)


@routes.get(SPEC, "3.11")
def show_spec(request: ApiRequest) -> Answer:
    """One group spec."""
    request.enforce(f"{SPEC_RULE}:get")
    key, specs = request.params["key"], _get(request).group_specs
    if key not in specs:
        raise NotFound(f"The group type has no group spec '{key[:64]}'.")
    return Answer({key: specs[key]})


@routes.put(SPEC, "3.11")
def update_spec(request: ApiRequest) -> Answer:
    """Change one group spec; the body repeats its name."""
    request.enforce(f"{SPEC_RULE}:update")
    key = request.params["key"]
    specs = check_pairs("group_specs", request.body_as(dict[str, Any]), value_length=255)
    if set(specs) != {key}:
        raise Invalid(f"The body must hold exactly the group spec of the path, '{key[:64]}'.")
    group_types.set_specs(request.plane, request.params["type_id"], specs)
    return Answer(specs)


@routes.delete(SPEC, "3.11")
def delete_spec(request: ApiRequest) -> Answer:
    """Remove one group spec."""
    request.enforce(f"{SPEC_RULE}:delete")
    group_types.delete_spec(request.plane, request.params["type_id"], request.params["key"])
    return ACCEPTED


def _get(request: ApiRequest) -> VolumeGroupType:
    return group_types.get(request.plane, request.context, request.params["type_id"])


def _view(request: ApiRequest, found: VolumeGroupType) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "is_public": found.is_public,
    }
    if request.allows("group:access_group_types_specs"):
        view["group_specs"] = found.group_specs
    return view
