"""Our configuration on the host: a few hundred files, so that one change rewrites one small file however many exports.

10,000 exports in one file are 2 MB to read, write and sync for each change; a file each are 10,000 round trips to list.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from threading import Lock

from penstock.errors import Unavailable
from penstock.host.runner import Host

COUNT = 256
READ_TIMEOUT_S = 30.0
FEW = 8  # up to so many files are read one by one: cheaper than all of them


def hash_of(path: str) -> int:
    """What decides which file a path's export is in."""
    return zlib.crc32(path.encode())


def shard_of(path: str) -> int:
    """Which of the `COUNT` files holds the export of `path`."""
    return hash_of(path) % COUNT


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
        """To be held from reading to writing: a file has exports of several backends, and none may be lost."""
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

    def text(self, files: Iterable[str]) -> str:
        """The contents of at least these files, joined; nothing for those that do not exist. Raises Unavailable."""
        wanted = list(files)
        if len(wanted) > FEW:
            return self.all_text()
        return "".join(self.host.read_file(file) or "" for file in wanted)

    def all_text(self) -> str:
        """The contents of all our files, joined, by one command. Raises Unavailable."""
        argv = (
            "find",
            self.directory,
            "-maxdepth",
            "1",
            "-name",
            f"penstock-??{self.suffix}",
            "-exec",
            "cat",
            "{}",
            "+",
        )
        done = self.host.run(argv, timeout_s=READ_TIMEOUT_S)
        if done.exit_code == 0:
            return done.stdout
        if "No such file or directory" in done.stderr and not done.stdout:
            return ""
        raise Unavailable(f"{self.directory} on {self.host.name} cannot be read: {done.stderr.strip()}")

    def write(self, file: str, text: str) -> None:
        """Replace one file; an empty one is removed. Raises Unavailable."""
        if text:
            self.host.write_file(file, text)
        else:
            self.host.remove_file(file)
