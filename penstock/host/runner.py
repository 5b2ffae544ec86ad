"""The one way commands run: an argv, a deadline, and everything that came back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended. `argv` is what the caller asked for, without ssh or namespace wrapping."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    seconds: float


class Host(Protocol):
    """A machine we can run commands on and keep small configuration files on.

    Every implementation passes ``tests/contract/host_contract.py`` (the simulated one, its small part).
    """

    name: str

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: str | None = None) -> Completed:
        """Run `argv` with LC_ALL=C and wait for its end; a non-zero exit is an answer, not an exception.

        Raises UnknownResult past the deadline (the command may have taken effect), Unavailable when the host cannot be
        reached or the program is missing.
        """
        ...

    def pipe(self, source: Sequence[str], target: Sequence[str], *, timeout_s: float) -> tuple[Completed, Completed]:
        """Run both at once, `source`'s output being `target`'s input (``zfs send | zfs receive``); wait for both.

        Both exit codes are known; `stdout` of the source is always empty here (the target ate it). A source that dies
        because the target went away (SIGPIPE) ends with a non-zero code like any other. Raises as `run` does.
        """
        ...

    def read_file(self, path: str) -> str | None:
        """The text of the file, None when there is none. Raises Unavailable, BackendFault (not UTF-8)."""
        ...

    def read_files(self, paths: Sequence[str]) -> dict[str, str]:
        """The texts of those of the files that exist, in one round trip. Raises as `read_file`."""
        ...

    def write_file(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Replace the file in one step (write beside it, sync, rename); its directory is made when missing.

        Safe to repeat. Raises Unavailable.
        """
        ...

    def remove_file(self, path: str) -> None:
        """Remove the file; it is fine when there is none. Raises Unavailable."""
        ...

    def swap_file(self, path: str, old: str | None, new: str | None, *, mode: int = 0o644) -> bool:
        """Make the file `new` as `write_file` does, if it still is `old`; None is no file. False when it is not `old`.

        Whoever changes files by this, in whichever process and from whichever machine, does so one at a time. Raises
        Unavailable.
        """
        ...
