"""Files made for the time of one call, and what a process that was killed left of them.

Their names begin with a prefix and the process that made them; what is of a process that is gone is nobody's.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


def own_prefix(prefix: str) -> str:
    """How names of this process begin."""
    return f"{prefix}{os.getpid()}-"


def sweep(folder: Path, prefix: str) -> None:
    """Remove what processes that are gone left in `folder` under `prefix`. Safe beside others that do the same."""
    mine = re.compile(rf"{re.escape(prefix)}(\d+)-")
    for path in folder.glob(f"{prefix}*"):
        found = mine.match(path.name)
        if found is None or Path("/proc", found[1]).exists():
            continue
        log.info("leftover.removed", path=str(path))
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
