"""How fast volumes are copied: by `volume_copy_bps_limit`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Throttle:
    """A limit in bytes a second; 0 is none. The copier keeps to it itself, for each copy."""

    bps_limit: int = 0
