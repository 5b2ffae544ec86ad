"""A process that stays between two things it is told, with pipes to it: written to, and read until it has answered."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from penstock.errors import BackendFault
from penstock.host.process import (
    CHUNK,
    KILL_WAIT_S,
    STDERR_LIMIT_BYTES,
    STDOUT_LIMIT_BYTES,
    DeadlinePassed,
    close,
    kill_groups,
    start,
)
from penstock.host.programs import KILLED

IsAnswered = Callable[[bytearray, bytearray], bool]
"""Whether stdout and stderr so far are the whole answer."""


class KeptEnded(Exception):
    """It ended before it answered; `stderr` has what was said last. `had_answered` says whether an earlier time it did.

    `exit_code` counts a signal N as 128 + N.
    """

    def __init__(self, exit_code: int, stderr: bytes, *, had_answered: bool) -> None:
        super().__init__(stderr)
        self.exit_code = exit_code
        self.stderr = stderr
        self.had_answered = had_answered


class KeptProcess:
    """One process: `argv` starts it. For one thread at a time."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """Raises OSError when it cannot be started."""
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

    @property
    def has_answered(self) -> bool:
        """Did it ever?"""
        return self._has_answered

    def is_well(self) -> bool:
        """Does it run, and has nothing to say that nobody asked for?"""
        return self.is_running and not self._selector.select(0)

    def converse(self, text: bytes, is_answered: IsAnswered, timeout_s: float) -> tuple[bytes, bytes]:
        """Write `text`, and read until it is answered; what came on stdout and stderr. After any exception: `close`.

        Raises KeptEnded, DeadlinePassed, BackendFault (it floods us with output).
        """
        deadline = time.monotonic() + timeout_s
        texts = {self._output: bytearray(), self._errors: bytearray()}
        unsent = memoryview(text)
        while True:
            unsent = self._feed(unsent)
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise DeadlinePassed
            for key, events in self._selector.select(left_s):
                if events & selectors.EVENT_READ:
                    self._read(key.fd, texts)
            if is_answered(texts[self._output], texts[self._errors]):
                self._has_answered = True
                return bytes(texts[self._output]), bytes(texts[self._errors])

    def close(self) -> None:
        """End it. What it runs elsewhere is ended by its own deadline there."""
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
            raise KeptEnded(self._exit_code(), bytes(texts[self._errors]), had_answered=self._has_answered)
        if len(texts[self._output]) > STDOUT_LIMIT_BYTES or len(texts[self._errors]) > STDERR_LIMIT_BYTES:
            raise BackendFault("more output than anybody can want: the command was left alone")

    def _hear_out(self, texts: Mapping[int, bytearray]) -> None:
        """What it said on stderr before it ended."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._errors, CHUNK):
                texts[self._errors].extend(data)

    def _exit_code(self) -> int:
        """Of one that has closed its output; who does not end then is as good as killed."""
        try:
            code = self._child.wait(KILL_WAIT_S)
        except subprocess.TimeoutExpired:
            return KILLED
        return code if code >= 0 else 128 - code
