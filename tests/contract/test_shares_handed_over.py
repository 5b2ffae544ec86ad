"""Operations on shares that begin with their request do not read the share or snapshot again that it has read."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from penstock.clock import SystemClock
from penstock.config.backend import BackendConfiguration
from penstock.config.loading import load
from penstock.context import RequestContext
from penstock.domain.shares import ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.domain.types import ShareType
from penstock.ids import ShareTypeId, new_id
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.services import share_creation, share_sizes, shares, snapshots
from penstock.services.control_plane import ControlPlane
from penstock.services.share_creation import NewShare
from penstock.services.snapshots import NewSnapshot
from penstock.share.drivers.dummy import DummyDriver
from penstock.share.manager import ShareManager
from penstock.share_backend import Dispatch
from penstock.store import operations, types
from tests.databases import in_file
from tests.waiting import until

OWNER = RequestContext("u1", "p1", ("member",))
CONFIG = """
[DEFAULT]
host = host
enabled_share_backends = dummy
enabled_share_protocols = NFS
default_share_type = default
[dummy]
share_driver = penstock.share.drivers.dummy.DummyDriver
share_backend_name = dummy
driver_handles_share_servers = False
"""
ROWS = {"shares", "share_instances", "snapshots", "snapshot_instances"}
EXTRA_SPECS = {"driver_handles_share_servers": "False", "snapshot_support": "True"}


class Site:
    """A backend of shares whose worker begins operations with their requests."""

    def __init__(self, folder: Path) -> None:
        (folder / "penstock.conf").write_text(CONFIG)
        conf, clock = load([folder / "penstock.conf"]), SystemClock()
        self.read: list[str] = []  # statements of the worker that look for something
        self.database = in_file(folder / "shares.db")
        event.listen(self.database.engine, "connect", self._listen)
        queue = OperationQueue(clock)
        self.plane = ControlPlane(self.database, queue, clock, conf)
        section = BackendConfiguration(conf, "dummy")
        self.manager = ShareManager(
            DummyDriver(configuration=section),
            "dummy",
            configuration=section,
            database=self.database,
            clock=clock,
            host="host@dummy",
            conf=conf,
            queue=queue,
        )
        self.worker = Worker(self.database, queue, clock, "host@dummy", Dispatch(self.manager))
        with self.database.begin() as tx:
            made = ShareType(ShareTypeId(new_id()), "default", None, True, clock.utc(), None, EXTRA_SPECS)
            types.insert_type(tx, made)
        self.manager.init_host()
        self.worker.start()

    def _listen(self, connection: Any, _record: Any) -> None:
        connection.set_trace_callback(self._note)

    def _note(self, statement: str) -> None:
        if threading.current_thread().name.startswith("work-") and statement.startswith("SELECT"):
            self.read.append(statement)

    def worked(self, ask: Callable[[], Any]) -> Any:
        """What `ask` answers; the operation that it asked for has ended then."""
        self.read.clear()
        answer = ask()
        until(lambda: not self._pending() and not self.worker._busy)
        return answer

    def _pending(self) -> list[Any]:
        with self.database.read() as tx:
            return list(operations.pending(tx))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.worker.stop()
    made.database.close()


def tables_read(site: Site) -> set[str]:
    """The tables that the worker has looked into, whatever for."""
    return {word.strip(",()") for one in site.read for word in re.findall(r"(?:FROM|JOIN) (\S+)", one)}


def test_the_worker_reads_neither_share_nor_snapshot(site: Site) -> None:
    share = site.worked(lambda: share_creation.create(site.plane, OWNER, NewShare("NFS", 1, "s")))
    assert shares.get(site.plane, OWNER, share.id).status is ShareStatus.AVAILABLE
    assert not tables_read(site) & ROWS
    taken = site.worked(lambda: snapshots.create(site.plane, OWNER, NewSnapshot(share.id)))
    assert snapshots.get(site.plane, OWNER, taken.id).status is SnapshotStatus.AVAILABLE
    assert not tables_read(site) & ROWS
    site.worked(lambda: share_sizes.extend(site.plane, OWNER, share.id, 3, force=False))
    assert shares.get(site.plane, OWNER, share.id).size_gib == 3
    assert not tables_read(site) & ROWS
    site.worked(lambda: share_sizes.shrink(site.plane, OWNER, share.id, 2))  # that is read
    assert tables_read(site) & ROWS
