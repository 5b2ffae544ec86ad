"""The resource ``types/{type_id}/extra_specs``."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Strict, check_pairs
from penstock.api.http import ACCEPTED, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.volumes.types import shown_specs
from penstock.errors import Invalid, NotFound
from penstock.services.volume_types import types

routes = Routes()

ALL = "types/{type_id}/extra_specs"
ONE = "types/{type_id}/extra_specs/{key}"
RULE = "volume_extension:types_extra_specs"


class SpecsBody(Strict):
    """Body of create, which also updates."""

    extra_specs: dict[str, Any]


@routes.get(ALL)
def index(request: ApiRequest) -> Answer:
    """All extra specs of a type."""
    request.enforce(f"{RULE}:index")
    return Answer({"extra_specs": _specs(request)})


@routes.post(ALL)
def create(request: ApiRequest) -> Answer:
    """Set some, keep the others."""
    request.enforce(f"{RULE}:create")
    specs = check_pairs("extra_specs", request.body_as(SpecsBody).extra_specs, value_length=255)
    if not specs:
        raise Invalid("'extra_specs' is empty: there is nothing to set.")
    return Answer({"extra_specs": types.set_specs(request.plane, request.params["type_id"], specs)})


@routes.get(ONE)
def show(request: ApiRequest) -> Answer:
    """One extra spec."""
    request.enforce(f"{RULE}:show")
    key, specs = request.params["key"], _specs(request)
    if key not in specs:
        raise NotFound(f"The volume type has no extra spec '{key[:64]}'.")
    return Answer({key: specs[key]})


@routes.put(ONE)
def update(request: ApiRequest) -> Answer:
    """Change one extra spec; the body repeats its name."""
    request.enforce(f"{RULE}:update")
    key = request.params["key"]
    specs = check_pairs("extra_specs", request.body_as(dict[str, Any]), value_length=255)
    if set(specs) != {key}:
        raise Invalid(f"The body must hold exactly the extra spec of the path, '{key[:64]}'.")
    return Answer(types.set_specs(request.plane, request.params["type_id"], specs))


@routes.delete(ONE)
def delete(request: ApiRequest) -> Answer:
    """Remove one extra spec."""
    request.enforce(f"{RULE}:delete")
    types.delete_spec(request.plane, request.params["type_id"], request.params["key"])
    return ACCEPTED


def _specs(request: ApiRequest) -> dict[str, str]:
    return shown_specs(request, types.get_specs(request.plane, request.context, request.params["type_id"]))
