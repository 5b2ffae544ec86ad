"""What the dummy volume driver keeps instead of storage: records."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class SnapshotRecord:
    """A record of a snapshot. Without an owner it is one we let go."""

    owner: str | None
    size_gib: int
    written: list[str] = field(default_factory=list)


@dataclass(slots=True)
class VolumeRecord:
    """A record of a volume, by its backend name. Without an owner it is one we let go.

    `written` is what clients were told is kept, oldest first; `initiators` may connect while it is exported.
    """

    owner: str | None
    pool: str
    size_gib: int
    written: list[str] = field(default_factory=list)
    snapshots: dict[str, SnapshotRecord] = field(default_factory=dict)
    is_exported: bool = False
    initiators: list[str] = field(default_factory=list)


def _fine(_step: str) -> None:
    return


class DummyVolumes:
    """The records of one backend, by name. A simulation keeps them over the driver's death.

    `before` is called with the name of each step before it is taken, and after it; what it raises the driver raises.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # different volumes are worked on at a time
        self.volumes: dict[str, VolumeRecord] = {}
        self.before: Callable[[str], None] = _fine

    def forget_exports(self) -> None:
        """Its host was away: nothing is exported until `ensure_export`."""
        for record in self.volumes.values():
            record.is_exported, record.initiators = False, []

    def text(self) -> str:
        """The records as a state file holds them."""
        return json.dumps({name: asdict(record) for name, record in self.volumes.items()})

    def read(self, text: str) -> None:
        """Take the records of a state file."""
        self.volumes.update({name: _record(values) for name, values in json.loads(text).items()})


def _record(values: dict[str, Any]) -> VolumeRecord:
    snapshots = {name: SnapshotRecord(**item) for name, item in values["snapshots"].items()}
    return VolumeRecord(**{**values, "snapshots": snapshots})
