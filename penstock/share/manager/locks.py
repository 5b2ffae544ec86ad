"""One method at a time works on the replicas of one share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar, cast

from penstock.share.locks import NamedLocks

P = ParamSpec("P")
R = TypeVar("R")


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
