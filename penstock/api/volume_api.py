"""The Block Storage API under ``/volume/v3``, and the list of its versions under ``/volume``."""

from __future__ import annotations

from penstock.api.fault_bodies import MethodNotAllowed, share_fault
from penstock.api.http import Answer, HttpRequest
from penstock.api.microversion import VOLUMES
from penstock.api.storage_api import ApiKind, not_found
from penstock.api.versions import volume_versions

VOLUME_API = ApiKind("volume/v3", VOLUMES, volume_versions)


class VolumeRoot:
    """``/volume``: the versions there are. Clients look here without a token."""

    def handle(self, request: HttpRequest) -> Answer:
        """The list of versions, or 404."""
        if request.path:
            return not_found(request)
        if request.method not in ("GET", "HEAD"):
            return share_fault(MethodNotAllowed("Only GET is possible here.", allowed=("GET",)))
        found = volume_versions(request)
        return Answer(found.body, 300, route="/volume")
