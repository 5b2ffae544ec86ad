"""What was injected how often, and how it ended: the table that a run of faults prints.

With ``PENSTOCK_FAULTS_TABLE=file`` the counts of several runs add up there.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

Row = tuple[str, str]
VARIABLE = "PENSTOCK_FAULTS_TABLE"


@dataclass
class Tally:
    """Counts by fault and operation; how each of them ended is counted, too."""

    times: Counter[Row] = field(default_factory=Counter)
    ends: dict[Row, Counter[str]] = field(default_factory=dict)

    def add(self, fault: str, operation: str, end: str, times: int = 1) -> None:
        """`end` says how it ended, in a few words."""
        row = (fault, operation)
        self.times[row] += times
        self.ends.setdefault(row, Counter())[end] += times

    def lines(self) -> list[str]:
        """The table, as Markdown; empty when nothing was counted."""
        if not self.times:
            return []
        rows = [
            f"| {fault} | {operation} | {count} | "
            + ", ".join(f"{end} {number}" for end, number in sorted(self.ends[fault, operation].items()))
            + " |"
            for (fault, operation), count in sorted(self.times.items())
        ]
        return ["| fault | operation | times | outcome |", "| --- | --- | --- | --- |", *rows]

    def keep(self) -> None:
        """Add everything to the file of the environment, if there is one."""
        name = os.environ.get(VARIABLE)
        if name is None:
            return
        file = Path(name)
        for fault, operation, end, times in json.loads(file.read_text()) if file.exists() else []:
            self.add(fault, operation, end, times)
        rows = [[*row, end, times] for row, ends in self.ends.items() for end, times in ends.items()]
        file.write_text(json.dumps(rows))


TALLY = Tally()
