"""The local processes of one stream: started with their pipes, kept alive by beats, followed, and ended together."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from penstock.host.process import CHUNK, STDERR_LIMIT_BYTES, close, kill_groups, start
from penstock.host.stream_scripts import BEAT_S

TICK_S = 0.5
# After its lifeline was cut: how long an end may take before what is local of it is killed.
CUT_GRACE_S = 8.0
# How long the target may take in what is on its way before its lifeline is cut, too.
DRAIN_GRACE_S = 3.0
LINGER_S = 0.2


class Strand:
    """One process. `lines` is called with each full line of its stderr."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdin: int | IO[bytes] = subprocess.PIPE,
        lines: Callable[[str], None] | None = None,
        is_guard: bool = False,
    ) -> None:
        self.is_guard = is_guard
        self.child = start(argv, environment, stdin)
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.ended_at: float | None = None
        self._lines = lines
        self._line = bytearray()

    def beat(self) -> None:
        """Say that we are still there."""
        if self.child.stdin is not None:
            with contextlib.suppress(BrokenPipeError, BlockingIOError):  # it has ended, or does not read: not our worry
                os.write(self.child.stdin.fileno(), b".")

    def cut(self) -> None:
        """End the lifeline."""
        close(self.child.stdin)
        self.child.stdin = None

    def give_stdout_away(self) -> None:
        """It is another process' input now; only that one may hold it, or nobody learns that it is gone."""
        close(self.child.stdout)
        self.child.stdout = None

    def take(self, data: bytes, *, is_stdout: bool) -> None:
        kept = self.stdout if is_stdout else self.stderr
        kept += data[: max(0, STDERR_LIMIT_BYTES - len(kept))]
        if is_stdout or self._lines is None:
            return
        self._line += data
        while b"\n" in self._line:
            line, _, self._line = self._line.partition(b"\n")
            self._lines(line.decode(errors="backslashreplace"))


class StreamLoop:
    """A context: on leaving it nothing of the strands is left here, and their hosts are told by their lifelines."""

    def __init__(self) -> None:
        self._strands: list[Strand] = []
        self._selector = selectors.DefaultSelector()
        self._beat_at = 0.0

    def __enter__(self) -> StreamLoop:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            # the guard last: until then the target takes in what is on its way, so that less has to be sent again
            streams = [strand for strand in self._strands if not strand.is_guard]
            for strand in streams:
                strand.cut()
            self._run(time.monotonic() + DRAIN_GRACE_S, lambda: self._are_over(streams))
            for strand in self._strands:
                strand.cut()
            self._run(time.monotonic() + CUT_GRACE_S, lambda: self._are_over(self._strands))
        finally:
            kill_groups([strand.child for strand in self._strands])
            for key in list(self._selector.get_map().values()):
                if isinstance(key.fileobj, int):
                    os.close(key.fileobj)
            self._selector.close()
            for strand in self._strands:
                for pipe in (strand.child.stdin, strand.child.stdout, strand.child.stderr):
                    close(pipe)

    def start(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdin: int | IO[bytes] = subprocess.PIPE,
        lines: Callable[[str], None] | None = None,
        is_guard: bool = False,
    ) -> Strand:
        """Start one more; a guard is the last to be let go. Raises OSError when it cannot be."""
        strand = Strand(argv, environment, stdin=stdin, lines=lines, is_guard=is_guard)
        self._strands.append(strand)
        self._selector.register(os.pidfd_open(strand.child.pid), selectors.EVENT_READ, strand)
        if strand.child.stdin is not None:
            os.set_blocking(strand.child.stdin.fileno(), False)
        strand.beat()
        return strand

    def first_line(self, strand: Strand, deadline: float) -> str | None:
        """The first line of its output; None when it ends, or the deadline comes, without one."""
        self._listen()
        self._run(deadline, lambda: b"\n" in strand.stdout or self._are_over([strand]))
        line, newline, _ = strand.stdout.partition(b"\n")
        return line.decode(errors="backslashreplace") if newline else None

    def until_ended(self, strands: Sequence[Strand], deadline: float, should_stop: Callable[[], bool]) -> bool:
        """Wait for these to end; False when the deadline came first or `should_stop` said so."""
        self._listen()
        stopped = False

        def is_over() -> bool:
            nonlocal stopped
            stopped = stopped or should_stop()
            return stopped or self._are_over(strands)

        return self._run(deadline, is_over) and not stopped

    def _listen(self) -> None:
        """Read what is ours of pipes that are not read yet."""
        listened = {key.fd for key in self._selector.get_map().values()}
        for strand in self._strands:
            for pipe in (strand.child.stdout, strand.child.stderr):
                if pipe is not None and not pipe.closed and pipe.fileno() not in listened and strand.ended_at is None:
                    os.set_blocking(pipe.fileno(), False)
                    self._selector.register(pipe, selectors.EVENT_READ, strand)

    def _run(self, deadline: float, is_over: Callable[[], bool]) -> bool:
        """Turn until it is over; False when the deadline came first."""
        while True:
            now = time.monotonic()
            if now >= self._beat_at:
                self._beat_at = now + BEAT_S
                for strand in self._strands:
                    strand.beat()
            if is_over():
                return True
            if now >= deadline:
                return False
            events = self._selector.select(min(TICK_S, deadline - now, self._linger_s()))
            for key, _ in events:
                self._turn(key)

    def _linger_s(self) -> float:
        return LINGER_S if any(strand.ended_at is not None for strand in self._strands) else TICK_S

    def _turn(self, key: selectors.SelectorKey) -> None:
        strand: Strand = key.data
        if isinstance(key.fileobj, int):  # the pidfd
            strand.ended_at = time.monotonic()
            self._selector.unregister(key.fileobj)
            os.close(key.fileobj)
            return
        data = os.read(key.fd, CHUNK)
        if not data:
            self._selector.unregister(key.fileobj)
        strand.take(data, is_stdout=key.fileobj is strand.child.stdout)

    def _are_over(self, strands: Sequence[Strand]) -> bool:
        """All have ended, and what they wrote is read (or something they left behind holds the pipe)."""
        if any(strand.ended_at is None for strand in strands):
            return False
        open_pipes = {id(key.data) for key in self._selector.get_map().values()}
        last = max((strand.ended_at or 0.0 for strand in strands), default=0.0)
        return time.monotonic() >= last + LINGER_S or not any(id(strand) in open_pipes for strand in strands)
