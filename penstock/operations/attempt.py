"""What a handler may know of the attempt it runs in, and how it may end it.

A handler that meets a retryable fault asks `is_last`: on the last attempt it must end its resource in a truthful error,
before that it lets the fault through and the worker calls it again later. With its result it may store that the
operation is done (`done_with`): one transaction instead of two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from penstock.domain.operations import Operation
from penstock.store.database import Transaction

Done = Callable[[Transaction, Any], None]

_OPERATION: ContextVar[Operation | None] = ContextVar("penstock_operation", default=None)
_LAST: ContextVar[bool] = ContextVar("penstock_last_attempt", default=True)
_DONE: ContextVar[Done | None] = ContextVar("penstock_done", default=None)
_LOOKED: ContextVar[Future[Any] | None] = ContextVar("penstock_looked", default=None)


def is_last() -> bool:
    """Will nobody call again if this attempt fails? True outside a worker."""
    return _LAST.get()


def current() -> Operation | None:
    """The operation that is being attempted; None outside a worker."""
    return _OPERATION.get()


def looked() -> Future[Any] | None:
    """What a look found that began while the operation was being asked for, or will find; None when there was none."""
    return _LOOKED.get()


def done_with(tx: Transaction, *methods: str, told: Any = None) -> None:
    """In the transaction that stores the result of one of these `methods`, and is its last: the operation is done.

    `told` is that result, for who waits for it in this process and so need not read it.
    Does nothing when the operation is another method's, of which this is a part, nor outside a worker. Whoever does not
    call it has the end written after the handler returned.
    """
    operation, done = _OPERATION.get(), _DONE.get()
    if operation is not None and done is not None and operation.call.method in methods:
        done(tx, told)


@contextmanager
def attempt(
    *,
    last: bool,
    operation: Operation | None = None,
    done: Done | None = None,
    looked: Future[Any] | None = None,
) -> Iterator[None]:
    """Run the block as an attempt of `operation` that is, or is not, the last one; `done` writes that it is done.

    `looked` is a look that began before.
    """
    tokens = _LAST.set(last), _OPERATION.set(operation), _DONE.set(done), _LOOKED.set(looked)
    try:
        yield
    finally:
        _LAST.reset(tokens[0])
        _OPERATION.reset(tokens[1])
        _DONE.reset(tokens[2])
        _LOOKED.reset(tokens[3])


@contextmanager
def not_done_yet() -> Iterator[None]:
    """Something is to be done after what the block does: `done_with` does nothing in it."""
    token = _DONE.set(None)
    try:
        yield
    finally:
        _DONE.reset(token)
