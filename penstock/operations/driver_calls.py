"""Calling a driver in an operation: what it raises becomes a Fault, and which faults end the operation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from penstock.errors import BackendFault, Fault, InsufficientCapacity, NotFound, Postponed, Unsupported
from penstock.operations.attempt import before_outside, is_last

QUOTING = (InsufficientCapacity, Unsupported, NotFound)  # what any driver may say in the words of its storage


@contextmanager
def driver_call(what: str, *, waits: bool = False) -> Iterator[None]:
    """Around one call of a driver, which does `what`: everything that comes out of the block is a Fault,
    marked where it may quote the storage host.

    Unless the driver itself `waits` until what we go by is on the disk, before each command (`AuditedHost`), it is
    called only then.

    A driver of somebody else may raise anything; what it does not implement is Unsupported.
    """
    if not waits:
        before_outside()
    try:
        yield
    except Fault as fault:
        if type(fault) in QUOTING:  # a kind of its own has a sentence of its own
            fault.quotes_host = True
        raise
    except NotImplementedError as err:
        raise Unsupported(f"This storage backend cannot {what}.") from err
    except Exception as err:  # the boundary to code that may be anybody's: past it there are faults only
        raise BackendFault(f"The driver could not {what}: {type(err).__name__}: {err}") from err


def is_final(fault: Fault) -> bool:
    """Does `fault` end the operation? A retryable one does when nobody calls again after this attempt."""
    return not isinstance(fault, Postponed) and (is_last() or not fault.retryable)
