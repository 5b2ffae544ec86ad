"""A place on this machine for one lab: a number nobody else holds, and names and addresses made from it.

Several test runs, and the workers of one, share a machine; a lock file that the kernel frees when its holder dies keeps
their labs apart, and makes it safe to clear what an earlier holder left.
"""

from __future__ import annotations

import fcntl
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PLACES = 200
ROOT = Path("/tmp/penstock-labs")
# Pools in memory wait for no disk: most of a test's time went there. It keeps what it holds over a host's power cut as
# files do, which the page cache keeps, too.
MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 12 * 2**30  # all of it: what is free may be different at the next start, and then leftovers not be found


@dataclass(frozen=True)
class Place:
    """Held for as long as `lock` stays open."""

    number: int
    lock: IO[bytes]

    @property
    def tag(self) -> str:
        return f"pt{self.number}"

    @property
    def directory(self) -> Path:
        return ROOT / self.tag

    @property
    def memory(self) -> Path:
        """For the pools of hosts."""
        return _memory() / self.tag

    @property
    def network_prefix(self) -> str:
        return f"10.178.{self.number}"

    def release(self) -> None:
        """Give the place back; its labs are down by now."""
        for folder in (self.directory, self.memory):
            shutil.rmtree(folder, ignore_errors=True)
        self.lock.close()


def _memory() -> Path:
    is_in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).total >= ENOUGH_BYTES
    return MEMORY / ROOT.name if is_in_memory else ROOT


def take_place() -> Place:
    """The first free place. The caller releases it."""
    for folder in {ROOT, _memory()}:
        folder.mkdir(mode=0o700, exist_ok=True)
    for number in range(PLACES):
        lock = (ROOT / f"{number}.lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return Place(number, lock)
    raise RuntimeError(f"all {PLACES} lab places under {ROOT} are taken")
