"""The one backend a manager serves, and what its themes work with."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from penstock.clock import Clock
from penstock.config.backend import BackendConfiguration
from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.domain.pools import PoolRef, service_host
from penstock.domain.shares import Share
from penstock.operations.queue import OperationQueue
from penstock.share.driver import ShareDriver
from penstock.store.database import Database, Transaction


class Placer(Protocol):
    """Asks the scheduler for another place, inside the transaction that will store it."""

    def __call__(
        self, tx: Transaction, share: Share, asked: Mapping[str, Any], refused: Mapping[str, str]
    ) -> tuple[PoolRef, str]:
        """The pool and its availability zone. `asked` is what the request asked of a place (as the service put it into
        the operation), `refused` the reasons of those who refused it, by pool or backend. Raises InsufficientCapacity
        with the reason of every pool."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """`host` is ``host@backend``; `zone` its availability zone. `stopping` is set when long work should be left for the
    next start. `placer` finds another place for what this backend refuses, which is tried at `most_attempts` pools;
    without one that ends in error."""

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
    placer: Placer | None = None
    most_attempts: int = 1
    stopping: threading.Event = field(default_factory=threading.Event)

    def holds(self, share: Share) -> bool:
        """Is the share's instance on one of its pools? An operation may have been queued here before it moved."""
        return share.instance.host is not None and service_host(share.instance.host) == self.host

    def now(self) -> datetime:
        """The time to write into rows: UTC without zone."""
        return self.clock.utc()

    def enqueue(self, tx: Transaction, context: RequestContext, call: Call) -> None:
        """Queue an operation, here or at another backend, in the transaction that makes it needed."""
        self.queue.enqueue(tx, context, call)
