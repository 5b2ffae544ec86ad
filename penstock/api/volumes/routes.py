"""Every resource of the Block Storage API."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.api.routing import Routes
from penstock.api.volumes import (
    attachments,
    connections,
    default_types,
    extensions,
    extra_specs,
    group_snapshots,
    group_types,
    groups,
    manage,
    messages,
    moving,
    pools,
    qos_specs,
    quota_sets,
    resource_filters,
    services,
    snapshot_metadata,
    snapshots,
    transfers,
    type_encryption,
    types,
    volume_actions,
    volume_images,
    volume_metadata,
    volumes,
)

RESOURCES: Sequence[Routes] = (
    types.routes,
    extra_specs.routes,
    type_encryption.routes,
    default_types.routes,
    qos_specs.routes,
    quota_sets.routes,
    services.routes,
    pools.routes,
    extensions.routes,
    messages.routes,
    resource_filters.routes,
    volumes.routes,
    volume_metadata.routes,
    volume_actions.routes,
    volume_images.routes,
    connections.routes,
    attachments.routes,
    snapshots.routes,
    snapshot_metadata.routes,
    transfers.routes,
    group_types.routes,
    groups.routes,
    group_snapshots.routes,
    manage.routes,
    moving.routes,
)
