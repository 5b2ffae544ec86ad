"""What a driver that replicates volumes by itself can tell and do beyond the published interface.

Optional: the volume manager asks ``isinstance(driver, HasReplicas)``. The updates of such a driver's `failover_host`
may have, beside what is stored, ``recovery_point`` (naive UTC): what was written to the volume later is not in what is
served now; ``snapshots``: the ids of those of its snapshots that are, told with it; and ``reason``: why a volume could
not be failed over, or why it was not planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from penstock.volume.interface.values import Context
from penstock.volume.models import VolumeModel

RECOVERY_POINT, REASON, SNAPSHOTS = "recovery_point", "reason", "snapshots"


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """A volume's copy on the target `backend_id`, as read there.

    `synced_at` (naive UTC) is when what it holds was the volume's state, None before the first copy has ended.
    `fault` says why it could not be looked at, or brought up to date. `diverged` names what was set aside of it.
    """

    volume_id: str
    backend_id: str
    synced_at: datetime | None = None
    fault: str | None = None
    diverged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OlderCopy:
    """A copy at `place` that was the volume once, before another side went on with it: what was written after `since`
    (naive UTC) is not in it."""

    volume_id: str
    place: str
    since: datetime


@runtime_checkable
class HasReplicas(Protocol):
    """Keeps copies of volumes on its replication targets up to date."""

    def replicate(self, context: Context, volumes: Sequence[VolumeModel]) -> list[ReplicaReport]:
        """Look at every copy of the volumes, begin to bring those up to date whose time it is, and say how they are.

        `volumes` are all of the backend that are replicated. Copies may go on when it returns.
        """
        ...

    def objective_s(self, volume: VolumeModel) -> int:
        """By how many seconds the volume's copies may lag."""
        ...

    def stop_replicating(self) -> None:
        """End copies that are under way; they go on when `replicate` is called next."""
        ...


@runtime_checkable
class RemovesLeftCopies(Protocol):
    """Says by `Records.copy_left` which copies it could not remove, and removes them when it is asked again."""

    def remove_left_copy(self, volume: VolumeModel, backend_id: str, lives: VolumeModel | None) -> None:
        """Remove the copy that `volume` has on that side, or the volume itself should the side serve by now.

        `volume` is as it was when its copies were to go, ``launched_at`` None when it was never made; `lives` as it is
        now, None when it was deleted. Where it has a copy there again, or is served from there, nothing is done. Safe
        to repeat. Raises Unavailable: the side does not answer.
        """
        ...


@runtime_checkable
class ChoosesTarget(Protocol):
    """Says where a failover without a named target would go before it goes there, so that it is written down and a
    process that takes over goes to the same."""

    def failover_target(self, volumes: Sequence[VolumeModel]) -> str:
        """The id that their `failover_host` would answer now. Raises InvalidReplicationTarget: there is none."""
        ...


@runtime_checkable
class TakesOlder(Protocol):
    """Refuses to serve what is older than the volume was, unless somebody said that it is wanted all the same."""

    def older_copies(self, volumes: Sequence[VolumeModel], backend_id: str) -> list[OlderCopy]:
        """What a failover to that side would refuse for its age. Raises Unavailable, InvalidReplicationTarget."""
        ...

    def accept_older(self, volumes: Sequence[VolumeModel], backend_id: str) -> list[OlderCopy]:
        """Have a failover to that side take them; until then a sync from a later copy undoes it. Nothing else changes.
        Safe to repeat."""
        ...


@runtime_checkable
class TellsBoots(Protocol):
    """Exports by what the machine that serves forgets when it starts, so that they are to be made again then."""

    def boot_id(self) -> str:
        """Another one after each start of that machine; empty when it cannot be told. Raises Unavailable."""
        ...
