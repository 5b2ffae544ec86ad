"""Work that comes back says once that it fails, and once that it does not any more."""

from __future__ import annotations

from structlog.testing import capture_logs

from penstock.clock import ManualClock
from penstock.errors import Unavailable
from penstock.operations.periodic import Periodic


def test_a_fault_that_stays_the_same_is_logged_once() -> None:
    clock = ManualClock()
    periodic = Periodic(clock, "here")
    faults = [None, "away", "away", "lost", "lost", None, None, "lost"]
    told: list[str | None] = []

    def work() -> None:
        told.append(faults[len(told)])
        if told[-1] is not None:
            raise Unavailable(told[-1])

    periodic.add("looks", 1.0, work)
    with capture_logs() as logged:
        for _ in faults:
            periodic.run_due()
            clock.advance(1)
    assert told == faults
    assert [(line["event"], line.get("fault")) for line in logged] == [
        ("periodic.failed", "away"),
        ("periodic.failed", "lost"),
        ("periodic.well_again", None),
        ("periodic.failed", "lost"),
    ]
