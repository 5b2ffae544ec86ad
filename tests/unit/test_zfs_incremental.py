"""Planning a transfer: whatever the histories, the plan is the least stream that takes the target to the snapshot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import NotFound
from penstock.zfs.incremental import (
    Diverged,
    Full,
    Increment,
    SnapshotPoint,
    UpToDate,
    newest_common,
    plan_transfer,
)


def point(txg: int, guid: int | None = None, name: str | None = None) -> SnapshotPoint:
    return SnapshotPoint(txg, name or f"s{txg}", guid or txg * 1000)


A, B, C, D = (point(txg) for txg in (1, 2, 3, 4))
OWN = point(90, 7, "own")


def there(*points: SnapshotPoint) -> tuple[SnapshotPoint, ...]:
    """The same snapshots on another pool: other transaction groups, other names, the same GUIDs."""
    return tuple(SnapshotPoint(p.txg + 50, f"renamed-{p.name}", p.guid) for p in points)


@pytest.mark.parametrize(
    ("target", "plan"),
    [
        pytest.param(None, Full(A, D), id="absent"),
        pytest.param((), Diverged(None, ()), id="exists-without-snapshots"),
        pytest.param(there(A), Increment(A, D, (B, C), there(A)[0]), id="behind"),
        pytest.param(there(A, C), Increment(C, D, (), there(C)[0]), id="newest-common-counts"),
        pytest.param(there(D), UpToDate(D), id="has-it"),
        pytest.param((OWN,), Diverged(None, (OWN,)), id="a-stranger"),
        pytest.param((*there(A), OWN), Diverged(A, (OWN,)), id="own-snapshot-since"),
        pytest.param((point(1, 7, "own"), *there(A)), Increment(A, D, (B, C), there(A)[0]), id="own-snapshot-before"),
        pytest.param((*there(D), OWN), Diverged(D, (OWN,)), id="has-it-and-went-on"),
    ],
)
def test_plan(target, plan):
    assert plan_transfer([A, B, C, D], target, D) == plan


def test_without_those_between():
    assert plan_transfer([A, B, C, D], None, D, keeps_between=False) == Full(D, D)
    assert plan_transfer([A, B, C, D], there(A), D, keeps_between=False) == Increment(A, D, (), there(A)[0])


def test_to_an_older_one():
    assert plan_transfer([A, B, C, D], there(A), C) == Increment(A, C, (B,), there(A)[0])
    assert plan_transfer([A, B, C, D], there(A, D), C) == UpToDate(D)


def test_what_the_source_has_not_cannot_be_sent():
    with pytest.raises(NotFound):
        plan_transfer([A, B], None, C)
    with pytest.raises(NotFound):
        plan_transfer([A, point(3, 9)], None, C)


GUIDS = st.integers(min_value=1, max_value=12)
HISTORY = st.lists(GUIDS, unique=True, max_size=8)


@given(HISTORY, st.one_of(st.none(), HISTORY), st.data())
def test_the_plan_is_right_for_any_two_histories(source_guids, target_guids, data):
    source = [point(txg, guid) for txg, guid in enumerate(source_guids, 1)]
    target = target_guids and [point(100 + txg, guid, f"t{guid}") for txg, guid in enumerate(target_guids)]
    if not source:
        return
    to = data.draw(st.sampled_from(source))
    shuffled = data.draw(st.permutations(source))
    plan = plan_transfer(shuffled, target, to)
    common = set(source_guids) & set(target_guids or ())
    match plan:
        case Full(first, end):
            assert target is None
            assert (first, end) == (source[0], to)
        case Increment(base, end, between, target_base):
            assert target is not None
            # a receive only takes a stream from the target's very newest snapshot
            assert target_base == target[-1]
            assert target_base.guid == base.guid
            assert end == to
            assert source[source.index(base) + 1 : source.index(to)] == list(between)
        case UpToDate(newest):
            assert target is not None
            assert newest.guid == target[-1].guid
            assert newest.txg >= to.txg
        case Diverged(base, newer):
            assert target is not None
            assert target == [] or newer[-1] == target[-1]
            assert not {p.guid for p in newer} & common
            assert (base is None) == (not common)


@given(HISTORY, HISTORY)
def test_newest_common_is_by_the_targets_order(source_guids, target_guids):
    source = [point(txg, guid) for txg, guid in enumerate(source_guids, 1)]
    target = [point(txg, guid) for txg, guid in enumerate(target_guids, 1)]
    common = newest_common(source, target)
    expected = [guid for guid in target_guids if guid in source_guids]
    assert (common and common[1].guid) == (expected[-1] if expected else None)
