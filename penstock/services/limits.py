"""What a project may have and has, in the short form of the ``limits`` resource."""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.quotas import QuotaResource
from penstock.services import quotas
from penstock.services.control_plane import ControlPlane
from penstock.services.quotas import QuotaLine, QuotaOwner
from penstock.services.visibility import owner_of


def show(plane: ControlPlane, context: RequestContext) -> dict[QuotaResource, QuotaLine]:
    """Limits and usage of the caller's project. Raises Forbidden for a caller without a project."""
    project_id, _ = owner_of(context)
    return quotas.show(plane, QuotaOwner(project_id))
