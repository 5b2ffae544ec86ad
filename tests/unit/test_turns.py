"""Operations beside what changes the storage that serves."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from penstock.clock import ManualClock
from penstock.domain.operations import Call, Operation, OperationState
from penstock.errors import Postponed
from penstock.ids import OperationId
from penstock.operations.attempt import Handed, attempt, handed, looked
from penstock.volume.manager.turns import Turns


def test_nobody_begins_while_one_is_alone() -> None:
    turns = Turns(ManualClock())
    with turns.alone(), pytest.raises(Postponed), turns.together():
        pytest.fail("it began")
    with turns.together(), turns.together():
        pass
    with turns.together(), pytest.raises(Postponed), turns.alone(wait_s=0):
        pytest.fail("it began")
    with turns.alone():
        pass


def test_what_was_handed_over_before_the_end_of_that_is_read_again() -> None:
    clock = ManualClock()
    turns = Turns(clock)
    now = clock.utc()
    call = Call("host@zfs", "volume:1", "attach", {})
    operation = Operation(
        OperationId("1"),
        call,
        OperationState.RUNNING,
        1,
        None,
        "req-1",
        None,
        None,
        None,
        None,
        None,
        False,
        now,
        now,
        None,
    )

    def told(asked_at_s: float) -> tuple[str | None, bool]:
        """What an attempt asked for then is told in its turn, and whether of a look too."""
        ahead: Future[str] = Future()
        given = Handed("a volume", ahead, asked_at_s)
        with attempt(last=False, operation=operation, handed=given), turns.together():
            return handed(str, "attach"), looked() is not None

    assert told(clock.monotonic_s()) == ("a volume", True)
    asked_at_s = clock.monotonic_s()
    clock.advance(1)
    with turns.alone():
        clock.advance(1)
    assert told(asked_at_s) == (None, False)
    clock.advance(1)
    assert told(clock.monotonic_s()) == ("a volume", True)
