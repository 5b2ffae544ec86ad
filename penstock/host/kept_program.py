"""A program on a host that is asked more than once, so that asking costs a line on a pipe instead of a start.

It ends with us: its input is its lifeline. One that was ended, by whomever, is begun again when it is next wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from penstock.errors import Invalid, Unavailable, UnknownResult
from penstock.host.kept_process import KeptEnded, KeptProcess
from penstock.host.process import Ended
from penstock.host.runner import Completed, Host


@dataclass(frozen=True, slots=True)
class Program:
    """`argv` starts it on the host. It reads lines: first `opening` (its own source, say), then requests.

    It answers each by one line on stdout before it reads the next, bounds the time it takes for one, ends at the end of
    its input, and by itself when nobody has asked for long (a host that lost us never sees the end of the input).
    Requests are safe to repeat: when it ends while it is at work on one, another is asked the same.

    `name` is what the audit and metrics call it.
    """

    name: str
    argv: tuple[str, ...]
    opening: str = field(repr=False)


@runtime_checkable
class KeepingHost(Protocol):
    """A `Host` that can keep programs."""

    def ask(self, program: Program, request: str, *, timeout_s: float, told: Sequence[str] = ()) -> Completed:
        """See `ask`."""
        ...


def ask(host: Host, program: Program, request: str, *, timeout_s: float, told: Sequence[str] = ()) -> Completed:
    """What the program on `host` answers to the line `request`, as `stdout`; where hosts keep none, one is run for it.

    `told` is what the audit says of the request. A non-zero exit is that of a program that ended without an answer.
    Raises as `Host.run` does, Invalid (a line break in the request).
    """
    if isinstance(host, KeepingHost):
        return host.ask(program, request, timeout_s=timeout_s, told=told)
    return host.run(program.argv, timeout_s=timeout_s, stdin=f"{program.opening}\n{request}\n")


class KeptProgram:
    """One that runs, by the local process that `argv` starts. For one thread at a time."""

    def __init__(self, program: Program, argv: Sequence[str], environment: Mapping[str, str], key: object) -> None:
        """Raises OSError when it cannot be started."""
        self.key = key
        self._opening = program.opening
        self._process = KeptProcess(argv, environment)

    def is_well(self) -> bool:
        """Does it run, and has nothing to say that nobody asked for?"""
        return self._process.is_well()

    def ask(self, request: str, timeout_s: float) -> bytes:
        """Its answer. After any exception: `close`. Raises KeptEnded, DeadlinePassed, BackendFault, Invalid."""
        if "\n" in request:
            raise Invalid("a request to a program is one line")
        text = f"{request}\n" if self._process.has_answered else f"{self._opening}\n{request}\n"
        stdout, _ = self._process.converse(text.encode(), _is_line, timeout_s)
        return stdout

    def close(self) -> None:
        """End it; what it is at work on is ended by its own limit."""
        self._process.close()


def _is_line(stdout: bytearray, stderr: bytearray) -> bool:  # noqa: ARG001 - stderr is for who looks why it ended
    return stdout.endswith(b"\n")


def answer(
    one: Callable[[], AbstractContextManager[KeptProgram]],
    request: str,
    timeout_s: float,
    check: Callable[[Ended], None],
) -> Ended:
    """Ask `one`; when it was kept and turns out to have ended, another. Exit code and stderr are of one that was new.

    `check` raises what such an end means. Raises that, DeadlinePassed, OSError (none could be started), BackendFault,
    Invalid; UnknownResult instead of what says that nothing was begun, when one had the request before and ended.
    """
    started = time.monotonic()
    may_have_begun = False
    while True:
        try:
            with one() as program:
                said = program.ask(request, started + timeout_s - time.monotonic())
        except KeptEnded as ended:
            if ended.had_answered:
                may_have_begun = True
                continue
            end = Ended(ended.exit_code, b"", ended.stderr, time.monotonic() - started)
            try:
                check(end)
            except Unavailable as fault:
                if may_have_begun:
                    raise _unknown(fault.message) from fault
                raise
            return end
        except OSError as err:
            if may_have_begun:
                raise _unknown(str(err)) from err
            raise
        return Ended(0, said, b"", time.monotonic() - started)


def _unknown(reason: str) -> UnknownResult:
    return UnknownResult(f"the program ended when it was asked, and may have done it; another was not begun: {reason}")
