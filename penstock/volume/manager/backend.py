"""The one volume backend a manager serves, and what its themes work with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from oslo_config import cfg

from penstock.clock import Clock
from penstock.config.backend import BackendConfiguration
from penstock.errors import Postponed
from penstock.images.service import ImageService
from penstock.operations.queue import OperationQueue
from penstock.store.database import Database
from penstock.volume.driver import BaseVD


@dataclass(slots=True)
class VolumeBackend:
    """`host` is ``host@backend``; `zone` its availability zone. `stopping` is set when long work should be left for the
    next start. `driver` is set last, because a driver is given what it may ask of us when it is made."""

    host: str
    zone: str
    configuration: BackendConfiguration
    database: Database
    clock: Clock
    conf: cfg.ConfigOpts
    queue: OperationQueue
    images: ImageService | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    _driver: BaseVD | None = None
    _copies: threading.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._copies = threading.Semaphore(max(1, self.conf.operations.workers_per_backend // 2))

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Around what moves a volume's bytes: half of the workers at most, so that others always find one that is free.

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

    def use(self, driver: BaseVD) -> None:
        """Serve by this driver."""
        self._driver = driver

    def now(self) -> datetime:
        """The time to write into rows: UTC without zone."""
        return self.clock.utc()
