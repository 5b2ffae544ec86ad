"""Shells on another machine that are kept, so that a command costs a line on a pipe instead of an ssh client.

A client of the shared connection takes 5 to 10 ms of CPU here, and as much there, to run what takes 4. A kept shell
reads one line per command and answers with a mark that nobody can have guessed, on stdout and, with the exit code, on
stderr. Only for programs that leave nothing running: what they left could write into the next command's answer.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from penstock.host.idle import Idle
from penstock.host.kept_process import KeptProcess
from penstock.host.kept_program import KeptProgram, Program
from penstock.host.process import Ended

# sshd's MaxSessions is 10; one is kept for checking whether the connection is alive
SESSIONS = 8
KEPT = 5
PROGRAMS_KEPT = 2

Identity = tuple[int, int]
"""Of a connection: its socket's inode and time."""


class Shell:
    """One shell: `argv` starts it, and connects its input and output to us. For one thread at a time."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], connection: Identity) -> None:
        """Raises OSError when it cannot be started."""
        self.key = connection
        self._process = KeptProcess(argv, environment)

    @property
    def is_running(self) -> bool:
        """Has it not ended?"""
        return self._process.is_running

    def is_well(self) -> bool:
        """Does it run, and has nothing to say that nobody asked for?"""
        return self._process.is_well()

    def run(self, line: str, timeout_s: float) -> Ended:
        """Run the line (see `kept_line`) to its end. After any exception: `close`.

        Raises KeptEnded, DeadlinePassed, BackendFault (it floods us with output).
        """
        started = time.monotonic()
        mark = secrets.token_hex(16)
        asked = f"{line}; code=$?; printf '\\n{mark}\\n'; printf '\\n{mark} %s\\n' \"$code\" >&2\n"
        out_end = f"\n{mark}\n".encode()
        err_end = re.compile(rf"\n{mark} (\d+)\n\Z".encode())

        def is_answered(stdout: bytearray, stderr: bytearray) -> bool:
            return stdout.endswith(out_end) and err_end.search(stderr, max(0, len(stderr) - 64)) is not None

        stdout, stderr = self._process.converse(asked.encode(), is_answered, timeout_s)
        told, _, code = stderr.rpartition(f"\n{mark} ".encode())
        return Ended(int(code), stdout[: -len(out_end)], told, time.monotonic() - started)

    def close(self) -> None:
        """End it. What it runs is ended by its own deadline there."""
        self._process.close()


class Sessions:
    """The sessions of one connection: those in use, each `one`, and what is idle, which gives way. Threads share it.

    Shells give way before programs, which take longer to begin.
    """

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(SESSIONS)
        self._lock = threading.Lock()  # for what follows
        self._in_use = 0
        self._shells: Idle[Shell] = Idle(KEPT)
        self._programs: Idle[KeptProgram] = Idle(PROGRAMS_KEPT)

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Hold a session within the block."""
        with self._free:
            with self._lock:
                self._in_use += 1
                room = SESSIONS - self._in_use
                self._shells.shrink(room - self._programs.shrink(room))
            try:
                yield
            finally:
                with self._lock:
                    self._in_use -= 1

    def shell(self, connection: Identity, begin: Callable[[], Shell]) -> contextlib.AbstractContextManager[Shell]:
        """Within `one`: a kept shell of this connection, or a new one. It is kept unless the block raises."""
        return self._shells.one(connection, begin)

    def program(
        self, program: Program, connection: Identity, begin: Callable[[], KeptProgram]
    ) -> contextlib.AbstractContextManager[KeptProgram]:
        """Within `one`: the same for a program."""
        return self._programs.one((program, connection), begin)

    def close(self) -> None:
        """End those that are idle."""
        self._shells.close()
        self._programs.close()


@cache
def sessions_of(control_path: Path) -> Sessions:  # noqa: ARG001 - the cache's key
    """The sessions of the connection at that socket, however many hosts of this process use it."""
    return Sessions()
