"""A change and a look that does not have to wait for its end: done side by side, they take as long as the longer one.

ZFS waits for its disk while it changes something, and a look is nearly all the start of a program.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from penstock.errors import Fault

# Who starts a program holds up the other threads of this process for as long, so the change has to be the first.
HEAD_START_S = 0.001

T = TypeVar("T")


class Beside(Protocol):
    """Does both, in whatever order, and returns what `look` found.

    Both have ended when it returns or raises. Raises what `change` raised, else what `look` did. `look_is_longer` says
    that the change is hardly held up by who starts a program: it does not get a head start.
    """

    def __call__(self, change: Callable[[], None], look: Callable[[], T], *, look_is_longer: bool = False) -> T: ...


def in_turn(change: Callable[[], None], look: Callable[[], T], *, look_is_longer: bool = False) -> T:  # noqa: ARG001
    """Look first, so that what is found is always what was before: for hosts that do one thing at a time."""
    try:
        found = look()
    except Fault:
        change()
        raise
    change()
    return found


def until_looked(change: Callable[[], None], looking: Future[T]) -> T:
    """A `Beside` whose look has begun already."""
    try:
        change()
    finally:
        looking.exception()  # it has ended when we return, whatever became of the change
    return looking.result()


class InThreads:
    """Looks in threads of its own, of which there are `threads`: more looks at once than that wait for each other."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"look-{name}")

    def __call__(self, change: Callable[[], None], look: Callable[[], T], *, look_is_longer: bool = False) -> T:
        context = contextvars.copy_context()  # the ids that its log lines bear

        def later() -> T:
            if not look_is_longer:
                time.sleep(HEAD_START_S)
            return context.run(look)

        return until_looked(change, self._pool.submit(later))
