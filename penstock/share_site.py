"""One backend of shares opened outside of the daemon, by the command line: its rows, driver and operations."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from penstock.clock import Clock, SystemClock
from penstock.config.backend import BackendConfiguration
from penstock.context import RequestContext, admin_context
from penstock.errors import Invalid, Unsupported
from penstock.operations.queue import OperationQueue
from penstock.share.driver import ShareDriver
from penstock.share.inventory import HasInventory, Inventory
from penstock.share.manager import ShareManager
from penstock.share.manager.backend import Backend
from penstock.share_backend import Dispatch
from penstock.site_work import SiteWork
from penstock.store.database import Database


@dataclass(frozen=True, slots=True)
class ShareSite:
    """A backend that is set up, beside a daemon that may be serving it. `context` is who acts."""

    manager: ShareManager
    queue: OperationQueue
    state_path: Path
    context: RequestContext

    @property
    def backend(self) -> Backend:
        """The backend as the share manager's functions take it."""
        return self.manager.backend

    @property
    def driver(self) -> ShareDriver:
        """The driver, set up."""
        return self.manager.driver

    @property
    def holder(self) -> HasInventory:
        """The driver as one that knows what it holds. Raises Unsupported when it does not."""
        if not isinstance(self.driver, HasInventory):
            raise Unsupported(
                f"The driver of {self.backend.host} keeps no identity on its storage, so nobody can compare or rebuild."
            )
        return self.driver

    def inventory(self) -> Inventory:
        """What the storage holds. Raises Unsupported, NotFound and Unavailable when a pool is missing."""
        return self.holder.inventory()

    @property
    def work(self) -> SiteWork:
        """What is queued here for the manager."""
        backend = self.backend
        dispatch = Dispatch(self.manager)
        return SiteWork(backend.database, backend.clock, backend.host, self.state_path, self.context, dispatch)

    def alone(self) -> AbstractContextManager[None]:
        """See `SiteWork.alone`."""
        return self.work.alone()


def share_site_of(manager: ShareManager, state_path: Path) -> ShareSite:
    """The site of a manager whose driver is set up."""
    return ShareSite(manager, OperationQueue(manager.backend.clock), state_path, admin_context())


def open_share_site(conf: cfg.ConfigOpts, section: str, database: Database, *, clock: Clock | None = None) -> ShareSite:
    """Load the driver of the section and set it up.

    Raises Invalid (no such backend, wrong options), and what keeps the backend from serving.
    """
    site = load_share_site(conf, section, database, clock=clock)
    site.driver.do_setup(site.context)
    return site


def load_share_site(conf: cfg.ConfigOpts, section: str, database: Database, *, clock: Clock | None = None) -> ShareSite:
    """The same with nothing contacted yet."""
    if section not in conf.enabled_share_backends:
        known = ", ".join(conf.enabled_share_backends) or "none"
        raise Invalid(f"'{section}' is not an enabled backend; enabled_share_backends names {known}.")
    manager = ShareManager(
        service_name=section,
        configuration=BackendConfiguration(conf, section),
        database=database,
        clock=clock or SystemClock(),
        conf=conf,
    )
    return share_site_of(manager, Path(conf.state_path))
