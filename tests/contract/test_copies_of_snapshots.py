"""A share from a snapshot of another backend: in the background, gone on with after a restart, nothing left beside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from penstock.errors import Conflict, Fault, SnapshotResourceNotFound, Unavailable
from penstock.ids import new_id
from penstock.share.drivers.zfsonlinux.copying import Copies
from penstock.share.models import ShareModel
from penstock.zfs.names import Dataset
from tests.contract.share_backends import CONTEXT
from tests.contract.test_unmarked import PowerCut
from tests.contract.test_zfs_migrations import FLAVOURS, Died, Hosts, Moving, Trouble
from tests.driver_values import a_share
from tests.simulation.replica_sites import hook_all


class Copying(Moving):
    """A snapshot on `a`, and a share that is to be made from it on `b`."""

    def __init__(self, flavour: Any) -> None:
        super().__init__(Hosts(flavour))
        self.write()
        self.take_snapshot()
        self.write()
        self.child: ShareModel = replace(a_share("tank", size=2), id=new_id(), host="host@b#tank")
        self.later: list[Callable[[], None]] = []
        self.restart()

    def restart(self) -> None:
        """Background work waits in `later` until a test lets it run."""
        self.hosts.restart()
        self.later.clear()
        driver = self.hosts.all["b"].driver
        driver.copies = Copies(driver.own, driver.peers, driver.routes, driver.clock, self.later.append)

    @property
    def there(self) -> Any:
        return self.hosts.all["b"].driver

    def create(self) -> dict[str, Any]:
        found: dict[str, Any] = self.there.create_share_from_snapshot(
            CONTEXT, self.child, self.snapshots[0], parent_share=self.source
        )
        return found

    def work(self) -> None:
        while self.later:
            self.later.pop(0)()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.there.get_share_status(self.child)
        return found

    @property
    def place(self) -> Dataset:
        return self.dataset(self.child, "b")


@FLAVOURS
def test_it_is_made_in_the_background(flavour: Any) -> None:
    copying = Copying(flavour)
    wanted = copying.hosts.host("a").model.snap(
        f"{copying.dataset(copying.source, 'a')}@manila_share_snapshot_{copying.snapshots[0].id.replace('-', '_')}"
    )
    before = copying.all_names("a")
    answer = copying.create()
    assert (answer["status"], answer["progress"]) == ("creating_from_snapshot", "0%")
    assert copying.create()["status"] == "creating_from_snapshot"
    assert len(copying.later) == 1
    copying.work()
    done = copying.status()
    assert (done["status"], done["progress"]) == ("available", "100%")
    assert copying.status() == done
    assert copying.all_names("b") == [str(copying.place)]
    assert copying.all_names("a") == before
    assert copying.holds("a") == []
    seen = copying.seen(copying.child, "b")
    assert seen is not None
    assert (seen.is_mounted, seen.refquota_bytes, seen.is_readonly) == (True, 2 * 2**30, False)
    assert set(copying.content(copying.child, "b")) == set(wanted.blocks)
    copying.there.update_access(CONTEXT, copying.child, copying.rules, [], [])
    copying.there.delete_share(CONTEXT, copying.child)
    assert copying.all_names("b") == []


@FLAVOURS
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_interrupted_at_each_command(flavour: Any, is_after: bool) -> None:
    def die() -> None:
        raise Died

    for at in range(1, 200):
        copying = Copying(flavour)
        hooks = Trouble(at, die, is_after)
        hook_all(copying.hosts, hooks)
        is_begun = False
        try:
            copying.create()
            is_begun = True
            copying.work()
            copying.status()
        except Died:
            hook_all(copying.hosts, None)
            copying.restart()
            if not is_begun:
                copying.create()
            copying.status()
            copying.work()
        hook_all(copying.hosts, None)
        assert copying.status()["status"] == "available", at
        assert copying.all_names("b") == [str(copying.place)], at
        assert copying.holds("a") == [], at
        if hooks.count < at:
            return
    pytest.fail("there is no end to it")


@FLAVOURS
@pytest.mark.parametrize("is_wanted", [True, False], ids=["goes on", "deleted"])
def test_a_placeholder_whose_marks_a_power_cut_took_is_completed_or_goes(flavour: Any, is_wanted: bool) -> None:
    copying = Copying(flavour)
    hook_all(copying.hosts, PowerCut(0))
    with pytest.raises(Unavailable):
        copying.create()
    hook_all(copying.hosts, None)
    assert copying.all_names("b") == [f"{copying.place}_receiving"]
    copying.restart()
    if is_wanted:
        copying.create()
        copying.work()
        assert copying.status()["status"] == "available"
        assert copying.all_names("b") == [str(copying.place)]
    else:
        for _ in range(2):
            copying.there.delete_share(CONTEXT, copying.child)
            assert copying.all_names("b") == []


@FLAVOURS
def test_a_placeholder_that_somebody_wrote_to_is_theirs(flavour: Any) -> None:
    copying = Copying(flavour)
    hook_all(copying.hosts, PowerCut(0))
    with pytest.raises(Unavailable):
        copying.create()
    hook_all(copying.hosts, None)
    copying.hosts.host("b").write(f"{copying.place}_receiving", 1)
    with pytest.raises(Conflict, match="belongs to somebody else"):
        copying.create()
    copying.there.delete_share(CONTEXT, copying.child)
    assert copying.all_names("b") == [f"{copying.place}_receiving"]


@FLAVOURS
def test_deleted_while_it_is_copied_nothing_is_left(flavour: Any) -> None:
    copying = Copying(flavour)
    copying.create()
    copying.hosts.network.breaking = lambda: 0.5
    copying.work()
    copying.there.delete_share(CONTEXT, copying.child)
    copying.there.delete_share(CONTEXT, copying.child)
    assert copying.all_names("b") == []
    assert copying.holds("a") == []


@FLAVOURS
def test_a_lost_connection_is_waited_for(flavour: Any) -> None:
    copying = Copying(flavour)
    copying.create()
    copying.hosts.network.breaking = lambda: 0.5
    copying.work()
    assert copying.status()["status"] == "creating_from_snapshot"
    copying.hosts.network.breaking = lambda: None
    copying.work()
    assert copying.status()["status"] == "available"


def test_what_cannot_be_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    copying = Copying(FLAVOURS.args[1][0])
    copying.hosts.away.add("a")
    with pytest.raises(Unavailable):
        copying.create()
    copying.hosts.away.clear()
    gone = replace(copying.snapshots[0], id=new_id())
    with pytest.raises(SnapshotResourceNotFound):
        copying.there.create_share_from_snapshot(CONTEXT, copying.child, gone, parent_share=copying.source)
    with pytest.raises(Fault):
        copying.status()
