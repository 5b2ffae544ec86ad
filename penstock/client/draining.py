"""Emptying a backend over the API: what is on it moves elsewhere, some at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from penstock.errors import Conflict, Fault, Forbidden, Invalid, NotFound

PAUSE_S = 1.0  # between two looks at all moves: the API tells nobody of changes
MOST_TRIES = 3
REFUSED = (Invalid, Conflict, Forbidden, NotFound)


@dataclass(slots=True)
class Leaving:
    """A share or volume that is to leave. `tried` are the pools that could not take it, with the reasons."""

    id: str
    name: str
    is_moving: bool = False
    heading: str = "its destination"
    tried: dict[str, str] = field(default_factory=dict)
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain came to: ids that left, why others did not, and what is there besides, which nobody would miss."""

    moved: tuple[str, ...]
    left: dict[str, str]
    besides: tuple[str, ...] = ()


class Stage(Enum):
    """How a move stands."""

    GOING = "going"
    MOVED = "moved"
    FAILED = "failed"  # it may be tried to another pool
    STOPPED = "stopped"  # somebody does not want it


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a move: how far it is in words, where to, and why it failed."""

    stage: Stage
    shown: str = ""
    destination: str | None = None
    reason: str = ""


class Mover(Protocol):
    """Moves one kind of thing over its API. Everything raises what the server's answer means."""

    def disable(self, backend: str) -> None:
        """Let the scheduler place nothing new on ``host@backend``."""
        ...

    def held(self, is_here: Callable[[str], bool]) -> tuple[list[Leaving], dict[str, str]]:
        """What lives on such pools, what is on its way already with it, and why others cannot leave, by id."""
        ...

    def pools(self, leaving: Leaving) -> Sequence[dict[str, Any]]:
        """Pools that fit its type, as the scheduler shows them. Raises NotFound when it is gone."""
        ...

    def start(self, leaving: Leaving, pool: str) -> None:
        """Begin to move it."""
        ...

    def is_hopeless(self, fault: Fault) -> bool:
        """Is it the thing that cannot be moved, wherever to, so that no other pool need be tried?"""
        ...

    def look(self, leaving: Leaving) -> Look:
        """How its move stands; what it waits for is done. Raises NotFound when it is gone."""
        ...

    def besides(self, is_here: Callable[[str], bool]) -> Sequence[str]:
        """What else is on such pools, is no user's and cannot be moved, each in words."""
        ...


class Drain:
    """Moves everything off the pools of `place` (``host@backend`` or ``host@backend#pool``).

    It keeps nothing: what it does is read from the API, so another one goes on where this one was ended.
    """

    def __init__(
        self,
        mover: Mover,
        place: str,
        *,
        to: Sequence[str] = (),
        at_once: int = 2,
        tell: Callable[[str], None] = lambda _line: None,
        show: Callable[[str], None] = lambda _line: None,
        pause: Callable[[], None] = lambda: time.sleep(PAUSE_S),
    ) -> None:
        self._mover = mover
        self._place = place
        self._to = tuple(to)
        self._at_once = at_once
        self._tell = tell
        self._show = show
        self._pause = pause
        self._moved: list[str] = []
        self._left: dict[str, str] = {}

    def disable(self) -> None:
        """Let the scheduler place nothing new on the backend. A single pool cannot be taken out."""
        if "#" not in self._place:
            self._mover.disable(self._place)

    def leaving(self) -> list[Leaving]:
        """What lives there, with what is on its way already."""
        found, left = self._mover.held(self._is_here)
        self._left |= left
        return found

    def run(self) -> Drained:
        """Move it all, some at a time; returns when each has left, was deleted by somebody, or cannot."""
        waiting = self.leaving()
        moving = [one for one in waiting if one.is_moving]
        waiting = [one for one in waiting if not one.is_moving]
        while waiting or moving:
            while waiting and len(moving) < self._at_once:
                one = waiting.pop(0)
                if self._begin(one):
                    moving.append(one)
            moving = [one for one in moving if self._goes_on(one)]
            if moving:
                self._show("; ".join(f"{one.name}: {one.shown}" for one in moving))
                self._pause()
        return Drained(tuple(self._moved), dict(self._left), tuple(self._mover.besides(self._is_here)))

    def _is_here(self, host: str) -> bool:
        return host == self._place if "#" in self._place else host.partition("#")[0] == self._place

    def _begin(self, one: Leaving) -> bool:
        """Start it towards the first pool that takes it; False when there is none, or it is gone."""
        try:
            return self._is_taken(one)
        except NotFound:
            self._is_gone(one)
        except REFUSED as fault:
            self._give_up(one, fault.message)
        return False

    def _is_taken(self, one: Leaving) -> bool:
        for pool in self._pools(one):
            try:
                self._mover.start(one, pool)
            except REFUSED as fault:
                if isinstance(fault, NotFound):
                    self._mover.pools(one)  # which raises the same when it is not the pool that is missing
                is_said_before = fault.message in one.tried.values()
                one.tried[pool] = fault.message
                if self._mover.is_hopeless(fault) or is_said_before:
                    break
                continue
            self._tell(f"{one.name}: to {pool}")
            one.is_moving, one.heading = True, pool
            return True
        reasons = "; ".join(f"{pool}: {reason}" for pool, reason in one.tried.items())
        self._give_up(one, reasons or "no other pool fits its type")
        return False

    def _pools(self, one: Leaving) -> Iterator[str]:
        """Where it could go, the emptiest first; what was tried is left out."""
        pools = sorted(self._mover.pools(one), key=lambda pool: -_number(pool["capabilities"].get("free_capacity_gb")))
        names = [str(pool["name"]) for pool in pools if not self._is_here(str(pool["name"]))]
        if self._to:
            names = [name for name in names if name in self._to or name.partition("#")[0] in self._to]
        yield from [name for name in names if name not in one.tried][: MOST_TRIES - len(one.tried)]

    def _goes_on(self, one: Leaving) -> bool:
        """One look; False when it is over for this one."""
        try:
            seen = self._mover.look(one)
        except NotFound:
            self._is_gone(one)
            return False
        except REFUSED as fault:
            self._give_up(one, fault.message)
            return False
        one.shown = seen.shown
        if seen.stage is Stage.GOING:
            return True
        if seen.stage is Stage.MOVED:
            self._moved.append(one.id)
            self._tell(f"{one.name}: moved")
            return False
        destination = seen.destination or one.heading
        one.tried[destination] = seen.reason
        if seen.stage is Stage.STOPPED or len(one.tried) >= MOST_TRIES:
            self._give_up(one, f"{destination}: {seen.reason}")
            return False
        return self._begin(one)

    def _is_gone(self, one: Leaving) -> None:
        self._tell(f"{one.name}: was deleted meanwhile")

    def _give_up(self, one: Leaving, reason: str) -> None:
        self._left[one.id] = f"{one.name}: {reason}"
        self._tell(f"{one.name}: stays: {reason}")


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0
