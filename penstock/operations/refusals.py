"""A creation that one backend refuses, for a reason of its own, is tried at another: published services do so.

What was begun here is taken away first, or, where the storage does not answer, by an operation that waits for it:
so there is never a second copy. The row moves and the next attempt is queued in one transaction. This is what shares
and volumes have in common of it; each has an `elsewhere` of its own for rows and drivers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from penstock.domain.operations import Operation
from penstock.domain.pools import PoolRef, service_host
from penstock.errors import (
    BackendFault,
    Displaced,
    Fault,
    InsufficientCapacity,
    NotFound,
    Postponed,
    Unavailable,
    Unsupported,
)
from penstock.operations.attempt import current, is_last
from penstock.operations.owner_words import reason

log = structlog.get_logger(__name__)

ASKED, REFUSED = "asked", "refused"  # arguments of an operation
PATIENCE_ATTEMPTS = 3  # a storage host that only restarts a daemon answers again by then
REFUSALS = (InsufficientCapacity, Unsupported, BackendFault, NotFound)


class Moved(Exception):
    """The creation goes on at another backend, or on another pool; nothing is left to do here."""

    def __init__(self, pool: PoolRef, why: str) -> None:
        super().__init__(f"It was refused here, and is tried at {pool}: {why}")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An attempt that was refused. `operation` is the creation's, `asked` what its request asked of a place, `refused`
    who refused it, this one included, with the reasons. `is_silent`: nobody could see what was begun here."""

    operation: Operation
    asked: Mapping[str, Any]
    refused: Mapping[str, str]
    is_silent: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """Of the next attempt's operation."""
        return {**self.operation.call.arguments, REFUSED: dict(self.refused)}


class Creation(Protocol):
    """What is being created, a share or a volume, at the pool `host`, by the operation `method`.

    It is tried at `most_attempts` pools; `can_move` is False where nobody can be asked for another.
    """

    @property
    def method(self) -> str: ...

    @property
    def id(self) -> str: ...

    @property
    def host(self) -> str | None: ...

    @property
    def can_move(self) -> bool: ...

    @property
    def most_attempts(self) -> int: ...

    def is_clean(self) -> bool:
        """Is nothing left of it here? What cannot be taken away keeps it here, in error, with its owner."""
        ...

    def place(self, refusal: Refusal) -> PoolRef | None:
        """Move the row and queue the next attempt; None when somebody moved or ended it meanwhile.

        Raises InsufficientCapacity with the reason of every pool.
        """
        ...


@contextmanager
def tried(creation: Creation) -> Iterator[None]:
    """Around the driver's making of it. A refusal becomes Moved, or the fault that ends the creation."""
    try:
        yield
    except Fault as refusal:
        fault = _move_on(creation, refusal)
        if fault is refusal:
            raise
        raise fault from refusal


def _move_on(creation: Creation, fault: Fault) -> Fault:
    """Raise Moved when it is tried elsewhere after `fault`.

    Else returns the fault that ends the creation, with the reasons of all that refused, or `fault` itself where it is
    to be tried here again. What must be where it is has no place that was asked for in its arguments.
    """
    operation, host = current(), creation.host
    if operation is None or not creation.can_move or operation.call.method != creation.method or host is None:
        return fault
    asked = operation.call.arguments.get(ASKED)
    if asked is None or not _is_refusal(fault, operation):
        return fault
    can_wait = isinstance(fault, Unavailable) and not is_last()
    # a pool that is not imported says that there is no parent: what an earlier attempt began on it cannot be seen
    is_silent = isinstance(fault, Unavailable | NotFound)
    before: dict[str, str] = operation.call.arguments.get(REFUSED) or {}
    refused = {**before, service_host(host) if is_silent else host: reason(fault)}
    if len(refused) >= creation.most_attempts:
        return fault if can_wait else _told(fault, refused, "")
    if not is_silent and not creation.is_clean():
        return fault
    try:
        pool = creation.place(Refusal(operation, asked, refused, is_silent))
    except InsufficientCapacity as full:
        return fault if can_wait else _told(fault, refused, full.message)
    if pool is None:
        return fault
    log.warning("creation.tried_elsewhere", of=creation.id, refused_by=host, pool=str(pool), fault=str(fault))
    raise Moved(pool, fault.message) from fault


def _is_refusal(fault: Fault, operation: Operation) -> bool:
    if isinstance(fault, Postponed | Displaced):
        return False
    if isinstance(fault, Unavailable):
        return operation.attempts >= PATIENCE_ATTEMPTS or is_last()
    return isinstance(fault, REFUSALS)


def _told(fault: Fault, refused: Mapping[str, str], rest: str) -> Fault:
    """What ends the creation: nobody takes it. The owner learns who refused it, and why the others were not asked."""
    if len(refused) == 1:
        return fault
    reasons = "; ".join(f"{where}: {why}" for where, why in refused.items())
    sentence = f"It was refused by {len(refused)} of the pools: {reasons}"
    return InsufficientCapacity(f"{sentence}. {rest}".strip())


@contextmanager
def waiting() -> Iterator[None]:
    """Around the taking away of what a silent backend may have begun: it waits, however long that takes."""
    try:
        yield
    except Fault as fault:
        if fault.retryable:
            raise Postponed(fault.message) from fault
        raise
