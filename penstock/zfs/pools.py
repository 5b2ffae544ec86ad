"""Facts about pools and space, for reports and placement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.errors import BackendFault
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset
from penstock.zfs.properties import bytes_of


@dataclass(frozen=True, slots=True)
class Space:
    """What a dataset and all below it use, and may still use, after raidz, slop, quotas and reservations."""

    used_bytes: int
    available_bytes: int

    @property
    def usable_bytes(self) -> int:
        """Used and available together: the capacity to report."""
        return self.used_bytes + self.available_bytes


def space(zfs: Zfs, datasets: Sequence[Dataset]) -> dict[Dataset, Space]:
    """The space of each dataset, in one command; those that do not exist are absent."""
    found = zfs.get_many(datasets, ["used", "available"])
    return {
        dataset: Space(bytes_of(found[str(dataset)], "used"), bytes_of(found[str(dataset)], "available"))
        for dataset in datasets
        if str(dataset) in found
    }


def health(zfs: Zfs) -> dict[str, str]:
    """ONLINE, DEGRADED, SUSPENDED ... by imported pool; both flavours."""
    state: dict[str, str] = {}
    for line in zfs.commands.zpool("list", "-H", "-o", "name,health").splitlines():
        columns = line.split("\t")
        if len(columns) != 2:
            raise BackendFault(f"zpool list printed {len(columns)} columns instead of 2: {line!r}")
        state[columns[0]] = columns[1]
    return state
