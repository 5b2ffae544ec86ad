"""What a handler may know of the attempt it runs in.

A handler that meets a retryable fault asks `is_last`: on the last attempt it must end its resource in a truthful error,
before that it lets the fault through and the worker calls it again later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LAST: ContextVar[bool] = ContextVar("penstock_last_attempt", default=True)


def is_last() -> bool:
    """Will nobody call again if this attempt fails? True outside a worker."""
    return _LAST.get()


@contextmanager
def attempt(*, last: bool) -> Iterator[None]:
    """Run the block as an attempt that is, or is not, the last one."""
    token = _LAST.set(last)
    try:
        yield
    finally:
        _LAST.reset(token)
