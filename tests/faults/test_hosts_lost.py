"""A storage host that loses power, its connection, or its wits, in the midst of all operations; and a full pool."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import pytest

from lab.hosts import Lab
from lab.network import run
from tests.faults.conftest import ALL, COMMAND_TIMEOUT_S, SMALL_MIB, SMALL_POOL
from tests.faults.log_watch import LogWatch
from tests.faults.scenarios import check_all, prepare_all
from tests.product.running import Product
from tests.product.user import Row

pytestmark = pytest.mark.lab
LONG_S = COMMAND_TIMEOUT_S + 3.0  # how long a fault lasts: until commands are past their deadline


def disturb(product: Product, trouble: Callable[[], None], *, after_actions: int) -> LogWatch:
    """Ask for everything, let `trouble` happen on the way, and see all of it end well."""
    scenarios = prepare_all(product)
    watch = LogWatch(product)
    for scenario in scenarios:
        scenario.ask()
    watch.await_actions(after_actions)
    trouble()
    check_all(scenarios)
    return watch


@pytest.mark.parametrize("after_actions", [2, 20, 50] if ALL else [20])
def test_power_cut(product: Product, faulty_lab: Lab, after_actions: int) -> None:
    def cut() -> None:
        faulty_lab.kill("h1")
        faulty_lab.start("h1")

    disturb(product, cut, after_actions=after_actions)
    # all of /etc is fresh after a boot of a namespace host, so exports that no operation was about are lost
    product.told("doctor", "--repair", "export-missing")


def test_connection_lost(product: Product, faulty_lab: Lab) -> None:
    link = f"v{faulty_lab.network.tag}h1"

    def unplug() -> None:
        run("ip", "link", "set", link, "down")
        time.sleep(LONG_S)
        run("ip", "link", "set", link, "up")

    watch = disturb(product, unplug, after_actions=10)
    assert watch.lines("host.no_answer")
    assert watch.lines("operation.retried")


def test_a_command_that_hangs(product: Product) -> None:
    """Past its deadline nobody knows what it did; the next attempt looks."""
    site = product.site
    pid = site.ran("pidof", "zfs-fuse")

    def stop_for_a_while() -> None:
        site.ran("kill", "-STOP", pid)
        time.sleep(LONG_S)
        site.ran("kill", "-CONT", pid)

    watch = disturb(product, stop_for_a_while, after_actions=5)
    assert watch.lines("UnknownResult")


def test_full_pool(product: Product, faulty_lab: Lab) -> None:
    user, host = product.user, faulty_lab.host("h2")
    specs = {"driver_handles_share_servers": "false", "share_backend_name": "small", "snapshot_support": "true"}
    specs |= {"create_share_from_snapshot_support": "true"}
    for name, more in (("small", {}), ("small thick", {"thin_provisioning": "False"})):
        user.caller.ok("POST", "/types", {"share_type": {"name": name, "extra_specs": specs | more}})
    share = user.share(share_type="small")
    snapshot = user.snapshot(share)
    ballast = f"{SMALL_POOL}/ballast"  # of somebody else, beside our shares
    assert host.run(["zfs", "create", ballast], timeout_s=60).exit_code == 0
    fill = ["dd", "if=/dev/zero", f"of=/{ballast}/big", "bs=1M", f"count={SMALL_MIB}", "conv=fsync"]
    assert host.run(fill, timeout_s=120).exit_code != 0  # it is full now

    asked = [user.ask_share(1, share_type=name) for name in ("small", "small thick")]
    asked.append(user.ask_share(1, snapshot_id=snapshot))
    taken = user.ask_snapshot(share)
    user.act(share, "extend", {"new_size": 2})
    ends = [user.until(functools.partial(user.show, one), has_ended) for one in (*asked, share)]
    ends.append(user.until(lambda: user.show_snapshot(taken), has_ended))
    assert ends[1]["status"] == "error"  # what nobody can set aside
    for end in ends:
        assert end["status"] == "available" or user.messages(end["id"]), end
    product.told("doctor")

    assert host.run(["truncate", "-s", "0", f"/{ballast}/big"], timeout_s=60).exit_code == 0
    user.caller.ok("POST", f"/shares/{share}/action", {"reset_status": {"status": "available"}})
    for one in asked:
        user.delete(one)
    user.caller.ok("DELETE", f"/snapshots/{taken}")
    user.until_gone(f"/snapshots/{taken}")
    user.until(lambda: _free_mib(product, host), lambda free: free > SMALL_MIB // 2)
    user.resize(share, 3)
    user.delete(user.clone(snapshot))
    user.delete_snapshot(user.snapshot(share))


def has_ended(row: Row) -> bool:
    return row["status"] == "available" or "error" in row["status"]


def _free_mib(product: Product, host: object) -> float:
    """What the backend last reported."""
    pools = product.user.caller.ok("GET", "/scheduler-stats/pools/detail")["pools"]
    return next(float(row["capabilities"]["free_capacity_gb"]) * 1024 for row in pools if SMALL_POOL in row["name"])
