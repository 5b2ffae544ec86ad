"""What is mounted on a host, where that is seen without running anything there: the kernel's own table.

Reading it touches none of the filesystems in it, so one that hangs does not hold up who looks.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol, runtime_checkable

OWN = Path("/proc/self/mounts")
_ESCAPED = re.compile(rb"\\([0-7]{3})")  # space, tab, line end and backslash, as getmntent(3) has them


@runtime_checkable
class MountsHost(Protocol):
    """A `Host` whose table of mounts may be at hand."""

    def mounts(self) -> bytes | None:
        """The table as in fstab(5), as our commands there see it; None: not without a command."""
        ...


def read_own() -> bytes | None:
    """The table of our own mount namespace; None where there is no such file."""
    try:
        return OWN.read_bytes()
    except OSError:
        return None


def only_mountpoint(table: bytes, source: str) -> str | None:
    """Where the table has `source` mounted; None unless that is one place, with nothing mounted over it later."""
    lines = b"\n" + table
    wanted = b"\n" + source.encode() + b" "
    start = lines.find(wanted)
    if start < 0 or lines.find(wanted, start + 1) >= 0:
        return None
    after = start + len(wanted)
    mountpoint = lines[after : lines.find(b" ", after)]
    if not mountpoint.startswith(b"/") or lines.find(b" " + mountpoint + b" ", after + len(mountpoint)) >= 0:
        return None
    try:
        return _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), mountpoint).decode()
    except ValueError:  # no name of ours: bytes that are no text
        return None
