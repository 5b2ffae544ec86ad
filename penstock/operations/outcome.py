"""What a fault means for an operation: again later, or its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from penstock.domain.operations import Operation

FIRST_DELAY_S = 1.0


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
