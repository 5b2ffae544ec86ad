"""A share manager with the dummy driver on SQLite in memory, and what tests of it begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from penstock.clock import ManualClock
from penstock.config.backend import BackendConfiguration
from penstock.config.loading import load
from penstock.context import admin_context
from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.messages import Message
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.ids import SnapshotId, new_id
from penstock.share.driver import ShareDriver
from penstock.share.drivers.dummy import DummyDriver
from penstock.share.manager import ShareManager
from penstock.store import access, instances, messages, shares, snapshots
from penstock.store.database import Database
from penstock.store.lists import Page
from tests.factories import a_rule, a_share, a_snapshot

CONTEXT = admin_context("req-1")
POOL = "host@dummy#pool"


class Moody(DummyDriver):
    """A dummy driver that raises `fault`, when it has one, from the methods in `failing`: before or after the work."""

    fault: Exception | None = None
    failing: str = ""
    after = False
    calls: list[str]

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name != super().__getattribute__("failing"):
            return found

        def moody(*args: Any, **kwargs: Any) -> Any:
            if self.fault and not self.after:
                raise self.fault
            answer = found(*args, **kwargs)
            if self.fault:
                raise self.fault
            return answer

        return moody


class OneByOne(ShareDriver):
    """An older driver: rules one by one, a location as plain text, keys for its clients."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(False, *args, **kwargs)
        self.done: list[tuple[str, str]] = []

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> str:
        return f"host:/{share['name']}"

    def allow_access(self, context: Any, share: Any, access: Any, share_server: Any = None) -> str:
        self.done.append(("allow", access["access_to"]))
        return f"key of {access['access_to']}"

    def deny_access(self, context: Any, share: Any, access: Any, share_server: Any = None) -> None:
        self.done.append(("deny", access["access_to"]))


class Bench:
    """A manager with everything around it, and shorthand for rows."""

    def __init__(self, database: Database, folder: Path, driver: type[ShareDriver] = Moody, text: str = "") -> None:
        path = folder / "penstock.conf"
        path.write_text(f"{text}\n[dummy]\ndriver_handles_share_servers = False\ndummy_pool_size = 10\n")
        self.configuration = BackendConfiguration(load([path]), "dummy")
        self.clock = ManualClock()
        self.database = database
        self.driver: Any = driver(configuration=self.configuration)
        self.manager = self.a_manager(self.driver)

    def a_manager(self, driver: Any) -> ShareManager:
        return ShareManager(
            driver,
            "dummy",
            configuration=self.configuration,
            database=self.database,
            clock=self.clock,
            host="host@dummy",
        )

    def put(self, status: ShareStatus = ShareStatus.CREATING, **changes: Any) -> Share:
        share = a_share(status=status, host=POOL, launched_at=None, **changes)
        with self.database.begin() as tx:
            shares.insert_share(tx, share)
        return share

    def created(self, **changes: Any) -> Share:
        share = self.put(**changes)
        self.manager.create_share_instance(CONTEXT, share.instance.id)
        return self.share(share)

    def share(self, share: Share) -> Share:
        with self.database.read() as tx:
            found = shares.get(tx, share.id)
        assert found is not None
        return found

    def is_gone(self, share: Share) -> bool:
        with self.database.read() as tx:
            return shares.get(tx, share.id) is None

    def move(self, share: Share, event: Event, **columns: Any) -> Share:
        """What a service does when it accepts a request."""
        now = self.clock.utc()
        with self.database.begin() as tx:
            shares.move(tx, share.instance, event, now=now)
            if columns:
                shares.update_share(tx, share.id, now=now, **columns)
        return self.share(share)

    def put_snapshot(self, share: Share, status: SnapshotStatus = SnapshotStatus.CREATING, **changes: Any) -> Snapshot:
        snapshot = a_snapshot(share, status=status, **changes)
        with self.database.begin() as tx:
            snapshots.insert_snapshot(tx, snapshot)
        return snapshot

    def snapshot(self, snapshot: Snapshot) -> Snapshot | None:
        with self.database.read() as tx:
            return snapshots.get(tx, snapshot.id)

    def taken(self, share: Share) -> Snapshot:
        snapshot = self.put_snapshot(share)
        self.manager.create_snapshot(CONTEXT, share.id, snapshot.id)
        found = self.snapshot(snapshot)
        assert found is not None
        assert found.status is SnapshotStatus.AVAILABLE
        return found

    def move_snapshot(self, snapshot: Snapshot, event: Event) -> None:
        with self.database.begin() as tx:
            snapshots.move(tx, snapshot.instance, event, now=self.clock.utc())

    def allow(self, share: Share, to: str = "10.0.0.1", **changes: Any) -> str:
        rule = a_rule(share, to, **changes)
        with self.database.begin() as tx:
            access.insert_rule(tx, rule, [share.instance.id])
        return rule.id

    def rules(self, share: Share) -> dict[str, AccessState]:
        with self.database.read() as tx:
            return {rule.access_to: rule.state for rule in access.of_instance(tx, share.instance.id)}

    def queue(self, share: Share, rule_id: str, source: AccessState, target: AccessState) -> None:
        with self.database.begin() as tx:
            access.set_states(
                tx, share.instance.id, now=self.clock.utc(), source=[source], target=target, rule_ids=[rule_id]
            )

    def served(self, share: Share) -> list[list[str]]:
        """The rules on the "storage"."""
        (record,) = [item for item in self.driver._records.values() if item.owner == share.instance.id]
        return list(record.rules)

    def messages(self) -> list[Message]:
        with self.database.read() as tx:
            return messages.list_messages(tx, project_id="p1", filters={}, page=Page())

    @contextmanager
    def failing(self, method: str, fault: Exception, *, after: bool = False) -> Iterator[None]:
        self.driver.failing, self.driver.fault, self.driver.after = method, fault, after
        yield
        self.driver.fault = None


def a_share_from_snapshot(bench: Bench) -> Share:
    snapshot = bench.taken(bench.created())
    return bench.put(snapshot_id=snapshot.id)


def a_managed_share(bench: Bench) -> Share:
    old = bench.move(bench.created(), Event.UNMANAGE)
    with bench.database.read() as tx:
        (location,) = instances.export_locations_of(tx, old.instance.id)
    bench.manager.unmanage_share(CONTEXT, old.id)
    share = bench.put(ShareStatus.MANAGING, size_gib=0)
    with bench.database.begin() as tx:
        instances.put_export_locations(tx, share.instance.id, [{"path": location.path}], now=bench.clock.utc())
    return share


def a_managed_snapshot(bench: Bench) -> Snapshot:
    old = bench.taken(bench.created())
    bench.move_snapshot(old, Event.UNMANAGE)
    bench.manager.unmanage_snapshot(CONTEXT, old.id)
    new_instance = replace(old.instance, status=SnapshotStatus.MANAGING, snapshot_id=SnapshotId(new_id()), id=new_id())
    snapshot = replace(old, id=new_instance.snapshot_id, size_gib=0, instance=new_instance)
    with bench.database.begin() as tx:
        snapshots.insert_snapshot(tx, snapshot)
    return snapshot


def a_moved_snapshot(event: Event) -> Callable[[Bench], Snapshot]:
    def prepare(bench: Bench) -> Snapshot:
        snapshot = bench.taken(bench.created())
        bench.move_snapshot(snapshot, event)
        return snapshot

    return prepare


def a_reverting_snapshot(bench: Bench) -> Snapshot:
    share = bench.created()
    snapshot = bench.taken(share)
    bench.move(share, Event.REVERT)
    bench.move_snapshot(snapshot, Event.REVERT)
    return snapshot


def a_share_with_rule(bench: Bench) -> Share:
    share = bench.created()
    bench.allow(share)
    return share
