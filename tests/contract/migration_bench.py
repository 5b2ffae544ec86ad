"""Two dummy backends on one database whose records can see each other, and a worker for each: migrations end to end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from penstock.clock import ManualClock
from penstock.config.backend import BackendConfiguration
from penstock.config.loading import load
from penstock.context import admin_context
from penstock.domain.migration import Migration, MigrationFlags
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.domain.types import ShareType
from penstock.ids import ShareTypeId, new_id
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.services import migration as service
from penstock.services.control_plane import ControlPlane
from penstock.share.drivers.dummy import DummyDriver
from penstock.share.drivers.dummy_records import DummyStorage, Filesystem
from penstock.share.manager import ShareManager
from penstock.share.models import ShareModel
from penstock.share_backend import Dispatch
from penstock.store import access, instances, operations, share_migrations, shares, snapshots, types
from tests.databases import in_memory
from tests.factories import a_rule, a_share, a_snapshot

ADMIN = admin_context("req-migration")
HERE, THERE = "host@one#pool", "host@two#pool"
DRIVER_CAN = MigrationFlags()
HOST_CAN = MigrationFlags(preserve_metadata=False, writable=False, preserve_snapshots=False)
CONFIG = """
[DEFAULT]
host = host
state_path = {folder}
mount_tmp_location = {folder}/mounts
data_node_access_ips = 10.9.9.9
{more}
[one]
driver_handles_share_servers = False
dummy_pool_size = 10
{own}
[two]
driver_handles_share_servers = False
dummy_pool_size = 10
{own}
"""


class Bench:
    """The control plane over two backends. `cut` names the sections whose storage does not answer."""

    def __init__(self, folder: Path, driver: type[DummyDriver] = DummyDriver, *, more: str = "", own: str = "") -> None:
        path = folder / "penstock.conf"
        path.write_text(CONFIG.format(folder=folder, more=more, own=own))
        self.conf = load([path])
        self.clock = ManualClock()
        self.database = in_memory()
        self.queue = OperationQueue(self.clock)
        self.plane = ControlPlane(self.database, self.queue, self.clock, self.conf)
        self.storage = DummyStorage()
        self._driver = driver
        self.managers: dict[str, ShareManager] = {}
        self.workers: list[Worker] = []
        for section in ("one", "two"):
            self.storage.of(section)
        self.restart()

    def restart(self) -> None:
        """What a new process finds: the database and the storage."""
        self.workers = []
        for section in ("one", "two"):
            configuration = BackendConfiguration(self.conf, section)
            driver = self._driver(configuration=configuration, storage=self.storage, clock=self.clock)
            manager = ShareManager(
                driver,
                section,
                configuration=configuration,
                database=self.database,
                clock=self.clock,
                host=f"host@{section}",
                conf=self.conf,
                queue=self.queue,
            )
            manager.init_host()
            self.managers[section] = manager
            worker = Worker(self.database, self.queue, self.clock, f"host@{section}", Dispatch(manager))
            worker.resume_interrupted()
            self.workers.append(worker)

    def run(self) -> None:
        """Everything that is runnable at both backends, until nothing is."""
        while sum(worker.run_pending() for worker in self.workers):
            pass

    def tick(self) -> None:
        """The next turn of the periodic work, and what it queues."""
        self.clock.advance(61)
        for manager in self.managers.values():
            manager.heartbeat()
            manager.migration_driver_continue(ADMIN)
        self.run()

    def settle(self, ticks: int = 8) -> None:
        """Let time pass, as a daemon does."""
        self.run()
        for _ in range(ticks):
            self.tick()

    # --- things -----------------------------------------------------------------------------------------------------

    def a_share(self, **changes: Any) -> Share:
        share = a_share(status=ShareStatus.CREATING, host=HERE, launched_at=None, **changes)
        share = replace(share, instance=replace(share.instance, status=ShareStatus.CREATING))
        with self.database.begin() as tx:
            shares.insert_share(tx, share)
        self.managers["one"].create_share_instance(ADMIN, share.instance.id)
        return self.share(share)

    def allow(self, share: Share, to: str) -> None:
        with self.database.begin() as tx:
            access.insert_rule(tx, a_rule(share, to), [share.instance.id])
        self.managers["one"].update_access(ADMIN, share.instance.id)

    def take(self, share: Share) -> Snapshot:
        snapshot = a_snapshot(share, status=SnapshotStatus.CREATING)
        with self.database.begin() as tx:
            snapshots.insert_snapshot(tx, snapshot)
        self.managers["one"].create_snapshot(ADMIN, share.id, snapshot.id)
        return self.snapshot(snapshot)

    def a_type(self, **specs: str) -> ShareType:
        share_type = ShareType(ShareTypeId(new_id()), f"type-{new_id()}", None, True, self.clock.utc(), None, specs)
        with self.database.begin() as tx:
            types.insert_type(tx, share_type)
        return share_type

    def write(self, share: Share, what: str) -> None:
        """A client writes to the instance that speaks. OSError when it is refused."""
        present = self.share(share)
        section = (present.instance.host or "").partition("@")[2].partition("#")[0]
        driver: Any = self.managers[section].driver
        driver.write(_Only(present.instance.id), what)

    def start(self, share: Share, flags: MigrationFlags = DRIVER_CAN, host: str = THERE, **more: Any) -> bool:
        return service.start(self.plane, ADMIN, share.id, service.NewMigration(host, flags, **more))

    def complete(self, share: Share) -> None:
        service.complete(self.plane, ADMIN, share.id)

    def cancel(self, share: Share) -> None:
        service.cancel(self.plane, ADMIN, share.id)

    def to_phase1(self, share: Share, flags: MigrationFlags = DRIVER_CAN) -> None:
        self.start(share, flags)
        self.run()

    # --- looking ----------------------------------------------------------------------------------------------------

    def share(self, share: Share) -> Share:
        with self.database.read() as tx:
            found = shares.get(tx, share.id)
        assert found is not None
        return found

    def snapshot(self, snapshot: Snapshot) -> Snapshot:
        with self.database.read() as tx:
            found = snapshots.get(tx, snapshot.id)
        assert found is not None
        return found

    def migration(self, share: Share) -> Migration:
        with self.database.read() as tx:
            found = share_migrations.get(tx, share.id)
        assert found is not None
        return found

    def instances(self, share: Share) -> dict[str, str]:
        """States by host."""
        with self.database.read() as tx:
            return {str(item.host): item.status.value for item in instances.of_share(tx, share.id)}

    def rules(self, share: Share) -> dict[str, str]:
        with self.database.read() as tx:
            return {rule.access_to: rule.state.value for rule in access.of_share(tx, share.id)}

    def records(self, section: str) -> list[Filesystem]:
        return list(self.storage.of(section).values())

    def failures(self) -> list[str]:
        with self.database.read() as tx:
            return [item.error or "" for item in operations.recent(tx, limit=50) if item.error]


class _Only:
    """As much of a share's model as the dummy driver's `write` reads."""

    def __init__(self, instance_id: str) -> None:
        self.id = instance_id
        self.share_id = instance_id


def nth_step(number: int, happen: Callable[[], None]) -> Callable[[str, str], None]:
    """A `DummyStorage.before` that lets `happen` before step `number`, once."""
    count = 0

    def before(_section: str, _what: str) -> None:
        nonlocal count
        count += 1
        if count == number:
            happen()

    return before


__all__ = ["ADMIN", "DRIVER_CAN", "HERE", "HOST_CAN", "THERE", "Bench", "ShareModel", "nth_step"]
