"""Replicas of the ZFS driver between simulated hosts of both flavours."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.clock import ManualClock
from penstock.units import GIB, MIB
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.names import Dataset
from tests.contract.replica_sites import Replicated, Site, Sites
from tests.simulation.nfs_server import SimulatedNfs, chmod
from tests.simulation.zfs_host import OPENZFS, SimulatedHost
from tests.simulation.zfs_network import SimulatedNetwork


class Simulated(Sites):
    """Three backends in memory, a, b and c, with one clock."""

    def __init__(self, flavour: Any, size: int = 8 * GIB) -> None:
        self.clock = ManualClock()
        self.network = SimulatedNetwork()
        sites = {}
        for name in "abc":
            host = SimulatedHost(name, flavour=flavour, clock=self.clock, pools={"tank": size})
            host.programs["chmod"] = chmod
            sites[name] = Site(name, host, SimulatedNfs(host), Dataset("tank"), self.clock)
        super().__init__(sites, self.network)
        self.restart()

    def host(self, name: str) -> SimulatedHost:
        host = self.all[name].host
        assert isinstance(host, SimulatedHost)
        return host


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def sites(request: Any) -> Simulated:
    return Simulated(request.param)


@pytest.fixture
def share(sites: Simulated) -> Replicated:
    share = Replicated(sites)
    share.create("a")
    return share


def write(share: Replicated, name: str = "a", size: int = MIB) -> None:
    share.sites.host(name).write(str(share.dataset(name)), size)


def content(share: Replicated, name: str) -> Any:
    return share.sites.host(name).content(str(share.dataset(name)))


def test_first_copy_increments_and_what_stays(share: Replicated) -> None:
    write(share)
    assert share.add("b")["replica_state"] == "out_of_sync"
    assert share.sync("b") == "in_sync"
    assert content(share, "b") == content(share, "a")
    for _ in range(3):
        write(share)
        assert share.sync("b") == "in_sync"
    assert content(share, "b") == content(share, "a")
    assert len(share.syncs("a")) == len(share.syncs("b")) == 1
    assert share.others("b") == []


def test_planned_promotion_and_back(share: Replicated) -> None:
    write(share)
    share.add("b")
    share.sync("b")
    write(share)
    told = share.promote("b")
    assert (told.kind, told.epoch, told.recovery_point) == ("planned", 2, None)
    assert content(share, "b") == content(share, "a")
    with pytest.raises(OSError, match="not mounted"):
        write(share, "a")
    write(share, "b")
    assert share.sync("a") == "in_sync"
    assert content(share, "b") == content(share, "a")
    assert share.promote("a").epoch == 3
    assert share.sync("b") == "in_sync"
    assert len(share.syncs("a")) == len(share.syncs("b")) == 1
    assert share.others("a") == share.others("b") == []
