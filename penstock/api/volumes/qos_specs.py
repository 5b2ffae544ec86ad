"""The resource ``qos-specs``. Associations are made with GET, as published."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Name, Strict, check_name, check_pairs, parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.links import links
from penstock.api.paging import marked_page_of
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.domain.volume_types import QosConsumer, QosSpecs
from penstock.errors import Invalid
from penstock.services.paging import part_of
from penstock.services.volume_types import qos
from penstock.services.volume_types.qos import NewSpecs

routes = Routes()

ONE = "qos-specs/{specs_id}"
RULE = "volume_extension:qos_specs_manage"
SORT_KEYS = ("id", "name", "consumer", "created_at", "updated_at")


class SpecsBody(Strict):
    """``{"qos_specs": {...}}``: name and consumer beside the specs themselves."""

    qos_specs: dict[str, Any]


class KeysBody(Strict):
    """``{"keys": [...]}``"""

    keys: list[Name]


@routes.get("qos-specs")
def index(request: ApiRequest) -> Answer:
    """All QoS specs."""
    request.enforce(f"{RULE}:get_all")
    page = marked_page_of(request, SORT_KEYS)
    found = part_of(qos.list_specs(request.plane), page, value_of=getattr)
    return Answer({"qos_specs": [_view(item) for item in found]})


@routes.post("qos-specs")
def create(request: ApiRequest) -> Answer:
    """New QoS specs."""
    request.enforce(f"{RULE}:create")
    fields = request.body_as(SpecsBody).qos_specs
    name = fields.pop("name", None)
    if not isinstance(name, str) or not name.strip():
        raise Invalid("QoS specs need a 'name' of 1 to 255 characters.")
    check_name("name", name)
    consumer = _consumer(fields.pop("consumer", QosConsumer.BACK_END))
    nested = fields.pop("specs", None)
    specs = check_pairs("qos_specs", {**fields, **(nested if isinstance(nested, dict) else {})}, value_length=255)
    return _one(request, qos.create(request.plane, NewSpecs(name.strip(), consumer, specs)))


@routes.get(ONE)
def show(request: ApiRequest) -> Answer:
    """One of them."""
    request.enforce(f"{RULE}:get")
    return _one(request, qos.get(request.plane, request.params["specs_id"]))


@routes.put(ONE)
def update(request: ApiRequest) -> Answer:
    """Set some keys, keep the others."""
    request.enforce(f"{RULE}:update")
    fields = request.body_as(SpecsBody).qos_specs
    if not fields:
        raise Invalid("'qos_specs' is empty: there is nothing to set.")
    consumer = _consumer(fields["consumer"]) if "consumer" in fields else None
    specs = check_pairs("qos_specs", {k: v for k, v in fields.items() if k != "consumer"}, value_length=255)
    qos.update(request.plane, request.params["specs_id"], specs, consumer=consumer)
    return Answer({"qos_specs": fields})


@routes.put("qos-specs/{specs_id}/delete_keys")
def delete_keys(request: ApiRequest) -> Answer:
    """Remove some keys."""
    request.enforce(f"{RULE}:update")
    keys = request.body_as(KeysBody).keys
    if not keys:
        raise Invalid("'keys' is empty: there is nothing to remove.")
    qos.delete_keys(request.plane, request.params["specs_id"], keys)
    return ACCEPTED


@routes.delete(ONE)
def delete(request: ApiRequest) -> Answer:
    """Forget them."""
    request.enforce(f"{RULE}:delete")
    force = parse_flag("force", request.query.get("force", "false"))
    qos.delete(request.plane, request.params["specs_id"], force=force)
    return ACCEPTED


@routes.get("qos-specs/{specs_id}/associations")
def associations(request: ApiRequest) -> Answer:
    """The volume types that have them."""
    request.enforce(f"{RULE}:get_all")
    found = qos.associations(request.plane, request.params["specs_id"])
    shown = [{"association_type": "volume_type", "name": item.name, "id": item.id} for item in found]
    return Answer({"qos_associations": shown})


@routes.get("qos-specs/{specs_id}/associate")
def associate(request: ApiRequest) -> Answer:
    """Give them to a volume type."""
    request.enforce(f"{RULE}:update")
    qos.associate(request.plane, request.params["specs_id"], _type_id(request))
    return ACCEPTED


@routes.get("qos-specs/{specs_id}/disassociate")
def disassociate(request: ApiRequest) -> Answer:
    """Take them from a volume type."""
    request.enforce(f"{RULE}:update")
    qos.disassociate(request.plane, request.params["specs_id"], _type_id(request))
    return ACCEPTED


@routes.get("qos-specs/{specs_id}/disassociate_all")
def disassociate_all(request: ApiRequest) -> Answer:
    """Take them from every volume type."""
    request.enforce(f"{RULE}:update")
    qos.disassociate_all(request.plane, request.params["specs_id"])
    return ACCEPTED


def _one(request: ApiRequest, found: QosSpecs) -> Answer:
    return Answer({"qos_specs": _view(found), "links": links(request.url, "qos-specs", found.id)})


def _view(found: QosSpecs) -> dict[str, Any]:
    return {"id": found.id, "name": found.name, "consumer": found.consumer, "specs": found.specs}


def _consumer(value: object) -> QosConsumer:
    try:
        return QosConsumer(str(value))
    except ValueError:
        raise Invalid(f"'consumer' must be one of {', '.join(QosConsumer)}.") from None


def _type_id(request: ApiRequest) -> str:
    type_id = request.query.get("vol_type_id")
    if not type_id:
        raise Invalid("Name the volume type by its id in 'vol_type_id'.")
    return type_id
