"""Which volume type a request means."""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.volume_types import VolumeType
from penstock.errors import Invalid, NotFound
from penstock.services.control_plane import ControlPlane
from penstock.services.volume_types.types import CATALOG
from penstock.store import volume_types as rows
from penstock.store.database import Transaction

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
