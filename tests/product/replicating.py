"""What somebody with replicated shares does, by the stock client and by plain HTTP, and waits for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.product.nfs_clients import NfsClient
from tests.product.running import Product
from tests.product.user import Row, User


@dataclass
class Files:
    """The files of one share as they have to be; `digest` is the checksum to compare."""

    client: NfsClient
    contents: dict[str, str] = field(default_factory=dict)

    def write(self, location: str, name: str, text: str) -> None:
        """A write that the client saw succeed, so it counts."""
        assert self.client.write(location, name, text), (location, name)
        self.contents[name] = text

    @property
    def digest(self) -> str:
        return _digest(self.contents)

    def digest_at(self, location: str) -> str:
        """The checksum of what is at `location`, over the names that have to be there."""
        return _digest({name: self.client.read(location, name) for name in self.contents})


def _digest(contents: dict[str, str] | dict[str, str | None]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


@dataclass
class Replicating:
    """One replicated share, seen by its administrator."""

    product: Product
    share: str

    @property
    def user(self) -> User:
        return self.product.user

    def openstack(self, *words: str) -> Row:
        """A command of the stock client that answers with one thing."""
        return dict(json.loads(self.product.openstack(*words, "-f", "json")))

    def replicas(self) -> list[Row]:
        found = self.user.caller.ok("GET", f"/share-replicas/detail?share_id={self.share}")["share_replicas"]
        return list(found)

    def show(self, replica: str) -> Row:
        return dict(self.user.caller.ok("GET", f"/share-replicas/{replica}")["share_replica"])

    def active(self) -> Row:
        (found,) = [row for row in self.replicas() if row["replica_state"] == "active"]
        return found

    def add(self) -> str:
        """One more replica, by the stock client; the first copy is waited for."""
        replica = str(self.openstack("share", "replica", "create", self.share)["id"])
        self.until(replica, "in_sync")
        return replica

    def until(self, replica: str, state: str) -> Row:
        """Wait for a state of replication, of a replica that is available."""
        return dict(
            self.user.until(
                lambda: self.show(replica),
                lambda row: row["replica_state"] == state and row["status"] == "available",
            )
        )

    def sync(self, replica: str) -> None:
        """Ask for everything written up to now, and wait until it is there."""
        # what a sync that began before then brings may lack the last write
        asked_at = datetime.now(UTC).replace(tzinfo=None).isoformat()
        self.product.openstack("share", "replica", "resync", replica)
        self.user.until(lambda: self.show(replica), lambda row: (row["synced_at"] or "") > asked_at)
        self.until(replica, "in_sync")

    def promote(self, replica: str) -> None:
        """By the stock client, with `--wait`."""
        self.product.openstack("share", "replica", "promote", replica, "--wait")
        assert self.active()["id"] == replica

    def location_of(self, replica: str) -> str:
        """Where a replica is mounted from; the active's is the share's own."""
        found = self.user.caller.ok("GET", f"/share-replicas/{replica}/export-locations")["export_locations"]
        return str(next(row["path"] for row in found if row["preferred"]))
