"""The resource ``types``: share types and the projects they are open to."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.api.bodies import Flag, Lenient, Name, parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.pairs import parse_pairs
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.shares.type_views import many, one
from penstock.errors import Invalid
from penstock.services import types
from penstock.services.type_catalog import NewType, TypeChange
from penstock.services.types import TypeFilter

routes = Routes()

SpecValue = str | bool | int | float  # clients send true and 3 too; stored as text


class TypeFields(Lenient):
    """What of a share type can be given; the key for its visibility changed with 2.7."""

    name: Name | None = None
    description: Name | None = None
    extra_specs: dict[str, SpecValue] | None = None
    is_public: Flag = msgspec.field(default=None, name="share_type_access:is_public")
    was_public: Flag = msgspec.field(default=None, name="os-share-type-access:is_public")

    def visibility(self) -> bool | None:
        """Open to all? None when not said."""
        given = self.was_public if self.is_public is None else self.is_public
        return None if given is None else parse_flag("share_type_access:is_public", given)


class TypeBody(Lenient):
    """Body of create and update; the oldest clients call it ``volume_type``."""

    share_type: TypeFields | None = None
    volume_type: TypeFields | None = None

    def fields(self) -> TypeFields:
        """Whatever name it came under."""
        found = self.share_type or self.volume_type
        if found is None:
            raise Invalid("The body needs a 'share_type'.")
        return found


class ProjectFields(Lenient):
    """Which project."""

    project: Name


@routes.get("types")
def index(request: ApiRequest) -> Answer:
    """Types open to the caller, or with ``is_public`` also others, for administrators."""
    request.enforce("share_type:index")
    found = types.list_types(request.plane, request.context, _filter(request))
    return Answer(many(request, found))


@routes.get("types/default")
def default(request: ApiRequest) -> Answer:
    """The type that requests without one get."""
    request.enforce("share_type:default")
    return Answer(one(request, types.default(request.plane)))


@routes.get("types/{type_id}")
def show(request: ApiRequest) -> Answer:
    """One type."""
    request.enforce("share_type:show")
    return Answer(one(request, types.get(request.plane, request.context, request.params["type_id"])))


@routes.post("types")
def create(request: ApiRequest) -> Answer:
    """A new type."""
    request.enforce("share_type:create")
    fields = request.body_as(TypeBody).fields()
    if fields.description is not None and not request.version.at_least("2.41"):
        raise Invalid("Share types have a 'description' since API version 2.41.")
    specs = spec_texts(fields.extra_specs or {})
    if not request.version.at_least("2.24"):
        specs.setdefault("snapshot_support", "True")  # was required, and implied, before 2.24
    wanted = NewType(
        name=_name(fields.name) or "",
        description=fields.description or None,
        is_public=fields.visibility() is not False,
        extra_specs=specs,
    )
    return Answer(one(request, types.create(request.plane, wanted)))


@routes.put("types/{type_id}", "2.50")
def update(request: ApiRequest) -> Answer:
    """Rename, describe, open or close."""
    request.enforce("share_type:update")
    fields = request.body_as(TypeBody).fields()
    change = TypeChange(
        name=None if fields.name is None else _name(fields.name),
        description=fields.description,
        is_public=fields.visibility(),
    )
    if change == TypeChange():
        raise Invalid("Give a 'name', a 'description' or 'share_type_access:is_public' to change.")
    return Answer(one(request, types.update(request.plane, request.params["type_id"], change)))


@routes.delete("types/{type_id}")
def delete(request: ApiRequest) -> Answer:
    """Forget a type that no share has."""
    request.enforce("share_type:delete")
    types.delete(request.plane, request.params["type_id"])
    return ACCEPTED


@routes.get("types/{type_id}/os-share-type-access", "2.0", "2.6")
@routes.get("types/{type_id}/share_type_access", "2.7")
def access(request: ApiRequest) -> Answer:
    """The projects a private type is open to."""
    request.enforce("share_type:list_project_access")
    type_id = request.params["type_id"]
    found = types.CATALOG.projects_of(request.plane, type_id)
    return Answer({"share_type_access": [{"share_type_id": type_id, "project_id": item} for item in found]})


@routes.action("types/{type_id}/action", "addProjectAccess")
def add_access(request: ApiRequest) -> Answer:
    """Open a private type to a project."""
    request.enforce("share_type:add_project_access")
    types.CATALOG.add_project(request.plane, request.params["type_id"], _project(request))
    return ACCEPTED


@routes.action("types/{type_id}/action", "removeProjectAccess")
def remove_access(request: ApiRequest) -> Answer:
    """Close a private type to a project."""
    request.enforce("share_type:remove_project_access")
    types.CATALOG.remove_project(request.plane, request.params["type_id"], _project(request))
    return ACCEPTED


def spec_texts(specs: dict[str, SpecValue]) -> dict[str, str]:
    """Extra specs as text."""
    return {key: str(value) for key, value in specs.items()}


def _filter(request: ApiRequest) -> TypeFilter:
    specs: dict[str, str] = {}
    text = request.query.get("extra_specs")
    if text is not None and request.version.at_least("2.43"):
        specs = parse_pairs("extra_specs", text)
    wish: Any = request.query.get("is_public")
    if wish is None:
        return TypeFilter(extra_specs=specs)
    is_public = None if wish.lower() in ("all", "none", "") else parse_flag("is_public", wish)
    return TypeFilter(is_public, specs)


def _name(name: str | None) -> str:
    if name is None or not name.strip():
        raise Invalid("A share type needs a 'name' of 1 to 255 characters.")
    return name


def _project(request: ApiRequest) -> str:
    project = request.body_as(ProjectFields).project
    if not project.strip():
        raise Invalid("Name the 'project'.")
    return project
