"""When a sync is due: early enough, and no earlier than it needs to be."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from penstock.share.manager.lag import Known, is_broken, look_every_s, slack_s

NOW = datetime(2026, 11, 21, 12, 0, 0)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("known", "due"),
    [
        pytest.param(Known(None, None, 300), True, id="first-copy"),
        pytest.param(Known(ago(290), False, 300), False, id="nobody-wrote"),
        pytest.param(Known(ago(10), True, 300), False, id="there-is-time"),
        pytest.param(Known(ago(240), True, 300), True, id="the-next-look-would-be-late"),
        pytest.param(Known(ago(100), True, 300, pace_s=120), True, id="syncs-take-long"),
        pytest.param(Known(ago(10), True, 300, began_at=ago(240)), True, id="written-seldom"),
        pytest.param(Known(ago(10), False, 300, began_at=ago(240)), False, id="written-seldom-and-not-now"),
        pytest.param(Known(ago(100), True, 300, began_at=ago(100)), False, id="written-all-the-time"),
        pytest.param(Known(ago(400), True, 300), True, id="late"),
        pytest.param(Known(ago(400), None, 300), True, id="the-source-could-not-be-asked"),
        pytest.param(Known(ago(400), True, 300, failures=4, failed_at=ago(10)), False, id="failed-just-now"),
        pytest.param(Known(ago(400), True, 300, failures=4, failed_at=ago(17)), True, id="failed-a-while-ago"),
        pytest.param(Known(ago(400), True, 10, failures=40, failed_at=ago(11)), True, id="not-paused-beyond-objective"),
        pytest.param(Known(ago(-86400), True, 300), True, id="synced-by-a-clock-that-was-set-back"),
        pytest.param(Known(ago(-86400), False, 300), False, id="set-back-and-nobody-wrote"),
        pytest.param(
            Known(ago(400), True, 300, failures=4, failed_at=ago(-99)), True, id="failed-before-it-was-set-back"
        ),
    ],
)
def test_when_a_sync_is_due(known: Known, due: bool) -> None:
    assert (slack_s(known, NOW, every_s=60) is not None) is due


def test_looks_are_as_often_as_the_shortest_objective_asks() -> None:
    assert look_every_s([300, 10]) == 2.5
    assert look_every_s([1]) == 1
    assert look_every_s([86400]) == look_every_s([]) == 60


def test_an_objective_is_broken_by_age_alone() -> None:
    assert is_broken(Known(ago(11), False, 10), NOW)
    assert not is_broken(Known(ago(10), True, 10), NOW)
    assert not is_broken(Known(None, None, 10), NOW)
    assert not is_broken(Known(ago(-10), True, 10), NOW)
    assert is_broken(Known(ago(-11), True, 10), NOW)
