"""The main job from end to end: by openstacksdk, by ``openstack share``, and by plain HTTP."""

from __future__ import annotations

import json
from typing import Protocol

import pytest
from manilaclient import client as manila  # type: ignore[import-untyped]
from openstack.connection import Connection

from tests.product.running import Product
from tests.product.user import User

TEXT = "written before the snapshot"


class Asker(Protocol):
    """A way to ask. Nothing is waited for: that is done by plain HTTP for all of them."""

    def share(self, size: int, snapshot: str | None = None) -> str: ...
    def allow(self, share: str, client: str) -> str: ...
    def location(self, share: str) -> str: ...
    def snapshot(self, share: str) -> str: ...
    def resize(self, share: str, size: int) -> None: ...
    def size(self, share: str) -> int: ...
    def delete(self, share: str) -> None: ...


class BySdk:
    """openstacksdk, from the clouds.yaml."""

    def __init__(self, cloud: Connection) -> None:
        self._api = cloud.shared_file_system

    def share(self, size: int, snapshot: str | None = None) -> str:
        more = {"snapshot_id": snapshot} if snapshot else {}
        return str(self._api.create_share(name="by-sdk", size=size, share_protocol="NFS", **more).id)

    def allow(self, share: str, client: str) -> str:
        rule = self._api.create_access_rule(share, access_type="ip", access_to=client, access_level="rw")
        return str(rule.id)

    def location(self, share: str) -> str:
        found = [location for location in self._api.export_locations(share) if location.is_preferred]
        return str(found[0].path)

    def snapshot(self, share: str) -> str:
        return str(self._api.create_share_snapshot(share_id=share, name="by-sdk").id)

    def resize(self, share: str, size: int) -> None:
        self._api.resize_share(share, size)

    def size(self, share: str) -> int:
        return int(self._api.get_share(share).size)

    def delete(self, share: str) -> None:
        self._api.delete_share(share)


class ByCommand:
    """python-manilaclient's plugin of the ``openstack`` command."""

    def __init__(self, product: Product) -> None:
        self._run = product.openstack
        self._library = manila.Client("2.75", session=product.daemon.cloud().session)

    def share(self, size: int, snapshot: str | None = None) -> str:
        more = ("--snapshot-id", snapshot) if snapshot else ()
        made = self._run("share", "create", "NFS", str(size), "--name", "by-command", *more, "-f", "json")
        return str(json.loads(made)["id"])

    def allow(self, share: str, client: str) -> str:
        words = ("share", "access", "create", share, "ip", client, "--access-level", "rw")
        return str(json.loads(self._run(*words, "-f", "json"))["id"])

    def location(self, share: str) -> str:
        listed = json.loads(self._run("share", "export", "location", "list", share, "-f", "json"))
        return str(next(row["Path"] for row in listed if str(row["Preferred"]) == "True"))

    def snapshot(self, share: str) -> str:
        # by the client's library: its command `share snapshot create` (6.3.0) ends in an UnboundLocalError below 2.73
        return str(self._library.share_snapshots.create(share, name="by-command").id)

    def resize(self, share: str, size: int) -> None:
        self._run("share", "resize", share, str(size))

    def size(self, share: str) -> int:
        return int(json.loads(self._run("share", "show", share, "-f", "json"))["size"])

    def delete(self, share: str) -> None:
        self._run("share", "delete", share)


class ByHttp:
    """Requests as the API reference shows them."""

    def __init__(self, user: User) -> None:
        self._user = user
        self.allow, self.snapshot = user.ask_rule, user.ask_snapshot
        self.location, self.delete = user.location, user.ask_delete

    def share(self, size: int, snapshot: str | None = None) -> str:
        return self._user.ask_share(size, **({"snapshot_id": snapshot} if snapshot else {}))

    def resize(self, share: str, size: int) -> None:
        self._user.act(share, "extend" if size > self.size(share) else "shrink", {"new_size": size})

    def size(self, share: str) -> int:
        return int(self._user.show(share)["size"])


@pytest.fixture(params=["openstacksdk", "openstack share", "http"])
def asker(request: pytest.FixtureRequest, product: Product) -> Asker:
    if request.param == "openstacksdk":
        return BySdk(product.daemon.cloud())
    return ByCommand(product) if request.param == "openstack share" else ByHttp(product.user)


def test_the_main_job(asker: Asker, product: Product, user: User) -> None:
    friend, stranger = product.site.friend, product.site.stranger
    share = asker.share(1)
    user.until_share(share)
    user.until_rule(asker.allow(share, friend.address))
    location = asker.location(share)
    assert friend.write(location, "file", TEXT)
    assert friend.read(location, "file") == TEXT
    assert not stranger.can_list(location)

    snapshot = asker.snapshot(share)
    user.until_snapshot(snapshot)
    assert friend.write(location, "later", TEXT)
    copy = asker.share(1, snapshot)
    user.until_share(copy)
    user.until_rule(asker.allow(copy, friend.address))
    place_of_copy = asker.location(copy)
    assert friend.read(place_of_copy, "file") == TEXT
    assert friend.read(place_of_copy, "later") is None

    for size in (3, 2):
        asker.resize(share, size)
        user.until_share(share)
        assert asker.size(share) == size
    asker.delete(copy)
    user.until_gone(f"/shares/{copy}")
    assert not friend.can_list(place_of_copy)
    assert friend.read(location, "later") == TEXT
