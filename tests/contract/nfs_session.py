"""An NFS client that stays mounted while its rules change. Runs by itself on a client, over libnfs; prints JSON.

    python3 nfs_session.py ADDRESS PATH VERSION DIRECTORY

Mounts, opens PATH/file, makes DIRECTORY/ready, waits for DIRECTORY/go, then reads from the open file, looks another one
up, and creates one. Each answer is 0 or more for success, or a negative errno.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from pathlib import Path

TIMEOUT_MS = 20_000
O_RDONLY = 0


class Session:
    """One mounted context of libnfs 4 (libnfs.so.13)."""

    def __init__(self, address: str, path: str, version: int) -> None:
        self.lib = ctypes.CDLL("libnfs.so.13")
        self.lib.nfs_init_context.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.lib.nfs_init_context())
        self.lib.nfs_set_version(self.context, version)
        self.lib.nfs_set_timeout(self.context, TIMEOUT_MS)
        self.mounted = self.lib.nfs_mount(self.context, address.encode(), path.encode())
        self.file = ctypes.c_void_p()

    def open(self, name: str) -> int:
        return int(self.lib.nfs_open(self.context, name.encode(), O_RDONLY, ctypes.byref(self.file)))

    def read(self) -> int:
        buffer = ctypes.create_string_buffer(16)
        offset, count = ctypes.c_uint64(0), ctypes.c_uint64(16)
        return int(self.lib.nfs_pread(self.context, self.file, offset, count, buffer))

    def stat(self, name: str) -> int:
        return int(self.lib.nfs_stat64(self.context, name.encode(), ctypes.create_string_buffer(512)))

    def create(self, name: str) -> int:
        made = ctypes.c_void_p()
        return int(self.lib.nfs_creat(self.context, name.encode(), 0o644, ctypes.byref(made)))


def main(address: str, path: str, version: str, directory: str) -> None:
    session = Session(address, path, int(version))
    before = {"mount": session.mounted, "open": session.open("/file"), "read": session.read()}
    (Path(directory) / "ready").touch()
    deadline = time.monotonic() + 60
    while not (Path(directory) / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.01)  # it runs alone on the client's machine, and a file is all that both see
    started = time.monotonic()
    after = {"read": session.read(), "stat": session.stat("/other"), "create": session.create(f"/new{time.time_ns()}")}
    json.dump({"before": before, "after": after, "seconds": time.monotonic() - started}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
