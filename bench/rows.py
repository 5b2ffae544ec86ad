"""What the bench prints: a figure of ours, what it is held against, and the target."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`ours` and `floor` in `unit`; `most` is the target: of the ratio where there is a floor, else of `ours`."""

    what: str
    ours: float
    unit: str
    most: float | None  # None: told, without a target
    floor: float | None = None
    against: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over the floor."""
        return None if self.floor is None else self.ours / self.floor

    @property
    def is_met(self) -> bool:
        """Is the target reached?"""
        return self.most is None or (self.ours if self.ratio is None else self.ratio) <= self.most


def median(samples: Sequence[float]) -> float:
    """The median of what was measured."""
    return statistics.median(samples)


def repeat(times: int, measure: Callable[[int], float]) -> float:
    """The median of `times` measurements."""
    return median([measure(n) for n in range(times)])
