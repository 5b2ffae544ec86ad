"""Shells on another machine that are kept, so that a command costs a line on a pipe instead of an ssh client.

A client of the shared connection takes 5 to 10 ms of CPU here, and as much there, to run what takes 4. A kept shell
reads one line per command and answers with a mark that nobody can have guessed, on stdout and, with the exit code, on
stderr. Only for programs that leave nothing running: what they left could write into the next command's answer.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from penstock.errors import BackendFault
from penstock.host.process import (
    CHUNK,
    STDERR_LIMIT_BYTES,
    STDOUT_LIMIT_BYTES,
    DeadlinePassed,
    Ended,
    close,
    kill_groups,
    start,
)

# sshd's MaxSessions is 10; one is kept for checking whether the connection is alive
SESSIONS = 8
KEPT = 5

Identity = tuple[int, int]
"""Of a connection: its socket's inode and time."""


class ShellEnded(Exception):
    """It ended before it answered; `stderr` has what was said last. `had_answered` says whether an earlier line was."""

    def __init__(self, stderr: bytes, *, had_answered: bool) -> None:
        super().__init__(stderr)
        self.stderr = stderr
        self.had_answered = had_answered


class Shell:
    """One shell: `argv` starts it, and connects its input and output to us. For one thread at a time."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], connection: Identity) -> None:
        """Raises OSError when it cannot be started."""
        self.connection = connection
        self._has_answered = False
        self._child = start(argv, environment, subprocess.PIPE)
        self._selector = selectors.DefaultSelector()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        self._input, self._output, self._errors = (
            pipe.fileno() for pipe in (self._child.stdin, self._child.stdout, self._child.stderr) if pipe is not None
        )
        self._selector.register(self._output, selectors.EVENT_READ)
        self._selector.register(self._errors, selectors.EVENT_READ)

    @property
    def is_running(self) -> bool:
        """Has it not ended?"""
        return self._child.poll() is None

    def is_well(self) -> bool:
        """Does it run, and has nothing to say that nobody asked for?"""
        return self.is_running and not self._selector.select(0)

    def run(self, line: str, timeout_s: float) -> Ended:
        """Run the line (see `kept_line`) to its end. After any exception: `close`.

        Raises ShellEnded, DeadlinePassed, BackendFault (it floods us with output).
        """
        started = time.monotonic()
        mark = secrets.token_hex(16)
        asked = f"{line}; code=$?; printf '\\n{mark}\\n'; printf '\\n{mark} %s\\n' \"$code\" >&2\n"
        texts = {self._output: bytearray(), self._errors: bytearray()}
        out_end = f"\n{mark}\n".encode()
        err_end = re.compile(rf"\n{mark} (\d+)\n\Z".encode())
        unsent = memoryview(asked.encode())
        while True:
            unsent = self._feed(unsent)
            left_s = started + timeout_s - time.monotonic()
            if left_s <= 0:
                raise DeadlinePassed
            for key, events in self._selector.select(left_s):
                if events & selectors.EVENT_READ:
                    self._read(key.fd, texts)
            tail = err_end.search(texts[self._errors], max(0, len(texts[self._errors]) - 64))
            if tail is not None and texts[self._output].endswith(out_end):
                break
        self._has_answered = True
        stdout = bytes(texts[self._output][: -len(out_end)])
        stderr = bytes(texts[self._errors][: tail.start()])
        return Ended(int(tail[1]), stdout, stderr, time.monotonic() - started)

    def close(self) -> None:
        """End it. What it runs is ended by its own deadline there."""
        self._selector.close()
        close(self._child.stdin)
        kill_groups([self._child])
        for pipe in (self._child.stdout, self._child.stderr):
            close(pipe)

    def _feed(self, unsent: memoryview) -> memoryview:
        """Write what goes; wait for room only while there is more."""
        if not unsent:
            return unsent
        try:
            unsent = unsent[os.write(self._input, unsent[:CHUNK]) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it has ended, which reading shows, with what it said
            unsent = unsent[:0]
        is_waited_for = self._input in self._selector.get_map()
        if unsent and not is_waited_for:
            self._selector.register(self._input, selectors.EVENT_WRITE)
        elif not unsent and is_waited_for:
            self._selector.unregister(self._input)
        return unsent

    def _read(self, fd: int, texts: Mapping[int, bytearray]) -> None:
        data = os.read(fd, CHUNK)
        texts[fd].extend(data)
        if not data:
            self._hear_out(texts)
            raise ShellEnded(bytes(texts[self._errors]), had_answered=self._has_answered)
        if len(texts[self._output]) > STDOUT_LIMIT_BYTES or len(texts[self._errors]) > STDERR_LIMIT_BYTES:
            raise BackendFault("more output than anybody can want: the command was left alone")

    def _hear_out(self, texts: Mapping[int, bytearray]) -> None:
        """What it said on stderr before it ended."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._errors, CHUNK):
                texts[self._errors].extend(data)


class Sessions:
    """The sessions of one connection: those in use, each `one`, and idle shells, which give way. Threads share it."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(SESSIONS)
        self._lock = threading.Lock()  # for what follows
        self._in_use = 0
        self._idle: list[Shell] = []

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Hold a session within the block."""
        with self._free:
            with self._lock:
                self._in_use += 1
                room = max(0, SESSIONS - self._in_use)
                self._idle, given_up = self._idle[:room], self._idle[room:]
            try:
                for shell in given_up:
                    shell.close()
                yield
            finally:
                with self._lock:
                    self._in_use -= 1

    @contextlib.contextmanager
    def shell(self, connection: Identity, begin: Callable[[], Shell]) -> Iterator[Shell]:
        """Within `one`: a kept shell of this connection, or a new one. It is kept unless the block raises."""
        shell = self._kept(connection) or begin()
        try:
            yield shell
        except BaseException:
            shell.close()
            raise
        with self._lock:
            is_kept = len(self._idle) < KEPT
            if is_kept:
                self._idle.append(shell)
        if not is_kept:
            shell.close()

    def close(self) -> None:
        """End those that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for shell in idle:
            shell.close()

    def _kept(self, connection: Identity) -> Shell | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                shell = self._idle.pop()
            if shell.connection == connection and shell.is_well():
                return shell
            shell.close()


@cache
def sessions_of(control_path: Path) -> Sessions:  # noqa: ARG001 - the cache's key
    """The sessions of the connection at that socket, however many hosts of this process use it."""
    return Sessions()
