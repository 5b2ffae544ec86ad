"""The one backend a manager serves, and what its themes work with."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from penstock.clock import Clock
from penstock.config.backend import BackendConfiguration
from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.operations.queue import OperationQueue
from penstock.share.driver import ShareDriver
from penstock.store.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class Backend:
    """`host` is ``host@backend``; `zone` its availability zone. `stopping` is set when long work should be left for the
    next start."""

    host: str
    zone: str
    driver: ShareDriver
    configuration: BackendConfiguration
    database: Database
    clock: Clock
    share_name_template: str
    snapshot_name_template: str
    message_ttl_s: int
    removes_rules_on_unmanage: bool
    queue: OperationQueue
    stopping: threading.Event = field(default_factory=threading.Event)

    def now(self) -> datetime:
        """The time to write into rows: UTC without zone."""
        return self.clock.utc()

    def enqueue(self, tx: Transaction, context: RequestContext, call: Call) -> None:
        """Queue an operation, here or at another backend, in the transaction that makes it needed."""
        self.queue.enqueue(tx, context, call)
