"""The one line the remote shell gets: built purely from words, all quoted, and the answer taken apart again.

ssh ends with 255 for a lost connection *and* for a command that ended with 255 (zfs-fuse's ``zfs hold`` does), and a
lost master is silent; so the line ends by writing a mark and the exit code, and no mark means the end was not seen.
The remote login shell must be a POSIX one.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

MARK = "penstock-exit"
# How much longer than the caller the remote side lives: the caller gives up first, and nothing runs on for ever.
REMOTE_GRACE_S = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back on stderr: exit codes of the marks in order, and the text before each."""

    exit_codes: tuple[int, ...]
    texts: tuple[bytes, ...]


def command_line(argv: Sequence[str], timeout_s: float) -> str:
    """Shell line for one command; its stderr ends with one mark."""
    return f"{_quoted(argv, timeout_s)}; printf '\\n{MARK} %s\\n' \"$?\" >&2"


def kept_line(argv: Sequence[str], timeout_s: float, stdin: str = "") -> str:
    """For a kept shell, which adds its own mark, and whose own input must not be the command's."""
    if stdin:  # printf is the shell's own, so no argument shows what may be secret
        return f"printf %s {shlex.quote(stdin)} | {_quoted(argv, timeout_s)}"
    return f"{_quoted(argv, timeout_s)} </dev/null"


def plain_line(argv: Sequence[str]) -> str:
    """Shell line for a command that tells its end itself, and has no deadline but its lifeline."""
    return "LC_ALL=C exec " + shlex.join(argv)


def program_line(argv: Sequence[str]) -> str:
    """Shell line for a program that is kept: no deadline but its lifeline. env says what is missing in known words."""
    return "exec env LC_ALL=C " + shlex.join(argv)


def pipe_line(source: Sequence[str], target: Sequence[str], timeout_s: float) -> str:
    """Shell line for ``source | target``; stderr is the target's text and mark, then the source's text and mark.

    The source's stderr waits in a temporary file on the host, because ssh has one stderr only.
    """
    return (
        "aside=$(mktemp) && trap 'rm -f \"$aside\"' EXIT && "
        f'{{ {{ {_quoted(source, timeout_s)} 2>"$aside"; printf \'\\n{MARK} %s\\n\' "$?" >>"$aside"; }} | '
        f'{_quoted(target, timeout_s)}; printf \'\\n{MARK} %s\\n\' "$?" >&2; cat "$aside" >&2; }}'
    )


def answer_of(stderr: bytes) -> Answer:
    """Take the marks out of stderr; whatever follows the last one (ssh's own words) is dropped."""
    codes: list[int] = []
    texts: list[bytes] = []
    rest = stderr
    mark = f"\n{MARK} ".encode()
    while mark in rest:
        text, _, tail = rest.partition(mark)
        code, newline, rest = tail.partition(b"\n")
        if not newline or not code.isdigit():  # cut off in the middle of the mark
            break
        codes.append(int(code))
        texts.append(text)
    return Answer(tuple(codes), tuple(texts))


def _quoted(argv: Sequence[str], timeout_s: float) -> str:
    limit = f"{timeout_s + REMOTE_GRACE_S:.1f}"
    return "LC_ALL=C " + shlex.join(["timeout", "--signal=KILL", limit, *argv])
