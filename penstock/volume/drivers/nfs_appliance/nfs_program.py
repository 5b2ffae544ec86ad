"""Looks at and changes the files of one NFS share through libnfs, past the kernel. Runs by itself; prints JSON.

    python3 nfs_program.py SERVER PATH TIMEOUT_MS [VERB WORD... ; VERB WORD... ; ...]

Mounts the share in this process by NFSv3, does the steps in order (see `file_plan.Step`), and prints the regular files
at its top: ``{"files": [[name, bytes, mode], ...]}``; or ``{"error": text, "errno": n}`` with exit code 1. A program of
its own, because a server that hangs keeps libnfs waiting for ever: whoever started it ends it at a deadline. Standard
library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import stat
import sys
from collections.abc import Iterator

LIBRARY = "libnfs.so.13"
CHUNK_BYTES = 2**20
O_RDWR = 2
EEXIST, ENOENT = 17, 2


class Stat(ctypes.Structure):
    """``struct nfs_stat_64`` (libnfs 4.0, include/nfsc/libnfs.h)."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks",
            "atime", "mtime", "ctime", "atime_nsec", "mtime_nsec", "ctime_nsec", "used",
        )
    )  # fmt: skip


class Entry(ctypes.Structure):
    """The beginning of ``struct nfsdirent``."""

    _fields_ = (("next", ctypes.c_void_p), ("name", ctypes.c_char_p))


class NfsError(Exception):
    """libnfs said no."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


class Share:
    """A mounted share."""

    def __init__(self, server: str, path: str, timeout_ms: int) -> None:
        self._lib = ctypes.CDLL(LIBRARY)
        self._lib.nfs_init_context.restype = ctypes.c_void_p
        self._lib.nfs_get_error.restype = ctypes.c_char_p
        self._lib.nfs_readdir.restype = ctypes.POINTER(Entry)
        self._context = ctypes.c_void_p(self._lib.nfs_init_context())
        self._lib.nfs_set_timeout(self._context, timeout_ms)
        self._call("nfs_mount", server.encode(), path.encode())

    def files(self) -> list[tuple[str, int, int]]:
        """Name, size and permissions of the regular files at the top."""
        folder = ctypes.c_void_p()
        self._call("nfs_opendir", b"/", ctypes.byref(folder))
        names = []
        while entry := self._lib.nfs_readdir(self._context, folder):
            names.append(entry.contents.name)
        self._lib.nfs_closedir(self._context, folder)
        found = []
        for name in set(names) - {b".", b".."}:
            seen = Stat()
            self._call("nfs_lstat64", b"/" + name, ctypes.byref(seen))
            if stat.S_ISREG(seen.mode):
                found.append((name.decode(errors="replace"), int(seen.size), stat.S_IMODE(seen.mode)))
        return sorted(found)

    def do(self, verb: str, *words: str) -> None:
        """Do one step."""
        if verb not in VERBS:
            raise NfsError(22, f"{verb!r} is no step")
        getattr(self, verb)(*words)

    def create(self, name: str) -> None:
        with self._created(name):
            pass

    def rename(self, old: str, new: str) -> None:
        self._call("nfs_rename", _path(old), _path(new))

    def truncate(self, name: str, size: str) -> None:
        self._call("nfs_truncate", _path(name), ctypes.c_uint64(int(size)))

    def mode(self, name: str, octal: str) -> None:
        self._call("nfs_chmod", _path(name), int(octal, 8))

    def fill(self, name: str, size: str) -> None:
        """Write zeros from the end of the file on, until it has that size."""
        seen = Stat()
        self._call("nfs_stat64", _path(name), ctypes.byref(seen))
        zeros = ctypes.create_string_buffer(CHUNK_BYTES)
        with self._opened(name) as handle:
            at, end = int(seen.size), int(size)
            while at < end:
                count = min(CHUNK_BYTES, end - at)
                at += self._call("nfs_pwrite", handle, ctypes.c_uint64(at), ctypes.c_uint64(count), zeros)
            self._call("nfs_fsync", handle)

    @contextlib.contextmanager
    def _created(self, name: str) -> Iterator[ctypes.c_void_p]:
        handle = ctypes.c_void_p()
        self._call("nfs_creat", _path(name), 0o600, ctypes.byref(handle))
        yield handle
        self._call("nfs_close", handle)

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[ctypes.c_void_p]:
        handle = ctypes.c_void_p()
        self._call("nfs_open", _path(name), O_RDWR, ctypes.byref(handle))
        yield handle
        self._call("nfs_close", handle)

    def _call(self, function: str, *arguments: object) -> int:
        answer = int(getattr(self._lib, function)(self._context, *arguments))
        if answer < 0:
            told = self._lib.nfs_get_error(self._context)
            raise NfsError(-answer, f"{function}: {told.decode(errors='replace') if told else answer}")
        return answer


def _path(name: str) -> bytes:
    if "/" in name or name in ("", ".", ".."):
        raise NfsError(22, f"{name!r} is not the name of a file")
    return b"/" + name.encode()


VERBS = ("create", "rename", "truncate", "mode", "fill")


def steps_of(words: list[str]) -> list[list[str]]:
    """The steps between the semicolons."""
    steps: list[list[str]] = [[]]
    for word in words:
        if word == ";":
            steps.append([])
        else:
            steps[-1].append(word)
    return [step for step in steps if step]


def main(server: str, path: str, timeout_ms: str, *words: str) -> int:
    """The program. Returns its exit code."""
    try:
        share = Share(server, path, int(timeout_ms))
        for verb, *arguments in steps_of(list(words)):
            share.do(verb, *arguments)
        json.dump({"files": share.files()}, sys.stdout)
    except NfsError as err:
        json.dump({"error": str(err), "errno": err.number}, sys.stdout)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
