"""The resource ``default-types``: the type a project's requests without one get (since 3.62)."""

from __future__ import annotations

from penstock.api.bodies import Name, Strict, check_name
from penstock.api.http import NO_CONTENT, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import Invalid
from penstock.services.volume_types import defaults

routes = Routes()

ALL = "default-types"
ONE = "default-types/{project_id}"
RULE = "volume_extension:default_"


class DefaultFields(Strict):
    """A volume type by name or id."""

    volume_type: Name


class DefaultBody(Strict):
    """``{"default_type": {...}}``"""

    default_type: DefaultFields


@routes.get(ALL, "3.62")
def index(request: ApiRequest) -> Answer:
    """Every default that is set."""
    request.enforce(f"{RULE}get_all")
    return Answer({"default_types": [_view(*found) for found in defaults.list_defaults(request.plane)]})


@routes.get(ONE, "3.62")
def show(request: ApiRequest) -> Answer:
    """A project's default."""
    request.enforce(f"{RULE}get")
    project_id = request.params["project_id"]
    return Answer({"default_type": _view(project_id, defaults.get(request.plane, project_id))})


@routes.put(ONE, "3.62")
@routes.post(ONE, "3.62")
def update(request: ApiRequest) -> Answer:
    """Set a project's default."""
    request.enforce(f"{RULE}set_or_update")
    project_id = check_name("project", request.params["project_id"]) or ""
    asked = request.body_as(DefaultBody).default_type.volume_type
    if not asked.strip():
        raise Invalid("Name the 'volume_type'.")
    return Answer({"default_type": _view(project_id, defaults.set_default(request.plane, project_id, asked))})


@routes.delete(ONE, "3.62")
def delete(request: ApiRequest) -> Answer:
    """The project gets the configured type again."""
    request.enforce(f"{RULE}unset")
    defaults.unset_default(request.plane, request.params["project_id"])
    return NO_CONTENT


def _view(project_id: str, type_id: str) -> dict[str, str]:
    return {"project_id": project_id, "volume_type_id": type_id}
