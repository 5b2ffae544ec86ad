"""What a use case needs: the database, the queue of operations, the clock, the configuration and the images."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from penstock.clock import Clock
from penstock.images.service import ImageService
from penstock.operations.queue import OperationQueue
from penstock.store.database import Database


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """First argument of every service function; made once by the daemon."""

    database: Database
    operations: OperationQueue
    clock: Clock
    conf: cfg.ConfigOpts
    images: ImageService | None = None
