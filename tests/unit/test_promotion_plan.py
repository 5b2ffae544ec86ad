"""Which promotion it is, from what the copies say of themselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock.errors import Conflict, Unavailable
from penstock.share.drivers.zfsonlinux.identity import Kind, ReplicaMarks, ShareIdentity
from penstock.share.drivers.zfsonlinux.observe import SeenShare
from penstock.share.drivers.zfsonlinux.peers import Peer
from penstock.share.drivers.zfsonlinux.promotion_plan import Finish, Planned, Unplanned, decide
from penstock.share.drivers.zfsonlinux.replica_set import Copy, CopySet
from penstock.share.models import ShareModel
from penstock.share.replication import PromotionKind, Role
from penstock.zfs.names import Dataset
from penstock.zfs.reigns import Fence
from tests.driver_values import a_share

THEN = datetime(2026, 1, 1)
BASE = a_share()


def a_row(name: str, state: str, epoch: int = 1) -> ShareModel:
    return replace(BASE, id=name, host=f"host@{name}#tank", replica_state=state, epoch=epoch)


def a_copy(row: ShareModel, role: Role, epoch: int = 1, fence: Fence | None = None, synced: bool = True) -> Copy:
    marks = ReplicaMarks(role=role, fence=fence, synced_at=THEN if synced and role is Role.REPLICA else None)
    dataset = Dataset(f"tank/{row.id}")
    identity = ShareIdentity(row.id, row.share_id, epoch=epoch)
    seen = SeenShare(dataset, Kind.SHARE, row.id, identity, marks=marks)
    return Copy(row, cast("Peer", SimpleNamespace(section=row.id)), dataset, seen)


def test_the_active_one_answers() -> None:
    rows = [a_row("a", "active"), a_row("b", "in_sync", epoch=2)]
    found = CopySet((a_copy(rows[0], Role.ACTIVE), a_copy(rows[1], Role.REPLICA)), {})
    decision = decide(found, rows, "b")
    assert isinstance(decision, Planned)
    assert (decision.head.id, decision.fence) == ("a", Fence(2, "b"))


def test_a_fence_of_an_earlier_attempt_is_gone_on_with_and_that_of_another_is_not() -> None:
    rows = [a_row("a", "active"), a_row("b", "in_sync", epoch=2), a_row("c", "in_sync", epoch=3)]
    fenced = a_copy(rows[0], Role.DEMOTED, fence=Fence(2, "b"))
    found = CopySet((fenced, a_copy(rows[1], Role.REPLICA), a_copy(rows[2], Role.REPLICA)), {})
    ours, theirs = decide(found, rows, "b"), decide(found, rows, "c")
    assert isinstance(ours, Planned)
    assert isinstance(theirs, Planned)
    assert (ours.fence, theirs.fence) == (Fence(2, "b"), Fence(3, "c"))


def test_a_head_whose_reign_was_told_to_nobody_tells_now_what_it_began_without() -> None:
    rows = [a_row("a", "active"), a_row("b", "error", epoch=3), a_row("c", "in_sync", epoch=5)]
    head = a_copy(rows[1], Role.ACTIVE, 3)
    assert head.seen is not None
    marks = replace(head.seen.marks, promoted=PromotionKind.UNPLANNED, synced_at=THEN)
    head = replace(head, seen=replace(head.seen, marks=marks))
    found = CopySet((a_copy(rows[0], Role.ACTIVE), head, a_copy(rows[2], Role.REPLICA)), {})
    decision = decide(found, rows, "c")
    assert isinstance(decision, Planned)
    assert decision.head == head
    assert (decision.told.kind, decision.told.epoch, decision.told.recovery_point) == ("unplanned", 5, THEN)
    published = replace(head, model=replace(rows[1], replica_state="active"))
    decision = decide(CopySet((published, a_copy(rows[2], Role.REPLICA)), {}), [published.model, rows[2]], "c")
    assert decision.told.kind is PromotionKind.PLANNED


def test_it_is_active_already() -> None:
    rows = [a_row("a", "active"), a_row("b", "in_sync", epoch=2)]
    found = CopySet((a_copy(rows[0], Role.DEMOTED, fence=Fence(2, "b")), a_copy(rows[1], Role.ACTIVE, 2)), {})
    decision = decide(found, rows, "b")
    assert isinstance(decision, Finish)
    assert decision.told.epoch == 2


def test_it_is_active_already_though_a_later_number_was_kept_for_a_promotion_that_changed_nothing() -> None:
    """b reigns at the storage since 3 and no row knows; the promotion of c kept 5 and failed before it fenced b."""
    rows = [a_row("a", "active"), a_row("c", "error", epoch=5), a_row("b", "out_of_sync", epoch=7)]
    own = a_copy(rows[2], Role.ACTIVE, 3)
    assert own.seen is not None
    marks = replace(own.seen.marks, promoted=PromotionKind.UNPLANNED, synced_at=THEN)
    own = replace(own, seen=replace(own.seen, marks=marks))
    old, idle = a_copy(rows[0], Role.ACTIVE), a_copy(rows[1], Role.REPLICA)
    decision = decide(CopySet((old, idle, own), {}), rows, "b")
    assert isinstance(decision, Finish)
    assert (decision.told.kind, decision.told.epoch, decision.told.recovery_point) == ("unplanned", 7, THEN)


@pytest.mark.parametrize("unheard", ["away", "empty", "the rows' active one"])
def test_it_is_not_active_already_when_a_later_reign_may_have_been_elsewhere(unheard: str) -> None:
    is_active = unheard == "the rows' active one"
    rows = [
        a_row("a", "out_of_sync" if is_active else "active"),
        a_row("c", "active" if is_active else "error", epoch=5),
        a_row("b", "out_of_sync", epoch=7),
    ]
    other = a_copy(rows[1], Role.REPLICA)
    if unheard == "empty":
        other = replace(other, seen=None)
    copies = (a_copy(rows[0], Role.REPLICA), a_copy(rows[2], Role.ACTIVE, 3), other)
    found = CopySet(copies[:2], {"c": "no route"}) if unheard == "away" else CopySet(copies, {})
    with pytest.raises(Conflict):
        decide(found, rows, "b")


def test_the_active_one_is_away() -> None:
    rows = [a_row("a", "active"), a_row("b", "in_sync", epoch=2), a_row("c", "in_sync")]
    later = a_copy(rows[2], Role.REPLICA)
    assert later.seen is not None
    later = replace(later, seen=replace(later.seen, marks=replace(later.seen.marks, synced_at=datetime(2027, 1, 1))))
    decision = decide(CopySet((a_copy(rows[1], Role.REPLICA), later), {"a": "no route"}), rows, "b")
    assert isinstance(decision, Unplanned)
    told = decision.told
    assert (told.kind, told.epoch, told.recovery_point) == (PromotionKind.UNPLANNED, 2, THEN)
    assert told.reason is not None
    assert "no route" in told.reason
    assert "the replica on c is of a later time" in told.reason


def test_a_zombie_of_an_older_reign_is_fenced_and_not_followed() -> None:
    rows = [a_row("a", "active", epoch=2), a_row("b", "in_sync", epoch=3), a_row("c", "out_of_sync")]
    zombie = a_copy(rows[2], Role.ACTIVE, 1)
    away = decide(CopySet((a_copy(rows[1], Role.REPLICA, 2), zombie), {"a": "away"}), rows, "b")
    assert isinstance(away, Unplanned)
    assert away.zombies == (zombie,)
    head = a_copy(rows[0], Role.ACTIVE, 2)
    there = decide(CopySet((a_copy(rows[1], Role.REPLICA, 2), zombie, head), {}), rows, "b")
    assert isinstance(there, Planned)
    assert (there.head, there.zombies) == (head, (zombie,))


def test_one_that_was_fenced_for_nothing_is_taken_back() -> None:
    """Its successor never became active; a number kept for a later attempt, which was refused, does not matter."""
    rows = [a_row("a", "active", epoch=4), a_row("b", "in_sync", epoch=3)]
    fenced = a_copy(rows[0], Role.DEMOTED, 1, Fence(2, "b"))
    decision = decide(CopySet((fenced, a_copy(rows[1], Role.REPLICA)), {}), rows, "a")
    assert isinstance(decision, Unplanned)
    assert (decision.told.kind, decision.told.epoch) == (PromotionKind.PLANNED, 4)


def test_nor_when_its_successor_is_away_but_then_it_is_said() -> None:
    rows = [a_row("a", "active", epoch=3), a_row("b", "in_sync", epoch=2)]
    fenced = a_copy(rows[0], Role.DEMOTED, 1, Fence(2, "b"))
    decision = decide(CopySet((fenced,), {"b": "power cut"}), rows, "a")
    assert isinstance(decision, Unplanned)
    assert (decision.told.kind, decision.told.reason) == (PromotionKind.UNPLANNED, "power cut")


@pytest.mark.parametrize(
    ("copies", "away"),
    [
        pytest.param(("b never synced",), {"a": "away"}, id="never-in-sync"),
        pytest.param(("b old active",), {"a": "away"}, id="overtaken-and-not-in-line"),
    ],
)
def test_what_must_not_be_promoted(copies: tuple[str], away: dict[str, str]) -> None:
    rows = [a_row("a", "active", epoch=2), a_row("b", "out_of_sync", epoch=3)]
    states: dict[str, Any] = {
        "b never synced": a_copy(rows[1], Role.REPLICA, 0, synced=False),
        "b old active": a_copy(rows[1], Role.DEMOTED, 1, Fence(2, "")),
    }
    with pytest.raises(Conflict):
        decide(CopySet(tuple(states[name] for name in copies), away), rows, "b")


def test_its_own_host_is_away() -> None:
    rows = [a_row("a", "active"), a_row("b", "in_sync", epoch=2)]
    with pytest.raises(Unavailable):
        decide(CopySet((a_copy(rows[0], Role.ACTIVE),), {"b": "away"}), rows, "b")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_demoted_ones_of_a_reign_the_one_that_made_way_has_the_truth(order: tuple[int, int]) -> None:
    rows = [a_row("a", "active"), a_row("b", "out_of_sync"), a_row("c", "in_sync", epoch=3)]
    demoted = (a_copy(rows[0], Role.DEMOTED, fence=Fence(2, "c")), a_copy(rows[1], Role.DEMOTED))
    copies = tuple(demoted[place] for place in order)
    forward = decide(CopySet((*copies, a_copy(rows[2], Role.REPLICA)), {}), rows, "c")
    assert isinstance(forward, Planned)
    assert forward.head.id == "a"
    back = decide(CopySet(copies, {}), rows, "a")
    assert isinstance(back, Unplanned)
    assert back.told.kind is PromotionKind.PLANNED


def test_nothing_is_called_planned_when_the_active_one_has_vanished() -> None:
    rows = [a_row("a", "active", epoch=2), a_row("b", "out_of_sync", epoch=3)]
    vanished = replace(a_copy(rows[0], Role.ACTIVE), seen=None)
    decision = decide(CopySet((vanished, a_copy(rows[1], Role.DEMOTED, 1, Fence(2, "a"))), {}), rows, "b")
    assert isinstance(decision, Unplanned)
    assert decision.told.kind is PromotionKind.UNPLANNED
    assert decision.told.reason is not None
    assert "has nothing of the share" in decision.told.reason
