"""One backend of volumes opened outside of the daemon, by the command line: its rows, driver and operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from penstock.clock import Clock, SystemClock
from penstock.config.backend import volume_backend
from penstock.context import RequestContext, admin_context
from penstock.errors import Invalid, Unsupported
from penstock.operations.driver_calls import driver_call
from penstock.operations.queue import OperationQueue
from penstock.site_work import SiteWork
from penstock.store.database import Database
from penstock.volume.driver import BaseVD
from penstock.volume.inventory import HasVolumeInventory, VolumeInventory
from penstock.volume.listing import listed
from penstock.volume.manager import VolumeManager
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.models import SnapshotModel, VolumeModel
from penstock.volume_backend import Dispatch


@dataclass(frozen=True, slots=True)
class VolumeSite:
    """A backend that is set up, beside a daemon that may be serving it. `context` is who acts."""

    manager: VolumeManager
    queue: OperationQueue
    state_path: Path
    context: RequestContext

    @property
    def backend(self) -> VolumeBackend:
        """The backend as the volume manager's functions take it."""
        return self.manager.backend

    @property
    def driver(self) -> BaseVD:
        """The driver, set up."""
        return self.manager.driver

    @property
    def has_inventory(self) -> bool:
        """Does the driver write on its storage what it holds?"""
        return isinstance(self.driver, HasVolumeInventory)

    @property
    def holder(self) -> HasVolumeInventory:
        """The driver as one that knows what it holds. Raises Unsupported when it does not."""
        if not isinstance(self.driver, HasVolumeInventory):
            raise Unsupported(
                f"The driver of {self.backend.host} keeps no identity on its storage, so nobody can rebuild from it."
            )
        return self.driver

    def inventory(self, volumes: Sequence[VolumeModel], snapshots: Sequence[SnapshotModel]) -> VolumeInventory:
        """What the storage holds: by the marks on it, else what can be told of these rows by the lists of the driver.

        Raises NotFound and Unavailable when a pool is missing, and what a driver of somebody else raises.
        """
        with driver_call("list what it holds"):
            if isinstance(self.driver, HasVolumeInventory):
                return self.driver.inventory()
            return listed(self.driver, volumes, snapshots)

    @property
    def work(self) -> SiteWork:
        """What is queued here for the manager."""
        backend = self.backend
        dispatch = Dispatch(self.manager)
        return SiteWork(backend.database, backend.clock, backend.host, self.state_path, self.context, dispatch)


def volume_site_of(manager: VolumeManager, state_path: Path) -> VolumeSite:
    """The site of a manager whose driver is set up."""
    return VolumeSite(manager, OperationQueue(manager.backend.clock), state_path, admin_context())


def open_volume_site(
    conf: cfg.ConfigOpts, section: str, database: Database, *, clock: Clock | None = None
) -> VolumeSite:
    """Load the driver of the section and set it up; nothing on the storage is changed by that.

    Raises Invalid (no such backend, wrong options), and what keeps the backend from serving.
    """
    if section not in conf.enabled_backends:
        known = ", ".join(conf.enabled_backends) or "none"
        raise Invalid(f"'{section}' is not an enabled backend of volumes; enabled_backends names {known}.")
    clock = clock or SystemClock()
    queue = OperationQueue(clock)
    manager = VolumeManager(
        service_name=section,
        configuration=volume_backend(conf, section),
        database=database,
        clock=clock,
        conf=conf,
        queue=queue,
    )
    site = VolumeSite(manager, queue, Path(conf.state_path), admin_context())
    manager.set_up_driver(site.context)
    return site
