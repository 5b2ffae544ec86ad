"""One local process from start to end: argv in, bytes out, killed with its whole group at the deadline.

Used by `local` (the command itself) and `ssh` (the ssh client). The loop is our own because `Popen.communicate` neither
bounds what it collects nor returns while a daemonised grandchild still holds the pipe (an ssh master does).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from penstock.errors import BackendFault, Invalid

CHUNK = 65536
STDOUT_LIMIT_BYTES = 64 * 2**20
STDERR_LIMIT_BYTES = 2**20
# After the process itself has ended: how long something it left behind may still hold its pipes.
LINGER_S = 0.2
# After SIGKILL: a process in uninterruptible sleep (a dead FUSE mount) does not go; leave it rather than hang with it.
KILL_WAIT_S = 1.0


class DeadlinePassed(Exception):
    """The process group was killed at the deadline; what it had done by then is unknown."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended; a signal N is exit code 128 + N, as shells count."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float


def check_argv(argv: Sequence[str]) -> None:
    """Raises Invalid for what no kernel can run: no words, an empty program, NUL in a word."""
    if not argv or not argv[0]:
        raise Invalid("an empty command cannot be run")
    if any("\0" in word for word in argv):
        raise Invalid(f"a NUL byte in an argument of {argv[0]}")


def run_process(argv: Sequence[str], *, environment: Mapping[str, str], stdin: bytes, timeout_s: float) -> Ended:
    """Run to the end. Raises DeadlinePassed, OSError (could not be started), BackendFault (floods us with output)."""
    child = start(argv, environment, subprocess.PIPE if stdin else subprocess.DEVNULL)
    return _Conversation([child], stdin).until(time.monotonic() + timeout_s)[0]


def run_pipeline(
    source: Sequence[str], target: Sequence[str], *, environment: Mapping[str, str], timeout_s: float
) -> tuple[Ended, Ended]:
    """Run both with the source's stdout as the target's stdin; the kernel moves the data. Raises as `run_process`."""
    first = start(source, environment, subprocess.DEVNULL)
    try:
        second = start(target, environment, first.stdout)
    except OSError:
        kill_groups([first])
        raise
    finally:
        # only the target may hold the read end, or the source never learns that the target is gone
        close(first.stdout)
        first.stdout = None
    source_end, target_end = _Conversation([first, second], b"").until(time.monotonic() + timeout_s)
    return source_end, target_end


def start(
    argv: Sequence[str], environment: Mapping[str, str], stdin: int | IO[bytes] | None
) -> subprocess.Popen[bytes]:
    """Start one process with pipes for its output. Raises OSError when it cannot be started."""
    # A session of its own: one killpg reaches everything it started, and ssh finds no terminal to ask on.
    # No preexec_fn: it would cost vfork (dependencies.md). cwd: no command may depend on where the daemon was started.
    return subprocess.Popen(
        list(argv),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd="/",
        start_new_session=True,
        bufsize=0,
    )


class _Conversation:
    """Feeds and reads the pipes of one or two processes until all have ended."""

    def __init__(self, children: Sequence[subprocess.Popen[bytes]], stdin: bytes) -> None:
        self._children = children
        self._started = time.monotonic()
        self._ended_at: dict[int, float] = {}
        self._collected: dict[int, bytearray] = {}
        self._unsent = memoryview(stdin)
        self._selector = selectors.DefaultSelector()

    def until(self, deadline: float) -> list[Ended]:
        finished = False
        try:
            self._register()
            while not self._ended() or (self._open_pipes() and not self._lingered()):
                wait_s = self._wait_s(deadline)
                if wait_s <= 0:
                    raise DeadlinePassed
                for key, _ in self._selector.select(wait_s):
                    self._turn(key)
            finished = True
            return [self._end_of(child) for child in self._children]
        finally:
            if not finished:
                kill_groups(self._children)
            self._release()

    def _register(self) -> None:
        for child in self._children:
            for pipe in (child.stdout, child.stderr):
                if pipe is not None:
                    os.set_blocking(pipe.fileno(), False)
                    self._collected[pipe.fileno()] = bytearray()
                    self._selector.register(pipe, selectors.EVENT_READ, child)
            pidfd = os.pidfd_open(child.pid)
            self._selector.register(pidfd, selectors.EVENT_READ, child)
        feed = self._children[0].stdin
        if feed is not None:
            os.set_blocking(feed.fileno(), False)
            self._selector.register(feed, selectors.EVENT_WRITE, self._children[0])

    def _turn(self, key: selectors.SelectorKey) -> None:
        child: subprocess.Popen[bytes] = key.data
        if key.fileobj is child.stdin:
            self._feed(child)
        elif isinstance(key.fileobj, int):  # the pidfd: this process has ended
            self._ended_at[child.pid] = time.monotonic()
            self._selector.unregister(key.fileobj)
            os.close(key.fileobj)
        else:
            self._read(key.fd, is_stdout=key.fileobj is child.stdout)

    def _feed(self, child: subprocess.Popen[bytes]) -> None:
        pipe = child.stdin
        if pipe is None:
            return
        try:
            sent = os.write(pipe.fileno(), self._unsent[:CHUNK])
        except BrokenPipeError:  # it does not want to read: its exit code tells whether that is fine
            sent = len(self._unsent)
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._selector.unregister(pipe)
            close(pipe)

    def _read(self, fd: int, *, is_stdout: bool) -> None:
        data = os.read(fd, CHUNK)
        if not data:
            self._selector.unregister(fd)
            return
        seen = self._collected[fd]
        if is_stdout and len(seen) + len(data) > STDOUT_LIMIT_BYTES:
            raise BackendFault(f"more than {STDOUT_LIMIT_BYTES} bytes of output: the command was stopped")
        seen += data if is_stdout else data[: max(0, STDERR_LIMIT_BYTES - len(seen))]

    def _open_pipes(self) -> bool:
        return any(not isinstance(key.fileobj, int) for key in self._selector.get_map().values())

    def _ended(self) -> bool:
        return len(self._ended_at) == len(self._children)

    def _lingered(self) -> bool:
        return self._ended() and time.monotonic() >= max(self._ended_at.values()) + LINGER_S

    def _wait_s(self, deadline: float) -> float:
        """Seconds until the next thing to do by the clock; once all have ended, never zero or less."""
        if self._ended():
            return LINGER_S
        return deadline - time.monotonic()

    def _end_of(self, child: subprocess.Popen[bytes]) -> Ended:
        code = child.wait()
        seconds = self._ended_at[child.pid] - self._started
        stdout = bytes(self._collected[child.stdout.fileno()]) if child.stdout else b""
        stderr = bytes(self._collected[child.stderr.fileno()]) if child.stderr else b""
        return Ended(code if code >= 0 else 128 - code, stdout, stderr, seconds)

    def _release(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, int):
                os.close(key.fileobj)
        self._selector.close()
        for child in self._children:
            for pipe in (child.stdin, child.stdout, child.stderr):
                close(pipe)


def kill_groups(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Kill those that have not been waited for, with all they started, and wait a little."""
    for child in children:
        # not reaped yet, so the group id cannot have been given to somebody else
        if child.returncode is None:
            # behind sudo it is not ours to kill; to hang up on it is all we can do
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(KILL_WAIT_S)


def close(pipe: IO[bytes] | None) -> None:
    """Close our end, whatever became of the other."""
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
