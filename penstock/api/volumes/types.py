"""The resource ``types``: volume types and the projects they are open to."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.api.bodies import Flag, Name, Strict, Text, check_pairs, parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.paging import marked_page_of
from penstock.api.pairs import parse_pairs
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.volumes.type_fields import SORT_KEYS, change_of, name_of
from penstock.domain.volume_types import VISIBLE_SPECS, VolumeType
from penstock.errors import Invalid
from penstock.services.paging import part_of
from penstock.services.type_catalog import NewType
from penstock.services.volume_types import choice, types
from penstock.services.volume_types.types import TypeFilter

routes = Routes()

IS_PUBLIC = "os-volume-type-access:is_public"
ACCESS_RULE = "volume_extension:volume_type_access"


class CreateFields(Strict):
    """A new type."""

    name: Name
    description: Text | None = None
    extra_specs: dict[str, Any] | None = None
    access_is_public: Flag = msgspec.field(default=None, name=IS_PUBLIC)
    is_public: Flag = None  # openstacksdk


class CreateBody(Strict):
    """``{"volume_type": {...}}``"""

    volume_type: CreateFields


class UpdateFields(Strict):
    """What of a type can change."""

    name: Name | None = None
    description: Text | None = None
    is_public: Flag = None


class UpdateBody(Strict):
    """``{"volume_type": {...}}``"""

    volume_type: UpdateFields


class ProjectFields(Strict):
    """Which project."""

    project: Name


@routes.get("types")
def index(request: ApiRequest) -> Answer:
    """Types open to the caller, or with ``is_public`` also others, for administrators."""
    request.enforce("volume_extension:type_get_all")
    page = marked_page_of(request, SORT_KEYS)
    found = part_of(types.list_types(request.plane, request.context, _filter(request)), page, value_of=getattr)
    return Answer({"volume_types": [_view(request, item) for item in found]})


@routes.get("types/default")
def default(request: ApiRequest) -> Answer:
    """The type that requests without one get."""
    request.enforce("volume_extension:type_get")
    return Answer({"volume_type": _view(request, choice.show_default(request.plane, request.context))})


@routes.get("types/{type_id}")
def show(request: ApiRequest) -> Answer:
    """One type."""
    request.enforce("volume_extension:type_get")
    found = types.get(request.plane, request.context, request.params["type_id"])
    return Answer({"volume_type": _view(request, found)})


@routes.post("types")
def create(request: ApiRequest) -> Answer:
    """A new type."""
    request.enforce("volume_extension:type_create")
    asked = request.body_as(CreateBody).volume_type
    given = asked.access_is_public if asked.access_is_public is not None else asked.is_public
    wanted = NewType(
        name=name_of("volume type", asked.name),
        description=asked.description or None,
        is_public=given is None or parse_flag(IS_PUBLIC, given),
        extra_specs=check_pairs("extra_specs", asked.extra_specs or {}, value_length=255),
    )
    view = _view(request, types.create(request.plane, wanted))
    view.pop("qos_specs_id", None)  # published: a new type has none
    return Answer({"volume_type": view})


@routes.put("types/{type_id}")
def update(request: ApiRequest) -> Answer:
    """Rename, describe, open or close."""
    request.enforce("volume_extension:type_update")
    asked = request.body_as(UpdateBody).volume_type
    change = change_of("volume type", asked)
    view = _view(request, types.update(request.plane, request.params["type_id"], change))
    shown = {key: value for key, value in view.items() if key not in ("qos_specs_id", IS_PUBLIC)}
    return Answer({"volume_type": shown})


@routes.delete("types/{type_id}")
def delete(request: ApiRequest) -> Answer:
    """Forget a type that nothing has."""
    request.enforce("volume_extension:type_delete")
    types.delete(request.plane, request.params["type_id"])
    return ACCEPTED


@routes.get("types/{type_id}/os-volume-type-access")
def access(request: ApiRequest) -> Answer:
    """The projects a private type is open to."""
    request.enforce(f"{ACCESS_RULE}:get_all_for_type")
    type_id = request.params["type_id"]
    found = types.CATALOG.projects_of(request.plane, type_id)
    return Answer({"volume_type_access": [{"volume_type_id": type_id, "project_id": item} for item in found]})


@routes.action("types/{type_id}/action", "addProjectAccess")
def add_access(request: ApiRequest) -> Answer:
    """Open a private type to a project."""
    request.enforce(f"{ACCESS_RULE}:addProjectAccess")
    types.CATALOG.add_project(request.plane, request.params["type_id"], _project(request))
    return ACCEPTED


@routes.action("types/{type_id}/action", "removeProjectAccess")
def remove_access(request: ApiRequest) -> Answer:
    """Close a private type to a project."""
    request.enforce(f"{ACCESS_RULE}:removeProjectAccess")
    types.CATALOG.remove_project(request.plane, request.params["type_id"], _project(request))
    return ACCEPTED


def _view(request: ApiRequest, found: VolumeType) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": found.id,
        "name": found.name,
        "is_public": found.is_public,
        "description": found.description,
        IS_PUBLIC: found.is_public,
    }
    if request.allows("volume_extension:access_types_extra_specs"):
        view["extra_specs"] = shown_specs(request, found.extra_specs)
    if request.allows("volume_extension:access_types_qos_specs_id"):
        view["qos_specs_id"] = found.qos_specs_id
    return view


def shown_specs(request: ApiRequest, specs: dict[str, str]) -> dict[str, str]:
    """The extra specs that the caller may see: all, or what a project needs to know."""
    if request.allows("volume_extension:types_extra_specs:read_sensitive"):
        return specs
    return {key: value for key, value in specs.items() if key in VISIBLE_SPECS}


def _filter(request: ApiRequest) -> TypeFilter:
    text = request.query.get("extra_specs")
    specs = parse_pairs("extra_specs", text) if text is not None and request.version.at_least("3.52") else {}
    wish = request.query.get("is_public")
    is_public: bool | None = True
    if wish is not None:
        is_public = None if wish.lower() in ("all", "none", "") else parse_flag("is_public", wish)
    return TypeFilter(is_public, request.query.get("name"), request.query.get("description"), specs)


def _project(request: ApiRequest) -> str:
    project = request.body_as(ProjectFields).project
    if not project.strip():
        raise Invalid("Name the 'project'.")
    return project
