"""One backend opened outside of the daemon, by the command line: its rows, its driver, and a way to run operations."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from penstock.clock import Clock, SystemClock
from penstock.config.backend import BackendConfiguration
from penstock.context import RequestContext, admin_context
from penstock.domain.operations import Operation, OperationState
from penstock.errors import Conflict, Fault, Invalid, Unsupported
from penstock.operations.attempt import attempt
from penstock.operations.exclusive import exclusive
from penstock.operations.queue import OperationQueue
from penstock.share.driver import ShareDriver
from penstock.share.inventory import HasInventory, Inventory
from penstock.share.manager import ShareManager
from penstock.share.manager.backend import Backend
from penstock.share_backend import Dispatch
from penstock.store import operations
from penstock.store.database import Database

LOOK_AGAIN_S = 0.1
MOST_FAILURES = 1000


@dataclass(frozen=True, slots=True)
class BackendSite:
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

    def finish_operations(self, *, timeout_s: float = 60.0) -> bool:
        """Carry out what we queued, and only that; where a daemon serves the backend, wait for it to do so.

        Returns whether nothing that we queued is left: what the storage could not do now waits for the daemon.
        """
        with ExitStack() as held:
            try:
                held.enter_context(self.alone())
            except Conflict:
                return self._await_daemon(timeout_s)
            for operation in self._ours():
                self._carry_out(operation)
        return not self._ours()

    def _await_daemon(self, timeout_s: float) -> bool:
        clock = self.backend.clock
        deadline = clock.monotonic_s() + timeout_s
        while self._ours():
            if clock.monotonic_s() >= deadline:
                return False
            clock.sleep(LOOK_AGAIN_S)
        return True

    def _ours(self) -> list[Operation]:
        with self.backend.database.read() as tx:
            waiting = operations.pending(tx, backend=self.backend.host)
        return [operation for operation in waiting if operation.request_id == self.context.request_id]

    def failures(self) -> tuple[str, ...]:
        """Why operations that we queued ended without success."""
        with self.backend.database.read() as tx:
            failed = operations.recent(tx, limit=MOST_FAILURES, states=(OperationState.FAILED,))
        ours = [operation for operation in failed if operation.request_id == self.context.request_id]
        return tuple(
            f"{operation.call.method} of {operation.call.resource_key}: {operation.error}" for operation in ours
        )

    def _carry_out(self, operation: Operation) -> None:
        """As a worker does, but for once. Killed in the middle it stays queued, and a daemon does it again."""
        error = None
        try:
            with attempt(last=False):
                Dispatch(self.manager)(self.context, operation)
        except Fault as fault:
            if fault.retryable:
                return
            error = fault.message
        state = OperationState.DONE if error is None else OperationState.FAILED
        with self.backend.database.begin() as tx:
            operations.finish(tx, operation.id, state=state, now=self.backend.now(), error=error)

    def alone(self) -> AbstractContextManager[None]:
        """Keep daemons from serving the backend meanwhile. Raises Conflict when one does."""
        return exclusive(self.backend.database, self.state_path, self.backend.host)


def site_of(manager: ShareManager, state_path: Path) -> BackendSite:
    """The site of a manager whose driver is set up."""
    return BackendSite(manager, OperationQueue(manager.backend.clock), state_path, admin_context())


def open_site(conf: cfg.ConfigOpts, section: str, database: Database, *, clock: Clock | None = None) -> BackendSite:
    """Load the driver of the section and set it up.

    Raises Invalid (no such backend, wrong options), and what keeps the backend from serving.
    """
    site = load_site(conf, section, database, clock=clock)
    site.driver.do_setup(site.context)
    return site


def load_site(conf: cfg.ConfigOpts, section: str, database: Database, *, clock: Clock | None = None) -> BackendSite:
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
    return site_of(manager, Path(conf.state_path))
