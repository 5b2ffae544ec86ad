"""What the backend reports of itself and its pools, in usable space."""

from __future__ import annotations

from typing import Any

from penstock.units import bytes_to_gib
from penstock.volume.drivers.zfs.identity import Kind, kind_of
from penstock.volume.drivers.zfs.options import Settings
from penstock.volume.drivers.zfs.storage import Storage
from penstock.zfs.marks import KIND
from penstock.zfs.names import Dataset
from penstock.zfs.pools import Space, health, space

SERVING = frozenset({"ONLINE", "DEGRADED"})


def pool_stats(settings: Settings, storage: Storage, common: dict[str, Any]) -> list[dict[str, Any]]:
    """One for each root; a pool that is not imported, or suspended, is down. Three commands and one more a root."""
    spaces = space(storage.zfs, list(settings.roots.values()))
    states = health(storage.zfs)
    return [
        {
            "pool_name": pool,
            **_capacity(storage, root, spaces.get(root)),
            "backend_state": "up" if states.get(root.pool) in SERVING and root in spaces else "down",
            **common,
        }
        for pool, root in sorted(settings.roots.items())
    ]


def _capacity(storage: Storage, root: Dataset, found: Space | None) -> dict[str, Any]:
    if found is None:
        return {"total_capacity_gb": 0, "free_capacity_gb": 0, "provisioned_capacity_gb": 0}
    below = storage.zfs.tree(root, (*storage.medium.asked, KIND), kinds=("filesystem", "volume"))
    ours = {
        name: properties
        for name, properties in below.items()
        if kind_of(properties) is Kind.VOLUME and properties["type"].value == storage.medium.type
    }
    return {
        "total_capacity_gb": bytes_to_gib(found.usable_bytes),
        "free_capacity_gb": bytes_to_gib(found.available_bytes),
        "provisioned_capacity_gb": bytes_to_gib(sum(storage.medium.sizes(ours).values())),
        "total_volumes": len(ours),
    }
