"""Which share type a request means, and what the type allows."""

from __future__ import annotations

from penstock.domain.types import REQUIRED_SPEC, ShareType
from penstock.errors import Invalid
from penstock.services.control_plane import ControlPlane
from penstock.services.types import CATALOG
from penstock.store import types
from penstock.store.database import Transaction

find = CATALOG.find
find_any = CATALOG.find_any

MIN_SIZE = "provisioning:min_share_size"
MAX_SIZE = "provisioning:max_share_size"
MAX_EXTEND_SIZE = "provisioning:max_share_extend_size"


def default(tx: Transaction, plane: ControlPlane) -> ShareType:
    """The configured default type. Raises Invalid when there is none: the request must name one."""
    name = plane.conf.default_share_type
    found = types.get_by_name(tx, name) if name else None
    if found is None:
        raise Invalid("Name a 'share_type': no default share type is configured.")
    return found


def check_size(share_type: ShareType | None, size_gib: int, *, extending: bool = False) -> None:
    """Raise Invalid when the type does not allow that size."""
    if share_type is None:
        return
    smallest = _limit(share_type, MIN_SIZE)
    if smallest is not None and size_gib < smallest:
        raise Invalid(f"Shares of type '{share_type.name}' have at least {smallest} GiB; {size_gib} were asked for.")
    largest = _limit(share_type, MAX_SIZE)
    if extending:
        largest = _limit(share_type, MAX_EXTEND_SIZE) or largest
    if largest is not None and size_gib > largest:
        raise Invalid(f"Shares of type '{share_type.name}' have at most {largest} GiB; {size_gib} were asked for.")


def check_zone(share_type: ShareType, zone: str | None) -> None:
    """Raise Invalid when the type is not offered in that availability zone."""
    zones = [name.strip() for name in share_type.extra_specs.get("availability_zones", "").split(",") if name.strip()]
    if zone and zones and zone not in zones:
        raise Invalid(f"Share type '{share_type.name}' is not offered in availability zone '{zone}'.")


def check_without_network(share_type: ShareType) -> None:
    """Raise Invalid for a type that needs a share network, for a request without one."""
    if share_type.claims(REQUIRED_SPEC):
        raise Invalid(f"Share type '{share_type.name}' needs a 'share_network_id'.")


def _limit(share_type: ShareType, spec: str) -> int | None:
    text = share_type.extra_specs.get(spec)
    try:
        return None if text is None else int(text)
    except ValueError:
        raise Invalid(f"The extra spec '{spec}' of share type '{share_type.name}' is not a number.") from None
