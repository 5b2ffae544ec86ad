"""A look beside a change: both end before anybody goes on; what it finds decides whether the change was all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar

import pytest

from penstock.errors import Conflict, NotFound, Unavailable
from penstock.share.drivers.zfsonlinux.plan import Steps
from penstock.share.drivers.zfsonlinux.steps import SetProperties, settle
from penstock.units import GIB
from penstock.zfs.beside import Beside, InThreads, in_turn
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset
from tests.simulation.zfs_host import OPENZFS, SimulatedHost

A, B = Dataset("tank/a"), Dataset("tank/b")
WORD: ContextVar[str] = ContextVar("word", default="")

both = pytest.mark.parametrize("beside", [in_turn, InThreads(2, "test")], ids=["in-turn", "in-threads"])


@both
def test_both_are_done_and_the_look_answers(beside: Beside) -> None:
    done: list[str] = []
    WORD.set("mine")
    assert beside(lambda: done.append("change"), lambda: done.append("look") or WORD.get()) == "mine"
    assert sorted(done) == ["change", "look"]


@both
def test_a_look_that_fails_does_not_keep_the_change_from_being_made(beside: Beside) -> None:
    done: list[str] = []

    def look() -> None:
        raise NotFound("nothing there")

    with pytest.raises(NotFound):
        beside(lambda: done.append("change"), look)
    assert done == ["change"]


@both
def test_what_the_change_raised_comes_first(beside: Beside) -> None:
    def failing(fault: Exception) -> Callable[[], None]:
        def act() -> None:
            raise fault

        return act

    with pytest.raises(Unavailable):
        beside(failing(Unavailable("away")), lambda: "seen")


def test_nobody_goes_on_while_the_look_still_runs() -> None:
    go_on, ended = threading.Event(), threading.Event()

    def change() -> None:
        threading.Timer(0.02, go_on.set).start()
        raise Conflict("taken")

    def look() -> None:
        assert go_on.wait(10)
        ended.set()

    with pytest.raises(Conflict):
        InThreads(1, "test")(change, look)
    assert ended.is_set()


class Share:
    """A dataset whose quota is to be 2G; `at` is where its owner's mark is found."""

    def __init__(self, at: Dataset) -> None:
        self.host = SimulatedHost(pools={"tank": GIB})
        self.zfs = Zfs(self.host, OPENZFS)
        for dataset in (A, B):
            self.zfs.create(dataset, {}, parents=False)
        self.at, self.looks = at, 0

    def plan(self) -> Steps:
        self.looks += 1
        has = self.zfs.get(self.at, ["refquota"])["refquota"].value
        return () if has == str(2 * GIB) else (grow(self.at),)


def grow(dataset: Dataset) -> SetProperties:
    return SetProperties(dataset, (("refquota", str(2 * GIB)),))


def test_one_look_beside_the_only_steps_there_were() -> None:
    share = Share(A)
    before = share.host.commands_run
    settle(share.plan, share.zfs, at_once=(grow(A),), beside=True)
    assert (share.looks, share.host.commands_run - before) == (1, 2)
    assert share.plan() == ()


def test_who_turns_out_to_be_elsewhere_is_changed_there_and_looked_at_again() -> None:
    share = Share(B)
    settle(share.plan, share.zfs, at_once=(grow(A),), beside=True)
    assert share.looks == 3  # beside, before and after
    assert share.plan() == ()


def test_what_went_away_is_looked_for_as_without_a_guess() -> None:
    share = Share(B)
    share.zfs.destroy(A, recursive=False)
    settle(share.plan, share.zfs, at_once=(grow(A),), beside=True)
    assert share.plan() == ()
