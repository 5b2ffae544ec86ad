"""What stays between uses, and is idle until somebody wants it again."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar


class Kept(Protocol):
    """Something that can be used again by whoever wants its `key`."""

    @property
    def key(self) -> object:
        """What it is one of."""
        ...

    def is_well(self) -> bool:
        """Can it be used again?"""
        ...

    def close(self) -> None:
        """End it."""
        ...


K = TypeVar("K", bound=Kept)


class Idle(Generic[K]):
    """At most `most` that are idle; they end with this object, or with the process. Threads share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._idle: list[K] = []  # the latest used is last
        weakref.finalize(self, _close, self._idle)

    @contextlib.contextmanager
    def one(self, key: object, begin: Callable[[], K]) -> Iterator[K]:
        """One of that `key`, or a new one, for the block alone. It is kept unless the block raises."""
        kept = self._taken(key) or begin()
        try:
            yield kept
        except BaseException:
            kept.close()
            raise
        with self._lock:
            self._idle.append(kept)
        self.shrink(self._most)

    def shrink(self, most: int) -> int:
        """End those that are too many, the longest idle first; how many stay."""
        with self._lock:
            too_many = self._idle[: max(0, len(self._idle) - max(0, most))]
            del self._idle[: len(too_many)]
            left = len(self._idle)
        for kept in too_many:
            kept.close()
        return left

    def close(self) -> None:
        """End all."""
        self.shrink(0)

    def _taken(self, key: object) -> K | None:
        """Ends those that are not well, too."""
        with self._lock:
            ended = [kept for kept in self._idle if not kept.is_well()]
            well = [kept for kept in self._idle if kept not in ended]
            taken = next((kept for kept in reversed(well) if kept.key == key), None)
            self._idle[:] = [kept for kept in well if kept is not taken]
        for kept in ended:
            kept.close()
        return taken


def _close(idle: Sequence[Kept]) -> None:
    for kept in idle:
        kept.close()
