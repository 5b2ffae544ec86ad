"""A stream of bytes from a program on one host to a program on another: what a route promises, however it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from penstock.host.runner import Completed, Host


def _ignore(_moved_bytes: int) -> None:
    return


def _ignore_line(_line: str) -> None:
    return


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Watching:
    """How a running stream is followed, slowed and ended. All are called from the thread that runs it.

    `on_moved`: bytes so far, about once a second, when the route shall count (`counts`) and can. `on_source_line`:
    each line of the source's stderr as it comes (the whole is in the answer too). `should_stop` is asked about twice
    a second.
    """

    on_moved: Callable[[int], None] = _ignore
    on_source_line: Callable[[str], None] = _ignore_line
    should_stop: Callable[[], bool] = _never
    limit_bytes_per_s: int | None = None
    counts: bool = True


UNWATCHED = Watching()


class Route(Protocol):
    """The way from one host to another. Threads may share it."""

    name: str

    def run(
        self, source: Sequence[str], target: Sequence[str], *, timeout_s: float, watching: Watching = UNWATCHED
    ) -> tuple[Completed, Completed]:
        """Run `source` on the one host with its output as the input of `target` on the other; wait for both.

        Both end promptly when this process dies, when it is cancelled, and when the machines lose each other: nothing
        runs on unseen. Exit codes are answers. Raises Cancelled (`should_stop` said so), Unavailable (not begun),
        UnknownResult (an end was not seen, or the deadline passed; both were told to end), Unsupported (a limit, and no
        program on the source to keep it).
        """
        ...


class Routes(Protocol):
    """Finds the way between two hosts."""

    def between(self, source: Host, target: Host) -> Route:
        """The best way now; asking again is cheap."""
        ...


@dataclass(frozen=True, slots=True)
class Launch:
    """How this machine starts a command that runs on a host: the words and the environment of a local process."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LoginFrom:
    """How one storage host logs in to another. Without key and known hosts, those of the account there are used.

    `prefix` goes in front of commands there, e.g. ``("sudo", "-n")``. The paths are on the host that logs in.
    """

    address: str
    user: str
    port: int = 22
    prefix: tuple[str, ...] = ()
    private_key_path: str | None = None
    known_hosts_path: str | None = None


@runtime_checkable
class StreamHost(Protocol):
    """A `Host` whose commands can also be started as processes of ours, with pipes of ours."""

    name: str

    @property
    def login(self) -> LoginFrom | None:
        """How another host would log in here, None when that is unknown."""
        ...

    def suspect_stream(self) -> None:
        """A stream of this host was lost: look at its connection before using it again."""
        ...

    def launching(self, argv: Sequence[str]) -> AbstractContextManager[Launch]:
        """How to start `argv` there; valid within the block, which holds what the host has few of (ssh sessions).

        Raises Unavailable when the host cannot be reached.
        """
        ...
