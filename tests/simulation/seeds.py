"""Which lives are played: as many as PENSTOCK_SEEDS says, or the one of PENSTOCK_SEED."""

from __future__ import annotations

import os
from itertools import pairwise

DEFAULT = 100


def seeds(part: int, chunk: int, *, by_default: int = DEFAULT) -> list[range]:
    """One of `part` of the seeds, in ranges of `chunk` for a test each; `by_default` where nobody says how many."""
    if "PENSTOCK_SEED" in os.environ:
        seed = int(os.environ["PENSTOCK_SEED"])
        return [range(seed, seed + 1)]
    count = int(os.environ.get("PENSTOCK_SEEDS", str(by_default))) // part
    bounds = [*range(0, count, chunk), count]
    return [range(*pair) for pair in pairwise(bounds)]


def named(part: range) -> str:
    """As a test's name has it."""
    return f"{part.start}-{part.stop - 1}"
