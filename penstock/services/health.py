"""Is the process able to do its work?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from penstock.errors import Unavailable
from penstock.services.control_plane import ControlPlane
from penstock.store import backends


@dataclass(frozen=True, slots=True)
class Health:
    """What a monitor wants to know. `problem` is a sentence, or None; `backends` says of each whether it is ready."""

    is_serving: bool
    problem: str | None = None
    backends: Mapping[str, bool] = field(default_factory=dict)


def look(plane: ControlPlane) -> Health:
    """Ask the database something small: which services there are, and when they were last heard of."""
    oldest = plane.clock.utc() - timedelta(seconds=plane.conf.service_down_time)
    try:
        with plane.database.read() as tx:
            services = backends.list_services(tx)
    except Unavailable as err:
        return Health(False, f"The database does not answer: {err.message}")
    return Health(True, None, {s.host: s.ready and (s.updated_at or s.created_at) >= oldest for s in services})
