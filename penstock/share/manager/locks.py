"""Named locks, held while a method works on the replicas of one share."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, Protocol, TypeVar, cast

import structlog

P = ParamSpec("P")
R = TypeVar("R")

log = structlog.get_logger(__name__)


class NamedLocks:
    """Locks that exist as long as somebody holds or awaits them. A thread may take one it holds again."""

    def __init__(self) -> None:
        self._guard = threading.Lock()  # for _locks, which every holder changes
        self._locks: dict[str, tuple[threading.RLock, int]] = {}

    @contextmanager
    def hold(self, name: str, reason: str) -> Iterator[None]:
        """Wait for the lock called `name`, and hold it in the block; `reason` says why, in the log."""
        with self._guard:
            lock, users = self._locks.get(name, (threading.RLock(), 0))
            self._locks[name] = (lock, users + 1)
        try:
            if not lock.acquire(blocking=False):
                log.debug("lock.awaited", lock=name, reason=reason)
                lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._guard:
                users = self._locks[name][1] - 1
                if users:
                    self._locks[name] = (lock, users)
                else:
                    del self._locks[name]


class HasLocks(Protocol):
    """What `locked_share_replica_operation` needs of the object whose methods it decorates."""

    locks: NamedLocks


def locked_share_replica_operation(operation: Callable[P, R]) -> Callable[P, R]:
    """Let no two decorated operations on replicas of one share run at a time, e.g. a promotion and a deletion.

    The lock has the id of the share: the operation must be called with ``share_id``.
    """
    signature = inspect.signature(operation)

    @functools.wraps(operation)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs).arguments
        share_id = bound.get("share_id") or bound.get("kwargs", {}).get("share_id")
        locks = cast("HasLocks", args[0]).locks
        with locks.hold(f"replicas of {share_id}", operation.__name__):
            return operation(*args, **kwargs)

    return wrapped
