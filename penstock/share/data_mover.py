"""Copying the files of one mounted share to another, with their metadata: rsync where it is, else a pair of tar.

Everything may be called again after a crash: mounts left over are taken away first, and what is there already is not
copied again (rsync) or is written over (tar).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from penstock.errors import Invalid, Unavailable
from penstock.share.file_comparing import compare, sizes
from penstock.share.file_copying import by_rsync, by_tar

log = structlog.get_logger(__name__)

MOUNT_TIMEOUT_S = 120.0


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
        total = sum(size for _, size in sizes(here, ignored))
        run = by_rsync if shutil.which("rsync") else by_tar
        moved = run(here, there, ignored, lambda done: on_progress(min(done, total), total), should_stop)
        compare(here, there, ignored, checks_contents=checks_contents, should_stop=should_stop)
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
