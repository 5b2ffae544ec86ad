"""Changes a few lines of the kernel server's ``etab`` and makes nfsd ask again. This file runs on the storage host.

`nfs_kernel` sends this source and the request on stdin to the python3 there, so it imports nothing of ours and keeps to
Python 3.6. Request: ``{"state": "/var/lib/nfs", "replace": {path: [line, ...]}, "configured": {file: digest}}`` with
escaped paths. Answer on stdout: ``{"changed": bool, "threads": int}``, or ``{"overtaken": file}``, with nothing done,
when a file of configuration is no longer what the lines were made from. It does what exportfs does, in its order, with
its locks (nfs-utils 2.6.2 utils/exportfs/exportfs.c, support/export/xtab.c, support/nfs/xio.c), minus re-reading
everything.
"""

import fcntl
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import typing

LOCK_TIMEOUT_S = 20
OCTAL = re.compile(rb"\\([0-3][0-7]{2})")


def unescaped(name: bytes) -> bytes:
    """The path as bytes: exportfs and we escape different characters of the same path."""
    if b"\\" not in name:  # almost always, and there may be tens of thousands
        return name
    return OCTAL.sub(lambda found: bytes([int(found.group(1), 8)]), name)


def locked(path: pathlib.Path) -> int:
    """An open file with exportfs' kind of lock (fcntl, not flock) on it; the kernel lets go when we end."""
    fd = os.open(str(path), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.lockf(fd, fcntl.LOCK_EX)
    return fd


def edited(old: bytes, replace: "dict[str, list[str]]") -> bytes:
    """`old` with the lines of the given paths replaced, in the given order; everybody else's stay as they are."""
    wanted = {unescaped(path.encode()): [line.encode() for line in lines] for path, lines in replace.items()}
    kept = []  # type: list[bytes]
    ours = {path: [] for path in wanted}  # type: dict[bytes, list[bytes]]
    for line in old.splitlines():
        ours.get(unescaped(line.split(b"\t", 1)[0]), kept).append(line)
    if ours == wanted:
        return old
    return b"".join(line + b"\n" for line in kept + [line for path in sorted(wanted) for line in wanted[path]])


def digest(file: str) -> str:
    """See penstock/host/files.py."""
    try:
        return hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest()
    except FileNotFoundError:
        return "absent"


class Overtaken(Exception):
    """Somebody else has changed the configuration, and will change etab after us, or has done so."""


def rewrite(state: str, replace: "dict[str, list[str]]", configured: "dict[str, str]") -> bool:
    """Replace etab by rename (rpc.mountd notices the new inode). True when it changed. Raises Overtaken."""
    directory = pathlib.Path(state)
    etab = directory / "etab"
    whole = locked(directory / "export-lock")  # exportfs holds it from reading to writing
    file = locked(directory / ".etab.lock")  # rpc.mountd holds it while reading
    try:
        for name, expected in sorted(configured.items()):
            if digest(name) != expected:
                raise Overtaken(name)
        old = etab.read_bytes()
        new = edited(old, replace)
        if new == old:
            return False
        temporary = directory / "etab.tmp"
        with temporary.open("wb") as stream:
            stream.write(new)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(etab)
        return True
    finally:
        os.close(file)
        os.close(whole)


def threads() -> int:
    """How many nfsd threads serve; 0 when nfsd is not there."""
    try:
        return int(pathlib.Path("/proc/fs/nfsd/threads").read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0


def main(request: "dict[str, typing.Any]") -> None:
    """Change, flush, answer. Fails (non-zero, stderr) rather than answer something else."""
    signal.alarm(LOCK_TIMEOUT_S)
    try:
        changed = rewrite(request["state"], request["replace"], request["configured"])
    except Overtaken as err:
        json.dump({"overtaken": str(err)}, sys.stdout)
        return
    # Always, also when nothing changed: whoever changed it may have died before this.
    subprocess.run(["exportfs", "-f"], check=True)
    json.dump({"changed": changed, "threads": threads()}, sys.stdout)
