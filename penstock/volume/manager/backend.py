"""The one volume backend a manager serves, and what its themes work with."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from oslo_config import cfg

from penstock.clock import Clock
from penstock.config.backend import BackendConfiguration
from penstock.domain.pools import PoolRef, service_host
from penstock.domain.volumes import Volume
from penstock.errors import Postponed
from penstock.images.service import ImageService
from penstock.operations.queue import OperationQueue
from penstock.store.database import Database, Transaction
from penstock.volume.driver import BaseVD
from penstock.volume.looking import LooksAhead


class Placer(Protocol):
    """Asks the scheduler for another place, inside the transaction that will store it."""

    def __call__(
        self, tx: Transaction, volume: Volume, asked: Mapping[str, Any], refused: Mapping[str, str]
    ) -> tuple[PoolRef, str]:
        """The pool and its availability zone. `asked` is what the request asked of a place (as the service put it into
        the operation), `refused` the reasons of those who refused it, by pool or backend. Raises InsufficientCapacity
        with the reason of every pool."""
        ...


@dataclass(slots=True)
class VolumeBackend:
    """`host` is ``host@backend``; `zone` its availability zone. `stopping` is set when long work should be left for the
    next start. `placer` finds another place for what this backend refuses; without one that ends in error. `driver` is
    set last, because a driver is given what it may ask of us when it is made."""

    host: str
    zone: str
    configuration: BackendConfiguration
    database: Database
    clock: Clock
    conf: cfg.ConfigOpts
    queue: OperationQueue
    images: ImageService | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    placer: Placer | None = None
    _driver: BaseVD | None = None
    _copies: threading.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._copies = threading.Semaphore(max(1, self.conf.operations.workers_per_backend // 4))

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Around what moves a volume's bytes: a quarter of the workers at most, so that others find one that is free.

        Raises Postponed when they all do. Not to be entered twice by one operation.
        """
        if not self._copies.acquire(blocking=False):
            raise Postponed("Other copies of this backend are under way.")
        try:
            yield
        finally:
            self._copies.release()

    @property
    def driver(self) -> BaseVD:
        """The driver."""
        if self._driver is None:
            raise RuntimeError(f"{self.host} has no driver yet")
        return self._driver

    @property
    def waits(self) -> bool:
        """Does the driver itself wait, before it does anything outside, until what it goes by is on our disk?"""
        return isinstance(self.driver, LooksAhead)

    def use(self, driver: BaseVD) -> None:
        """Serve by this driver."""
        self._driver = driver

    def holds(self, volume: Volume) -> bool:
        """Is the volume on one of its pools? An operation may have been queued here before it moved."""
        return volume.host is not None and service_host(volume.host) == self.host

    def now(self) -> datetime:
        """The time to write into rows: UTC without zone."""
        return self.clock.utc()
