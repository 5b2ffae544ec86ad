"""The one backend a manager serves, and what its themes work with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from penstock.clock import Clock
from penstock.config.backend import BackendConfiguration
from penstock.share.driver import ShareDriver
from penstock.store.database import Database


@dataclass(frozen=True, slots=True)
class Backend:
    """`host` is ``host@backend``; `zone` its availability zone."""

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

    def now(self) -> datetime:
        """The time to write into rows: UTC without zone."""
        return self.clock.utc()
