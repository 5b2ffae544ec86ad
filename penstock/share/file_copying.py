"""Copying a folder of files to another with all that belongs to them: by rsync, or by a pair of tar."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from penstock.errors import BackendFault, Cancelled, InsufficientCapacity, Unavailable

LOOK_EVERY_S = 0.5
ENDING_S = 120.0
CHUNK = 1024 * 1024
_PROGRESS = re.compile(rb"^\s*([\d,.]+)\s+\d+%")
_NO_SPACE = "No space left on device", "Disk quota exceeded"


def by_rsync(
    here: Path, there: Path, ignored: Sequence[str], told: Callable[[int], None], should_stop: Callable[[], bool]
) -> int:
    """How many bytes were copied; `told` hears of it every half second. What is there already costs a look only.

    Raises Cancelled, InsufficientCapacity, Unavailable, BackendFault.
    """
    excluded = [f"--exclude=/{name}" for name in ignored]
    argv = ["rsync", "-aHS", "--numeric-ids", "--delete", "--info=progress2", "--no-inc-recursive", *excluded]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*argv, "--", f"{here}/", f"{there}/"], stdout=output, stderr=errors, env={**os.environ, "LC_ALL": "C"}
        )
        moved = 0
        with _ended(process):
            while process.poll() is None:
                if should_stop():
                    raise Cancelled("The copy was asked to stop.")
                moved = max(moved, _rsync_bytes(output.fileno()))
                told(moved)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_EVERY_S)
        _check(process, "rsync", errors.fileno())
        return max(moved, _rsync_bytes(output.fileno()))


def _rsync_bytes(descriptor: int) -> int:
    """How much rsync says it has copied, in the last line it wrote."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, 512, max(0, size - 512)).replace(b"\n", b"\r").split(b"\r")
    found = [match for match in map(_PROGRESS.match, tail) if match]
    return int(re.sub(rb"[,.]", b"", found[-1][1])) if found else 0


def by_tar(
    here: Path, there: Path, ignored: Sequence[str], told: Callable[[int], None], should_stop: Callable[[], bool]
) -> int:
    """As `by_rsync`; but everything is copied each time."""
    excluded = [f"--exclude=./{name}" for name in ignored]
    _empty(there, ignored)
    with tempfile.TemporaryFile() as errors:
        pack = subprocess.Popen(
            ["tar", "-C", str(here), "--numeric-owner", "-S", *excluded, "-cf", "-", "."],
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        unpack = subprocess.Popen(
            ["tar", "-C", str(there), "--numeric-owner", "-S", "-xpf", "-"], stdin=subprocess.PIPE, stderr=errors
        )
        with _ended(pack), _ended(unpack):
            moved = _pump(pack, unpack, told, should_stop)
            pack.wait(ENDING_S)
            unpack.wait(ENDING_S)
        _check(unpack, "tar", errors.fileno())
        _check(pack, "tar", errors.fileno())
        return moved


def _pump(
    pack: subprocess.Popen[bytes],
    unpack: subprocess.Popen[bytes],
    told: Callable[[int], None],
    should_stop: Callable[[], bool],
) -> int:
    assert pack.stdout is not None  # noqa: S101 - made with a pipe
    assert unpack.stdin is not None  # noqa: S101 - as above
    moved, due_s = 0, 0.0
    with unpack.stdin as sink:
        while chunk := pack.stdout.read(CHUNK):
            try:
                sink.write(chunk)
            except BrokenPipeError:
                break  # why, its exit code and words say
            moved += len(chunk)
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + LOOK_EVERY_S
                told(moved)
                if should_stop():
                    raise Cancelled("The copy was asked to stop.")
    return moved


def _empty(there: Path, ignored: Sequence[str]) -> None:
    """tar deletes nothing: what an earlier attempt left, and its source has not any more, would stay."""
    for entry in os.scandir(there):
        if entry.name in ignored:
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """However the block ends, the process does not outlive it."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _check(process: subprocess.Popen[bytes], what: str, errors: int) -> None:
    if process.returncode == 0:
        return
    size = os.fstat(errors).st_size
    words = os.pread(errors, 2000, max(0, size - 2000)).decode(errors="replace").strip()
    if any(text in words for text in _NO_SPACE):
        raise InsufficientCapacity("The destination has no room for the share's files.")
    if "Stale file handle" in words or "Input/output error" in words:
        raise Unavailable(f"{what}: {words}")
    raise BackendFault(f"{what} ended with {process.returncode}: {words}")
