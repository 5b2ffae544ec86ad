"""What really happened in the lives that were played: counted, and told at the end of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import structlog

MARK = "happened: "


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Lives are full of what is worth an error line."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


@pytest.fixture
def happened(record_property: Callable[[str, object], None]) -> Callable[[str, Counter[str]], None]:
    """Say what happened in one more life of a kind: it goes with the test's report, from whichever worker."""

    def say(kind: str, counts: Counter[str]) -> None:
        record_property(f"{MARK}{kind}", {"lives": 1, **counts})

    return say


def pytest_terminal_summary(terminalreporter: Any) -> None:
    totals: dict[str, Counter[str]] = {}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, counts in report.user_properties:
            if name.startswith(MARK):
                totals.setdefault(name.removeprefix(MARK), Counter()).update(counts)
    for kind, counts in sorted(totals.items()):
        terminalreporter.section(f"{kind}: {counts.pop('lives')} lives")
        for what, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:>8} {what}")
