"""What a kind of backend, of shares or of volumes, brings to `backend_service`: manager, work and operations."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from penstock.context import RequestContext
from penstock.domain.operations import Call, Operation
from penstock.errors import Unsupported


class Manager(Protocol):
    """A share manager or a volume manager, as far as serving it goes."""

    def init_host(self) -> None: ...

    def refuse_moved(self, call: Call) -> None: ...


class Running(Protocol):
    """Something that works in threads of its own between `start` and `stop`."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """Work that comes back every `every_s` seconds."""

    name: str
    every_s: float
    run: Callable[[], None]


class Backend(Protocol):
    """One backend of some kind."""

    @property
    def manager(self) -> Manager: ...

    @property
    def dispatch(self) -> Dispatch:
        """What calls the manager's methods that may stand in a queue."""
        ...

    @property
    def stopping(self) -> threading.Event:
        """Set when long work should be left for the next start."""
        ...

    def periodic(self) -> Sequence[Work]:
        """Short work; the heartbeat is in it."""
        ...

    def upkeep(self) -> Sequence[Work]:
        """Work that may wait for a host, and must not hold up the heartbeat."""
        ...

    def others(self) -> Sequence[Running]:
        """What else runs while the backend is served; made anew each time."""
        ...


class Dispatch:
    """Calls the manager's method an operation names, and returns what that answers.

    Raises Unsupported for a name that is not one of `operations`, Elsewhere when what it is about is at another backend
    by now.
    """

    def __init__(self, manager: Manager, operations: frozenset[str]) -> None:
        self._manager = manager
        self._operations = operations

    def look_ahead(self, call: Call, about: Any) -> Callable[[], Any] | None:  # noqa: ARG002 - a kind may have one
        """A look that can be taken before the operation is sure to happen; None where there is none."""
        return None

    def __call__(self, context: RequestContext, operation: Operation) -> Any:
        call = operation.call
        if call.method not in self._operations:
            raise Unsupported(f"There is no operation '{call.method}'.")
        if not operation.is_sent_there:
            self._manager.refuse_moved(call)
        return getattr(self._manager, call.method)(context, **call.arguments)
