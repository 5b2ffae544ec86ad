"""Who may use a share, by real NFS clients."""

from __future__ import annotations

import pytest

from tests.product.running import Product
from tests.product.user import User


def test_levels_and_none(product: Product, user: User) -> None:
    friend, stranger = product.site.friend, product.site.stranger
    share = user.share()
    location = user.location(share)
    assert (friend.may(location), stranger.may(location)) == ("", "")
    rule = user.allow(share, friend.address)
    user.allow(share, stranger.address, "ro")
    assert (friend.may(location), stranger.may(location)) == ("rw", "ro")
    user.deny(share, rule)
    assert (friend.may(location), stranger.may(location)) == ("", "ro")


def test_networks(product: Product, user: User) -> None:
    site = product.site
    share = user.share()
    location = user.location(share)
    user.allow(share, "192.0.2.0/24")
    assert site.friend.may(location) == ""
    rule = user.allow(share, site.network, "ro")
    assert (site.friend.may(location), site.stranger.may(location)) == ("ro", "ro")
    user.allow(share, site.friend.address)  # the narrower one counts
    assert (site.friend.may(location), site.stranger.may(location)) == ("rw", "ro")
    user.deny(share, rule)
    assert (site.friend.may(location), site.stranger.may(location)) == ("rw", "")


def test_ipv6(product: Product, user: User) -> None:
    if product.site.v6 is None:
        pytest.skip("the machines of the kernel lab have no IPv6 addresses")
    friend = product.site.friend
    share = user.share()
    (location,) = (path for path in user.locations(share) if path.startswith("["))
    assert friend.may(location) == ""
    rule = user.allow(share, product.site.v6[1])
    assert friend.may(location) == "rw"
    user.deny(share, rule)
    assert friend.may(location) == ""


def test_a_rule_removed_while_the_client_is_mounted(product: Product, user: User) -> None:
    friend = product.site.friend
    share = user.share()
    location = user.location(share)
    rule = user.allow(share, friend.address)
    other = user.allow(share, product.site.stranger.address)
    for name in ("file", "other"):
        assert friend.write(location, name, "hello")
    assert friend.while_mounted(location, lambda: user.deny(share, other)) == (True, True)
    assert friend.while_mounted(location, lambda: user.deny(share, rule)) == (True, False)


def test_a_restarted_daemon_serves_the_same(product: Product, user: User) -> None:
    friend = product.site.friend
    share = user.share()
    user.allow(share, friend.address)
    product.daemon.down()
    assert friend.may(user_location := f"{product.site.address}:{_mounted(product)}") == "rw"
    product.daemon.up()
    assert user.location(share) == user_location
    assert friend.may(user_location) == "rw"


def _mounted(product: Product) -> str:
    """Where the only share is."""
    listed = product.site.ran("zfs", "list", "-H", "-o", "mountpoint", "-r", "tank/penstock/nfs", "pond").splitlines()
    (mountpoint,) = (path for path in listed if "manila_share" in path)
    return mountpoint
