"""What a fault means for an operation: again later, or its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from penstock.domain.operations import Operation
from penstock.errors import (
    BackendFault,
    Conflict,
    Fault,
    Forbidden,
    InsufficientCapacity,
    Invalid,
    NotFound,
    QuotaExceeded,
    Unavailable,
    Unsupported,
    Unsure,
)

FIRST_DELAY_S = 1.0

# The kinds that whoever waits for an operation can do something about, the particular before the general.
KINDS: tuple[type[Fault], ...] = (
    QuotaExceeded,
    InsufficientCapacity,
    Unsupported,
    NotFound,
    Conflict,
    Forbidden,
    Unavailable,
    Unsure,
    Invalid,
    BackendFault,
)


def kind_of(error: Exception) -> str:
    """The name of the kind of fault it is."""
    return next((kind.__name__ for kind in KINDS if isinstance(error, kind)), BackendFault.__name__)


def fault_of(kind: str | None, sentence: str | None) -> Fault:
    """The fault that ended an operation, from what was kept of it."""
    found = next((one for one in KINDS if one.__name__ == kind), BackendFault)
    return found(sentence or "It failed.")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retry retryable faults with doubling delays until `give_up_after_s` have passed since acceptance."""

    give_up_after_s: float = 600.0
    longest_delay_s: float = 60.0

    def is_last(self, operation: Operation, *, now: datetime) -> bool:
        """Does the attempt that starts now end the operation, whatever comes?"""
        return now - operation.created_at >= timedelta(seconds=self.give_up_after_s)

    def next_attempt(self, operation: Operation, *, now: datetime) -> datetime:
        """When to try again after a retryable fault."""
        delay_s = min(self.longest_delay_s, FIRST_DELAY_S * 2.0 ** min(30, operation.attempts - 1))
        return now + timedelta(seconds=delay_s)
