"""Facts about pools and space, for reports."""
from __future__ import annotations
from collections.abc import Sequence
from dataclasses import dataclass
from penstock.zfs.names import Dataset


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes a dataset and all below it use, may still use, and have promised."""

    used_bytes: int
    available_bytes: int

    @property
    def usable_bytes(self) -> int: return self.used_bytes + self.available_bytes


# def space(zfs: Zfs, datasets: Sequence[Dataset]) -> dict[Dataset, Space]
# def health(zfs: Zfs, pools: Sequence[str]) -> dict[str, str]     ONLINE, DEGRADED, ...; absent pools are absent
