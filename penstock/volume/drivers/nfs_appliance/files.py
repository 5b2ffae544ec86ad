"""Work on the files of an NFS share from this machine: through libnfs, or mounted by the kernel."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog

from penstock.errors import BackendFault, Fault, InsufficientCapacity, NotFound, Unavailable
from penstock.host.runner import Host
from penstock.images.qemu_img import ENDS_WITH_US
from penstock.volume.drivers.nfs_appliance import nfs_program
from penstock.volume.drivers.nfs_appliance.file_plan import SeenFile, Step

log = structlog.get_logger(__name__)

LOOK_TIMEOUT_S = 60.0
RPC_TIMEOUT_MS = 20_000
# Writing a whole file takes as long as it takes; slower than this is taken for hung.
SLOWEST_BYTES_PER_S = 2**20
MOUNT_TIMEOUT_S = 90.0
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class ShareFiles(Protocol):
    """The regular files at the top of a share (``10.0.0.5:/pool/share``), which lets this machine in."""

    def look(self, export: str) -> Sequence[SeenFile]:
        """What is there. Raises Unavailable, NotFound (no such export)."""
        ...

    def carry_out(self, export: str, steps: Sequence[Step]) -> Sequence[SeenFile]:
        """Do the steps in order. Returns what is there then. Raises as `look`, and InsufficientCapacity."""
        ...


def parts(export: str) -> tuple[str, str]:
    """Server, without the brackets of IPv6, and path of an export. Raises BackendFault for one that is none."""
    server, separator, path = export.partition(":/")
    if not server or not separator:
        raise BackendFault(f"'{export}' is not what an NFS client could mount.")
    return server.strip("[]"), f"/{path}"


class LibnfsFiles:
    """By a program of ours over libnfs, so that neither a kernel client nor root is needed.

    A mount that is refused is tried `attempts` times, as a rule that was just made may not be applied yet.
    """

    def __init__(self, host: Host, attempts: int, sleep: Callable[[float], None] = time.sleep) -> None:
        self._host = host
        self._attempts = attempts
        self._sleep = sleep

    def look(self, export: str) -> Sequence[SeenFile]:
        return self.carry_out(export, ())

    def carry_out(self, export: str, steps: Sequence[Step]) -> Sequence[SeenFile]:
        words = [word for step in steps for word in (*step, ";")]
        program = (*ENDS_WITH_US, sys.executable, "-I", "-S", nfs_program.__file__)
        argv = [*program, *parts(export), str(RPC_TIMEOUT_MS), *words]
        fill_bytes = sum(int(step[2]) for step in steps if step[0] == "fill")
        for attempt in range(1, self._attempts + 1):
            done = self._host.run(argv, timeout_s=LOOK_TIMEOUT_S + fill_bytes / SLOWEST_BYTES_PER_S)
            answer = _answer(done.stdout, done.stderr)
            if "files" in answer:
                return [SeenFile(*file) for file in answer["files"]]
            fault = _fault(int(answer.get("errno", 0)), f"{export}: {answer.get('error')}")
            if not isinstance(fault, Unavailable) or attempt == self._attempts:
                raise fault
            log.info("nfs.tried_again", export=export, attempt=attempt, error=str(fault))
            self._sleep(float(attempt))
        raise Unavailable(f"{export} could not be mounted.")


def _answer(stdout: str, stderr: str) -> dict[str, Any]:
    try:
        found = json.loads(stdout)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BackendFault(f"The NFS client ended without an answer: {stderr.strip()[-500:]}")
    return found


class MountedFiles:
    """By the kernel, mounted for each use at the mount points os-brick uses: ``<base>/<md5 of the export>``.

    A share that is mounted already stays mounted: somebody else is using it.
    """

    def __init__(self, host: Host, base: str, options: str | None, attempts: int) -> None:
        self._host = host
        self._base = Path(base)
        self._options = options
        self._attempts = attempts

    def look(self, export: str) -> Sequence[SeenFile]:
        with self._mounted(export) as top:
            return _look(top)

    def carry_out(self, export: str, steps: Sequence[Step]) -> Sequence[SeenFile]:
        with self._mounted(export) as top:
            for verb, name, *rest in steps:
                try:
                    _DO[verb](top / name, *rest)
                except OSError as err:
                    raise _fault(err.errno or 0, f"{export}: {verb} {name}: {err.strerror}") from err
            return _look(top)

    def mount_point(self, export: str) -> Path:
        """Where the share is mounted, by us or by os-brick."""
        return self._base / hashlib.md5(export.encode(), usedforsecurity=False).hexdigest()

    def mount(self, export: str) -> bool:
        """Mount the share. Returns whether it was not mounted before. Raises Unavailable."""
        top = self.mount_point(export)
        if _is_mounted(top):
            return False
        top.mkdir(parents=True, exist_ok=True)
        argv = ("mount", "-t", "nfs", "-o", self._options or "vers=3", export, str(top))
        for attempt in range(1, self._attempts + 1):
            done = self._host.run(argv, timeout_s=MOUNT_TIMEOUT_S)
            if done.exit_code == 0 or _is_mounted(top):
                return True
            log.info("nfs.mount_failed", export=export, attempt=attempt, error=done.stderr.strip())
        raise Unavailable(f"{export} could not be mounted: {done.stderr.strip()}")

    def unmount(self, export: str) -> None:
        """Unmount the share; it is fine when it is not mounted, and when somebody uses it, who will unmount it."""
        top = self.mount_point(export)
        if _is_mounted(top):
            done = self._host.run(("umount", str(top)), timeout_s=MOUNT_TIMEOUT_S)
            if done.exit_code != 0:
                log.info("nfs.still_in_use", export=export, error=done.stderr.strip())
                return
        with contextlib.suppress(OSError):  # not empty, or not there
            top.rmdir()

    @contextlib.contextmanager
    def _mounted(self, export: str) -> Iterator[Path]:
        ours = self.mount(export)
        try:
            yield self.mount_point(export)
        finally:
            if ours:
                self.unmount(export)


def _is_mounted(top: Path) -> bool:
    """By the kernel's own list: asking the folder itself would hang with a server that is gone."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    return any(line.split()[1].replace("\\040", " ") == str(top) for line in mounts)


def _look(top: Path) -> list[SeenFile]:
    found = []
    for entry in os.scandir(top):
        seen = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(seen.st_mode):
            found.append(SeenFile(entry.name, seen.st_size, stat.S_IMODE(seen.st_mode)))
    return sorted(found, key=lambda file: file.name)


def _create(path: Path) -> None:
    path.touch(mode=0o600)


def _rename(path: Path, new: str) -> None:
    path.rename(path.with_name(new))


def _truncate(path: Path, size: str) -> None:
    with _opened(path) as file:
        os.ftruncate(file, int(size))


def _mode(path: Path, octal: str) -> None:
    with _opened(path) as file:
        os.fchmod(file, int(octal, 8))


def _fill(path: Path, size: str) -> None:
    zeros = bytes(nfs_program.CHUNK_BYTES)
    with _opened(path) as file:
        at, end = os.lseek(file, 0, os.SEEK_END), int(size)
        while at < end:
            at += os.write(file, zeros[: end - at])
        os.fsync(file)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The file itself: who may write to the share must not lead us elsewhere by a link."""
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        yield file
    finally:
        os.close(file)


_DO: dict[str, Callable[..., None]] = {
    "create": _create,
    "rename": _rename,
    "truncate": _truncate,
    "mode": _mode,
    "fill": _fill,
}


def _fault(number: int, text: str) -> Fault:
    """What an errno means. A share that is not there is NotFound; one that does not let us in yet may later."""
    if number in FULL:
        return InsufficientCapacity(text)
    if number in (errno.ENOENT, errno.ESTALE):
        return NotFound(text)
    return Unavailable(text)
