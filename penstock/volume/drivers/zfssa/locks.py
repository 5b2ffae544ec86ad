"""Named locks between the threads and processes of one machine: files that the kernel lets go of."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import Unavailable


@contextmanager
def hold(folder: Path, name: str) -> Iterator[None]:
    """Wait for the lock and keep it for the block. Raises Unavailable when the folder cannot be written."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / f"{digest}.lock").open("ab")
    except OSError as err:
        raise Unavailable(f"no lock can be had in {folder}: {err}") from err
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
