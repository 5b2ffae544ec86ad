"""Three backends of one replication domain, each with its manager, on one database; and shorthand for their rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from penstock.clock import ManualClock
from penstock.config.backend import BackendConfiguration
from penstock.config.loading import load
from penstock.context import admin_context
from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.messages import Message
from penstock.domain.operations import Call
from penstock.domain.shares import ReplicaState, Share, ShareInstance, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.errors import Unavailable
from penstock.ids import InstanceId, SnapshotInstanceId, new_id
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.share.drivers.dummy import DummyDriver
from penstock.share.drivers.dummy_records import DummyStorage, Filesystem
from penstock.share.manager import ShareManager
from penstock.share_backend import OPERATIONS, Dispatch
from penstock.store import access, instances, messages, operations, replicas, shares, snapshots
from penstock.store.database import Database
from penstock.store.lists import Page
from tests.factories import a_rule, a_share, a_snapshot

CONTEXT = admin_context("req-1")
SECTIONS = ("east", "west", "north")


class ReplicaBench:
    """`away` are the sections that do not answer; `interrupt` is called at each step, and may do anything."""

    def __init__(self, database: Database, folder: Path) -> None:
        path = folder / "penstock.conf"
        sections = "".join(f"[{name}]\nreplication_domain = d\n" for name in SECTIONS)
        path.write_text(f"[DEFAULT]\nreplica_state_update_interval = 60\n{sections}")
        self.conf = load([path])
        self.clock, self.database, self.storage = ManualClock(), database, DummyStorage()
        self.queue = OperationQueue(self.clock)
        self.away: set[str] = set()
        self.steps: list[tuple[str, str]] = []
        self.storage.before = self._before
        self.managers = {name: self._manager(name) for name in SECTIONS}
        self.workers = {
            name: Worker(database, self.queue, self.clock, f"host@{name}", Dispatch(manager))
            for name, manager in self.managers.items()
        }

    def interrupt(self, section: str, what: str) -> None:
        """Nothing, unless a test replaces it."""

    def _before(self, section: str, what: str) -> None:
        self.steps.append((section, what))
        self.interrupt(section, what)
        if section in self.away or what.removeprefix("copy from ") in self.away:
            raise Unavailable(f"{section} is away.")

    def _manager(self, name: str) -> ShareManager:
        configuration = BackendConfiguration(self.conf, name)
        driver = DummyDriver(configuration=configuration, storage=self.storage, clock=self.clock)
        return ShareManager(
            driver,
            name,
            configuration=configuration,
            database=self.database,
            clock=self.clock,
            host=f"host@{name}",
            conf=self.conf,
            queue=self.queue,
        )

    # --- what services do ---------------------------------------------------------------------------------------

    def share(self, *others: str) -> Share:
        """A share with its active replica on `east`, and replicas on `others` that are made and not in sync yet."""
        plain = a_share(status=ShareStatus.CREATING, host="host@east#pool", replication_type="readable")
        share = replace(plain, instance=replace(plain.instance, replica_state=ReplicaState.ACTIVE))
        with self.database.begin() as tx:
            shares.insert_share(tx, share)
        made = {name: self.replica(share, name, make=False) for name in others}
        with self.database.begin() as tx:
            on = [share.instance.id, *made.values()]
            access.insert_rule(tx, a_rule(share, state=AccessState.QUEUED_TO_APPLY), on)
        self.managers["east"].create_share_instance(CONTEXT, share.instance.id)
        self.managers["east"].update_access(CONTEXT, share.instance.id)
        for name, replica_id in made.items():
            self.managers[name].create_share_replica(CONTEXT, replica_id, share.id)
        return share

    def replica(self, share: Share, name: str, *, make: bool = True) -> InstanceId:
        replica_id = InstanceId(new_id())
        instance = replace(
            share.instance,
            id=replica_id,
            host=f"host@{name}#pool",
            status=ShareStatus.CREATING,
            replica_state=ReplicaState.OUT_OF_SYNC,
            cast_rules_to_readonly=True,
        )
        with self.database.begin() as tx:
            instances.insert_instance(tx, instance)
        if make:
            self.managers[name].create_share_replica(CONTEXT, replica_id, share.id)
        return replica_id

    def begin_promotion(self, share: Share, name: str) -> str:
        """Accept a promotion: states and operation; returns the replica."""
        replica, active = self.on(share, name), self.active(share)
        with self.database.begin() as tx:
            for instance in {active.id: active, replica.id: replica}.values():
                shares.move(tx, instance, Event.PROMOTE, now=self.clock.utc())
            arguments = {"share_replica_id": replica.id, "share_id": share.id}
            call = Call(f"host@{name}", f"share:{share.id}", "promote_share_replica", arguments)
            self.queue.enqueue(tx, CONTEXT, call)
        return replica.id

    def promote(self, share: Share, name: str) -> None:
        self.begin_promotion(share, name)
        self.work()

    def begin_snapshot(self, share: Share) -> Snapshot:
        present = self.of(share)
        snapshot = a_snapshot(replace(share, instance=self.active(share)), status=SnapshotStatus.CREATING)
        with self.database.begin() as tx:
            snapshots.insert_snapshot(tx, snapshot)
            for instance in present:
                if instance.id != snapshot.instance.share_instance_id:
                    copy = replace(snapshot.instance, id=SnapshotInstanceId(new_id()), share_instance_id=instance.id)
                    snapshots.insert_instance(tx, copy)
        return snapshot

    def enqueue(self, share: Share, name: str, method: str, **arguments: object) -> None:
        assert method in OPERATIONS
        with self.database.begin() as tx:
            self.queue.enqueue(tx, CONTEXT, Call(f"host@{name}", f"share:{share.id}", method, arguments))

    # --- what happens -------------------------------------------------------------------------------------------

    def work(self, *names: str) -> None:
        """Let workers run what is due, in turn, until there is nothing."""
        while sum(self.workers[name].run_pending() for name in names or SECTIONS):
            pass

    def look(self, *names: str) -> None:
        for name in names or SECTIONS:
            self.managers[name].periodic_share_replica_update(CONTEXT)
            self.managers[name].periodic_share_replica_snapshot_update(CONTEXT)

    def write(self, share: Share, name: str, what: str) -> None:
        record = self.record(share, name)
        if record.role != "active" or not record.is_served:
            raise OSError(30, "read-only")
        record.written.append(what)

    # --- what is to be seen -------------------------------------------------------------------------------------

    def of(self, share: Share) -> list[ShareInstance]:
        with self.database.read() as tx:
            return [found.instance for found in replicas.of_share(tx, share.id)]

    def on(self, share: Share, name: str) -> ShareInstance:
        return next(instance for instance in self.of(share) if instance.host == f"host@{name}#pool")

    def active(self, share: Share) -> ShareInstance:
        return next(instance for instance in self.of(share) if instance.replica_state is ReplicaState.ACTIVE)

    def record(self, share: Share, name: str) -> Filesystem:
        found = self.storage.find(name, self.on(share, name).id)
        assert found is not None
        return found

    def messages(self) -> list[Message]:
        with self.database.read() as tx:
            return messages.list_messages(tx, project_id=None, filters={}, page=Page())

    def pending(self) -> list[tuple[str, str]]:
        with self.database.read() as tx:
            return [(item.call.backend, item.call.method) for item in operations.pending(tx)]
