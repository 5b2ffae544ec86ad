"""The resource ``share-group-types``: experimental from 2.31, for everybody since 2.55."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Flag, Lenient, Name, check_pairs, parse_flag
from penstock.api.http import ACCEPTED, NO_CONTENT, Answer
from penstock.api.pairs import parse_pairs
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.domain.group_types import ShareGroupType
from penstock.errors import Invalid
from penstock.services import group_types
from penstock.services.group_types import NewGroupType

routes = Routes()

ALL = "share-group-types"
ONE = "share-group-types/{type_id}"
ACCESS = "share-group-types/{type_id}/access"
ACTION = "share-group-types/{type_id}/action"


class GroupTypeFields(Lenient):
    """A new type; clients give one share type also without a list around it."""

    name: Name | None = None
    share_types: list[Name] | Name | None = None
    group_specs: dict[str, Any] | None = None
    is_public: Flag = None


class GroupTypeBody(Lenient):
    """``{"share_group_type": {...}}``"""

    share_group_type: GroupTypeFields


class ProjectFields(Lenient):
    """Which project."""

    project: Name


@routes.get(ALL, since="2.31", until="2.54", experimental=True)
@routes.get(ALL, since="2.55")
def index(request: ApiRequest) -> Answer:
    """Types open to the caller, or with ``is_public`` also others, for administrators."""
    request.enforce("share_group_type:index")
    wish = request.query.get("is_public", "true")
    is_public = None if wish.lower() in ("all", "none", "") else parse_flag("is_public", wish)
    text = request.query.get("group_specs") if request.version.at_least("2.66") else None
    specs = {} if text is None else parse_pairs("group_specs", text)
    found = group_types.list_types(request.plane, request.context, is_public=is_public, group_specs=specs)
    return Answer({"share_group_types": [_view(request, item) for item in found]})


@routes.get("share-group-types/default", since="2.31", until="2.54", experimental=True)
@routes.get("share-group-types/default", since="2.55")
def default(request: ApiRequest) -> Answer:
    """The type that requests without one get."""
    request.enforce("share_group_type:default")
    return _one(request, group_types.default(request.plane))


@routes.get(ONE, since="2.31", until="2.54", experimental=True)
@routes.get(ONE, since="2.55")
def show(request: ApiRequest) -> Answer:
    """One type."""
    request.enforce("share_group_type:show")
    return _one(request, group_types.get(request.plane, request.context, request.params["type_id"]))


@routes.post(ALL, since="2.31", until="2.54", experimental=True)
@routes.post(ALL, since="2.55")
def create(request: ApiRequest) -> Answer:
    """A new type."""
    request.enforce("share_group_type:create")
    asked = request.body_as(GroupTypeBody).share_group_type
    if asked.name is None or not asked.name.strip():
        raise Invalid("A share group type needs a 'name' of 1 to 255 characters.")
    share_types = [asked.share_types] if isinstance(asked.share_types, str) else asked.share_types or []
    wanted = NewGroupType(
        name=asked.name,
        share_types=share_types,
        is_public=asked.is_public is None or parse_flag("is_public", asked.is_public),
        group_specs=check_pairs("group_specs", asked.group_specs or {}),
    )
    return _one(request, group_types.create(request.plane, wanted))


@routes.delete(ONE, since="2.31", until="2.54", experimental=True)
@routes.delete(ONE, since="2.55")
def delete(request: ApiRequest) -> Answer:
    """Forget a type."""
    request.enforce("share_group_type:delete")
    group_types.delete(request.plane, request.params["type_id"])
    return NO_CONTENT


@routes.get(ACCESS, since="2.31", until="2.54", experimental=True)
@routes.get(ACCESS, since="2.55")
def access(request: ApiRequest) -> Answer:
    """The projects a private type is open to."""
    request.enforce("share_group_type:list_project_access")
    type_id = request.params["type_id"]
    found = group_types.CATALOG.projects_of(request.plane, type_id)
    shown = [{"share_group_type_id": type_id, "project_id": project_id} for project_id in found]
    return Answer({"share_group_type_access": shown})


@routes.action(ACTION, "addProjectAccess", since="2.31", until="2.54", experimental=True)
@routes.action(ACTION, "addProjectAccess", since="2.55")
def add_access(request: ApiRequest) -> Answer:
    """Open a private type to a project."""
    request.enforce("share_group_type:add_project_access")
    group_types.CATALOG.add_project(request.plane, request.params["type_id"], _project(request))
    return ACCEPTED


@routes.action(ACTION, "removeProjectAccess", since="2.31", until="2.54", experimental=True)
@routes.action(ACTION, "removeProjectAccess", since="2.55")
def remove_access(request: ApiRequest) -> Answer:
    """Close a private type to a project."""
    request.enforce("share_group_type:remove_project_access")
    group_types.CATALOG.remove_project(request.plane, request.params["type_id"], _project(request))
    return ACCEPTED


def _one(request: ApiRequest, found: ShareGroupType) -> Answer:
    return Answer({"share_group_type": _view(request, found)})


def _view(request: ApiRequest, found: ShareGroupType) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": found.id,
        "name": found.name,
        "is_public": found.is_public,
        "share_types": found.share_type_ids,
        "group_specs": found.group_specs,
    }
    if request.version.at_least("2.46"):
        view["is_default"] = found.name == request.plane.conf.default_share_group_type
    return view


def _project(request: ApiRequest) -> str:
    project = request.body_as(ProjectFields).project
    if not project.strip():
        raise Invalid("Name the 'project'.")
    return project
