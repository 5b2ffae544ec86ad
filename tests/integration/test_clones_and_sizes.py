"""Snapshots, shares made from them, and sizes, with data that clients wrote."""

from __future__ import annotations

from tests.product.running import Product
from tests.product.sites import NESTED
from tests.product.user import User

NEARLY_ONE_GIB_MIB, MORE_MIB = 980, 100
LATE_BYTES = 32 << 20  # ZFS counts what is written every few seconds, and lets that much more pass


def test_what_clones_need_stays_underneath(product: Product, user: User) -> None:
    """Deleting the snapshot, then the share, succeeds for the user; the clones keep their data."""
    friend = product.site.friend
    share = user.share(availability_zone="nova")
    user.allow(share, friend.address)
    assert friend.write(user.location(share), "file", "first")
    snapshot = user.snapshot(share)
    clones = [user.clone(snapshot) for _ in range(2)]
    second = user.snapshot(clones[0])
    grandchild = user.clone(second)
    user.delete_snapshot(snapshot)
    user.delete(share)
    user.delete_snapshot(second)
    user.delete(clones[0])
    for clone in (clones[1], grandchild):
        user.allow(clone, friend.address)
        assert friend.read(user.location(clone), "file") == "first"
        assert friend.write(user.location(clone), "own", "mine")
    product.told("doctor")  # the `product` fixture sees afterwards that what was kept underneath is gone with them


def test_revert(product: Product, user: User) -> None:
    friend = product.site.friend
    kind = user.caller.ok(
        "POST",
        "/types",
        {"share_type": {"name": "reverting", "extra_specs": {"driver_handles_share_servers": "false"}}},
    )["share_type"]["id"]
    specs = {"extra_specs": {"snapshot_support": "true", "revert_to_snapshot_support": "true"}}
    user.caller.ok("POST", f"/types/{kind}/extra_specs", specs)
    share = user.share(share_type=kind)
    location = user.location(share)
    user.allow(share, friend.address)
    assert friend.write(location, "file", "before")
    snapshot = user.snapshot(share)
    assert friend.write(location, "later", "after")
    user.revert(share, snapshot)
    assert friend.read(location, "file") == "before"
    assert friend.read(location, "later") is None
    assert friend.may(location) == "rw"
    user.delete_snapshot(snapshot)
    user.delete(share)
    user.caller.ok("DELETE", f"/types/{kind}")


def test_the_size_is_the_limit_and_shrinking_never_loses_data(product: Product, user: User) -> None:
    friend = product.site.friend
    share = user.share(1)
    location = user.location(share)
    user.allow(share, friend.address)
    big = f"{user.path(share)}/big"
    product.site.ran("dd", "if=/dev/zero", f"of={big}", "bs=1M", f"count={NEARLY_ONE_GIB_MIB}", "conv=fsync")
    complaint = friend.fill(location, "too-much", MORE_MIB)
    assert "quota exceeded" in complaint or (complaint and product.site.name == "namespaces"), complaint
    assert _referenced(product, share) <= (1 << 30) + LATE_BYTES
    user.resize(share, 2)
    assert friend.fill(location, "more", MORE_MIB) == ""
    _account(product)
    user.until(lambda: _referenced(product, share), lambda referenced: referenced > 1 << 30)
    assert user.resize(share, 1)["size"] == 2
    assert any("more than the new size" in message for message in user.messages(share))
    product.site.ran("truncate", "-s", "0", big)
    _account(product)
    user.until(lambda: _referenced(product, share), lambda referenced: referenced < 1 << 30)
    assert user.resize(share, 1)["size"] == 1


def _account(product: Product) -> None:
    """Have ZFS account for what was written: zfs-fuse does so twice a minute, and whenever a property changes."""
    product.site.ran("sync")
    product.site.ran("zfs", "inherit", "lab:accounted", NESTED)


def _referenced(product: Product, share: str) -> int:
    return int(product.site.ran("zfs", "get", "-Hpo", "value", "referenced", product.user.path(share).lstrip("/")))
