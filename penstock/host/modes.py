"""Giving a directory its mode by a system call of ours, where that can be: a program for it takes ten times as long.

The directory may be on a filesystem that hangs, and the kernel does not come back from there. So the call is made in a
thread of its own, which is then left behind.
"""

from __future__ import annotations

import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol, runtime_checkable

from penstock.host.process import DeadlinePassed

MOST_LEFT_BEHIND = 16
_FREE = threading.BoundedSemaphore(MOST_LEFT_BEHIND)


@runtime_checkable
class ModesHost(Protocol):
    """A `Host` that may be able to set modes without running anything."""

    def set_mode(self, path: str, mode: int, *, timeout_s: float) -> bool:
        """Give what is at the absolute `path` this mode, as chmod(2); False when that needs a command there, or when so
        many calls hang that no more are made.

        Safe to repeat. Raises BackendFault (refused), UnknownResult past the deadline.
        """
        ...


def set_mode(path: Path, mode: int, *, timeout_s: float) -> bool:
    """chmod(2) with a deadline. False, and nothing was done, when too many hang already or no thread can be started:
    the filesystem of those that hang need not be this one. Raises OSError, DeadlinePassed."""
    if not _FREE.acquire(blocking=False):
        return False
    answers: SimpleQueue[OSError | None] = SimpleQueue()

    def call() -> None:
        try:
            path.chmod(mode)
        except OSError as err:
            answers.put(err)
        else:
            answers.put(None)
        finally:
            _FREE.release()

    try:
        threading.Thread(target=call, name="set-mode", daemon=True).start()
    except RuntimeError:
        _FREE.release()
        return False
    try:
        error = answers.get(timeout=timeout_s)
    except Empty:
        raise DeadlinePassed from None
    if error is not None:
        raise error
    return True
