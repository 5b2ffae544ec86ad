"""What the backend says of itself: capacity in bytes users can use, capabilities, and what its exports depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from penstock.errors import NotFound, Unavailable
from penstock.host.boots import boot_of
from penstock.share.drivers.zfsonlinux.identity import ID, KIND, Kind, kind_of, owner_id
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.share.drivers.zfsonlinux.storage import Storage
from penstock.units import bytes_to_gib
from penstock.zfs.client import Zfs
from penstock.zfs.pools import Space, space
from penstock.zfs.properties import bytes_of

log = structlog.get_logger(__name__)

VERSION = "1.0"
BACKEND: Mapping[str, Any] = {
    "storage_protocol": "NFS",
    "vendor_name": "Penstock",
    "driver_version": VERSION,
    "driver_name": "ZFS",
}


def replication(domain: str | None) -> dict[str, Any]:
    """Replicas can be read; a backend without a domain makes none."""
    return {"replication_type": "readable"} if domain else {}


def pool_stats(settings: Settings, storage: Storage, common: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry per zpool; those that are missing are left out. Raises Unavailable when all are."""
    spaces = space(storage.zfs, list(settings.roots.values()))
    if not spaces:
        raise Unavailable(f"{storage.host.name} has none of {', '.join(map(str, settings.roots.values()))}")
    options = dict(settings.creation_options)
    return [
        {
            "pool_name": pool,
            **_capacity(spaces[root]),
            "reserved_percentage": common["reserved_percentage"],
            "reserved_snapshot_percentage": common["reserved_snapshot_percentage"],
            "reserved_share_extend_percentage": common["reserved_share_extend_percentage"],
            "max_over_subscription_ratio": common["max_over_subscription_ratio"],
            "thin_provisioning": [True, False],
            "compression": _offered(options.get("compression")),
            "dedupe": _offered(options.get("dedup")),
            "qos": False,
        }
        for pool, root in settings.roots.items()
        if root in spaces
    ]


def _capacity(found: Space) -> dict[str, float]:
    return {
        "total_capacity_gb": bytes_to_gib(found.usable_bytes),
        "free_capacity_gb": bytes_to_gib(found.available_bytes),
    }


def _offered(option: str | None) -> list[bool]:
    """A property set for all is what there is; unset, a type may ask for either."""
    if option is None:
        return [True, False]
    return [option != "off"]


def used_gib(settings: Settings, zfs: Zfs) -> dict[str, float]:
    """The users' data in GiB by instance id, without snapshots. One command per pool; missing pools have nothing."""
    used: dict[str, float] = {}
    for root in settings.roots.values():
        try:
            tree = zfs.tree(root, (KIND, ID, "referenced"))
        except NotFound:
            log.warning("pool.missing", dataset=str(root))
            continue
        for properties in tree.values():
            owner = owner_id(properties)
            if owner and kind_of(properties) is Kind.SHARE:
                used[owner] = bytes_to_gib(bytes_of(properties, "referenced"))
    return used


def backend_info(settings: Settings, storage: Storage) -> dict[str, Any]:
    """What the exports depend on; it also differs after a restart of the host."""
    return {
        "version": VERSION,
        "zfs": f"{storage.flavour.name} {storage.flavour.version}",
        "export_ips": ",".join(settings.export_ips),
        "service_ip": settings.service_ip or "",
        "datasets": ",".join(map(str, settings.roots.values())),
        "nfs_server": type(storage.nfs).__name__,
        "boot": boot_of(storage.host),
    }
