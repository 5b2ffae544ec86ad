"""iSCSI connection data, from what an export left in a volume."""

from __future__ import annotations

from typing import Any

from penstock.volume.errors import InvalidVolume
from penstock.volume.models import VolumeModel


def iscsi_properties(volume: VolumeModel, *, multipath: bool, discard: bool) -> dict[str, Any]:
    """Connection data, in os-brick's words, from ``provider_location`` and ``provider_auth``.

    `multipath` tells all paths, in the plural names too. Raises InvalidVolume for a volume that is not exported.
    """
    words = (volume.provider_location or "").split()
    if len(words) < 2:
        raise InvalidVolume(f"Volume {volume.id} has no iSCSI export.")
    portals = words[0].partition(",")[0].split(";")
    target = words[1]
    lun = int(words[2]) if len(words) > 2 else 0
    properties: dict[str, Any] = {
        "target_discovered": False,
        "target_portal": portals[0],
        "target_iqn": target,
        "target_lun": lun,
        "volume_id": volume.id,
    }
    if len(portals) > 1 or multipath:
        properties.update(target_portals=portals, target_iqns=[target] * len(portals), target_luns=[lun] * len(portals))
    if volume.provider_auth:
        method, user, password = volume.provider_auth.split()
        properties.update(auth_method=method, auth_username=user, auth_password=password)
    if discard:
        properties["discard"] = True
    return properties
