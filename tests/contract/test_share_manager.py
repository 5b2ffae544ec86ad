"""Every operation of the share manager: good ends, truthful errors, and the same call again after a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.shares import Share
from penstock.domain.snapshots import Snapshot
from penstock.errors import (
    BackendFault,
    Fault,
    InsufficientCapacity,
    Unavailable,
    Unsupported,
)
from penstock.operations.attempt import attempt
from penstock.store.database import Database
from tests.contract.manager_bench import (
    CONTEXT,
    Bench,
    a_managed_share,
    a_managed_snapshot,
    a_moved_snapshot,
    a_reverting_snapshot,
    a_share_from_snapshot,
    a_share_with_rule,
)
from tests.databases import in_memory


@pytest.fixture
def database() -> Database:
    """In memory: what differs between databases is the store's contract."""
    return in_memory()


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    return Bench(database, tmp_path)


class Case:
    """One operation of the manager on a bench: how it is prepared, called and looked at."""

    def __init__(
        self,
        driver_method: str,
        prepare: Callable[[Bench], Any],
        call: Callable[[Bench, Any], None],
        state: Callable[[Bench, Any], str],
        states: tuple[str, str, str],
    ) -> None:
        self.driver_method = driver_method
        self.prepare = prepare
        self.call = call
        self.state = state
        self.before, self.done, self.failed = states


def share_state(bench: Bench, share: Share) -> str:
    return "gone" if bench.is_gone(share) else bench.share(share).status.value


def snapshot_state(bench: Bench, snapshot: Snapshot) -> str:
    found = bench.snapshot(snapshot)
    return "gone" if found is None else found.status.value


def rule_state(bench: Bench, share: Share) -> str:
    return next(iter(bench.rules(share).values())).value if bench.rules(share) else "gone"


def a_share_losing_a_rule(bench: Bench) -> Share:
    share = bench.created()
    rule = bench.allow(share)
    bench.manager.update_access(CONTEXT, share.instance.id)
    bench.queue(share, rule, AccessState.ACTIVE, AccessState.QUEUED_TO_DENY)
    return share


CASES = {
    "create": Case(
        "create_share",
        lambda b: b.put(),
        lambda b, s: b.manager.create_share_instance(CONTEXT, s.instance.id),
        share_state,
        ("creating", "available", "error"),
    ),
    "create-from-snapshot": Case(
        "create_share_from_snapshot",
        a_share_from_snapshot,
        lambda b, s: b.manager.create_share_instance(CONTEXT, s.instance.id, snapshot_id=s.snapshot_id),
        share_state,
        ("creating", "available", "error"),
    ),
    "delete": Case(
        "delete_share",
        lambda b: b.move(b.created(), Event.DELETE),
        lambda b, s: b.manager.delete_share_instance(CONTEXT, s.instance.id),
        share_state,
        ("deleting", "gone", "error_deleting"),
    ),
    "extend": Case(
        "extend_share",
        lambda b: b.move(b.created(), Event.EXTEND, size_target_gib=3),
        lambda b, s: b.manager.extend_share(CONTEXT, s.id, 3, None),
        share_state,
        ("extending", "available", "extending_error"),
    ),
    "shrink": Case(
        "shrink_share",
        lambda b: b.move(b.created(size_gib=3), Event.SHRINK, size_target_gib=1),
        lambda b, s: b.manager.shrink_share(CONTEXT, s.id, 1),
        share_state,
        ("shrinking", "available", "shrinking_error"),
    ),
    "manage": Case(
        "manage_existing",
        a_managed_share,
        lambda b, s: b.manager.manage_share(CONTEXT, s.id, {}),
        share_state,
        ("manage_starting", "available", "manage_error"),
    ),
    "unmanage": Case(
        "unmanage",
        lambda b: b.move(b.created(), Event.UNMANAGE),
        lambda b, s: b.manager.unmanage_share(CONTEXT, s.id),
        share_state,
        ("unmanage_starting", "gone", "unmanage_error"),
    ),
    "create-snapshot": Case(
        "create_snapshot",
        lambda b: b.put_snapshot(b.created()),
        lambda b, s: b.manager.create_snapshot(CONTEXT, s.share_id, s.id),
        snapshot_state,
        ("creating", "available", "error"),
    ),
    "delete-snapshot": Case(
        "delete_snapshot",
        a_moved_snapshot(Event.DELETE),
        lambda b, s: b.manager.delete_snapshot(CONTEXT, s.id),
        snapshot_state,
        ("deleting", "gone", "error_deleting"),
    ),
    "revert": Case(
        "revert_to_snapshot",
        a_reverting_snapshot,
        lambda b, s: b.manager.revert_to_snapshot(CONTEXT, s.id, None),
        snapshot_state,
        ("restoring", "available", "available"),
    ),
    "manage-snapshot": Case(
        "manage_existing_snapshot",
        a_managed_snapshot,
        lambda b, s: b.manager.manage_snapshot(CONTEXT, s.id, {}),
        snapshot_state,
        ("manage_starting", "available", "manage_error"),
    ),
    "unmanage-snapshot": Case(
        "unmanage_snapshot",
        a_moved_snapshot(Event.UNMANAGE),
        lambda b, s: b.manager.unmanage_snapshot(CONTEXT, s.id),
        snapshot_state,
        ("unmanage_starting", "gone", "unmanage_error"),
    ),
    "allow": Case(
        "update_access",
        a_share_with_rule,
        lambda b, s: b.manager.update_access(CONTEXT, s.instance.id),
        rule_state,
        ("queued_to_apply", "active", "error"),
    ),
    "deny": Case(
        "update_access",
        a_share_losing_a_rule,
        lambda b, s: b.manager.update_access(CONTEXT, s.instance.id),
        rule_state,
        ("queued_to_deny", "gone", "error"),
    ),
}
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@EVERY
def test_it_ends_well_and_may_be_called_again(bench: Bench, case: Case) -> None:
    thing = case.prepare(bench)
    assert case.state(bench, thing) == case.before
    case.call(bench, thing)
    assert case.state(bench, thing) == case.done
    case.call(bench, thing)
    assert case.state(bench, thing) == case.done
    assert bench.messages() == []


@EVERY
@pytest.mark.parametrize("after", [False, True], ids=["before-the-work", "after-the-work"])
def test_a_fault_that_may_pass_is_tried_again(bench: Bench, case: Case, after: bool) -> None:
    thing = case.prepare(bench)
    transitional = {"queued_to_apply": "applying", "queued_to_deny": "denying"}.get(case.before, case.before)
    away = bench.failing(case.driver_method, Unavailable("the host is away"), after=after)
    with away, attempt(last=False), pytest.raises(Unavailable):
        case.call(bench, thing)
    assert case.state(bench, thing) == transitional
    case.call(bench, thing)
    assert case.state(bench, thing) == case.done
    assert bench.messages() == []


@EVERY
@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        pytest.param(Unavailable("the host is away"), Unavailable, id="last-attempt"),
        pytest.param(BackendFault("strange words"), BackendFault, id="unknown-words"),
        pytest.param(InsufficientCapacity("full"), InsufficientCapacity, id="full"),
        pytest.param(RuntimeError("a bug"), BackendFault, id="anything"),
        pytest.param(NotImplementedError(), Unsupported, id="not-implemented"),
    ],
)
def test_a_final_fault_leaves_a_truthful_error_and_a_message(
    bench: Bench, case: Case, fault: Exception, raised: type[Fault]
) -> None:
    thing = case.prepare(bench)
    with bench.failing(case.driver_method, fault), attempt(last=True), pytest.raises(raised):
        case.call(bench, thing)
    assert case.state(bench, thing) == case.failed
    (message,) = bench.messages()
    assert message.level == "ERROR"
    assert message.request_id == "req-1"
    assert "strange words" not in message.text


class Crash(BaseException):
    """The process dies."""


class MortalDatabase(Database):
    """Dies instead of committing the writing transaction after the next `spared` ones."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.spared: int | None = None

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[Any]:
        with super().begin(durable=durable) as tx:
            yield tx
            if self.spared is not None:
                self.spared -= 1
                if self.spared < 0:
                    raise Crash


@EVERY
@pytest.mark.parametrize("spared", [0, 1])
def test_it_ends_well_after_a_crash_before_any_write(tmp_path: Path, case: Case, spared: int) -> None:
    database = in_memory(MortalDatabase)
    bench = Bench(database, tmp_path)
    thing = case.prepare(bench)
    database.spared = spared
    with suppress(Crash):
        case.call(bench, thing)
    database.spared = None
    case.call(bench, thing)
    assert case.state(bench, thing) == case.done
