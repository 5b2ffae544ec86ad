"""When a replica is to be synced, and when it is too far behind: pure arithmetic over what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

LOOKS_PER_OBJECTIVE = 4
SHORTEST_LOOK_S = 1.0
LONGEST_LOOK_S = 60.0
FIRST_GUESS_S = 1.0  # how long a sync takes when none has been seen
LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True, slots=True)
class Known:
    """A replica as its last look and its syncs tell.

    `is_changed`: was the source written since; None when it could not be asked. `pace_s` is how long the last sync
    took, `began_at` when it began (None: it was not seen), `failures` how many have failed in a row, the last at
    `failed_at`.
    """

    synced_at: datetime | None
    is_changed: bool | None
    objective_s: float
    pace_s: float = FIRST_GUESS_S
    failures: int = 0
    failed_at: datetime | None = None
    began_at: datetime | None = None


def look_every_s(objectives: list[float]) -> float:
    """How often to look, so that the shortest objective can be kept."""
    if not objectives:
        return LONGEST_LOOK_S
    return min(LONGEST_LOOK_S, max(SHORTEST_LOOK_S, min(objectives) / LOOKS_PER_OBJECTIVE))


def slack_s(known: Known, now: datetime, *, every_s: float) -> float | None:
    """Seconds for which a sync may still wait and end within the objective at the pace of the last; None: none is due.

    Below zero it is late; a sync is begun when the next look would find it so. Half as long again as the last one is
    allowed for. A source that is written seldom is synced when that is seen: it may be as soon after the last sync as
    one that is written all the time would be, which costs no more and keeps the replica closer. What is of a time to
    come was told by a clock that has been set back since: nobody knows how old it is, and nothing waits for that time.
    """
    if known.failed_at is not None and known.failed_at <= now < known.failed_at + _pause(known):
        return None
    if known.synced_at is None:
        return 0.0  # nothing was ever copied
    if known.is_changed is False:
        return None
    age_s = (now - known.synced_at).total_seconds()
    if age_s < 0:
        return 0.0
    slack = known.objective_s - age_s - 1.5 * known.pace_s
    is_rested = known.began_at is not None and _would_be_due(known, known.began_at, now, every_s)
    return slack if slack <= every_s or is_rested else None


def _would_be_due(known: Known, began_at: datetime, now: datetime, every_s: float) -> bool:
    """Were it due, if it had been written ever since the last sync began?"""
    return (now - began_at).total_seconds() >= known.objective_s - 1.5 * known.pace_s - every_s


def _pause(known: Known) -> timedelta:
    """After failures, so that a source that is away is not asked all the time, and nothing waits for it for long."""
    return timedelta(seconds=min(LONGEST_PAUSE_S, known.objective_s, 2.0 ** min(known.failures, 16)))


def is_broken(known: Known, now: datetime) -> bool:
    """Is the objective broken? Not before the first sync: such a replica is out of sync, and says so.

    It is, too, by a time so far to come that no difference between two hosts' clocks within the objective explains it.
    """
    return known.synced_at is not None and abs((now - known.synced_at).total_seconds()) > known.objective_s
