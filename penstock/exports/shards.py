"""Our configuration on the host: a few hundred files, so that one change rewrites one small file however many exports.

10,000 exports in one file are 2 MB to read, write and sync for each change; a file each are 10,000 round trips to list.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from threading import Lock

from penstock.errors import Unavailable
from penstock.host.runner import Host

COUNT = 256
READ_TIMEOUT_S = 30.0
TRIES = 30  # each is lost to a change of somebody else that was made
FEW = 16  # up to so many files are read by their names: cheaper than all of them


def hash_of(path: str) -> int:
    """What decides which file a path's export is in."""
    return zlib.crc32(path.encode())


def shard_of(path: str) -> int:
    """Which of the `COUNT` files holds the export of `path`."""
    return hash_of(path) % COUNT


class Overtaken(Exception):
    """Another process changed this file after we read it: everything is to be done again."""


@cache
def _change_lock(host_name: str, directory: str) -> Lock:  # noqa: ARG001 - the cache's key
    """The one lock of a host's files, however many backends and threads change them in this process."""
    return Lock()


@dataclass(frozen=True, slots=True)
class Shards:
    """The files ``directory/penstock-00<suffix>`` to ``penstock-ff<suffix>``; a path hashes to one."""

    host: Host
    directory: str
    suffix: str

    @property
    def changing(self) -> Lock:
        """Held from reading to writing: a file has exports of several backends, and none may be lost."""
        return _change_lock(self.host.name, self.directory)

    def file_of(self, path: str) -> str:
        """Which file holds the export of `path`."""
        return f"{self.directory}/penstock-{shard_of(path):02x}{self.suffix}"

    def files_of(self, paths: Iterable[str]) -> dict[str, list[str]]:
        """`paths` grouped by their files."""
        grouped: dict[str, list[str]] = {}
        for path in paths:
            grouped.setdefault(self.file_of(path), []).append(path)
        return grouped

    def change(self, once: Callable[[], None]) -> None:
        """Run `once`, which reads files, swaps some and tells the server; again when somebody else was quicker.

        Threads of this process take turns; another process (the doctor beside the daemon, a second daemon) is noticed
        by `swap`. Raises Unavailable when it is always quicker, and what `once` raises.
        """
        with self.changing:
            for _ in range(TRIES):
                try:
                    return once()
                except Overtaken:
                    continue
        raise Unavailable(f"somebody else changes {self.directory} on {self.host.name} all the time")

    def texts(self, files: Iterable[str]) -> dict[str, str]:
        """The contents of these files by their names, without those that do not exist. Raises Unavailable."""
        wanted = set(files)
        if len(wanted) > FEW:
            return _by_file(self._found("grep", "-aH", ""), wanted)
        return self.host.read_files(sorted(wanted))

    def all_text(self) -> str:
        """The contents of all our files, joined, by one command. Raises Unavailable."""
        return self._found("cat")

    def _found(self, *command: str) -> str:
        name = f"penstock-??{self.suffix}"
        argv = ("find", self.directory, "-maxdepth", "1", "-name", name, "-exec", *command, "{}", "+")
        for _ in range(TRIES):
            done = self.host.run(argv, timeout_s=READ_TIMEOUT_S)
            if done.exit_code == 0:
                return done.stdout
            if "No such file or directory" not in done.stderr:
                break
            if not done.stdout:
                return ""
            # one of them went between find and what reads it: its last export was removed meanwhile
        raise Unavailable(f"{self.directory} on {self.host.name} cannot be read: {done.stderr.strip()}")

    def swap(self, file: str, old: str | None, text: str) -> None:
        """Replace one file if it still is `old`; an empty one is removed. Raises Overtaken, Unavailable."""
        if not self.host.swap_file(file, old, text or None):
            raise Overtaken(file)


def _by_file(text: str, wanted: AbstractSet[str]) -> dict[str, str]:
    """What ``grep -H`` printed, as the contents of those of the files that are wanted."""
    lines: dict[str, list[str]] = {}
    for line in text.splitlines(keepends=True):
        file, _, rest = line.partition(":")
        lines.setdefault(file, []).append(rest)
    return {file: "".join(rest) for file, rest in lines.items() if file in wanted}
