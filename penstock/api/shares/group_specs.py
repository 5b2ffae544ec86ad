"""The resource ``share-group-types/{type_id}/group-specs``: experimental from 2.31, for everybody since 2.55."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Lenient, check_pairs
from penstock.api.http import NO_CONTENT, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import Invalid, NotFound
from penstock.services import group_types

routes = Routes()

ALL = "share-group-types/{type_id}/group-specs"
ONE = "share-group-types/{type_id}/group-specs/{key}"


class SpecsBody(Lenient):
    """Body of create, which also updates."""

    group_specs: dict[str, Any]


@routes.get(ALL, since="2.31", until="2.54", experimental=True)
@routes.get(ALL, since="2.55")
def index(request: ApiRequest) -> Answer:
    """All group specs of a type."""
    request.enforce("share_group_types_spec:index")
    return Answer({"group_specs": group_types.get_specs(request.plane, request.params["type_id"])})


@routes.post(ALL, since="2.31", until="2.54", experimental=True)
@routes.post(ALL, since="2.55")
def create(request: ApiRequest) -> Answer:
    """Set some, keep the others."""
    request.enforce("share_group_types_spec:create")
    specs = check_pairs("group_specs", request.body_as(SpecsBody).group_specs)
    if not specs:
        raise Invalid("'group_specs' is empty: there is nothing to set.")
    group_types.set_specs(request.plane, request.params["type_id"], specs)
    return Answer({"group_specs": specs})


@routes.get(ONE, since="2.31", until="2.54", experimental=True)
@routes.get(ONE, since="2.55")
def show(request: ApiRequest) -> Answer:
    """One group spec."""
    request.enforce("share_group_types_spec:show")
    key = request.params["key"]
    specs = group_types.get_specs(request.plane, request.params["type_id"])
    if key not in specs:
        raise NotFound(f"The share group type has no group spec '{key[:64]}'.")
    return Answer({key: specs[key]})


@routes.put(ONE, since="2.31", until="2.54", experimental=True)
@routes.put(ONE, since="2.55")
def update(request: ApiRequest) -> Answer:
    """Change one group spec; the body repeats its name."""
    request.enforce("share_group_types_spec:update")
    key = request.params["key"]
    specs = check_pairs("group_specs", request.body_as(dict[str, Any]))
    if set(specs) != {key}:
        raise Invalid(f"The body must hold exactly the group spec of the path, '{key[:64]}'.")
    group_types.set_specs(request.plane, request.params["type_id"], specs)
    return Answer(specs)


@routes.delete(ONE, since="2.31", until="2.54", experimental=True)
@routes.delete(ONE, since="2.55")
def delete(request: ApiRequest) -> Answer:
    """Remove one group spec."""
    request.enforce("share_group_types_spec:delete")
    group_types.delete_spec(request.plane, request.params["type_id"], request.params["key"])
    return NO_CONTENT
