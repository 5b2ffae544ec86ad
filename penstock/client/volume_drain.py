"""Volumes that leave a backend: by its driver's own migration where that can, else by a copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from penstock.client import volumes
from penstock.client.draining import Leaving, Look, Stage
from penstock.client.session import Session
from penstock.errors import Conflict, Fault, Forbidden

HOST, STATUS, OWNER = "os-vol-host-attr:host", "migration_status", "os-vol-tenant-attr:tenant_id"
SERVER_ITSELF = "penstock-internal"  # the project of what serves all others
MOVING = ("starting", "migrating", "completing")
UNTOLD = "its owner was told why, and 'penstock operation list --state failed' says it"


class VolumeMover:
    """`client.draining.Mover` of volumes. `session` is one of Block Storage."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def disable(self, backend: str) -> None:
        body = {"host": backend, "binary": "cinder-volume", "disabled_reason": "drained"}
        self._session.request("PUT", "os-services/disable-log-reason", body=body)

    def held(self, is_here: Callable[[str], bool]) -> tuple[list[Leaving], dict[str, str]]:
        """Also those in use, with snapshots or in a group: the server says why each stays.

        Not what the server made for itself, which nobody can ask it to move: copies under way, cached images.
        """
        here = self._on(is_here, "true")
        return [Leaving(one["id"], one["name"] or one["id"], one.get(STATUS) in MOVING) for one in here], {}

    def pools(self, leaving: Leaving) -> Sequence[dict[str, Any]]:
        volume_type = self._volume(leaving).get("volume_type")
        query = {"volume_type": volume_type} if volume_type else {}
        return list(self._session.get("scheduler-stats/get_pools", detail="true", **query)["pools"])

    def start(self, leaving: Leaving, pool: str) -> None:
        action = {"host": pool, "force_host_copy": False, "lock_volume": False}
        self._session.post(f"volumes/{leaving.id}/action", {"os-migrate_volume": action})

    def is_hopeless(self, fault: Fault) -> bool:
        return isinstance(fault, Conflict | Forbidden)  # Invalid is also that a pool has no room

    def look(self, leaving: Leaving) -> Look:
        found = self._volume(leaving)
        status = str(found.get(STATUS))
        if status in MOVING:
            return Look(Stage.GOING, status)
        if status == "error":
            reason = volumes.reason(self._session, leaving.id) or UNTOLD
            return Look(Stage.FAILED, status, reason=reason)
        if leaving.heading in ("its destination", found.get(HOST)) and status == "success":
            return Look(Stage.MOVED, status)
        return Look(Stage.STOPPED, status, reason="its migration was ended by somebody else")

    def besides(self, is_here: Callable[[str], bool]) -> Sequence[str]:
        """Cached images; copies under way end by themselves."""
        cached = [item for item in self._on(is_here, "false") if item.get(OWNER) == SERVER_ITSELF]
        return [
            f"{item['id']}: the copy of an image that new volumes are made from ({item['size']} GiB)" for item in cached
        ]

    def _on(self, is_here: Callable[[str], bool], consumes_quota: str) -> list[dict[str, Any]]:
        found = volumes.pages(self._session, "volumes", all_tenants=1, consumes_quota=consumes_quota)
        return [item for item in found if is_here(str(item.get(HOST)))]

    def _volume(self, leaving: Leaving) -> dict[str, Any]:
        return dict(self._session.get(f"volumes/{leaving.id}")["volume"])
