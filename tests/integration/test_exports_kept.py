"""A storage host that loses /etc while the daemon runs serves its shares again by itself, and only whom it should."""

from __future__ import annotations

import re
from dataclasses import replace

import httpx
import pytest

from penstock.exports.ganesha_bus import GaneshaBus
from penstock.exports.nfs_ganesha import DIRECTORY, GaneshaNfs
from tests.places import Place
from tests.product.running import PORTS, Product, running
from tests.product.sites import Site

pytestmark = pytest.mark.lab
OTHERS = 5
COUNTED = re.compile(r"^penstock_exports_restored_total\{.*\} (\S+)$", re.MULTILINE)


def test_exports_that_a_host_lost_come_back(namespaces: Site, place: Place) -> None:
    site = replace(namespaces, backends={"one": (*namespaces.backends["one"], "exports_check_interval = 1")})
    with running(site, place.directory / "daemon-kept", PORTS + 500 + place.number) as product:
        _lose_and_look(product)
        product.told("doctor")
        product.user.delete_all()


def _lose_and_look(product: Product) -> None:
    site, user, nfs = product.site, product.user, GaneshaNfs(product.site.host)
    share = user.share()
    user.allow(share, site.friend.address)
    for number in range(OTHERS):
        user.allow(user.share(), f"192.0.2.{number + 1}")
    user.deny(share, user.allow(share, site.stranger.address))
    location = user.location(share)
    assert site.friend.write(location, "file", "kept")
    wanted = nfs.all()

    site.ran("rm", "-rf", DIRECTORY)
    user.until(nfs.all, lambda found: found == wanted)
    assert (site.friend.may(location), site.stranger.may(location)) == ("rw", "")
    user.until(lambda: _counted(product), lambda count: count >= OTHERS + 1)

    bus = GaneshaBus(site.host)
    for number, path in bus.served_paths().items():
        if path in wanted:
            bus.remove(number)
    user.until(nfs.in_force, lambda found: found == set(wanted))
    assert (site.friend.may(location), site.stranger.may(location)) == ("rw", "")
    assert site.friend.read(location, "file") == "kept"

    site.ran("rm", "-rf", DIRECTORY)
    user.delete(share)  # whichever comes first, the look or the deletion
    user.until(nfs.all, lambda found: len(found) == OTHERS)
    assert not any(location.endswith(path) for path in nfs.in_force())


def _counted(product: Product) -> float:
    """Exports put back, as the daemon tells."""
    metrics = httpx.get(f"{product.daemon.url}/metrics", timeout=20).text
    return sum(float(count) for count in COUNTED.findall(metrics))
