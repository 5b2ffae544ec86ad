"""What the backend tells the scheduler of itself."""

from __future__ import annotations

from typing import Any

from penstock.errors import Invalid
from penstock.units import GIB
from penstock.volume.drivers.zfssa.calls import Appliance
from penstock.volume.drivers.zfssa.location import Location
from penstock.volume.drivers.zfssa.options import Settings

VENDOR, PROTOCOL = "Oracle", "iSCSI"
STRIPPED = "AKCS_STRIPPED"


def stats(appliance: Appliance, settings: Settings, *, version: str) -> dict[str, Any]:
    """Space and properties. Raises Invalid when neither this head nor the peer it took over from owns the pool."""
    space = appliance.space(settings.pool, settings.project)
    profile = _owned_profile(appliance, settings.pool)
    return {
        "volume_backend_name": settings.backend_name,
        "vendor_name": VENDOR,
        "driver_version": version,
        "storage_protocol": PROTOCOL,
        "location_info": str(Location.of(settings)),
        "total_capacity_gb": (space.available_bytes + space.used_bytes) / GIB,
        "free_capacity_gb": space.available_bytes / GIB,
        "reserved_percentage": 0,
        "QoS_support": False,
        "multiattach": True,
        "zfssa_poolprofile": profile,
        "zfssa_volblocksize": settings.block_size,
        "zfssa_sparse": str(settings.is_sparse),
        "zfssa_compression": settings.compression,
        "zfssa_logbias": settings.logbias,
    }


def _owned_profile(appliance: Appliance, name: str) -> str:
    pool, node = appliance.pool(name), appliance.version()
    if (node.asn, node.name) == (pool.asn, pool.owner):
        return pool.profile
    peer = appliance.cluster()
    if (peer.asn, peer.name, peer.state) == (pool.asn, pool.owner, STRIPPED):
        return pool.profile
    raise Invalid(f"The pool {name} is owned by {pool.owner}, not by the appliance's head {node.name}.")
