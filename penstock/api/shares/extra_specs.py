"""The resource ``types/{type_id}/extra_specs``."""

from __future__ import annotations

from penstock.api.bodies import Lenient
from penstock.api.http import ACCEPTED, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.shares.types import SpecValue, spec_texts
from penstock.domain.types import REQUIRED_SPEC
from penstock.errors import Invalid, NotFound
from penstock.services import types

routes = Routes()

ALL = "types/{type_id}/extra_specs"
ONE = "types/{type_id}/extra_specs/{key}"


class SpecsBody(Lenient):
    """Body of create, which also updates."""

    extra_specs: dict[str, SpecValue]


@routes.get(ALL)
def index(request: ApiRequest) -> Answer:
    """All extra specs of a type."""
    request.enforce("share_types_extra_spec:index")
    return Answer({"extra_specs": types.get_specs(request.plane, request.params["type_id"])})


@routes.post(ALL)
def create(request: ApiRequest) -> Answer:
    """Set some, keep the others."""
    request.enforce("share_types_extra_spec:create")
    specs = spec_texts(request.body_as(SpecsBody).extra_specs)
    if not specs:
        raise Invalid("'extra_specs' is empty: there is nothing to set.")
    return Answer({"extra_specs": types.set_specs(request.plane, request.params["type_id"], specs)})


@routes.get(ONE)
def show(request: ApiRequest) -> Answer:
    """One extra spec."""
    request.enforce("share_types_extra_spec:show")
    key = request.params["key"]
    specs = types.get_specs(request.plane, request.params["type_id"])
    if key not in specs:
        raise NotFound(f"The share type has no extra spec '{key[:64]}'.")
    return Answer({key: specs[key]})


@routes.put(ONE)
def update(request: ApiRequest) -> Answer:
    """Change one extra spec; the body repeats its name."""
    request.enforce("share_types_extra_spec:update")
    key = request.params["key"]
    specs = spec_texts(request.body_as(dict[str, SpecValue]))
    if set(specs) != {key}:
        raise Invalid(f"The body must hold exactly the extra spec of the path, '{key[:64]}'.")
    return Answer(types.set_specs(request.plane, request.params["type_id"], specs))


@routes.delete(ONE)
def delete(request: ApiRequest) -> Answer:
    """Remove one extra spec."""
    request.enforce("share_types_extra_spec:delete")
    required = (REQUIRED_SPEC,) if request.version.at_least("2.24") else (REQUIRED_SPEC, "snapshot_support")
    types.delete_spec(request.plane, request.params["type_id"], request.params["key"], required=required)
    return ACCEPTED
