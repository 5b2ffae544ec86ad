"""One worker per backend: a second process under the same name refuses to start, it would run steps twice."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import Conflict
from penstock.store.database import Database, hold_for_process


@contextmanager
def exclusive(database: Database, state_path: Path, backend: str) -> Iterator[None]:
    """Serve `backend` alone, on this machine (a locked file) and on this database (an advisory lock).

    Both locks end with the process, however it ends. Raises Conflict when another process serves the backend.
    """
    folder = state_path / "locks"
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    path = folder / (re.sub(r"[^A-Za-z0-9._@-]", "_", backend) + ".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"Another process on this machine serves backend {backend} already ({path}).") from None
        with hold_for_process(database, f"worker:{backend}"):
            yield
    finally:
        os.close(descriptor)
