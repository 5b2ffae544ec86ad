"""Operations on a real host that are to be disturbed: what is there before, what is asked, and how it must end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from tests.product.running import Product
from tests.product.sites import NESTED
from tests.product.user import Row, User

REVERTING = "reverting"
TEXT = "kept"


class Scenario(ABC):
    """One operation on shares of its own, all of them on backend one. Made, it is prepared."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.prepare()

    @property
    def user(self) -> User:
        return self.product.user

    def prepare(self) -> None:  # noqa: B027 - a scenario that needs nothing has nothing to say
        """What is there before. By default nothing."""

    @abstractmethod
    def ask(self) -> None:
        """Send the request; it is accepted."""

    @abstractmethod
    def check(self) -> None:
        """Wait for the end, which must be the good one: nobody but us was in the way."""

    # -- for them

    def new_share(self, size: int = 1) -> str:
        return self.user.share(size, share_type=REVERTING)

    def write(self, share: str, text: str = TEXT) -> None:
        """Into the file ``file``; it survives a power cut."""
        path = f"{self.user.path(share)}/file"
        self.product.site.ran("sh", "-c", 'printf %s "$1" | dd "of=$2" conv=fsync 2>/dev/null', "sh", text, path)

    def assert_kept(self, share: str) -> None:
        assert self.product.site.ran("cat", f"{self.user.path(share)}/file") == TEXT

    def zfs_value(self, share: str, name: str) -> str:
        return self.product.site.ran("zfs", "get", "-Hpo", "value", name, self.user.path(share).lstrip("/"))


class Creating(Scenario):
    def ask(self) -> None:
        self.share = self.user.ask_share(1, share_type=REVERTING)

    def check(self) -> None:
        self.user.until_share(self.share)
        assert self.zfs_value(self.share, "mounted") == "yes"


class Cloning(Scenario):
    def prepare(self) -> None:
        share = self.new_share()
        self.write(share)
        self.snapshot = self.user.snapshot(share)

    def ask(self) -> None:
        self.clone = self.user.ask_share(1, snapshot_id=self.snapshot)

    def check(self) -> None:
        self.user.until_share(self.clone)
        self.assert_kept(self.clone)


class Deleting(Scenario):
    def prepare(self) -> None:
        self.share = self.new_share()
        self.user.allow(self.share, self.product.site.friend.address)
        self.location = self.user.location(self.share)

    def ask(self) -> None:
        self.user.ask_delete(self.share)

    def check(self) -> None:
        self.user.until_gone(f"/shares/{self.share}")
        assert not self.product.site.friend.can_list(self.location)


class DeletingWithAClone(Scenario):
    def prepare(self) -> None:
        self.share = self.new_share()
        self.write(self.share)
        snapshot = self.user.snapshot(self.share)
        self.clone = self.user.clone(snapshot)
        self.user.delete_snapshot(snapshot)

    def ask(self) -> None:
        self.user.ask_delete(self.share)

    def check(self) -> None:
        self.user.until_gone(f"/shares/{self.share}")
        self.assert_kept(self.clone)


class DeletingASnapshotWithAClone(Scenario):
    def prepare(self) -> None:
        share = self.new_share()
        self.write(share)
        self.snapshot = self.user.snapshot(share)
        self.clone = self.user.clone(self.snapshot)

    def ask(self) -> None:
        self.user.caller.ok("DELETE", f"/snapshots/{self.snapshot}")

    def check(self) -> None:
        self.user.until_gone(f"/snapshots/{self.snapshot}")
        self.assert_kept(self.clone)


class Resizing(Scenario):
    before, after = 1, 3

    def prepare(self) -> None:
        self.share = self.new_share(self.before)

    def ask(self) -> None:
        self.user.act(self.share, "extend" if self.after > self.before else "shrink", {"new_size": self.after})

    def check(self) -> None:
        assert self.user.until_share(self.share)["size"] == self.after
        assert self.zfs_value(self.share, "refquota") == str(self.after << 30)


class Shrinking(Resizing):
    before, after = 3, 2


class Snapshotting(Scenario):
    def prepare(self) -> None:
        self.share = self.new_share()
        self.write(self.share)

    def ask(self) -> None:
        self.snapshot = self.user.ask_snapshot(self.share)

    def check(self) -> None:
        self.user.until_snapshot(self.snapshot)
        self.assert_kept(self.user.clone(self.snapshot))


class Reverting(Scenario):
    def prepare(self) -> None:
        self.share = self.new_share()
        self.user.allow(self.share, self.product.site.friend.address)
        self.write(self.share)
        self.snapshot = self.user.snapshot(self.share)
        self.write(self.share, "changed")

    def ask(self) -> None:
        self.user.act(self.share, "revert", {"snapshot_id": self.snapshot})

    def check(self) -> None:
        self.user.until_share(self.share)
        self.user.until_snapshot(self.snapshot)
        self.assert_kept(self.share)


class Allowing(Scenario):
    def prepare(self) -> None:
        self.share = self.new_share()

    def ask(self) -> None:
        self.rule = self.user.ask_rule(self.share, self.product.site.friend.address)

    def check(self) -> None:
        self.user.until_rule(self.rule)
        assert self.product.site.friend.may(self.user.location(self.share)) == "rw"


class Denying(Scenario):
    def prepare(self) -> None:
        self.share = self.new_share()
        self.rule = self.user.allow(self.share, self.product.site.friend.address)
        self.user.allow(self.share, self.product.site.stranger.address, "ro")

    def ask(self) -> None:
        self.user.act(self.share, "deny_access", {"access_id": self.rule})

    def check(self) -> None:
        self.user.until(lambda: self.user.rules(self.share), lambda rules: self.rule not in rules)
        assert self.product.site.friend.may(self.user.location(self.share)) == ""


class Managing(Scenario):
    def prepare(self) -> None:
        self.dataset = f"{NESTED}/theirs-{uuid4()}"
        self.product.site.ran("zfs", "create", "-o", "quota=2G", self.dataset)

    def ask(self) -> None:
        path = f"{self.product.site.address}:/{self.dataset}"
        body: Row = {"protocol": "NFS", "export_path": path, "service_host": "lab@one#tank", "share_type": REVERTING}
        self.share = self.user.caller.ok("POST", "/shares/manage", {"share": body})["share"]["id"]

    def check(self) -> None:
        assert self.user.until_share(self.share)["size"] == 2
        assert self.user.path(self.share) == f"/{self.dataset}"


class Unmanaging(Scenario):
    def prepare(self) -> None:
        self.share = self.new_share()
        self.dataset = self.user.path(self.share).lstrip("/")

    def ask(self) -> None:
        self.user.act(self.share, "unmanage", None)

    def check(self) -> None:
        self.user.until_gone(f"/shares/{self.share}")
        marks = self.product.site.ran("zfs", "get", "-H", "-o", "property", "-s", "local", "all", self.dataset)
        assert "penstock" not in marks
        # zfs-fuse says busy for a while
        self.user.until(lambda: self.product.site.has("zfs", "destroy", "-r", self.dataset), bool)


SCENARIOS: tuple[type[Scenario], ...] = (
    Creating,
    Cloning,
    Deleting,
    DeletingWithAClone,
    DeletingASnapshotWithAClone,
    Resizing,
    Shrinking,
    Snapshotting,
    Reverting,
    Allowing,
    Denying,
    Managing,
    Unmanaging,
)


def prepare_all(product: Product) -> list[Scenario]:
    """One of each."""
    with ThreadPoolExecutor(len(SCENARIOS)) as threads:
        return list(threads.map(lambda kind: kind(product), SCENARIOS))


def check_all(scenarios: Sequence[Scenario]) -> None:
    """Every one of them ends well."""
    with ThreadPoolExecutor(len(scenarios)) as threads:
        list(threads.map(lambda scenario: scenario.check(), scenarios))


def make_type(user: User) -> None:
    """The share type of all scenarios: on backend one, with everything it can do."""
    specs = {"driver_handles_share_servers": "false", "share_backend_name": "one", "snapshot_support": "true"}
    specs |= {"create_share_from_snapshot_support": "true", "revert_to_snapshot_support": "true"}
    user.caller.ok("POST", "/types", {"share_type": {"name": REVERTING, "extra_specs": specs}})
