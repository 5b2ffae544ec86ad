"""A stream from one host to another as local processes: the source's end, the target's, and the target's guard."""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from penstock.errors import Cancelled, Unavailable, UnknownResult, Unsupported
from penstock.host import stream_scripts
from penstock.host.audit import AuditedHost
from penstock.host.local import completed
from penstock.host.process import Ended, check_argv
from penstock.host.programs import check_wrapped, missing_program, not_started
from penstock.host.runner import Completed, Host
from penstock.host.ssh import NOT_HANDED_OVER
from penstock.host.stream_loop import Strand, StreamLoop
from penstock.host.streaming import UNWATCHED, StreamHost, Watching

GUARD_TIMEOUT_S = 20.0
LOOK_TIMEOUT_S = 20.0
NOT_FOUND = 127
BROKEN_PIPE = 128 + 13

_COUNT = re.compile(rb"\d+")


@dataclass(frozen=True, slots=True)
class Ends:
    """The two hosts, as callers know them and as streams start on them."""

    source: Host
    target: Host
    of: StreamHost
    to: StreamHost


@dataclass(frozen=True, slots=True)
class Login:
    """How the source gets to the target: `ssh_words`, to be followed by a line for the target's shell."""

    ssh_words: tuple[str, ...]
    prefix: tuple[str, ...]


class Joined:
    """Implements `Route`: within one host, direct (with a `login`), or by relay through pipes of this machine."""

    def __init__(
        self, name: str, ends: Ends, login: Login | None = None, forget: Callable[[], None] = lambda: None
    ) -> None:
        """`forget` is called when the way turns out to be closed."""
        self.name = name
        self._ends = ends
        self._login = login
        self._forget = forget

    def run(
        self, source: Sequence[str], target: Sequence[str], *, timeout_s: float, watching: Watching = UNWATCHED
    ) -> tuple[Completed, Completed]:
        """See Route."""
        check_argv(source)
        check_argv(target)
        what = f"{self._ends.source.name}: {source[0]} | {self._ends.target.name}: {target[0]}"
        between = PROGRAMS.between(self._ends.source, watching)
        started = time.monotonic()
        deadline = started + timeout_s
        stopped = False

        def should_stop() -> bool:
            nonlocal stopped
            stopped = stopped or watching.should_stop()
            return stopped

        try:
            with ExitStack() as stack:
                loop = stack.enter_context(StreamLoop())
                strands = self._start(stack, loop, (source, between, target), watching, deadline)
                in_time = loop.until_ended(strands, deadline, should_stop)
        except OSError as err:
            raise not_started(self._ends.source.name, err) from err
        if stopped:
            raise Cancelled(f"{what} was asked to stop")
        if not in_time:
            raise UnknownResult(f"{what} took longer than {timeout_s:g} s")
        return self._answers(strands, source, target, time.monotonic() - started)

    # --- starting ----------------------------------------------------------------------------------------------------

    def _start(
        self,
        stack: ExitStack,
        loop: StreamLoop,
        words: tuple[Sequence[str], Sequence[str], Sequence[str]],
        watching: Watching,
        deadline: float,
    ) -> list[Strand]:
        """The source's end, and with a relay the target's."""
        source, between, target = words
        if self._ends.of is self._ends.to or self._ends.source.name == self._ends.target.name:
            return [self._launch(stack, loop, stream_scripts.source(source, between, target), watching)]
        lock = self._guard(stack, loop, deadline)
        received = stream_scripts.receive(lock, target)
        if self._login is not None:
            line = "LC_ALL=C exec " + shlex.join((*self._login.prefix, *received))
            sink = (*self._login.ssh_words, line)
            return [self._launch(stack, loop, stream_scripts.source(source, between, sink), watching)]
        first = self._launch(stack, loop, stream_scripts.source(source, between, ()), watching)
        launch = stack.enter_context(self._ends.to.launching(received))
        second = loop.start(launch.argv, launch.environment, stdin=first.child.stdout or subprocess.DEVNULL)
        first.give_stdout_away()
        return [first, second]

    def _launch(self, stack: ExitStack, loop: StreamLoop, argv: Sequence[str], watching: Watching) -> Strand:
        def on_line(line: str) -> None:
            if _COUNT.fullmatch(line.encode()):  # pv's
                watching.on_moved(int(line))
            else:
                watching.on_source_line(line)

        launch = stack.enter_context(self._ends.of.launching(argv))
        return loop.start(launch.argv, launch.environment, lines=on_line)

    def _guard(self, stack: ExitStack, loop: StreamLoop, deadline: float) -> str:
        """Start the guard on the target; the path of its lock. Raises Unavailable."""
        launch = stack.enter_context(self._ends.to.launching(stream_scripts.guard()))
        guard = loop.start(launch.argv, launch.environment, is_guard=True)
        lock = loop.first_line(guard, min(deadline, time.monotonic() + GUARD_TIMEOUT_S))
        if lock is None:
            self._ends.to.suspect_stream()
            reason = guard.stderr.decode(errors="backslashreplace").strip() or "no answer"
            raise Unavailable(f"{self._ends.target.name}: the guard of a stream did not start: {reason}")
        return lock

    # --- answering ---------------------------------------------------------------------------------------------------

    def _answers(
        self, strands: Sequence[Strand], source: Sequence[str], target: Sequence[str], seconds: float
    ) -> tuple[Completed, Completed]:
        ends = self._ends
        codes, said_by_source = stream_scripts.ends(bytes(strands[0].stderr))
        told = strands[-1].stderr if len(strands) > 1 else strands[0].stdout
        heard, said_by_target = stream_scripts.ends(bytes(told))
        if "source" not in codes and len(strands) > 1 and heard.get("target", 0) != 0:
            # ssh whose output breaks sometimes drops what comes after, its last words too: they would be "broken pipe"
            codes["source"] = BROKEN_PIPE
        if "source" not in codes:
            ends.of.suspect_stream()
            raise _lost(ends.source.name, source[0], said_by_source)
        code = heard.get("target", heard.get("sink") if self._login is None and len(strands) == 1 else None)
        if code is None:
            self._forget()
            ends.to.suspect_stream()
            raise _lost(ends.target.name, target[0], said_by_target)
        words = b"".join(
            line for line in said_by_source.splitlines(keepends=True) if not _COUNT.fullmatch(line.rstrip())
        )
        first = _checked(ends.source.name, source, Ended(codes["source"], b"", words, seconds))
        second = _checked(ends.target.name, target, Ended(code, b"", said_by_target, seconds))
        for host, done in ((ends.source, first), (ends.target, second)):
            if isinstance(host, AuditedHost):
                host.stream_told(done)
        return first, second


def _lost(host: str, program: str, said: bytes) -> Unavailable:
    reason = said.decode(errors="backslashreplace").strip() or "no answer"
    if NOT_HANDED_OVER.search(said):
        return Unavailable(f"{host}: {program} was not started: {reason}")
    return UnknownResult(f"{host}: the connection was lost during {program}: {reason}")


def _checked(host: str, argv: Sequence[str], end: Ended) -> Completed:
    """Raises Unavailable when there is no such program."""
    if (end.exit_code == NOT_FOUND and b"not found" in end.stderr) or b"failed to execute" in end.stderr:
        raise missing_program(host, argv[0])
    check_wrapped(host, (), argv, end)
    return completed(argv, end)


class Programs:
    """What the hosts have to count and slow streams, asked once."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()

    def between(self, source: Host, watching: Watching) -> tuple[str, ...]:
        """What stands between source and sink there. Raises Unsupported for a limit that nothing there can keep."""
        limit = watching.limit_bytes_per_s
        if limit is None and not watching.counts:
            return ()
        has = self._of(source, again=limit is not None)
        if "pv" in has:
            counting = ("-n", "-b", "-i", "1") if watching.counts else ("-q",)
            return ("pv", *counting, *(("-L", str(limit)) if limit is not None else ()))
        if limit is None:
            # zfs-fuse's daemon itself reads and writes the pipes: killing zfs would end nothing if this were not there
            return ("cat",)
        if "mbuffer" in has:
            return ("mbuffer", "-q", "-r", str(limit))
        raise Unsupported(
            f"{source.name}: nothing there keeps a bandwidth limit; on Debian: apt-get install pv (or mbuffer)"
        )

    def _of(self, host: Host, *, again: bool) -> frozenset[str]:
        with self._lock:
            known = self._known.get(host.name)
        if known is None or (again and not known):
            done = host.run(("sh", "-c", stream_scripts.WHICH), timeout_s=LOOK_TIMEOUT_S)
            known = frozenset(line.rpartition("/")[2] for line in done.stdout.splitlines())
            with self._lock:
                self._known[host.name] = known
        return known


PROGRAMS = Programs()
