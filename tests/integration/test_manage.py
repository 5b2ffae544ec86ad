"""Taking over what exists, in place, and letting go."""

from __future__ import annotations

import pytest

from tests.product.running import Product
from tests.product.sites import NESTED
from tests.product.user import User

OWN_PATH = "/srv/projects"


@pytest.mark.parametrize("mountpoint", ["", OWN_PATH], ids=["own path", "custom mountpoint"])
def test_a_dataset_in_use_is_taken_over_and_let_go(product: Product, user: User, mountpoint: str) -> None:
    site, dataset = product.site, f"{NESTED}/projects"
    path = mountpoint or f"/{dataset}"
    site.ran("zfs", "create", *(("-o", f"mountpoint={mountpoint}") if mountpoint else ()), dataset)
    site.ran("sh", "-c", 'echo kept >"$1/file"', "sh", path)
    # a process that works in it: were it unmounted, if only for a moment, that would be busy
    pid = site.ran("sh", "-c", 'cd "$1" && { setsid sleep 100 </dev/null >/dev/null 2>&1 & echo $!; }', "sh", path)
    try:
        share = user.manage(f"{site.address}:{path}", "lab@one#tank", size="2")
        assert user.location(share) == f"{site.address}:{path}"
        assert user.show(share)["size"] == 2
        assert site.ran("readlink", f"/proc/{pid}/cwd") == path
        user.allow(share, site.friend.address)
        assert site.friend.read(user.location(share), "file") == "kept\n"
        user.unmanage(share)
    finally:
        site.ran("kill", pid)
    assert site.ran("cat", f"{path}/file") == "kept"
    marks = site.ran("zfs", "get", "-H", "-o", "property", "-s", "local", "all", dataset)
    assert "penstock" not in marks
    again = user.manage(f"{site.address}:{path}", "lab@one#tank")
    user.delete(again)
    assert not site.has("zfs", "list", dataset)


def test_snapshots_likewise(product: Product, user: User) -> None:
    site = product.site
    share = user.share(share_type=_type_on_tank(user))
    dataset = user.path(share).lstrip("/")
    site.ran("zfs", "snapshot", f"{dataset}@daily")
    body = {"share_id": share, "provider_location": f"{dataset}@daily", "name": "taken over"}
    snapshot = user.caller.ok("POST", "/snapshots/manage", {"snapshot": body})["snapshot"]["id"]
    user.until_snapshot(snapshot)
    clone = user.clone(snapshot)
    user.delete(clone)
    user.caller.ok("POST", f"/snapshots/{snapshot}/action", {"unmanage": None})
    user.until_gone(f"/snapshots/{snapshot}")
    assert site.has("zfs", "list", f"{dataset}@daily")
    site.ran("zfs", "destroy", f"{dataset}@daily")
    user.delete(share)
    user.caller.ok("DELETE", f"/types/{_type_on_tank(user)}")


def test_what_is_not_there_is_not_taken_over(product: Product, user: User) -> None:
    share = user.manage(f"{product.site.address}:/{NESTED}/nothing", "lab@one#tank", wanted="manage_error")
    assert user.messages(share)
    user.unmanage(share)


def _type_on_tank(user: User) -> str:
    """A type of shares on the pool tank of backend one, made once."""
    for found in user.caller.ok("GET", "/types")["share_types"]:
        if found["name"] == "on-tank":
            return str(found["id"])
    specs = {
        "driver_handles_share_servers": "false",
        "snapshot_support": "true",
        "create_share_from_snapshot_support": "true",
    }
    specs |= {"share_backend_name": "one", "pool_name": "tank"}
    body = {"share_type": {"name": "on-tank", "extra_specs": specs}}
    return str(user.caller.ok("POST", "/types", body)["share_type"]["id"])
