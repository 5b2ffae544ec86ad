"""Several backends in one daemon, several pools of one backend, and what share types ask of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.product.running import Product
from tests.product.sites import NESTED, SECOND, SECOND_POOL
from tests.product.user import User

DRIVER_SPEC = {"driver_handles_share_servers": "false"}


@pytest.fixture
def kinds(user: User) -> Iterator[dict[str, str]]:
    """Names of share types, for each a pool or property."""
    wanted = {
        "on tank": {"share_backend_name": "one", "pool_name": "tank"},
        "on pond": {"share_backend_name": "one", "pool_name": "pond"},
        "on two": {"share_backend_name": "two"},
        "packed": {"share_backend_name": "one", "zfsonlinux:compression": "gzip-3"},
        "thick": {"share_backend_name": "one", "pool_name": "tank", "thin_provisioning": "False"},
    }
    made = {}
    for name, specs in wanted.items():
        body = {"share_type": {"name": name, "extra_specs": DRIVER_SPEC | specs}}
        made[name] = user.caller.ok("POST", "/types", body)["share_type"]["id"]
    yield made
    user.delete_all()
    for kind in made.values():
        user.caller.ok("DELETE", f"/types/{kind}")


@pytest.mark.parametrize(
    ("kind", "root", "host"),
    [("on tank", NESTED, "lab@one#tank"), ("on pond", SECOND_POOL, "lab@one#pond"), ("on two", SECOND, "lab@two#tank")],
)
def test_placement(product: Product, user: User, kinds: dict[str, str], kind: str, root: str, host: str) -> None:
    share = user.share(share_type=kinds[kind])
    assert user.show(share)["host"] == host
    assert user.path(share).startswith(f"/{root}/manila_share_")
    user.allow(share, product.site.network)
    location = user.location(share)
    assert product.site.friend.write(location, "file", kind)
    assert product.site.stranger.read(location, "file") == kind


def test_types(product: Product, user: User, kinds: dict[str, str]) -> None:
    def property_of(share: str, name: str) -> str:
        return product.site.ran("zfs", "get", "-Hpo", "value", name, user.path(share).lstrip("/"))

    thin, packed, thick = (user.share(share_type=kinds[kind]) for kind in ("on tank", "packed", "thick"))
    assert property_of(packed, "compression") == "gzip-3"
    assert [property_of(share, "refreservation") for share in (thin, thick)] == ["0", str(1 << 30)]
    assert {property_of(share, "refquota") for share in (thin, packed, thick)} == {str(1 << 30)}
    user.resize(thick, 2)
    assert property_of(thick, "refreservation") == str(2 << 30)


def test_a_clone_stays_on_the_pool_of_its_snapshot(product: Product, user: User, kinds: dict[str, str]) -> None:
    more = {"snapshot_support": "true", "create_share_from_snapshot_support": "true"}
    user.caller.ok("POST", f"/types/{kinds['on pond']}/extra_specs", {"extra_specs": more})
    share = user.share(share_type=kinds["on pond"])
    clone = user.clone(user.snapshot(share))
    assert user.show(clone)["host"] == "lab@one#pond"


def test_commands_are_audited_with_their_request(product: Product, user: User) -> None:
    answer = user.caller.call("POST", "/shares", {"share": {"share_proto": "NFS", "size": 1}})
    request = answer.headers["x-openstack-request-id"]
    user.until_share(answer.json()["share"]["id"])
    lines = [line for line in product.log.splitlines() if "host.command" in line and request in line]
    assert any("'create'" in line for line in lines), request
    assert all("seconds=" in line for line in lines)
