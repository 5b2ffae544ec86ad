"""What files there are in a folder, and whether another has the same."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import BackendFault, Cancelled

MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class _Entry:
    """What must be the same on both sides. `digest` is empty unless contents are compared."""

    kind: int
    mode: int
    owner: tuple[int, int]
    size: int
    modified_s: int
    target: str
    digest: str


def sizes(root: Path, ignored: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Every regular file below, with its size; each once, however many names it has."""
    seen: set[int] = set()
    for path, found in _walk(root, ignored):
        if stat.S_ISREG(found.st_mode) and found.st_ino not in seen:
            seen.add(found.st_ino)
            yield path, found.st_size


def _walk(root: Path, ignored: Sequence[str]) -> Iterator[tuple[str, os.stat_result]]:
    pending = [""]
    while pending:
        folder = pending.pop()
        for entry in os.scandir(root / folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if path in ignored:
                continue
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                pending.append(path)
            yield path, found


def compare(
    here: Path, there: Path, ignored: Sequence[str], *, checks_contents: bool, should_stop: Callable[[], bool]
) -> None:
    """Raise BackendFault, naming some, when files are missing, more, or different."""
    wrong: list[str] = []
    expected: set[str] = set()
    for path, found in _walk(here, ignored):
        if should_stop():
            raise Cancelled("The comparison was asked to stop.")
        expected.add(path)
        try:
            other = os.lstat(there / path)
        except FileNotFoundError:
            wrong.append(path)
            continue
        if _entry(here / path, found, checks_contents) != _entry(there / path, other, checks_contents):
            wrong.append(path)
    wrong += [path for path, _ in _walk(there, ignored) if path not in expected]
    if wrong:
        named = ", ".join(sorted(wrong)[:MOST_NAMED])
        raise BackendFault(f"{len(wrong)} files are not the same after the copy, among them {named}.")


def _entry(path: Path, found: os.stat_result, checks_contents: bool) -> _Entry:
    kind = stat.S_IFMT(found.st_mode)
    is_file, is_link = stat.S_ISREG(found.st_mode), stat.S_ISLNK(found.st_mode)
    return _Entry(
        kind=kind,
        mode=0 if is_link else stat.S_IMODE(found.st_mode),
        owner=(found.st_uid, found.st_gid),
        size=found.st_size if is_file else 0,
        modified_s=int(found.st_mtime) if is_file else 0,
        target=str(path.readlink()) if is_link else "",
        digest=_digest(path) if is_file and checks_contents else "",
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
