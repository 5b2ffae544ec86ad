"""The resource ``types/{type_id}/encryption``."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Name, Strict, Whole, parse_whole
from penstock.api.http import ACCEPTED, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.domain.volume_types import ControlLocation, TypeEncryption
from penstock.errors import Invalid, NotFound
from penstock.services.volume_types import encryption
from penstock.services.volume_types.encryption import EncryptionChange

routes = Routes()

ALL = "types/{type_id}/encryption"
ONE = "types/{type_id}/encryption/{key}"  # the encryption's id, or when read the name of a field
RULE = "volume_extension:volume_type_encryption"


class CreateFields(Strict):
    """How volumes of the type are to be encrypted."""

    provider: Name
    control_location: ControlLocation
    cipher: Name | None = None
    key_size: Whole | None = None


class CreateBody(Strict):
    """``{"encryption": {...}}``"""

    encryption: CreateFields


class UpdateFields(Strict):
    """What to change."""

    provider: Name | None = None
    control_location: ControlLocation | None = None
    cipher: Name | None = None
    key_size: Whole | None = None


class UpdateBody(Strict):
    """``{"encryption": {...}}``"""

    encryption: UpdateFields


@routes.get(ALL)
def index(request: ApiRequest) -> Answer:
    """How volumes of the type are encrypted; an empty object when they are not."""
    request.enforce(f"{RULE}:get")
    return Answer(_view(_get(request)))


@routes.get(ONE)
def show(request: ApiRequest) -> Answer:
    """One field of it."""
    request.enforce(f"{RULE}:get")
    view, key = _view(_get(request)), request.params["key"]
    if key not in view:
        raise NotFound(f"The encryption of the volume type has no '{key[:64]}'.")
    return Answer({key: view[key]})


@routes.post(ALL)
def create(request: ApiRequest) -> Answer:
    """Encrypt the volumes made with this type from now on."""
    request.enforce(f"{RULE}:create")
    asked = request.body_as(CreateBody).encryption
    if not asked.provider.strip():
        raise Invalid("Name the 'provider', for example 'luks'.")
    wanted = EncryptionChange(
        control_location=asked.control_location, cipher=asked.cipher, key_size_bits=_bits(asked.key_size)
    )
    made = encryption.create(request.plane, request.params["type_id"], asked.provider, wanted)
    shown = ("provider", "control_location", "cipher", "key_size", "volume_type_id", "encryption_id")
    view = _view(made)
    return Answer({"encryption": {key: view[key] for key in shown}})


@routes.put(ONE)
def update(request: ApiRequest) -> Answer:
    """Change how volumes made from now on are encrypted."""
    request.enforce(f"{RULE}:update")
    asked = request.body_as(UpdateBody).encryption
    sent: dict[str, Any] = request.body_as(dict[str, dict[str, Any]])["encryption"]
    if not sent:
        raise Invalid("Give a 'provider', 'control_location', 'cipher' or 'key_size' to change.")
    clears = frozenset(
        name for key, name in (("cipher", "cipher"), ("key_size", "key_size_bits")) if sent.get(key, "") is None
    )
    change = EncryptionChange(asked.provider, asked.control_location, asked.cipher, _bits(asked.key_size), clears)
    encryption.update(request.plane, request.params["type_id"], request.params["key"], change)
    return Answer({"encryption": sent})


@routes.delete(ONE)
def delete(request: ApiRequest) -> Answer:
    """Do not encrypt volumes of the type any more."""
    request.enforce(f"{RULE}:delete")
    encryption.delete(request.plane, request.params["type_id"], request.params["key"])
    return ACCEPTED


def _get(request: ApiRequest) -> TypeEncryption | None:
    return encryption.get(request.plane, request.context, request.params["type_id"])


def _bits(size: Whole | None) -> int | None:
    return None if size is None else parse_whole("key_size", size, minimum=0)


def _view(found: TypeEncryption | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "volume_type_id": found.volume_type_id,
        "encryption_id": found.encryption_id,
        "provider": found.provider,
        "control_location": found.control_location,
        "cipher": found.cipher,
        "key_size": found.key_size_bits,
        "created_at": stamp(found.created_at),
        "updated_at": stamp(found.updated_at),
        "deleted_at": None,
        "deleted": False,
    }
