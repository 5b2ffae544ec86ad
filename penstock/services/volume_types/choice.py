"""Which volume type a request means."""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.volume_types import VolumeType
from penstock.errors import Invalid, NotFound
from penstock.ids import is_uuid
from penstock.services.control_plane import ControlPlane
from penstock.services.volume_types.types import ACCESS
from penstock.store import volume_types as rows
from penstock.store.database import Transaction


def find(tx: Transaction, context: RequestContext, name_or_id: str) -> VolumeType:
    """The type called so, if it is open to the caller. Raises NotFound."""
    found = _find(tx, name_or_id)
    if found is None or not ACCESS.is_open(tx, context, found):
        raise ACCESS.missing(name_or_id)
    return found


def find_any(tx: Transaction, name_or_id: str) -> VolumeType:
    """The type called so, whomever it is open to. Raises NotFound."""
    found = _find(tx, name_or_id)
    if found is None:
        raise ACCESS.missing(name_or_id)
    return found


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
    if found is None or not ACCESS.is_open(tx, context, found):
        raise Invalid("Name a 'volume_type': no default volume type is configured (default_volume_type).")
    return found


def show_default(plane: ControlPlane, context: RequestContext) -> VolumeType:
    """The type that the caller's requests without one get. Raises NotFound when there is none."""
    with plane.database.read() as tx:
        found = default(tx, plane, context.project_id)
    if found is None:
        raise NotFound("No default volume type is configured (default_volume_type), or it does not exist.")
    return found


def _find(tx: Transaction, name_or_id: str) -> VolumeType | None:
    found = rows.get(tx, name_or_id) if is_uuid(name_or_id) else None
    return found or rows.get_by_name(tx, name_or_id)
