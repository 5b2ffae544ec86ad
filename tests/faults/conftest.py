"""A running product on real hosts that the tests disturb."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from lab import hosts as namespace_hosts
from lab.hosts import Lab
from tests.faults.scenarios import make_type
from tests.faults.tally import TALLY
from tests.places import Place
from tests.product.running import PORTS, Product, running
from tests.product.sites import NESTED, Site, namespace_site, over_ssh

POOL_MIB = 6144
SMALL_POOL = "puddle"
SMALL_MIB = 1280
COMMAND_TIMEOUT_S = 4
OPTIONS = ("periodic_interval = 3", "[operations]", "max_retry_delay = 1", "give_up_after = 120")
ALL = os.environ.get("PENSTOCK_FAULTS") == "all"


@pytest.fixture(scope="session")
def faulty_lab(place: Place) -> Iterator[Lab]:
    """A namespace lab of its own; nothing in it yet."""
    reason = namespace_hosts.missing()
    if reason:
        pytest.skip(reason)
    lab = Lab(f"{place.tag}f", place.memory / "f", f"10.181.{place.number}", pool_mib=POOL_MIB)
    lab.down()  # what a crashed run left here
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def faulty_site(faulty_lab: Lab) -> Site:
    """Backend one on h1, with little patience for commands; backend small on h2, with a pool that is soon full."""
    site = namespace_site(faulty_lab)
    disk = f"{faulty_lab.directory}/h2/puddle"
    for command in (("truncate", "-s", f"{SMALL_MIB}M", disk), ("zpool", "create", SMALL_POOL, disk)):
        assert faulty_lab.host("h2").run(command, timeout_s=60).exit_code == 0, command
    paths = faulty_lab.key_path, faulty_lab.known_hosts_path
    hasty = f"zfs_command_timeout = {COMMAND_TIMEOUT_S}"
    backends = {
        "one": over_ssh(faulty_lab.address("h1"), *paths, NESTED, hasty),
        "small": over_ssh(faulty_lab.address("h2"), *paths, SMALL_POOL, "max_over_subscription_ratio = 100"),
    }
    return replace(site, backends=backends)


@pytest.fixture(scope="session")
def whole_product(faulty_site: Site, place: Place) -> Iterator[Product]:
    with running(faulty_site, place.directory / "daemon-faults", PORTS + 200 + place.number, OPTIONS) as product:
        make_type(product.user)
        yield product
        product.told("doctor")


@pytest.fixture
def product(whole_product: Product) -> Iterator[Product]:
    """The running product. After a test the doctor finds nothing, and once all is deleted nothing is left."""
    whole_product.daemon.up()
    yield whole_product
    whole_product.told("doctor")
    whole_product.user.delete_all()
    assert whole_product.site.ran("zfs", "list", "-H", "-o", "name", "-t", "all", "-r", NESTED).split() == [NESTED]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was injected, how often, and how it ended."""
    TALLY.keep()
    for line in TALLY.lines():
        terminalreporter.write_line(line)
