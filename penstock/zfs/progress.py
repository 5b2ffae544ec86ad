"""How far a ``zfs send -vP`` is, by the lines it writes to stderr once a second (cmd/zfs, OpenZFS 2.1)."""

from __future__ import annotations

import re

REPORTING = ("-v", "-P")

_MOVED = re.compile(r"\d\d:\d\d:\d\d\t(\d+)\t(.+)")
_SIZE = re.compile(r"size\t(\d+)")
_ITEM = re.compile(r"(?:full|incremental)\t.*")
# what a token means, before the rest of a resumed stream
_TOKEN = re.compile(r"resume token contents:|nvlist version: \d+|\t\w+ = .*")


class Progress:
    """Adds up what the lines say: a stream of many snapshots counts each from zero."""

    def __init__(self) -> None:
        self._moved: dict[str, int] = {}
        self.expected_bytes: int | None = None

    @property
    def moved_bytes(self) -> int:
        """Bytes sent so far, by the last report."""
        return sum(self._moved.values())

    def heard(self, line: str) -> bool:
        """Take a line in; False when it does not tell of progress."""
        moved, size = _MOVED.fullmatch(line), _SIZE.fullmatch(line)
        if moved:
            self._moved[moved[2]] = int(moved[1])
        elif size:
            self.expected_bytes = int(size[1])
        return bool(moved or size or _ITEM.fullmatch(line) or _TOKEN.fullmatch(line))


def complaints(stderr: str) -> str:
    """The stderr of such a send without the reports."""
    return "".join(line for line in stderr.splitlines(keepends=True) if not Progress().heard(line.rstrip("\n")))
