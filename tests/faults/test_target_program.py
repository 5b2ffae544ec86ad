"""The program on the storage host that changes iSCSI targets is killed, hangs, loses its server: on real servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from lab.hosts import Lab
from penstock.errors import Unavailable, UnknownResult
from penstock.exports import iscsi_agent
from penstock.exports.iscsi import Initiator, IscsiTarget
from penstock.exports.target_agent import LOCK
from tests.contract.iscsi_sites import IscsiSite, LioSite, TgtSite
from tests.contract.test_iscsi_exports import ALICE, BOB, CHAP, clients, made
from tests.waiting import until

PROGRAM = "json.loads.sys.stdin.readline"  # in its argv, and in nobody else's


@pytest.fixture(params=[pytest.param("tgt", marks=pytest.mark.lab), pytest.param("lio", marks=pytest.mark.kernel)])
def site(request: Any) -> Iterator[IscsiSite]:
    found: IscsiSite
    if request.param == "tgt":
        lab: Lab = request.getfixturevalue("lab")
        found = TgtSite(lab.host("h1"), lab.address("h1"), *clients(lab))
    else:
        host, machines = request.getfixturevalue("kernel_host"), request.getfixturevalue("kernel_lab")
        found = LioSite(host, machines.address("k1"), *clients(request.getfixturevalue("lab_space")))
    yield found
    found.server.apply([], remove=list(found.server.observe().configured))


def programs(site: IscsiSite) -> list[str]:
    """Those that run on the host, by pid."""
    return site.host.run(["pgrep", "-f", PROGRAM], timeout_s=20).stdout.split()


def send(site: IscsiSite, name: str) -> None:
    for pid in programs(site):
        site.host.run(["kill", f"-{name}", pid], timeout_s=20)


def test_one_program_serves_all_changes_and_its_death_goes_unseen(site: IscsiSite) -> None:
    target = made(site, Initiator(ALICE, CHAP))
    site.server.apply([target])
    before = programs(site)
    site.server.apply([target.allowing(Initiator(BOB, CHAP))])
    assert site.server.get(target.iqn) == target.allowing(Initiator(BOB, CHAP))
    assert programs(site) == before
    send(site, "KILL")
    site.server.apply([target])
    assert site.login("c1", target.iqn, ALICE, chap=CHAP) == 16
    assert site.login("c2", target.iqn, BOB, chap=CHAP) is None
    assert set(programs(site)).isdisjoint(before)


@contextmanager
def locked(site: IscsiSite, seconds: float) -> Iterator[None]:
    """Somebody else holds the lock of the configuration for so long: a change that begins in the block waits for it."""
    lock = f"{site.server._directory}/{LOCK}"  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(site.host.run, ["flock", lock, "sleep", str(seconds)], timeout_s=60)
        until(lambda: site.host.run(["flock", "-n", lock, "true"], timeout_s=20).exit_code != 0)
        yield
        held.result()


def test_killed_at_work_another_does_it(site: IscsiSite) -> None:
    target = made(site, Initiator(ALICE))
    site.server.apply([target])
    with locked(site, 3), ThreadPoolExecutor(1) as pool:
        changed = pool.submit(site.server.apply, [target.allowing(Initiator(BOB)).refusing(ALICE)])
        time.sleep(0.5)  # it waits for the lock by now, which nothing outside of it shows
        before = programs(site)
        assert not changed.done()
        send(site, "KILL")
        changed.result(timeout=30)
    assert set(programs(site)).isdisjoint(before)
    assert site.login("c1", target.iqn, ALICE) is None
    assert site.login("c2", target.iqn, BOB) == 16


def test_one_that_hangs_is_given_up_and_replaced(site: IscsiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    target = made(site, Initiator(ALICE))
    site.server.apply([target])
    hanging = programs(site)
    with locked(site, 4):
        monkeypatch.setattr(iscsi_agent, "TIMEOUT_S", 1.0)
        with pytest.raises(UnknownResult):
            site.server.apply([target.allowing(Initiator(BOB))])
        monkeypatch.undo()
        site.server.apply([target.allowing(Initiator(BOB))])
    assert set(programs(site)).isdisjoint(hanging)
    assert site.login("c2", target.iqn, BOB) == 16


def test_the_server_is_restarted_in_the_middle_of_changes(site: IscsiSite) -> None:
    target = made(site, Initiator(ALICE, CHAP))
    site.server.apply([target])
    wanted = (target, target.allowing(Initiator(BOB, CHAP)))
    stop = threading.Event()
    done: list[IscsiTarget] = []
    refused: list[Unavailable] = []

    def change() -> None:
        while not stop.is_set():
            for one in wanted:
                try:
                    site.server.apply([one])
                    done.append(one)
                except Unavailable as fault:
                    refused.append(fault)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(2):
            site.restart()
            before = len(done)
            until(lambda wanted=before + 4: len(done) >= wanted)
    finally:
        stop.set()
        thread.join()
    assert len(done) > 4
    site.server.put_back()
    site.server.apply([wanted[1]])
    assert site.server.observe().in_force == {target.iqn}
    assert site.login("c1", target.iqn, ALICE, chap=CHAP) == 16
    assert site.login("c2", target.iqn, BOB, chap=CHAP) == 16
    assert site.login("c2", target.iqn, BOB) is None
