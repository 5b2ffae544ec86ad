"""Operations that the command line queues for one backend: carried out here, or by the daemon that serves it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.clock import Clock
from penstock.context import RequestContext
from penstock.domain.operations import Operation, OperationState
from penstock.errors import Conflict, Fault
from penstock.operations.attempt import attempt
from penstock.operations.exclusive import exclusive
from penstock.store import operations
from penstock.store.database import Database

LOOK_AGAIN_S = 0.1
MOST_FAILURES = 1000


@dataclass(frozen=True, slots=True)
class SiteWork:
    """What `context` queued at `host` (``host@backend``). `dispatch` calls the manager's method an operation names."""

    database: Database
    clock: Clock
    host: str
    state_path: Path
    context: RequestContext
    dispatch: Callable[[RequestContext, Operation], Any]

    def finish(self, *, timeout_s: float = 60.0) -> bool:
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

    def failures(self) -> tuple[str, ...]:
        """Why operations that we queued ended without success."""
        with self.database.read() as tx:
            failed = operations.recent(tx, limit=MOST_FAILURES, states=(OperationState.FAILED,))
        ours = [operation for operation in failed if operation.request_id == self.context.request_id]
        return tuple(
            f"{operation.call.method} of {operation.call.resource_key}: {operation.error}" for operation in ours
        )

    def alone(self) -> AbstractContextManager[None]:
        """Keep daemons from serving the backend meanwhile. Raises Conflict when one does."""
        return exclusive(self.database, self.state_path, self.host)

    def _await_daemon(self, timeout_s: float) -> bool:
        deadline = self.clock.monotonic_s() + timeout_s
        while self._ours():
            if self.clock.monotonic_s() >= deadline:
                return False
            self.clock.sleep(LOOK_AGAIN_S)  # the daemon is another process: its rows are all that tells
        return True

    def _ours(self) -> list[Operation]:
        with self.database.read() as tx:
            waiting = operations.pending(tx, backend=self.host)
        return [operation for operation in waiting if operation.request_id == self.context.request_id]

    def _carry_out(self, operation: Operation) -> None:
        """As a worker does, but for once. Killed in the middle it stays queued, and a daemon does it again."""
        error = None
        try:
            with attempt(last=False):
                self.dispatch(self.context, operation)
        except Fault as fault:
            if fault.retryable:
                return
            error = fault.message
        state = OperationState.DONE if error is None else OperationState.FAILED
        with self.database.begin() as tx:
            operations.finish(tx, operation.id, state=state, now=self.clock.utc(), error=error)
