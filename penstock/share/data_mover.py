"""Copying the files of one mounted share to another, with their metadata: rsync where it is, else a pair of tar.

Everything may be called again after a crash: mounts left over are taken away first, and what is there already is not
copied again (rsync) or is written over (tar).
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from penstock.errors import BackendFault, Cancelled, InsufficientCapacity, Invalid, Unavailable

log = structlog.get_logger(__name__)

MOUNT_TIMEOUT_S = 120.0
LOOK_EVERY_S = 0.5
CHUNK = 1024 * 1024
MOST_NAMED = 5
_PROGRESS = re.compile(rb"^\s*([\d,.]+)\s+\d+%")
_NO_SPACE = "No space left on device", "Disk quota exceeded"


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a share is mounted for the copy, and the command templates that do it; ``%(path)s`` is the folder.

    The templates are the driver's, and split as a shell would, but no shell ever sees them.
    """

    folder: Path
    mount: str
    unmount: str

    def argv(self, template: str) -> list[str]:
        """The command. Raises Invalid for a template that is none."""
        try:
            words = [word % {"path": str(self.folder)} for word in shlex.split(template)]
        except (ValueError, KeyError, TypeError) as err:
            raise Invalid(f"'{template}' is not a mount command: {err}.") from err
        if not words:
            raise Invalid("The driver does not say how its shares are mounted.")
        return words


@dataclass(frozen=True, slots=True)
class Copied:
    """How much there was, and how much of it had to be copied."""

    moved_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What must be the same on both sides. `digest` is empty unless contents are compared."""

    kind: int
    mode: int
    owner: tuple[int, int]
    size: int
    modified_s: int
    target: str
    digest: str


def copy(
    source: Mount,
    destination: Mount,
    *,
    checks_contents: bool,
    ignored: Sequence[str],
    on_progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> Copied:
    """Mount both, copy, compare, unmount. `on_progress` is told the bytes copied and all bytes, about twice a second.

    Raises Cancelled when `should_stop`, Unavailable (a mount, a lost server), InsufficientCapacity, BackendFault (what
    was copied is not the same).
    """
    with ExitStack() as mounted:
        here = mounted.enter_context(_mounted(source))
        there = mounted.enter_context(_mounted(destination))
        if here.samefile(there):  # a wrong template must not let us empty the source
            raise Invalid("The driver's commands mount the source where the destination should be.")
        total = sum(size for _, size in _sizes(here, ignored))
        run = _rsync if shutil.which("rsync") else _tar
        moved = run(here, there, ignored, lambda done: on_progress(min(done, total), total), should_stop)
        _compare(here, there, ignored, checks_contents=checks_contents, should_stop=should_stop)
    return Copied(min(moved, total), total)


@contextmanager
def _mounted(wanted: Mount) -> Iterator[Path]:
    _unmount(wanted, is_needed=False)  # by a former process that died
    wanted.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = _run(wanted.argv(wanted.mount))
    if done.returncode != 0:
        raise Unavailable(f"{shlex.join(done.args)}: {done.stderr.decode(errors='replace').strip()}")
    try:
        yield wanted.folder
    finally:
        _unmount(wanted, is_needed=True)


def _unmount(wanted: Mount, *, is_needed: bool) -> None:
    if not os.path.lexists(wanted.folder):
        return
    done = _run(wanted.argv(wanted.unmount))
    if done.returncode != 0 and is_needed:
        log.warning("mover.not_unmounted", folder=str(wanted.folder), reason=done.stderr.decode(errors="replace"))
    if wanted.folder.is_dir() and not wanted.folder.is_symlink() and not os.path.ismount(wanted.folder):
        wanted.folder.rmdir()  # never anything but an empty folder


def _run(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(argv, capture_output=True, timeout=MOUNT_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as err:
        raise Unavailable(f"{shlex.join(argv)} did not end within {MOUNT_TIMEOUT_S:g} s") from err
    except OSError as err:
        raise Invalid(f"{argv[0]} cannot be run: {err.strerror}.") from err


# --- copying ----------------------------------------------------------------------------------------------------------


def _rsync(
    here: Path, there: Path, ignored: Sequence[str], told: Callable[[int], None], should_stop: Callable[[], bool]
) -> int:
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
                time.sleep(LOOK_EVERY_S)
        _check(process, "rsync", errors.fileno())
        return max(moved, _rsync_bytes(output.fileno()))


def _rsync_bytes(descriptor: int) -> int:
    """How much rsync says it has copied, in the last line it wrote."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, 512, max(0, size - 512)).replace(b"\n", b"\r").split(b"\r")
    found = [match for match in map(_PROGRESS.match, tail) if match]
    return int(re.sub(rb"[,.]", b"", found[-1][1])) if found else 0


def _tar(
    here: Path, there: Path, ignored: Sequence[str], told: Callable[[int], None], should_stop: Callable[[], bool]
) -> int:
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
            pack.wait(MOUNT_TIMEOUT_S)
            unpack.wait(MOUNT_TIMEOUT_S)
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


# --- comparing --------------------------------------------------------------------------------------------------------


def _sizes(root: Path, ignored: Sequence[str]) -> Iterator[tuple[str, int]]:
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


def _compare(
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


def _entry(path: Path, found: os.stat_result, checks_contents: bool) -> Entry:
    kind = stat.S_IFMT(found.st_mode)
    is_file, is_link = stat.S_ISREG(found.st_mode), stat.S_ISLNK(found.st_mode)
    return Entry(
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
