"""Every resource of the Block Storage API."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.api.routing import Routes
from penstock.api.volumes import default_types, extra_specs, qos_specs, type_encryption, types

RESOURCES: Sequence[Routes] = (
    types.routes,
    extra_specs.routes,
    type_encryption.routes,
    default_types.routes,
    qos_specs.routes,
)
