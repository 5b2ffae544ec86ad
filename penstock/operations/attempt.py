"""What a handler may know of the attempt it runs in.

A handler that meets a retryable fault asks `is_last`: on the last attempt it must end its resource in a truthful error,
before that it lets the fault through and the worker calls it again later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from penstock.domain.operations import Operation

_OPERATION: ContextVar[Operation | None] = ContextVar("penstock_operation", default=None)
_LAST: ContextVar[bool] = ContextVar("penstock_last_attempt", default=True)


def is_last() -> bool:
    """Will nobody call again if this attempt fails? True outside a worker."""
    return _LAST.get()


def current() -> Operation | None:
    """The operation that is being attempted; None outside a worker."""
    return _OPERATION.get()


@contextmanager
def attempt(*, last: bool, operation: Operation | None = None) -> Iterator[None]:
    """Run the block as an attempt that is, or is not, the last one."""
    token, of = _LAST.set(last), _OPERATION.set(operation)
    try:
        yield
    finally:
        _LAST.reset(token)
        _OPERATION.reset(of)
