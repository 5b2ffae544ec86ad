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
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from penstock.domain.operations import Operation
from penstock.store.database import Transaction

Done = Callable[[Transaction, Any], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Handed:
    """What an attempt is handed by the transaction that asked for its operation, where it begins with that.

    `about` is what it is about, as that transaction left it; `ahead` a look at the storage that began before;
    `asked_at_s` when that was (monotonic).
    """

    about: Any
    ahead: Future[Any] | None = None
    asked_at_s: float = 0.0


_OPERATION: ContextVar[Operation | None] = ContextVar("penstock_operation", default=None)
_LAST: ContextVar[bool] = ContextVar("penstock_last_attempt", default=True)
_DONE: ContextVar[Done | None] = ContextVar("penstock_done", default=None)
_HANDED: ContextVar[Handed | None] = ContextVar("penstock_handed", default=None)
_BEFORE_OUTSIDE: ContextVar[Callable[[], None] | None] = ContextVar("penstock_before_outside", default=None)


def is_last() -> bool:
    """Will nobody call again if this attempt fails? True outside a worker."""
    return _LAST.get()


def current() -> Operation | None:
    """The operation that is being attempted; None outside a worker."""
    return _OPERATION.get()


def looked() -> Future[Any] | None:
    """What a look found that began while the operation was being asked for, or will find; None when there was none."""
    found = _HANDED.get()
    return None if found is None else found.ahead


def handed(kind: type[T], *methods: str) -> T | None:
    """What an operation of one of these `methods` is about, as the transaction that asked for it left it.

    None when that is to be read, also when the operation is another method's, of which this is a part. Once: whoever
    asks again may have changed it meanwhile.
    """
    operation, found = _OPERATION.get(), _HANDED.get()
    if found is None or operation is None or operation.call.method not in methods:
        return None
    if not isinstance(found.about, kind):
        return None
    _HANDED.set(replace(found, about=None))
    return found.about


def distrust(until_s: float) -> None:
    """Until then (monotonic) something went on that changes what any operation goes by, whatever that is about: what
    the attempt was handed before is to be read, and looked at, again."""
    found = _HANDED.get()
    if found is not None and found.asked_at_s <= until_s:
        _HANDED.set(None)


def before_outside() -> None:
    """To be called before anything is done elsewhere: what the attempt goes by is on the disk then. Raises Unsure.

    An operation may begin before that.
    """
    await_disk = _BEFORE_OUTSIDE.get()
    if await_disk is not None:
        await_disk()


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
    handed: Handed | None = None,
    await_disk: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Run the block as an attempt of `operation` that is, or is not, the last one; `done` writes that it is done.

    `await_disk` is what `before_outside` does in it.
    """
    tokens = _LAST.set(last), _OPERATION.set(operation), _DONE.set(done), _HANDED.set(handed)
    disk = _BEFORE_OUTSIDE.set(await_disk)
    try:
        yield
    finally:
        _LAST.reset(tokens[0])
        _OPERATION.reset(tokens[1])
        _DONE.reset(tokens[2])
        _HANDED.reset(tokens[3])
        _BEFORE_OUTSIDE.reset(disk)


@contextmanager
def not_done_yet() -> Iterator[None]:
    """Something is to be done after what the block does: `done_with` does nothing in it."""
    token = _DONE.set(None)
    try:
        yield
    finally:
        _DONE.reset(token)
