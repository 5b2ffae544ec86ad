"""The one volume backend a manager serves, and what its themes work with."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from oslo_config import cfg

from penstock.clock import Clock
from penstock.config.backend import BackendConfiguration
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
