"""Every resource of the Shared File Systems API."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.api.routing import Routes
from penstock.api.shares import (
    access,
    backends,
    export_locations,
    extra_specs,
    group_specs,
    group_types,
    instances,
    limits,
    manage,
    messages,
    migration,
    quota_sets,
    replicas,
    share_actions,
    share_metadata,
    shares,
    snapshot_metadata,
    snapshots,
    types,
)

RESOURCES: Sequence[Routes] = (
    types.routes,
    quota_sets.routes,
    messages.routes,
    limits.routes,
    extra_specs.routes,
    backends.routes,
    shares.routes,
    share_actions.routes,
    migration.routes,
    share_metadata.routes,
    access.routes,
    snapshots.routes,
    snapshot_metadata.routes,
    instances.routes,
    export_locations.routes,
    manage.routes,
    replicas.routes,
    group_types.routes,
    group_specs.routes,
)
