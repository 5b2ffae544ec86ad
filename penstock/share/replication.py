"""What a driver with replicas can tell and do beyond the published interface, in terms every driver shares.

Optional: the share manager asks ``isinstance(driver, HasReplicaReports)``. Such a driver's `update_replica_state` and
`promote_replica` also take the keyword ``watch``, by which a long copy is followed and ended from outside; among the
snapshots that `update_replica_state` is given are those in ``error`` or ``error_deleting``, which need not be there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from penstock.share.models import ShareModel

PROMOTION = "promotion"  # the key under which `promote_replica` answers a `Promotion` with the promoted replica


class Role(StrEnum):
    """What a copy of a replicated share is, as written on the copy itself. Only `ACTIVE` ever accepts writes."""

    ACTIVE = "active"
    REPLICA = "replica"
    DEMOTED = "demoted"  # was active once, and has not been brought back into line


class PromotionKind(StrEnum):
    """Whether the old active replica answered, was fenced and gave its last changes."""

    PLANNED = "planned"
    UNPLANNED = "unplanned"


@dataclass(frozen=True, slots=True)
class Promotion:
    """How a promotion went.

    `epoch` is the new reign's number. `recovery_point` is the time whose state the new active replica started from;
    what was written later is not in it. None for a planned one: then nothing is missing. `reason` says why it was
    unplanned, in a sentence.
    """

    kind: PromotionKind
    epoch: int
    recovery_point: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """A replica, as read on its own storage.

    `synced_at` (naive UTC) is when what it holds was the active replica's state; None before the first sync ends.
    `is_source_changed` says whether the active replica was written since; None when it could not be asked. `diverged`
    names what was set aside. `is_complete` is False while the first copy has not ended. `is_replicated`: it is the
    active one, and keeps what other replicas need of it.
    """

    role: Role
    epoch: int
    synced_at: datetime | None = None
    is_source_changed: bool | None = None
    diverged: tuple[str, ...] = ()
    is_complete: bool = True
    is_replicated: bool = False


def _ignore(_sent_bytes: int) -> None:
    return


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Watch:
    """How a long copy is followed and ended. Both are called every second or so, by a thread of the driver's.

    `on_progress` is told the bytes sent so far; when `should_stop` answers True the copy ends with `Cancelled`, and can
    be begun again later.
    """

    on_progress: Callable[[int], None] = _ignore
    should_stop: Callable[[], bool] = _never


UNWATCHED = Watch()


@runtime_checkable
class HasReplicaReports(Protocol):
    """A driver that measures lag on the target and rehearses promotions. Each method is safe to repeat."""

    def replica_reports(
        self, replicas: Sequence[ShareModel], replica_lists: Mapping[str, Sequence[ShareModel]]
    ) -> dict[str, ReplicaReport]:
        """How the `replicas` on this backend are, by instance id; those that are not there are left out.

        `replica_lists` has all replicas of each share, by share id. A look that finds the active replica unwritten
        since the last sync is as good as a sync: it moves ``synced_at`` to the time of the look, here and on the
        storage. A fixed number of commands per pool, however many replicas; an active replica that cannot be asked
        is no fault.
        """
        ...

    def rehearse_replica(self, replica: ShareModel, client: str) -> list[dict[str, Any]]:
        """Serve a writable clone of the replica's newest state to `client` (an address or network); its locations.

        The replica, its syncs and the active one are not touched. Raises Conflict before the first sync has ended.
        """
        ...

    def end_rehearsal(self, replica: ShareModel) -> None:
        """Destroy the clone with what was written to it; fine when there is none."""
        ...

    def end_replication(self, replica: ShareModel) -> None:
        """It is its share's only one: what it keeps for others goes. Nothing for one that is not the active one."""
        ...
