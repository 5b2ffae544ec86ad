"""Waiting for what tells nobody that it has happened: in other processes, on other machines, behind an API."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lab.pauses import pause

T = TypeVar("T")

PAUSE_S = 0.02


def until(
    look: Callable[[], T], is_so: Callable[[T], bool] = bool, *, timeout_s: float = 60, pause_s: float = PAUSE_S
) -> T:
    """What `look` finds, once it is so. Fails after `timeout_s`, with what was found last."""
    started = time.monotonic()
    while not is_so(found := look()):
        waited_s = time.monotonic() - started
        assert waited_s < timeout_s, f"not so after {timeout_s:g} s: {found!r}"
        pause(waited_s, pause_s)
    return found


def until_equal(look: Callable[[], T], wanted: T, *, timeout_s: float = 60) -> None:
    """Until `look` finds exactly that."""
    until(look, lambda found: found == wanted, timeout_s=timeout_s)


def until_raises(look: Callable[[], object], kind: type[Exception], *, timeout_s: float = 60) -> None:
    """Until `look` raises that: what it looks for is gone."""

    def is_gone() -> bool:
        try:
            look()
        except kind:
            return True
        return False

    until(is_gone, timeout_s=timeout_s)
