"""Which volume type a request means, and what the type allows."""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.volume_types import VolumeType, WholeVolumeType
from penstock.errors import Invalid, NotFound
from penstock.services.control_plane import ControlPlane
from penstock.services.volume_types.types import CATALOG
from penstock.store import volume_types as rows
from penstock.store.database import Transaction

MIN_SIZE = "provisioning:min_vol_size"
MAX_SIZE = "provisioning:max_vol_size"

find = CATALOG.find
find_any = CATALOG.find_any


def default(tx: Transaction, plane: ControlPlane, project_id: str | None) -> VolumeType | None:
    """The project's default type, else the configured one; None when there is neither."""
    own = rows.default_of(tx, project_id) if project_id is not None else None
    if own is not None:
        return rows.get(tx, own)
    name = plane.conf.default_volume_type
    return rows.get_by_name(tx, name) if name else None


def required_default(tx: Transaction, plane: ControlPlane, context: RequestContext) -> VolumeType:
    """The type that a request without one gets. Raises Invalid when there is none, or it is closed to the caller."""
    found = default(tx, plane, context.project_id)
    if found is None or not CATALOG.is_open(tx, context, found):
        raise Invalid("Name a 'volume_type': no default volume type is configured (default_volume_type).")
    return found


def show_default(plane: ControlPlane, context: RequestContext) -> VolumeType:
    """The type that the caller's requests without one get. Raises NotFound when there is none."""
    with plane.database.read() as tx:
        found = default(tx, plane, context.project_id)
    if found is None:
        raise NotFound("No default volume type is configured (default_volume_type), or it does not exist.")
    return found


def check_size(volume_type: VolumeType | None, size_gib: int) -> None:
    """Raise Invalid when the type does not allow that size."""
    if volume_type is None:
        return
    smallest, largest = _limit(volume_type, MIN_SIZE), _limit(volume_type, MAX_SIZE)
    if smallest is not None and size_gib < smallest:
        raise Invalid(f"Volumes of type '{volume_type.name}' have at least {smallest} GiB; {size_gib} were asked for.")
    if largest is not None and size_gib > largest:
        raise Invalid(f"Volumes of type '{volume_type.name}' have at most {largest} GiB; {size_gib} were asked for.")


def refuse_encryption(tx: Transaction, volume_type: VolumeType | None) -> None:
    """Raise Invalid for a type whose volumes are encrypted: keys need a key manager, which there is none of."""
    if volume_type is not None and rows.encryption_of(tx, volume_type.id) is not None:
        raise _encrypted(volume_type)


def refuse_encrypted(whole_type: WholeVolumeType | None) -> None:
    """The same for a type that was read with its encryption."""
    if whole_type is not None and whole_type.encryption is not None:
        raise _encrypted(whole_type.own)


def _encrypted(volume_type: VolumeType) -> Invalid:
    return Invalid(f"Volumes of type '{volume_type.name}' are encrypted, which needs a key manager; there is none.")


def _limit(volume_type: VolumeType, spec: str) -> int | None:
    text = volume_type.extra_specs.get(spec)
    try:
        return None if text is None else int(text)
    except ValueError:
        raise Invalid(f"The extra spec '{spec}' of volume type '{volume_type.name}' is not a number.") from None
