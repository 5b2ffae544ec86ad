"""What the dummy driver keeps instead of storage: records; backends of one domain can see each other's."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from penstock.share.replication import Role


@dataclass(slots=True)
class Snapshot:
    """A record of a snapshot. Without an owner it is one we let go. `snapshot_id` is the same for all its instances,
    `owner` the instance's."""

    owner: str | None
    size_gib: int
    used_gib: float
    snapshot_id: str | None = None
    written: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Filesystem:
    """A record of a share. Without an owner it is one we let go.

    `written` is what clients were told is kept, oldest first. `role` and `epoch` are those of
    docs/explanation/replication.md; `fork` is how much of `written` a copy that was demoted has in common with the
    active one, None while nobody has looked.
    """

    owner: str | None
    pool: str
    size_gib: int
    used_gib: float = 0.0
    rules: list[list[str]] = field(default_factory=list)  # type, client, level
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    role: str = Role.ACTIVE
    epoch: int = 1
    is_served: bool = True  # no longer after the host was away, until `ensure_shares`
    synced_at: str | None = None
    promotion: dict[str, Any] = field(default_factory=dict)  # how this copy became the active one
    set_aside: list[str] = field(default_factory=list)


def _fine(_section: str, _what: str) -> None:
    return


class DummyStorage:
    """The records of several backends, by section and path. A simulation keeps it over the driver's death.

    `before` is called with a section and the name of each step before it is taken there, also by other backends'
    drivers; ``copy from SECTION`` is a step that needs both. What it raises the driver raises.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # for the records: different shares are worked on at a time
        self.backends: dict[str, dict[str, Filesystem]] = {}
        self.boots: dict[str, int] = {}
        self.before: Callable[[str, str], None] = _fine

    def of(self, section: str) -> dict[str, Filesystem]:
        """The records of one backend, by path."""
        return self.backends.setdefault(section, {})

    def reboot(self, section: str) -> None:
        """Its host was away: what is replicated is served again when `ensure_shares` says so."""
        self.boots[section] = self.boots.get(section, 0) + 1
        for record in self.of(section).values():
            record.is_served = False

    def find(self, section: str, owner: str) -> Filesystem | None:
        """The record of an instance on a backend."""
        return next((record for record in self.of(section).values() if record.owner == owner), None)


# Backends of one process, one configuration and one replication domain have to find each other, as hosts do by the
# network. Weak, so that it ends with the drivers.
_DOMAINS: WeakValueDictionary[tuple[int, str], DummyStorage] = WeakValueDictionary()
_GUARD = threading.Lock()


def storage_of(configuration: object, domain: str | None) -> DummyStorage:
    """The storage that the backends of `domain` in this configuration share; a private one without a domain."""
    if domain is None:
        return DummyStorage()
    with _GUARD:
        found = _DOMAINS.get((id(configuration), domain))
        if found is None:
            found = _DOMAINS[id(configuration), domain] = DummyStorage()
        return found


def parse(text: str) -> dict[str, Filesystem]:
    """The records of a state file."""
    return {path: _record(values) for path, values in json.loads(text).items()}


def _record(values: dict[str, Any]) -> Filesystem:
    snapshots = {name: Snapshot(**item) for name, item in values["snapshots"].items()}
    return Filesystem(**{**values, "snapshots": snapshots})
