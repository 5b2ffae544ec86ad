"""Small files on a host, by commands: for hosts whose file system we reach only through a prefix or ssh.

The script below is constant; paths and modes reach it as arguments, never as program text. One command instead of four
keeps a write at one round trip, and it starts few programs, for each costs a millisecond.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from penstock.errors import BackendFault, Invalid, Unavailable
from penstock.host.process import Ended

# (argv, stdin) -> how it ended
Execute = Callable[[Sequence[str], bytes], Ended]

FILE_TIMEOUT_S = 30.0

LOCK = ".penstock.lock"  # in each directory of files that are swapped; flock(2)
LOCK_TIMEOUT_S = 20
ABSENT = "absent"
CHANGED = 75  # exit code: the file is not what it was

_BEGIN = """set -eu
directory=${1%/*}
[ -d "$directory/" ] || mkdir -p -- "$directory/"
"""
_SWAP = """exec 9>"$directory/$4"
flock -w "$5" 9 || { echo "$directory/$4 is locked all the time" >&2; exit 1; }
found=absent
if [ -e "$1" ]; then
    found=$(sha256sum <"$1")
    found=${found%% *}
fi
[ "$found" = "$3" ] || exit 75
if [ "$2" = absent ]; then
    rm -f -- "$1"
    exit
fi
"""
# A hidden name beside the target: exports.d and friends skip it, and rename within a directory is one step.
_REPLACE = """beside=$directory/.${1##*/}.$$.new
trap 'rm -f -- "$beside"' EXIT
umask 077
cat > "$beside"
chmod -- "$2" "$beside"
sync -- "$beside"
mv -f -T -- "$beside" "$1"
trap - EXIT
sync -- "$directory/"
"""


def check_path(path: str) -> None:
    """Raises Invalid: only absolute paths mean the same thing on every host."""
    if not path.startswith("/") or "\0" in path:
        raise Invalid(f"{path!r} is not an absolute path")


def decode(path: str, data: bytes) -> str:
    """Configuration is UTF-8. Raises BackendFault when it is not: a guess would be written back."""
    try:
        return data.decode()
    except UnicodeDecodeError as err:
        raise BackendFault(f"{path} is not UTF-8: {err}") from err


def read_text(execute: Execute, path: str) -> str | None:
    """Text of the file, None when there is none. Raises Unavailable, BackendFault."""
    check_path(path)
    end = execute(("cat", "--", path), b"")
    if end.exit_code == 0:
        return decode(path, end.stdout)
    if b"No such file or directory" in end.stderr:
        return None
    raise Unavailable(f"{path} cannot be read: {_reason(end)}")


# Each file is opened once: its length and its contents are of one file, also when it is swapped meanwhile.
_READ = f"""for file do
    if [ -e "$file" ]; then
        {{ stat -L -c %s /proc/self/fd/3 && cat <&3; }} 3<"$file" || exit 1
    else
        echo {ABSENT}
    fi
done
"""


def read_texts(execute: Execute, paths: Sequence[str]) -> dict[str, str]:
    """Texts of those of the files that exist, by one command. Raises Unavailable, BackendFault."""
    for path in paths:
        check_path(path)
    end = execute(("sh", "-c", _READ, "penstock-read", *paths), b"")
    if end.exit_code != 0:
        raise Unavailable(f"{', '.join(paths)} cannot be read: {_reason(end)}")
    texts: dict[str, str] = {}
    rest = end.stdout
    for path in paths:
        length, _, rest = rest.partition(b"\n")
        if length != ABSENT.encode():
            texts[path], rest = decode(path, rest[: int(length)]), rest[int(length) :]
    return texts


def replace_text(execute: Execute, path: str, text: str, mode: int) -> None:
    """Write beside, sync, rename, sync the directory; makes the directory when it is missing. Raises Unavailable."""
    check_path(path)
    end = execute(("sh", "-c", _BEGIN + _REPLACE, "penstock-write", path, f"{mode:04o}"), text.encode())
    if end.exit_code != 0:
        raise Unavailable(f"{path} cannot be written: {_reason(end)}")


def digest(text: str | None) -> str:
    """What `swap` and others compare contents by."""
    return ABSENT if text is None else hashlib.sha256(text.encode()).hexdigest()


def swap(execute: Execute, path: str, old: str | None, new: str | None, mode: int) -> bool:
    """`replace_text` or `remove` under the host's lock, if the file still is `old`. Raises Unavailable."""
    check_path(path)
    words = (path, ABSENT if new is None else f"{mode:04o}", digest(old), LOCK, str(LOCK_TIMEOUT_S))
    end = execute(("sh", "-c", _BEGIN + _SWAP + _REPLACE, "penstock-swap", *words), (new or "").encode())
    if end.exit_code not in (0, CHANGED):
        raise Unavailable(f"{path} cannot be changed: {_reason(end)}")
    return end.exit_code == 0


def remove(execute: Execute, path: str) -> None:
    """Remove the file if it is there. Raises Unavailable."""
    check_path(path)
    end = execute(("rm", "-f", "--", path), b"")
    if end.exit_code != 0:
        raise Unavailable(f"{path} cannot be removed: {_reason(end)}")


def _reason(end: Ended) -> str:
    return end.stderr.decode(errors="backslashreplace").strip() or f"exit {end.exit_code}"
