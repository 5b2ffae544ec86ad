"""Which Debian package brings a program, and what a wrapper says when the program behind it is missing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from penstock.errors import Unavailable, UnknownResult
from penstock.host.process import Ended

PACKAGE: dict[str, str] = {
    "dbus-send": "dbus",
    "exportfs": "nfs-kernel-server",
    "ganesha.nfsd": "nfs-ganesha nfs-ganesha-vfs",
    "iscsi-inq": "libiscsi-bin",
    "nsenter": "util-linux",
    "python3": "python3",
    "rpcbind": "rpcbind",
    "ssh": "openssh-client",
    "sudo": "sudo",
    "qemu-img": "qemu-utils",
    "tgtadm": "tgt",
    "timeout": "coreutils",
    "zfs": "zfsutils-linux (OpenZFS, from contrib) or zfs-fuse",
    "zpool": "zfsutils-linux (OpenZFS, from contrib) or zfs-fuse",
}

KILLED = 128 + 9

# What runs a program for us and says so when it cannot; each begins its lines with its name.
WRAPPERS = frozenset({"env", "ip", "nsenter", "sudo", "timeout"})

# coreutils (env, timeout), util-linux (nsenter), iproute2 (ip netns exec), sudo; all with LC_ALL=C
_SAYS = (
    "env: '{name}': No such file or directory",
    "timeout: failed to run command '{name}': No such file or directory",
    "nsenter: failed to execute {name}: No such file or directory",
    'exec of "{name}" failed: No such file or directory',
    "sudo: {name}: command not found",
)
_NO_WRAPPER = re.compile(r"\b(env|timeout|sudo): (?:command )?not found")


def missing_program(host: str, program: str) -> Unavailable:
    """The fault for a program that is not there, saying how to get it."""
    package = PACKAGE.get(program.rsplit("/", 1)[-1])
    hint = f"; on Debian: apt-get install {package}" if package else ""
    return Unavailable(f"{host}: the program {program} is missing{hint}")


def not_started(host: str, error: OSError) -> Unavailable:
    """The fault for a command that the kernel would not start (no such program, no permission, too many arguments)."""
    if isinstance(error, FileNotFoundError):
        return missing_program(host, str(error.filename))
    return Unavailable(f"{host}: {error.filename} cannot be started: {error.strerror}")


def check_killed(host: str, argv: Sequence[str], end: Ended) -> None:
    """Raises UnknownResult when it was killed (by the kernel, somebody, or a dying host: we cannot know)."""
    if end.exit_code == KILLED:
        raise UnknownResult(f"{host}: {argv[0]} was killed")


def check_wrapped(host: str, prefix: Sequence[str], argv: Sequence[str], end: Ended) -> None:
    """Raises Unavailable when what stands in front of `argv` could not run it, UnknownResult when it was killed."""
    check_killed(host, argv, end)
    if end.exit_code == 0:
        return
    stderr = end.stderr.decode(errors="backslashreplace").lstrip()
    program = argv[0]
    if any(text.format(name=program) in stderr for text in _SAYS):
        raise missing_program(host, program)
    absent = _NO_WRAPPER.search(stderr)
    if absent:
        raise missing_program(host, absent[1])
    wrapper = stderr.partition(": ")[0]
    own = {word.rsplit("/", 1)[-1] for word in prefix[:1]}
    if wrapper in WRAPPERS | own and wrapper != program:
        raise Unavailable(f"{host}: {stderr.strip()}")
